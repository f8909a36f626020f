//! Architectures: **the list**. To add one, write its file, add its `mod` line and its line in
//! [`ARCHITECTURES`]. A file maps GGUF keys to [`Config`] and says which tensors a layer has; no
//! other file may name an architecture (`tests/it/tidy.rs`).

use mote_formats::gguf::{Gguf, ShortName, Value};

use crate::config::{Config, MAX_LAYERS, MAX_VOCABULARY, MAX_WIDTH, NormKind, Rope};
use crate::error::{KeyError, LoadError, TensorError};
use crate::weights::{Fused, Slot};
use mote_kernels::RopeLayout;

mod gemma3;
mod gpt2;
mod llama;
mod phi3;
mod qwen2;
mod qwen3;

/// Every architecture.
pub static ARCHITECTURES: &[&Architecture] =
    &[&llama::LLAMA, &gemma3::GEMMA3, &qwen2::QWEN2, &qwen3::QWEN3, &gpt2::GPT2, &phi3::PHI3];

/// What a file under this folder says.
#[derive(Debug)]
pub struct Architecture {
    /// As in `general.architecture`.
    pub name: &'static str,
    /// Hyper-parameters to facts. `n_vocab` is filled in from the embedding.
    pub config: fn(&Keys<'_>) -> Result<Config, LoadError>,
    /// Tensors that every layer must have, beside those of [`crate::weights::required`].
    pub required: &'static [Slot],
    /// Tensors that a layer may have.
    pub optional: &'static [Slot],
    /// Tensors of which each holds several of a layer's.
    pub fused: &'static [Fused],
}

/// The architecture that a file names.
pub fn of(gguf: &Gguf<'_>) -> Result<&'static Architecture, LoadError> {
    let name = gguf.get("general.architecture").and_then(|value| value.as_text());
    let name = name.ok_or(LoadError::NoArchitecture)?;
    let known = ARCHITECTURES.iter().find(|known| known.name.as_bytes() == name.as_bytes());
    known.copied().ok_or(LoadError::Architecture(ShortName::new(name.as_bytes())))
}

/// The hyper-parameters of one architecture: keys are given without its prefix.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    gguf: Gguf<'a>,
    prefix: &'static str,
}

impl<'a> Keys<'a> {
    /// Keys that begin with `prefix` and a dot.
    pub fn new(gguf: &Gguf<'a>, prefix: &'static str) -> Self {
        Keys { gguf: *gguf, prefix }
    }

    fn get(&self, key: &str) -> Option<Value<'a>> {
        let is_it = |name: &str| {
            name.strip_prefix(self.prefix).and_then(|rest| rest.strip_prefix('.')) == Some(key)
        };
        self.gguf.metadata().find(|(name, _)| is_it(name)).map(|(_, value)| value)
    }

    /// A whole number from 1 to `limit`, if the key is there.
    pub fn count(&self, key: &'static str, limit: usize) -> Result<Option<usize>, LoadError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        // Some writers store one number for each layer; equal ones are as good as one.
        let number = match value {
            Value::Array(array) => {
                let n_layers = self.get("block_count").and_then(|value| value.as_u64());
                if n_layers != Some(array.len() as u64) {
                    return Err(LoadError::Key(key, KeyError::OutOfRange));
                }
                let mut numbers = array.iter().map(|value| value.as_u64());
                let first = numbers.next().flatten();
                first.filter(|_| numbers.all(|number| number == first))
            }
            value => value.as_u64(),
        };
        let number = number.ok_or(LoadError::Key(key, KeyError::WrongType))?;
        match usize::try_from(number) {
            Ok(number) if (1..=limit).contains(&number) => Ok(Some(number)),
            _ => Err(LoadError::Key(key, KeyError::OutOfRange)),
        }
    }

    /// As [`Keys::count`], where 0 says the same as no key.
    pub fn count_or_zero(
        &self,
        key: &'static str,
        limit: usize,
    ) -> Result<Option<usize>, LoadError> {
        match self.get(key) {
            Some(value) if value.as_u64() == Some(0) => Ok(None),
            _ => self.count(key, limit),
        }
    }

    /// A whole number that must be there.
    pub fn required_count(&self, key: &'static str, limit: usize) -> Result<usize, LoadError> {
        self.count(key, limit)?.ok_or(LoadError::Key(key, KeyError::Missing))
    }

    /// A number within `range`, if the key is there.
    pub fn float(
        &self,
        key: &'static str,
        range: core::ops::RangeInclusive<f32>,
    ) -> Result<Option<f32>, LoadError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_f32().ok_or(LoadError::Key(key, KeyError::WrongType))?;
        let inside = range.contains(&number);
        inside.then_some(Some(number)).ok_or(LoadError::Key(key, KeyError::OutOfRange))
    }

    /// Refuses a key that asks for something that the architecture's file does not do.
    pub fn refuse(&self, key: &'static str) -> Result<(), LoadError> {
        match self.get(key) {
            Some(value) if value.as_u64() != Some(0) => {
                Err(LoadError::Key(key, KeyError::Unsupported))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a tensor that asks for something that the architecture's file does not do.
    pub fn refuse_tensor(&self, name: &'static str) -> Result<(), LoadError> {
        match self.gguf.tensor(name) {
            Some(_) => Err(LoadError::Tensor(name, None, TensorError::Unsupported)),
            None => Ok(()),
        }
    }

    /// The facts that nearly every decoder has under the same keys. `rope` says which dimensions
    /// form a pair, where positions are rotations.
    pub fn decoder(&self, norm: NormKind, rope: Option<RopeLayout>) -> Result<Config, LoadError> {
        let n_embd = self.required_count("embedding_length", MAX_WIDTH)?;
        let n_heads = self.required_count("attention.head_count", MAX_WIDTH)?;
        let n_kv_heads = self.count("attention.head_count_kv", MAX_WIDTH)?.unwrap_or(n_heads);
        if !n_heads.is_multiple_of(n_kv_heads) {
            return Err(LoadError::Key("attention.head_count_kv", KeyError::OutOfRange));
        }
        let head_dim = match self.count("attention.key_length", MAX_WIDTH)? {
            Some(head_dim) => head_dim,
            None if n_embd.is_multiple_of(n_heads) => n_embd / n_heads,
            None => return Err(LoadError::Key("attention.head_count", KeyError::OutOfRange)),
        };
        let value_dim = self.count("attention.value_length", MAX_WIDTH)?;
        if value_dim.is_some_and(|dim| dim != head_dim) {
            return Err(LoadError::Key("attention.value_length", KeyError::Unsupported));
        }
        if n_heads.saturating_mul(head_dim) > MAX_WIDTH {
            return Err(LoadError::Key("attention.key_length", KeyError::OutOfRange));
        }
        self.count("vocab_size", MAX_VOCABULARY)?;
        let epsilon = match norm {
            NormKind::Rms => "attention.layer_norm_rms_epsilon",
            NormKind::Layer => "attention.layer_norm_epsilon",
        };
        let norm_epsilon = self.float(epsilon, f32::MIN_POSITIVE..=0.999)?;
        Ok(Config {
            n_layers: self.required_count("block_count", MAX_LAYERS)?,
            n_embd,
            n_heads,
            n_kv_heads,
            head_dim,
            n_ff: self.required_count("feed_forward_length", MAX_WIDTH)?,
            n_vocab: 0,
            n_ctx_train: self.required_count("context_length", usize::MAX)?,
            norm,
            norm_epsilon: norm_epsilon.ok_or(LoadError::Key(epsilon, KeyError::Missing))?,
            embedding_scale: 1.0,
            attention_scale: 1.0 / libm::sqrtf(head_dim as f32),
            gate: mote_kernels::Gate::Silu,
            gated: true,
            learned_positions: 0,
            rope: rope.map_or(Ok(Rope::NONE), |layout| self.rope(layout, head_dim))?,
            window: None,
        })
    }

    fn rope(&self, layout: RopeLayout, head_dim: usize) -> Result<Rope, LoadError> {
        let dims = self.count("rope.dimension_count", head_dim)?.unwrap_or(head_dim);
        if !dims.is_multiple_of(2) {
            return Err(LoadError::Key("rope.dimension_count", KeyError::OutOfRange));
        }
        let base = self.float("rope.freq_base", 1.0..=1e9)?.unwrap_or(10_000.0);
        Ok(Rope { layout, dims, base: base.into(), scale: self.rope_scale()? })
    }

    /// The divisor of positions: 1 unless the file asks for linear scaling.
    fn rope_scale(&self) -> Result<f64, LoadError> {
        const KIND: &str = "rope.scaling.type";
        let kind = match self.get(KIND) {
            None => None,
            Some(value) => Some(value.as_str().ok_or(LoadError::Key(KIND, KeyError::WrongType))?),
        };
        let factor = self.float("rope.scaling.factor", f32::MIN_POSITIVE..=1e6)?;
        match kind {
            None | Some("linear") => Ok(factor.unwrap_or(1.0).into()),
            Some("none") => Ok(1.0),
            Some(_) => Err(LoadError::Key(KIND, KeyError::Unsupported)),
        }
    }
}
