//! `mote inspect`: what is in a GGUF file.

pub mod metadata;
mod ngram;
mod report;
mod summary;
pub mod tensors;
mod vocabulary;

use std::ops::Range;
use std::path::PathBuf;

use clap::Args;
use mote_formats::gguf::{Gguf, Text};

use crate::cli::write_json;
use crate::facts::{Bytes, FileFacts};
use crate::failure::{Code, Failure, Result, shown};
use crate::host::with_gguf;
use crate::streams::Streams;
use ngram::NgramReport;
use report::{Report, SessionReport};
use summary::{Summary, TEMPLATE_KEY};
use vocabulary::Vocabulary;

/// Show what is in a GGUF file
#[derive(Args, Debug)]
#[command(after_help = "\
Without options, a summary: the model, its size by encoding, context, vocabulary, licence, and the
memory of a session. With some of them, what they name instead. Texts of the file are cut short
where they are long, and escaped so that they cannot drive a terminal; --template alone writes
the raw text where the output is no terminal. The file may be of any architecture and any of ggml's
encodings, or hold a vocabulary alone.

JSON keys: version; alignment; bytes; name; architecture; parameters; n_grams (of an n-gram
model: how many of each length); license; bits_per_weight; context_length; layers;
embedding_length; heads; kv_heads; vocabulary: {tokens, model, pre}; chat_template; checksums
(both: whether there are some); metadata: a list of
{key, type, value}, for arrays {key, type, length, first}; tensors: a list of {name, type,
shape, bytes, offset}; encodings: by name {tensors, parameters, bytes}; session: {n_ctx, kv,
activations, tables_bytes, cache_bytes, activation_bytes, logit_bytes, scratch_bytes,
total_bytes}, null if mote cannot run the file; why_not: the reason, null if it can; ngram: of an
n-gram model {order, counts, smoothing, alpha, value_bits, bytes_per_n_gram}. With --vocab, tokens:
a list of {id, text, type, score}; with --template, template.

Examples:
  mote inspect model.gguf
  mote inspect model.gguf --vocab --range 0..20")]
pub struct Command {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Show all keys and values
    #[arg(long)]
    metadata: bool,
    /// Show all tensors: name, encoding, shape, bytes, place
    #[arg(long)]
    tensors: bool,
    /// Show the tokens: id, type, score (where there are scores) and text
    #[arg(long)]
    vocab: bool,
    /// With --vocab: of these ids alone, as 42, 0..100, 100.. (the last one is left out)
    #[arg(long, value_name = "IDS", requires = "vocab", value_parser = vocabulary::parse_range)]
    range: Option<Range<usize>>,
    /// Show the chat template
    #[arg(long)]
    template: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Command {
    /// Whether the result is wanted as JSON.
    pub fn json(&self) -> bool {
        self.json
    }
}

/// Inspects.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    with_gguf(&command.file, |gguf| {
        let in_file = |failure: Failure| failure.in_file(&command.file);
        if command.json {
            let mut report = Report::new(gguf)?;
            if command.vocab {
                let vocabulary = Vocabulary::new(gguf).map_err(in_file)?;
                report.tokens = Some(vocabulary.tokens(command.ids()).collect());
            }
            if command.template {
                report.template = Some(report::string(template(gguf).map_err(in_file)?));
            }
            return write_json(&report, streams);
        }
        if !(command.metadata || command.tensors || command.vocab || command.template) {
            return command.summarise(gguf, streams);
        }
        let to_terminal = streams.terminal.output;
        let out = &mut *streams.output;
        if command.metadata {
            metadata::print(gguf, out)?;
        }
        if command.tensors {
            tensors::print(gguf, out)?;
        }
        if command.vocab {
            Vocabulary::new(gguf).map_err(in_file)?.print(command.ids(), out)?;
        }
        if command.template {
            let template = template(gguf).map_err(in_file)?;
            vocabulary::print_template(template, to_terminal, out)?;
        }
        Ok(())
    })
}

impl Command {
    fn ids(&self) -> Range<usize> {
        self.range.clone().unwrap_or(0..usize::MAX)
    }

    fn summarise(&self, gguf: &Gguf<'_>, streams: &mut Streams<'_>) -> Result<()> {
        let facts = FileFacts::new(gguf);
        let out = &mut *streams.output;
        let architecture = facts.architecture.as_deref().unwrap_or("no architecture");
        match &facts.name {
            Some(name) => writeln!(out, "{name} ({architecture})")?,
            None => writeln!(out, "{architecture}")?,
        }
        let (path, bytes, version) = (shown(&self.file), Bytes(facts.bytes), gguf.version());
        writeln!(out, "  file        {path}, {bytes}, GGUF version {version}")?;
        Summary::new(gguf, &facts).print(&facts, out)?;
        if let Some(report) = NgramReport::new(gguf) {
            report.print(out)?;
        }
        print_session(gguf, streams)
    }
}

/// The chat template, or why there is none.
fn template<'a>(gguf: &Gguf<'a>) -> Result<Text<'a>> {
    let template = gguf.get(TEMPLATE_KEY).and_then(|value| value.as_text());
    template.ok_or_else(|| Failure::new(Code::Model, "the file has no chat template"))
}

fn print_session(gguf: &Gguf<'_>, streams: &mut Streams<'_>) -> Result<()> {
    let out = &mut *streams.output;
    match SessionReport::new(gguf) {
        Ok(session) => {
            let SessionReport { n_ctx, kv, tables_bytes, plan, .. } = session;
            let (tables, plan) = (Bytes(tables_bytes), crate::facts::PlanFacts(plan));
            writeln!(
                out,
                "  memory      beside the file: {tables} of tables, and for each session"
            )?;
            Ok(writeln!(out, "              {plan} for {n_ctx} tokens, {kv} cache, one thread")?)
        }
        Err(failure) => Ok(writeln!(out, "  not a model that runs: {}", failure.message)?),
    }
}
