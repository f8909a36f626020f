//! Models of random weights: any size and type can be measured without a download, by mote and by
//! whoever else reads GGUF files. The same recipe makes the same bytes everywhere.

mod random;
mod shape;
mod types;
mod vocabulary;

use std::fmt;
use std::io::{self, Write};

use mote_formats::gguf::{Builder, DataWriter, Gguf, IoSink, Sink};

use random::{Pool, Random};
pub use shape::Shape;
use shape::Tensor;
use types::Role;
pub use types::Types;

/// The key whose value is the recipe by which a file was made.
const KEY: &str = "mote.synthetic";
/// To be raised when the same shape, types and seed give other bytes.
const VERSION: u32 = 2;

/// Positions that the model says it is for.
const CONTEXT: u32 = 8192;
/// Bytes of weights that are made before they are written.
const BUFFER: usize = 1 << 18;

/// What determines a model, byte for byte.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// How large.
    pub shape: Shape,
    /// In which encodings.
    pub types: Types,
    /// Which of the many.
    pub seed: u64,
}

impl fmt::Display for Recipe {
    /// Also the value of the file's key: not to be changed without `VERSION`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, seed {}", self.shape.name(), self.types.name(), self.seed)
    }
}

impl Recipe {
    /// Whether a file says that it was made by this recipe.
    pub fn made(&self, gguf: &Gguf<'_>) -> bool {
        let value = gguf.get(KEY).and_then(|value| value.as_str());
        value == Some(self.key_value().as_str())
    }

    /// Bytes of the weights.
    pub fn bytes(&self) -> u64 {
        self.tensors().iter().map(Tensor::bytes).sum()
    }

    /// Writes the file; memory for some blocks is all that it needs. `progress` hears of every
    /// portion of weights how many bytes it has.
    pub fn write(&self, out: impl Write, progress: impl Fn(u64)) -> io::Result<()> {
        let tensors = self.tensors();
        let builder = self.index(&tensors).map_err(io::Error::other)?;
        let mut writer = builder.write_index(IoSink(out))?;
        let seed = Random::new(self.seed);
        let mut pools: Vec<Pool> = Vec::new();
        for (number, tensor) in tensors.iter().enumerate() {
            if tensor.role == Role::Norm {
                let ones: Vec<u8> = (0..tensor.row).flat_map(|_| 1_f32.to_le_bytes()).collect();
                writer.write(&ones)?;
                progress(ones.len() as u64);
                continue;
            }
            let is_its = |pool: &Pool| (pool.kind, pool.row) == (tensor.kind, tensor.row);
            let known = pools.iter().position(is_its).unwrap_or_else(|| {
                pools.push(Pool::new(tensor.kind, tensor.row, seed));
                pools.len() - 1
            });
            // Pools have branches of `seed` at small numbers.
            let random = seed.branch(u64::MAX - number as u64);
            write_matrix(&mut writer, &pools[known], random, tensor.bytes(), &progress)?;
        }
        writer.finish()?.0.flush()
    }

    fn tensors(&self) -> Vec<Tensor> {
        self.shape.dimensions().tensors(self.types)
    }

    fn key_value(&self) -> String {
        format!("{self}, version {VERSION}")
    }

    fn index(&self, tensors: &[Tensor]) -> Result<Builder, mote_formats::gguf::BuildError> {
        let size = self.shape.dimensions();
        let mut builder = Builder::new();
        builder.set("general.architecture", "llama")?;
        builder.set("general.name", format!("synthetic {}", self.shape.name()).as_str())?;
        builder.set("general.quantization_version", 2_u32)?;
        builder.set(KEY, self.key_value().as_str())?;
        for (key, number) in [
            ("llama.context_length", CONTEXT),
            ("llama.block_count", size.layers),
            ("llama.embedding_length", size.width),
            ("llama.feed_forward_length", size.feed_forward),
            ("llama.attention.head_count", size.heads),
            ("llama.attention.head_count_kv", size.kv_heads),
            ("llama.rope.dimension_count", size.head()),
        ] {
            builder.set(key, number)?;
        }
        builder.set("llama.attention.layer_norm_rms_epsilon", 1e-5_f32)?;
        builder.set("llama.rope.freq_base", 10_000_f32)?;
        vocabulary::add(&mut builder, size.vocabulary)?;
        for tensor in tensors {
            builder.add_tensor(&tensor.name, &tensor.dims(), tensor.kind)?;
        }
        Ok(builder)
    }
}

/// Writes a matrix of `bytes`, which are whole pieces.
fn write_matrix<S: Sink<Error = io::Error>>(
    writer: &mut DataWriter<'_, S>,
    pool: &Pool,
    random: Random,
    bytes: u64,
    progress: &impl Fn(u64),
) -> io::Result<()> {
    let pieces = bytes / pool.piece_bytes() as u64;
    let mut buffer = Vec::with_capacity(BUFFER + pool.piece_bytes());
    for place in 0..pieces {
        pool.draw(random, place, &mut buffer);
        if buffer.len() >= BUFFER || place + 1 == pieces {
            writer.write(&buffer)?;
            progress(buffer.len() as u64);
            buffer.clear();
        }
    }
    Ok(())
}
