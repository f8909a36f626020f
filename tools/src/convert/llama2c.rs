//! Checkpoints of llama2.c, whose vocabulary is a file of its own.

use std::path::Path;
use std::time::Instant;

use mote_formats::Mapping;
use mote_formats::gguf::{BuildError, Builder, checksum};
use mote_formats::hf::tokenizer::{self, Tokenizer};
use mote_formats::llama2c::{Checkpoint, CheckpointError, Tensor};
use mote_kernels::QuantType;

use super::{Command, finish, input, metadata};
use crate::failure::{Code, Failure, Result};
use crate::output::{self, Stopped, TensorSink};
use crate::source;
use crate::streams::Streams;

/// Elements of a piece, about: 4 MB of f32.
const PIECE: usize = 1 << 20;

/// A tensor of the output.
struct Output<'a> {
    tensor: &'a Tensor<'a>,
    kind: QuantType,
}

/// Converts a checkpoint with the vocabulary in the file `vocabulary`.
pub fn execute(command: &Command, vocabulary: &Path, streams: &mut Streams<'_>) -> Result<()> {
    let start = Instant::now();
    input::check_output(command)?;
    for input in [command.input.as_path(), vocabulary] {
        check_other_file(input, &command.output)?;
    }
    let file = source::map(&command.input)?;
    let in_input = |failure: Failure| failure.in_file(&command.input);
    let checkpoint = Checkpoint::parse(&file).map_err(|error| in_input(error.into()))?;
    let tokenizer =
        tokenizer::read_llama2c(&source::map(vocabulary)?, checkpoint.sizes.vocab as usize);
    let tokenizer = tokenizer.map_err(|error| Failure::from(error).in_file(vocabulary))?;
    let (outputs, fallbacks) = outputs(&checkpoint, command.kind.0.unwrap_or(QuantType::F32));
    let name = command.name.clone().unwrap_or_else(|| {
        metadata::name(Path::new(command.input.file_stem().unwrap_or_default()))
    });
    let index = index(&checkpoint, &outputs, &tokenizer, &name);
    let index = index.map_err(|error| in_input(Failure::new(Code::Format, error)))?;
    let data_bytes = outputs.iter().map(Output::bytes).sum();
    let existing = output::existing(command.force);
    let bytes =
        output::write_gguf(&command.output, existing, &index, data_bytes, streams, |sink| {
            outputs.iter().try_for_each(|output| output.write(sink))
        })?;
    let tensors = outputs.iter().map(|it| (it.kind.name(), it.tensor.elements(), it.bytes()));
    finish(command, ("llama".into(), name), tensors, (bytes, fallbacks), start, streams)
}

/// A checkpoint for which no vocabulary is named. What the header says must be the file's size.
pub fn check_vocabulary(path: &Path) -> Result<()> {
    let is_checkpoint = || Mapping::open(path).is_ok_and(|file| Checkpoint::parse(&file).is_ok());
    if !path.is_file() || !is_checkpoint() {
        return Ok(());
    }
    let sentence = "is a checkpoint of llama2.c; --tokenizer FILE names its vocabulary, \
                    tokenizer.bin";
    Err(Failure::new(Code::Usage, sentence))
}

/// What is read is not overwritten, whatever --force says.
pub fn check_other_file(input: &Path, output: &Path) -> Result<()> {
    let (Ok(from), Ok(to)) = (input.canonicalize(), output.canonicalize()) else { return Ok(()) };
    if from != to {
        return Ok(());
    }
    let sentence = "is what is converted; write to another file";
    Err(Failure::new(Code::Usage, sentence).in_file(output))
}

/// The output's tensors, and how many of them are f16 because their rows are no whole blocks.
fn outputs<'a>(checkpoint: &'a Checkpoint<'a>, wanted: QuantType) -> (Vec<Output<'a>>, usize) {
    let mut fallbacks = 0;
    let outputs = checkpoint.tensors.iter().map(|tensor| {
        let row = tensor.dims.first().copied().unwrap_or(1);
        let kind = if tensor.dims.len() == 1 {
            QuantType::F32
        } else if row.is_multiple_of(wanted.block_len() as u64) {
            wanted
        } else {
            fallbacks += 1;
            QuantType::F16
        };
        Output { tensor, kind }
    });
    (outputs.collect(), fallbacks)
}

/// Everything before the data.
fn index(
    checkpoint: &Checkpoint<'_>,
    outputs: &[Output<'_>],
    tokenizer: &Tokenizer,
    name: &str,
) -> std::result::Result<Builder, BuildError> {
    let sizes = &checkpoint.sizes;
    let mut file = Builder::new();
    file.set("general.architecture", "llama")?;
    file.set("general.type", "model")?;
    file.set("general.name", name)?;
    let parameters = outputs.iter().map(|output| output.tensor.elements()).sum();
    file.set("general.size_label", &*metadata::size_label(parameters))?;
    for (key, value) in [
        ("block_count", sizes.layers),
        ("context_length", sizes.context),
        ("embedding_length", sizes.dim),
        ("feed_forward_length", sizes.hidden),
        ("attention.head_count", sizes.heads),
        ("attention.head_count_kv", sizes.kv_heads),
        ("vocab_size", sizes.vocab),
        ("rope.dimension_count", sizes.head_dim()),
    ] {
        // The header has no number of more than 32 bits.
        file.set(&format!("llama.{key}"), value as u32)?;
    }
    // Constants of the program.
    file.set("llama.rope.freq_base", 10_000.0_f32)?;
    file.set("llama.attention.layer_norm_rms_epsilon", 1e-5_f32)?;
    let matrix = outputs.iter().find(|output| output.tensor.dims.len() > 1);
    if let Some(number) = matrix.and_then(|first| metadata::file_type(first.kind)) {
        file.set("general.file_type", number)?;
    }
    file.set("general.quantization_version", 2_u32)?;
    tokenizer.write(&mut file)?;
    file.set(checksum::VERSION_KEY, env!("CARGO_PKG_VERSION"))?;
    file.add_checksums()?;
    for Output { tensor, kind } in outputs {
        file.add_tensor(&tensor.name, &tensor.dims, *kind)?;
    }
    Ok(file)
}

impl Output<'_> {
    /// Bytes in the output.
    fn bytes(&self) -> u64 {
        let (block, bytes) = (self.kind.block_len() as u64, self.kind.block_bytes() as u64);
        self.tensor.elements() / block * bytes
    }

    fn write(&self, sink: &mut TensorSink<'_>) -> std::result::Result<(), Stopped> {
        let (mut values, mut encoded) = (Vec::new(), Vec::new());
        let elements = self.tensor.elements() as usize;
        let row = self.tensor.dims.first().map_or(1, |&row| row as usize);
        let piece = (PIECE / row).max(1) * row;
        for first in (0..elements).step_by(piece) {
            let len = piece.min(elements - first);
            values.resize(len, 0.0);
            self.tensor.decode(first, &mut values);
            encoded.resize(len / self.kind.block_len() * self.kind.block_bytes(), 0);
            self.kind.encode(&values, &mut encoded);
            sink(&encoded)?;
        }
        Ok(())
    }
}

impl From<CheckpointError> for Failure {
    fn from(error: CheckpointError) -> Self {
        let code = match error {
            CheckpointError::Version(_) => Code::Model,
            _ => Code::Format,
        };
        Failure::new(code, error)
    }
}
