//! `mote convert`: a trained checkpoint becomes a GGUF file.

mod arch;
mod input;
mod keys;
mod metadata;
mod plan;
mod stream;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use mote_formats::file::{self, Existing};
use mote_formats::gguf::{BuildError, Builder, IoSink, Text};
use mote_kernels::QuantType;
use serde::Serialize;

use crate::cli::write_json;
use crate::facts::{Bytes, Count};
use crate::failure::{Code, Failure, Result, shown};
use crate::host::available_threads;
use crate::interrupt;
use crate::streams::Streams;
use input::Checkpoint;
use plan::Plan;

/// Convert a trained checkpoint to GGUF
#[derive(Args, Debug)]
#[command(after_help = "\
DIR is a checkpoint as the Hugging Face hub has it: model.safetensors or its shards, config.json
and the tokenizer's files; FILE is a safetensors file beside them. The output is what llama.cpp's
converter would write, tensor by tensor, with a checksum of each (mote verify). Nothing outside
the folder is opened, and no code of the checkpoint runs.

Matrices stay as they are stored unless --type says otherwise; vectors, norms and learned
positions are always f32. Matrices whose rows are no whole blocks of a type become f16. With a
small type every matrix gets it: mote quantize mixes them to better effect.

JSON keys: input; output; architecture; name; parameters; bytes; types: by name {tensors,
parameters, bytes}; fallbacks: matrices that became f16; seconds.

Examples:
  mote convert SmolLM2-135M-Instruct -o smollm2.gguf
  mote convert SmolLM2-135M-Instruct -o smollm2-q8_0.gguf --type q8_0")]
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
    /// Replace the output if it exists
    #[arg(long)]
    force: bool,
    /// Threads [default: the CPUs that this process may use]
    #[arg(short, long, value_name = "N")]
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
    QuantType::from_name(name).map(|kind| Wanted(Some(kind))).ok_or_else(|| {
        let names: Vec<&str> = QuantType::ALL.iter().map(|kind| kind.name()).collect();
        format!("no such type; there are auto, {}", names.join(", "))
    })
}

impl Command {
    /// Whether the result is wanted as JSON.
    pub fn json(&self) -> bool {
        self.json
    }
}

#[derive(Serialize)]
struct Report {
    input: String,
    output: String,
    architecture: &'static str,
    name: String,
    parameters: u64,
    bytes: u64,
    types: BTreeMap<&'static str, crate::facts::Total>,
    fallbacks: usize,
    seconds: f64,
}

/// Converts.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    let start = Instant::now();
    let in_input = |failure: Failure| failure.in_file(&command.input);
    input::check_output(command)?;
    let checkpoint = Checkpoint::open(&command.input).map_err(in_input)?;
    checkpoint.check_output(&command.output)?;
    let plan = checkpoint.plan(command.kind.0).map_err(in_input)?;
    let name = command.name.clone().unwrap_or_else(|| metadata::name(checkpoint.folder.path()));
    let index = index(&checkpoint, &plan, &name).map_err(in_input)?;
    let threads = available_threads(command.threads.map(NonZeroUsize::get), streams);
    let existing = if command.force { Existing::Replace } else { Existing::Keep };
    let bytes = file::write(&command.output, existing, |out| {
        write(&checkpoint, &plan, &index, threads, streams, out)
    });
    let bytes = bytes.map_err(|Stopped(failure)| failure.in_file(&command.output))?;
    let report = report(command, &plan, name, bytes, start);
    if command.json {
        return write_json(&report, streams);
    }
    print(&report, streams)
}

/// Everything before the data.
fn index(checkpoint: &Checkpoint, plan: &Plan<'_>, name: &str) -> Result<Builder> {
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
        builder.set(mote_formats::gguf::checksum::VERSION_KEY, env!("CARGO_PKG_VERSION"))?;
        builder.add_checksums()?;
        for output in &plan.outputs {
            builder.add_tensor(&output.name, &output.dims, output.kind)?;
        }
        Ok(builder)
    };
    build().map_err(|error| Failure::new(Code::Format, error))
}

/// Why the output was not written.
struct Stopped(Failure);

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Stopped(Failure::io(error))
    }
}

/// Writes the output; gives its size.
fn write(
    checkpoint: &Checkpoint,
    plan: &Plan<'_>,
    index: &Builder,
    threads: usize,
    streams: &Streams<'_>,
    out: &mut BufWriter<std::fs::File>,
) -> std::result::Result<u64, Stopped> {
    let bar = streams.bytes_progress(plan.outputs.iter().map(|output| output.bytes()).sum());
    let mut data = index.write_index(IoSink(&mut *out)).map_err(io::Error::from)?;
    for output in &plan.outputs {
        let mut sink = |bytes: &[u8]| {
            interrupt::check_io()?;
            data.write(bytes).map_err(io::Error::from)?;
            bar.inc(bytes.len() as u64);
            Ok::<(), Stopped>(())
        };
        stream::stream(&checkpoint.weights, output, plan.sizes.head_dim, threads, &mut sink)?;
    }
    let (_, checksums) = data.finish_checksums().map_err(io::Error::from)?;
    checksums.write_to(out)?;
    out.flush()?;
    bar.finish_and_clear();
    Ok(out.get_ref().metadata()?.len())
}

fn report(command: &Command, plan: &Plan<'_>, name: String, bytes: u64, start: Instant) -> Report {
    let mut types: BTreeMap<&str, crate::facts::Total> = BTreeMap::new();
    let mut parameters = 0;
    for output in &plan.outputs {
        let total = types.entry(output.kind.name()).or_default();
        total.tensors += 1;
        total.parameters += output.elements();
        total.bytes += output.bytes();
        parameters += output.elements();
    }
    Report {
        input: shown(&command.input),
        output: shown(&command.output),
        architecture: plan.mapping.name,
        name,
        parameters,
        bytes,
        types,
        fallbacks: plan.fallbacks,
        seconds: start.elapsed().as_secs_f64(),
    }
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
