//! `mote convert`: a trained checkpoint becomes a GGUF file.

mod arch;
mod input;
mod join;
mod keys;
mod llama2c;
mod metadata;
mod plan;
mod pooling;
mod stream;
mod tokenizer;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use mote_formats::gguf::{BuildError, Builder, Text};
use mote_formats::hf::tokenizer::Tokenizer;
use mote_kernels::QuantType;
use mote_runtime::tokenizer::pre_tokenizers;
use serde::Serialize;

use crate::cli::write_json;
use crate::environment;
use crate::facts::{Bytes, Count};
use crate::failure::{Code, Failure, Result, shown};
use crate::host::{available_threads, unknown_rules};
use crate::output;
use crate::quantize::written;
use crate::streams::Streams;
use input::Checkpoint;
use plan::Plan;

/// Convert a trained checkpoint to GGUF
#[derive(Args, Debug)]
#[command(after_help = "\
DIR is a checkpoint as the Hugging Face hub has it: model.safetensors or its shards, config.json
and the tokenizer's files; FILE is a safetensors file beside them. The output is what llama.cpp's
converter would write, tensor by tensor, where it knows the architecture, with a checksum of each
(mote verify). A torch module's weights are a checkpoint, too, beside the config.json of FORMATS.md.
Nothing outside the folder is opened, and no code of the checkpoint runs.

FILE may also be a checkpoint of llama2.c (model.bin, with --tokenizer tokenizer.bin), or one of the
files of a split GGUF (NAME-00001-of-00003.gguf): all of them are joined, as they are.

Matrices stay as they are stored unless --type says otherwise (8-bit checkpoints of llama2.c become
f32); vectors, norms and learned
positions are always f32. Matrices whose rows are no whole blocks of a type become f16. With a
small type every matrix gets it: mote quantize mixes them to better effect.

JSON keys: input; output; architecture; name; parameters; bytes; types: by name {tensors,
parameters, bytes}; fallbacks: matrices that became f16; seconds.

Examples:
  mote convert SmolLM2-135M-Instruct -o smollm2.gguf
  mote convert SmolLM2-135M-Instruct -o smollm2-q8_0.gguf --type q8_0
  mote convert stories15M.bin --tokenizer tokenizer.bin -o stories15m.gguf
  mote convert large-00001-of-00003.gguf -o large.gguf")]
pub struct Command {
    /// The checkpoint
    #[arg(value_name = "DIR|FILE")]
    input: PathBuf,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// How matrices are stored: f32, f16, bf16, q8_0, q4_k, ...; auto: as in the checkpoint
    #[arg(long = "type", value_name = "TYPE", default_value = "auto", value_parser = wanted)]
    kind: Wanted,
    /// What the model is called [default: after the folder]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What the rules that cut texts into words are called, where they are not recognised
    /// (tokenizer.ggml.pre: llama-bpe, qwen2, ...)
    #[arg(long, value_name = "NAME")]
    pre: Option<String>,
    /// The vocabulary of a checkpoint of llama2.c: its tokenizer.bin
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// Replace the output if it exists
    #[arg(long)]
    force: bool,
    /// Threads [default: the CPUs that this process may use]
    #[arg(short, long, value_name = "N", env = environment::THREADS, hide_env_values = true)]
    threads: Option<NonZeroUsize>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A type, or `None` for the checkpoint's own.
#[derive(Clone, Copy, Debug)]
struct Wanted(Option<QuantType>);

fn wanted(name: &str) -> std::result::Result<Wanted, String> {
    if name == "auto" {
        return Ok(Wanted(None));
    }
    let kind = written(name);
    kind.map(|kind| Wanted(Some(kind))).map_err(|why| format!("{why} (auto; mixes: mote quantize)"))
}

impl Command {
    /// Whether the result is wanted as JSON.
    pub fn json(&self) -> bool {
        self.json
    }

    /// Of what has its rules already.
    fn refuse_pre(&self) -> Result<()> {
        let sentence = "--pre is for checkpoints of Hugging Face";
        self.pre.is_none().then_some(()).ok_or_else(|| Failure::new(Code::Usage, sentence))
    }
}

#[derive(Serialize)]
struct Report {
    input: String,
    output: String,
    architecture: String,
    name: String,
    parameters: u64,
    bytes: u64,
    types: BTreeMap<&'static str, crate::facts::Total>,
    fallbacks: usize,
    seconds: f64,
}

/// Converts.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    if let Some(vocabulary) = &command.tokenizer {
        command.refuse_pre()?;
        return llama2c::execute(command, vocabulary, streams);
    }
    if join::is_part(&command.input) {
        command.refuse_pre()?;
        return join::execute(command, streams);
    }
    let start = Instant::now();
    let in_input = |failure: Failure| failure.in_file(&command.input);
    input::check_output(command)?;
    let checkpoint = Checkpoint::open(&command.input).map_err(in_input)?;
    checkpoint.check_output(&command.output)?;
    let plan = checkpoint.plan(command.kind.0).map_err(in_input)?;
    if plan.left_out > 0 && !command.json {
        let n = plan.left_out;
        let parts = "images, heads for other tasks, layers that guess further tokens";
        streams.note(format_args!("{n} tensors are left out: parts that are not run ({parts})"));
    }
    let name = command.name.clone().unwrap_or_else(|| metadata::name(checkpoint.folder.path()));
    let tokenizer = checkpoint.tokenizer(plan.sizes.n_vocab, command.pre.as_deref());
    let tokenizer = tokenizer.map_err(in_input)?;
    if let Some(pre) = &command.pre {
        check_rules(pre, &tokenizer)?;
    }
    let index = index(&checkpoint, &plan, &tokenizer, &name).map_err(in_input)?;
    let threads = available_threads(command.threads.map(NonZeroUsize::get), streams);
    let outputs = || plan.outputs.iter();
    let data_bytes = outputs().map(|output| output.bytes()).sum();
    let existing = output::existing(command.force);
    let bytes =
        output::write_gguf(&command.output, existing, &index, data_bytes, streams, |sink| {
            outputs().try_for_each(|output| {
                stream::stream(&checkpoint.weights, output, &plan.sizes, threads, sink)
            })
        })?;
    let tensors = outputs().map(|it| (it.kind.name(), it.elements(), it.bytes()));
    let names = (plan.mapping.name.into(), name);
    finish(command, names, tensors, (bytes, plan.fallbacks), start, streams)
}

/// Refuses a name of rules for words that no runtime of this version knows, or that the vocabulary has
/// no place for.
fn check_rules(name: &str, tokenizer: &Tokenizer) -> Result<()> {
    let known = pre_tokenizers().flatten().any(|known| *known == name);
    if known && tokenizer.has_word_rules() { Ok(()) } else { Err(unknown_rules(name)) }
}

/// Everything before the data.
fn index(
    checkpoint: &Checkpoint,
    plan: &Plan<'_>,
    tokenizer: &Tokenizer,
    name: &str,
) -> Result<Builder> {
    let build = || -> std::result::Result<Builder, BuildError> {
        let mut builder = Builder::new();
        builder.set("general.architecture", plan.mapping.name)?;
        builder.set("general.type", "model")?;
        if let Some(config) = &checkpoint.generation_config {
            metadata::sampling(config, &mut builder)?;
        }
        builder.set("general.name", name)?;
        let parameters = plan.outputs.iter().map(|output| output.elements()).sum();
        builder.set("general.size_label", &*metadata::size_label(parameters))?;
        // What most matrices are is what the first of them is.
        let matrix = plan.outputs.iter().find(|output| output.dims.len() > 1);
        plan.keys.write(&mut builder, matrix.and_then(|first| metadata::file_type(first.kind)))?;
        builder.set("general.quantization_version", 2_u32)?;
        tokenizer.write(&mut builder)?;
        builder.set(mote_formats::gguf::checksum::VERSION_KEY, env!("CARGO_PKG_VERSION"))?;
        builder.add_checksums()?;
        for output in &plan.outputs {
            builder.add_tensor(&output.name, &output.dims, output.kind)?;
        }
        Ok(builder)
    };
    build().map_err(|error| Failure::new(Code::Format, error))
}

/// Tells what was written: the architecture's and the model's names; the type, elements and bytes of
/// each tensor; the file's bytes, and how many matrices became f16.
fn finish(
    command: &Command,
    (architecture, name): (String, String),
    tensors: impl Iterator<Item = (&'static str, u64, u64)>,
    (bytes, fallbacks): (u64, usize),
    start: Instant,
    streams: &mut Streams<'_>,
) -> Result<()> {
    let mut types: BTreeMap<&str, crate::facts::Total> = BTreeMap::new();
    let mut parameters = 0;
    for (kind, elements, bytes) in tensors {
        let total = types.entry(kind).or_default();
        total.tensors += 1;
        total.parameters += elements;
        total.bytes += bytes;
        parameters += elements;
    }
    let report = Report {
        input: shown(&command.input),
        output: shown(&command.output),
        architecture,
        name,
        parameters,
        bytes,
        types,
        fallbacks,
        seconds: start.elapsed().as_secs_f64(),
    };
    if command.json { write_json(&report, streams) } else { print(&report, streams) }
}

fn print(report: &Report, streams: &mut Streams<'_>) -> Result<()> {
    if report.fallbacks > 0 {
        let n = report.fallbacks;
        let sentence = "matrices are stored as f16, because their rows are no whole blocks";
        streams.note(format_args!("{n} {sentence}"));
    }
    let Report { output, architecture, name, parameters, bytes, seconds, .. } = report;
    let out = &mut *streams.output;
    let (parameters, size, name) = (Count(*parameters), Bytes(*bytes), Text::from(&**name));
    writeln!(out, "{output}: {name} ({architecture}), {parameters}, {size}, {seconds:.1} s")?;
    for (name, total) in &report.types {
        let (tensors, parameters) = (total.tensors, Count(total.parameters));
        writeln!(out, "  {name:<8} {tensors:>6} tensors, {parameters}, {}", Bytes(total.bytes))?;
    }
    Ok(())
}
