//! `mote quantize`: a model in smaller encodings.

mod choose;
mod mix;
mod pattern;
mod report;
mod write;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use mote_formats::gguf::checksum::{CHECKSUMS_KEY, VERSION_KEY};
use mote_formats::gguf::{BuildError, Builder, Gguf, Sink, Tensor, Text};
use mote_kernels::QuantType;

use crate::environment;
use crate::failure::{Code, Failure, Result};
use crate::host::{available_threads, with_gguf};
use crate::importance::Importance;
use crate::output::{self, Stopped};
use crate::streams::Streams;
use choose::{Choice, Wish, choose, is_quantized};
use mix::{MIXES, Mix};
use pattern::Override;
pub use pattern::written;

/// Make a model smaller
#[derive(Args, Debug)]
#[command(after_help = "\
TYPE is an encoding or a mix of several, as llama-quantize has them, large ones first: F32, F16,
BF16, Q8_0, Q6_K, Q5_K_M, Q5_K_S, Q5_1, Q5_0, Q4_K_M, Q4_K_S, IQ4_NL, IQ4_XS, MXFP4_MOE (experts
alone, Q8_0 for the rest), Q4_1, Q4_0, Q3_K_L, Q3_K_M, Q3_K_S, Q2_K, Q2_K_S, TQ2_0, TQ1_0 (for
models that were trained with weights of -1, 0 and 1); or COPY, which only takes the file over and
adds checksums. Q4_K_M is a good start. Vectors, norms and some small matrices stay as they are.
Rows that are no multiple of 256 get the next larger encoding with blocks of 32 (Q4_K: Q5_0, Q5_K:
Q5_1, Q6_K: Q8_0, IQ4_XS: IQ4_NL, smaller ones: Q4_0), rows that are no multiple of 32 get F16.

--tensor-type is for the matrices whose whole names match PATTERN, in which * stands for any
characters and ? for one; its TYPE is an encoding; of several the first that matches counts. The
output is the same for every number of threads and on every CPU.

JSON keys: input; output, null of a dry run; type; bytes: of the input and of the output; types: by
name {tensors, parameters, bytes}; tensors: a list of {name, shape, from, to, bytes, wanted: the
encoding that does not fit its rows, or null, important: whether importance was used}; seconds.

Examples:
  mote quantize model-f16.gguf -o model-q4.gguf Q4_K_M
  mote quantize model-f16.gguf Q3_K_M --dry-run
  mote quantize model-f16.gguf -o small.gguf Q3_K_S --importance imatrix.gguf \\
      --tensor-type 'blk.*.ffn_down.weight=Q4_K' --tensor-type output.weight=Q6_K")]
pub struct Command {
    /// The model: a GGUF file
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// An encoding or a mix, as Q4_K_M or Q8_0
    #[arg(value_name = "TYPE", value_parser = kind)]
    kind: Kind,
    /// The file to write
    #[arg(short, long, value_name = "FILE", required_unless_present = "dry_run")]
    output: Option<PathBuf>,
    /// Another encoding for the matrices of some names; may be repeated
    #[arg(long, value_name = "PATTERN=TYPE", value_parser = Override::parse)]
    tensor_type: Vec<Override>,
    /// Importance of the columns, by `mote importance` or llama-imatrix
    #[arg(long, value_name = "FILE")]
    importance: Option<PathBuf>,
    /// The mix's first encoding for all matrices
    #[arg(long)]
    pure: bool,
    /// Encode what is quantised already, too: worse than from the original
    #[arg(long)]
    requantize: bool,
    /// Show what would become of each tensor, and the size; write nothing
    #[arg(long)]
    dry_run: bool,
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

/// A mix, or `None` for COPY.
#[derive(Clone, Copy, Debug)]
struct Kind(Option<&'static Mix>);

fn kind(name: &str) -> std::result::Result<Kind, String> {
    if name.eq_ignore_ascii_case("COPY") {
        return Ok(Kind(None));
    }
    Mix::by_name(name).map(|mix| Kind(Some(mix))).ok_or_else(|| {
        if QuantType::from_name(name).is_some_and(|kind| !kind.is_written()) {
            return written(name).err().unwrap_or_default();
        }
        let names: Vec<&str> = MIXES.iter().map(|mix| mix.name).collect();
        format!("no such type; there are {}, COPY", names.join(", "))
    })
}

impl Command {
    /// Whether the result is wanted as JSON.
    pub fn json(&self) -> bool {
        self.json
    }
}

/// Keys that are not taken over: they are set anew, or say what is no longer true.
const LEFT_OUT: &[&str] = &["general.quantization_version", CHECKSUMS_KEY, VERSION_KEY];
/// The same where tensors may change.
const LEFT_OUT_UNLESS_COPIED: &[&str] = &[
    FILE_TYPE,
    "quantize.imatrix.file",
    "quantize.imatrix.dataset",
    "quantize.imatrix.entries_count",
    "quantize.imatrix.chunks_count",
];
const FILE_TYPE: &str = "general.file_type";

/// One tensor's way.
struct Item<'a> {
    tensor: Tensor<'a>,
    choice: Choice,
    importance: Option<&'a [f32]>,
}

impl Item<'_> {
    fn changes(&self) -> bool {
        self.choice.kind != self.tensor.tensor_type()
    }
}

/// Quantises.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    let start = Instant::now();
    let changes = command.pure || command.requantize || command.importance.is_some();
    if command.kind.0.is_none() && (changes || !command.tensor_type.is_empty()) {
        let sentence = "COPY leaves every tensor as it is: no --tensor-type, --importance, --pure \
                        or --requantize";
        return Err(Failure::new(Code::Usage, sentence));
    }
    let importance = command.importance.as_deref().map(Importance::read).transpose()?;
    with_gguf(&command.input, |gguf| {
        let in_input = |failure: Failure| failure.in_file(&command.input);
        let items = plan(command, gguf, importance.as_ref()).map_err(in_input)?;
        let index = index(command, gguf, &items, importance.as_ref()).map_err(in_input)?;
        notes(command, &items, streams);
        let bytes = size(&index, &items, gguf.alignment())?;
        if let (false, Some(output)) = (command.dry_run, &command.output) {
            let threads = available_threads(command.threads.map(NonZeroUsize::get), streams);
            let existing = output::existing(command.force);
            output::write_gguf(output, existing, &index, bytes, streams, |sink| {
                let mut sink = |bytes: &[u8]| sink(bytes).map_err(|Stopped(failure)| failure);
                items.iter().try_for_each(|item| item.write(threads, &mut sink)).map_err(Stopped)
            })?;
        }
        report::print(command, gguf, &items, bytes, start.elapsed(), streams)
    })
}

/// What becomes of each tensor, in the order of the file.
fn plan<'a>(
    command: &Command,
    gguf: &Gguf<'a>,
    importance: Option<&'a Importance>,
) -> Result<Vec<Item<'a>>> {
    let wish = Wish { mix: command.kind.0, pure: command.pure, overrides: &command.tensor_type };
    let choices = choose(gguf, &wish, importance.is_some());
    let items = gguf.tensors().zip(choices).map(|(tensor, choice)| {
        let important = importance.filter(|_| is_quantized(&tensor));
        let importance = match important {
            Some(importance) => importance.of(&tensor)?,
            None => None,
        };
        let item = Item { tensor, choice, importance };
        if item.changes() {
            let name = Text::from(tensor.name());
            let Ok(kind) = tensor.kind() else {
                let kind = tensor.tensor_type().name();
                let message =
                    format!("{name} is {kind}, which mote cannot decode: start from the original");
                return Err(Failure::new(Code::Model, message));
            };
            if kind.integer().is_some() && !command.requantize {
                let message = format!(
                    "{name} is quantised already ({}); made from it, the output would have the \
                     errors of both: start from the original, or give --requantize",
                    kind.name()
                );
                return Err(Failure::new(Code::Usage, message));
            }
        }
        Ok(item)
    });
    items.collect()
}

/// Everything before the data.
fn index(
    command: &Command,
    gguf: &Gguf<'_>,
    items: &[Item<'_>],
    importance: Option<&Importance>,
) -> Result<Builder> {
    let build = || -> std::result::Result<Builder, BuildError> {
        let mut builder = Builder::new();
        let mix = command.kind.0;
        for (key, value) in gguf.metadata() {
            let stays = !LEFT_OUT.contains(&key)
                && (mix.is_none() || !LEFT_OUT_UNLESS_COPIED.contains(&key));
            if stays {
                builder.set(key, value)?;
            }
        }
        builder.set("general.quantization_version", 2_u32)?;
        if let Some(mix) = mix {
            builder.set(FILE_TYPE, mix.file_type)?;
        }
        if let (Some(importance), Some(path)) = (importance, &command.importance) {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            builder.set("quantize.imatrix.file", &*file)?;
            if let Some(text) = importance.texts().first() {
                builder.set("quantize.imatrix.dataset", text.as_str())?;
            }
            builder.set("quantize.imatrix.entries_count", importance.len() as u32)?;
            builder.set("quantize.imatrix.chunks_count", importance.chunks())?;
        }
        builder.set(VERSION_KEY, env!("CARGO_PKG_VERSION"))?;
        builder.add_checksums()?;
        for item in items {
            builder.add_tensor(item.tensor.name(), item.tensor.dims(), item.choice.kind)?;
        }
        Ok(builder)
    };
    build().map_err(|error| Failure::new(Code::Format, error))
}

/// The file's bytes, without writing them.
fn size(index: &Builder, items: &[Item<'_>], alignment: u32) -> Result<u64> {
    let mut counter = Counter(0);
    index.write_index(&mut counter).map_err(|error| Failure::new(Code::Format, error))?;
    let padded = |item: &Item<'_>| item.bytes().next_multiple_of(u64::from(alignment));
    Ok(counter.0 + items.iter().map(padded).sum::<u64>())
}

impl Item<'_> {
    fn write(&self, threads: usize, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let kinds = self.tensor.kind().ok().zip(self.choice.kind.quant_type());
        match kinds.filter(|_| self.changes()) {
            Some((from, to)) => {
                let importance = self.importance;
                let job = write::Job { tensor: &self.tensor, from, to, importance };
                job.run(threads, sink)
            }
            None => write::copy(&self.tensor, sink),
        }
    }

    /// Of the output.
    fn bytes(&self) -> u64 {
        let kind = self.choice.kind;
        self.tensor.n_elements() / u64::from(kind.block_len()) * u64::from(kind.block_bytes())
    }
}

/// Takes bytes and counts them.
struct Counter(u64);

impl Sink for Counter {
    type Error = std::convert::Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> std::result::Result<(), Self::Error> {
        self.0 += bytes.len() as u64;
        Ok(())
    }
}

/// What is worth knowing before.
fn notes(command: &Command, items: &[Item<'_>], streams: &mut Streams<'_>) {
    let fallbacks = items.iter().filter(|item| item.choice.wanted.is_some()).count();
    if fallbacks > 0 {
        let sentence = "matrices get a larger encoding, because their rows are no whole blocks";
        streams.note(format_args!("{fallbacks} {sentence}"));
    }
    for asked in &command.tensor_type {
        let is_used =
            |item: &Item<'_>| is_quantized(&item.tensor) && asked.matches(item.tensor.name());
        if !items.iter().any(is_used) {
            let pattern = Text::from(asked.pattern());
            streams.note(format_args!("--tensor-type: no matrix has a name like {pattern}"));
        }
    }
    if command.importance.is_some() {
        let lacks = |item: &&Item<'_>| is_quantized(&item.tensor) && item.importance.is_none();
        let names: Vec<String> = items
            .iter()
            .filter(lacks)
            .map(|item| Text::from(item.tensor.name()).to_string())
            .collect();
        match names.as_slice() {
            [] => {}
            [name] => streams.note(format_args!("there is no importance of {name}")),
            [name, rest @ ..] => {
                let n = rest.len();
                streams.note(format_args!("there is no importance of {name} and {n} others"));
            }
        }
    }
}
