//! `mote ngram convert`: from ARPA text to the trie of a GGUF file, and back.

mod checks;
mod from_arpa;
mod table;
mod to_arpa;
mod to_gguf;
mod vocabulary;

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use flate2::Compression;
use flate2::write::GzEncoder;
use mote_formats::gguf::{Gguf, Text};
use mote_formats::ngram::{Trie, write_indexed};
use serde::Serialize;

use crate::cli::write_json;
use crate::facts::Bytes;
use crate::failure::{Code, Failure, Result, shown};
use crate::host::with_gguf;
use crate::output;
use crate::streams::Streams;
use from_arpa::Model;
use vocabulary::{Tokens, Units};

/// Convert an n-gram model: ARPA text to GGUF, or back
#[derive(Args, Debug)]
#[command(after_help = "\
ARPA text (of KenLM, SRILM and others; packed by gzip or not) becomes a GGUF file that mote
maps and asks directly; a GGUF file of an n-gram model becomes ARPA text, packed if the
output's name ends in .gz. With --value-bits 32 nothing is lost on the way.

n-grams whose first or last n-1 words are not in the text are given these, with what the model
says of them anyway. With --index a GGUF file is written again, with a hash index beside the trie:
about four times as large, and asked in half the time. A text without <unk>, <s> or </s> is given
those with probability 0. For models over bytes or token ids the text has these in decimal, and
what it says of <unk> is shared by the ids that it does not have.

JSON keys: input; output; order; counts: n-grams of each length; inserted: n-grams that were
missing; bytes; bytes_per_n_gram; value_bits, null for text; index: whether the file has one;
notes: a list of sentences.

Examples:
  mote ngram convert lm.arpa.gz -o lm.gguf
  mote ngram convert ids.arpa --tokenizer model.gguf --value-bits 4 -o lm.gguf
  mote ngram convert lm.gguf -o lm.arpa
  mote ngram convert lm.gguf --index -o fast.gguf")]
pub struct Command {
    /// The model: ARPA text or GGUF
    #[arg(value_name = "FILE")]
    input: PathBuf,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace the output if it exists
    #[arg(long)]
    force: bool,
    /// Bits of a probability or backoff in the GGUF file: 1 to 8, or 32 for exact values
    #[arg(long, value_name = "N", default_value = "8", value_parser = value_bits)]
    value_bits: u32,
    /// What the text's words are: words, or numbers of bytes or tokens
    #[arg(long, value_name = "UNITS", value_enum)]
    units: Option<UnitName>,
    /// The vocabulary of token ids: a GGUF file, whose vocabulary is copied
    #[arg(long, value_name = "FILE", required_if_eq("units", "ids"))]
    tokenizer: Option<PathBuf>,
    /// Write a GGUF file with a hash index
    #[arg(long)]
    index: bool,
    /// Take -inf, which lmplz --interpolate_unigrams 0 writes, for a probability of 0
    #[arg(long)]
    accept_inf: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum UnitName {
    Words,
    Bytes,
    Ids,
}

fn value_bits(text: &str) -> std::result::Result<u32, &'static str> {
    let bits = text.parse().ok().filter(|bits| matches!(bits, 1..=8 | 32));
    bits.ok_or("1 to 8, or 32")
}

#[derive(Serialize)]
struct Report {
    input: String,
    output: String,
    order: usize,
    counts: Vec<u64>,
    inserted: u64,
    bytes: u64,
    bytes_per_n_gram: f64,
    value_bits: Option<u32>,
    index: bool,
    notes: Vec<String>,
}

/// Converts.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    let input = &command.input;
    let unreadable = |error: io::Error| Failure::io(error).in_file(input);
    // A pipe cannot be looked at without reading it.
    let is_file = fs::metadata(input).map_err(unreadable)?.is_file();
    let is_gguf = is_file && from_arpa::starts_with(input, b"GGUF").map_err(unreadable)?;
    let mut report = if is_gguf {
        with_gguf(input, |gguf| match command.index {
            true => index_gguf(command, gguf),
            false => write_arpa(command, gguf, streams),
        })?
    } else {
        command.with_units(|units| write_gguf(command, units, streams))?
    };
    let written = fs::metadata(&command.output);
    report.bytes = written.map_err(|error| Failure::io(error).in_file(&command.output))?.len();
    let n_grams: u64 = report.counts.iter().sum();
    report.bytes_per_n_gram = report.bytes as f64 / n_grams.max(1) as f64;
    report.notes.iter().for_each(|note| streams.note(note));
    if command.json {
        return write_json(&report, streams);
    }
    let (counts, bytes) = (&report.counts, Bytes(report.bytes));
    let counts: Vec<String> = counts.iter().map(u64::to_string).collect();
    streams.fact("n-grams", format_args!("{n_grams} ({})", counts.join(", ")));
    let per = report.bytes_per_n_gram;
    let output = &report.output;
    streams.fact("file", format_args!("{output}: {bytes}, {per:.2} bytes an n-gram"));
    Ok(())
}

impl Command {
    fn with_units<R>(&self, work: impl FnOnce(&Units<'_>) -> Result<R>) -> Result<R> {
        match (&self.tokenizer, self.units) {
            (Some(path), None | Some(UnitName::Ids)) => with_gguf(path, |gguf| {
                let tokens = Tokens::new(gguf).map_err(|failure| failure.in_file(path))?;
                work(&Units::Ids(&tokens))
            }),
            (Some(_), Some(_)) => {
                let sentence = "--tokenizer: only for token ids (--units ids)";
                Err(Failure::new(Code::Usage, sentence))
            }
            (None, Some(UnitName::Bytes)) => work(&Units::Bytes),
            (None, _) => work(&Units::Words),
        }
    }

    /// Writes the output by `fill`; nothing stands under its name before that is done.
    fn write(&self, fill: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
        output::write(&self.output, output::existing(self.force), fill)
    }

    /// An output that is in the way is found before any work.
    fn check_output(&self) -> Result<()> {
        output::check_absent(&self.output, self.force)
    }

    fn report(&self, counts: Vec<u64>) -> Report {
        Report {
            input: shown(&self.input),
            output: shown(&self.output),
            order: counts.len(),
            counts,
            inserted: 0,
            bytes: 0,
            bytes_per_n_gram: 0.0,
            value_bits: None,
            index: self.index,
            notes: Vec::new(),
        }
    }
}

fn write_gguf(command: &Command, units: &Units<'_>, streams: &mut Streams<'_>) -> Result<Report> {
    command.check_output()?;
    let model = from_arpa::read(&command.input, units, command.accept_inf, streams)?;
    let table = &model.table;
    let counts = (1..=table.order()).map(|length| table.level(length).nodes.len() as u64);
    let mut report = command.report(counts.collect());
    report.value_bits = Some(command.value_bits);
    report.inserted = table.inserted();
    report.notes = model.notes();
    if !command.index {
        command.write(|out| model.write(units, command.value_bits, out))?;
        return Ok(report);
    }
    let mut file = Vec::new();
    model.write(units, command.value_bits, &mut file)?;
    drop(model);
    let gguf = Gguf::parse(&file)?;
    let trie = Trie::new(&gguf).map_err(|error| Failure::new(Code::Model, error))?;
    command.write(|out| Ok(write_indexed(&trie, out)?))?;
    Ok(report)
}

fn index_gguf(command: &Command, gguf: &Gguf<'_>) -> Result<Report> {
    command.check_output()?;
    let refused = |error| Failure::new(Code::Model, error).in_file(&command.input);
    let trie = Trie::new(gguf).map_err(refused)?;
    trie.verify().map_err(refused)?;
    command.write(|out| Ok(write_indexed(&trie, out)?))?;
    let counts = (1..=trie.order()).map(|length| trie.n_grams(length) as u64);
    let mut report = command.report(counts.collect());
    report.value_bits = Some(trie.value_bits());
    Ok(report)
}

/// Reads the ARPA text of a model of words and writes it as GGUF, with values of `value_bits` (1 to 8,
/// or 32). What the command does, between any places.
pub fn text_to_gguf(text: impl BufRead, value_bits: u32, out: &mut dyn Write) -> Result<()> {
    from_arpa::read_text(text, &Units::Words, false)?.write(&Units::Words, value_bits, out)
}

impl Model {
    fn write(&self, units: &Units<'_>, value_bits: u32, mut out: &mut dyn Write) -> Result<()> {
        let builder = self.vocabulary.describe(units);
        let builder = builder.map_err(|error| Failure::new(Code::Format, error))?;
        Ok(to_gguf::write(&self.table, builder, value_bits, &mut out)?)
    }

    /// What somebody may want to know of the model.
    fn notes(&self) -> Vec<String> {
        let Model { vocabulary, table, bounded } = self;
        let mut notes = vocabulary.notes.clone();
        let inserted = table.inserted();
        if inserted > 0 {
            notes.push(format!("n-grams inserted, as first or last words of others: {inserted}"));
        }
        if *bounded > 0 {
            notes.push(format!("values beyond -99 or 99, set to these: {bounded}"));
        }
        let checks::Excess { contexts, sum, words } = checks::excess(table);
        if contexts > 0 {
            let words = vocabulary.spell(&words);
            let words = Text::from(&words[..]);
            let what = "contexts whose probabilities sum to more than 1";
            notes.push(format!("{what}: {contexts}; after '{words}' to {sum:.3}"));
        }
        notes
    }
}

fn write_arpa(command: &Command, gguf: &Gguf<'_>, streams: &mut Streams<'_>) -> Result<Report> {
    command.check_output()?;
    let refused = |failure: Failure| failure.in_file(&command.input);
    let trie = Trie::new(gguf).map_err(|error| refused(Failure::new(Code::Model, error)))?;
    let text = to_arpa::Text::new(&trie).map_err(refused)?;
    let bar = streams.steps("writing", text.counts().iter().skip(1).sum());
    command.write(|mut out| {
        if !is_gz(&command.output) {
            return text.write(&mut out, &bar);
        }
        let mut packed = GzEncoder::new(out, Compression::default());
        text.write(&mut packed, &bar)?;
        packed.finish()?;
        Ok(())
    })?;
    bar.finish_and_clear();
    Ok(command.report(text.counts()))
}

fn is_gz(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == OsStr::new("gz"))
}
