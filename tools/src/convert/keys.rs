//! The keys of an architecture: collected in the order in which llama.cpp's converter writes them.

use mote_formats::gguf::{BuildError, Builder};
use mote_formats::hf::config::{Layers, Rope, Scaling};
use mote_formats::hf::{Config, ConfigError};

use mote_runtime::config::MAX_WIDTH;

use super::arch::Sizes;

/// The widest head that is believed: tensors are computed in its size.
const MAX_HEAD_DIM: u64 = 1 << 16;

/// Keys and computed tensors. Keys are given without the architecture's prefix.
#[derive(Debug)]
pub struct Keys {
    prefix: &'static str,
    entries: Vec<(&'static str, Entry)>,
    tensors: Vec<(&'static str, Vec<f32>)>,
    /// The base of the layers with a window, to be written beside the other.
    sliding_theta: Option<f64>,
}

#[derive(Debug)]
enum Entry {
    Count(u32),
    Float(f32),
    Text(&'static str),
    /// Here stands the number of the type that most tensors have.
    FileType,
}

/// What a class has where its configuration is silent.
#[derive(Debug)]
pub struct Defaults {
    /// `num_key_value_heads`.
    pub kv_heads: KvHeads,
    /// `head_dim`.
    pub head_dim: HeadDim,
    /// `max_position_embeddings`.
    pub n_ctx: u64,
    /// `rms_norm_eps`.
    pub epsilon: f64,
    /// `rope_theta`.
    pub theta: f64,
    /// `vocab_size`, unless it must be given.
    pub n_vocab: Option<u64>,
    /// `num_attention_heads`, unless it must be given.
    pub n_heads: Option<u64>,
    /// Whether Llama 3's stretched frequencies may be asked for; they become a tensor then.
    pub stretched: bool,
}

/// How many key-value heads there are by default.
#[derive(Clone, Copy, Debug)]
pub enum KvHeads {
    /// As many as query heads.
    AsHeads,
    /// That many.
    Fixed(u64),
}

/// How wide a head is by default.
#[derive(Clone, Copy, Debug)]
pub enum HeadDim {
    /// The residual stream's width over the heads.
    Quotient,
    /// The same, and no key says so.
    Unwritten,
    /// That wide.
    Fixed(u64),
}

/// What [`Keys::decoder`] found.
#[derive(Debug)]
pub struct Decoder {
    pub sizes: Sizes,
    pub rope: Rope,
}

impl Keys {
    /// None yet, of an architecture.
    pub fn new(prefix: &'static str) -> Keys {
        Keys { prefix, entries: Vec::new(), tensors: Vec::new(), sliding_theta: None }
    }

    /// A whole number, at most 2^32 - 1.
    pub fn count(&mut self, key: &'static str, n: u64) {
        self.entries.push((key, Entry::Count(u32::try_from(n).unwrap_or(u32::MAX))));
    }

    /// A number, rounded to f32.
    pub fn float(&mut self, key: &'static str, x: f64) {
        self.entries.push((key, Entry::Float(x as f32)));
    }

    /// A text.
    pub fn text(&mut self, key: &'static str, text: &'static str) {
        self.entries.push((key, Entry::Text(text)));
    }

    /// The place of `general.file_type`.
    pub fn file_type(&mut self) {
        self.entries.push(("", Entry::FileType));
    }

    /// A tensor that is computed from the configuration.
    pub fn tensor(&mut self, name: &'static str, values: Vec<f32>) {
        self.tensors.push((name, values));
    }

    /// The computed tensors, by name.
    pub fn tensors(&self) -> &[(&'static str, Vec<f32>)] {
        &self.tensors
    }

    /// `rope.freq_base_swa`, which [`decoder`](Self::decoder) will write.
    pub fn sliding_theta(&mut self, theta: f64) {
        self.sliding_theta = Some(theta);
    }

    /// Adds all keys to a file's.
    pub fn write(&self, builder: &mut Builder, file_type: Option<u32>) -> Result<(), BuildError> {
        for (key, entry) in &self.entries {
            let key = format!("{}.{key}", self.prefix);
            match entry {
                Entry::Count(n) => builder.set(&key, *n)?,
                Entry::Float(x) => builder.set(&key, *x)?,
                Entry::Text(text) => builder.set(&key, *text)?,
                Entry::FileType => {
                    if let Some(number) = file_type {
                        builder.set("general.file_type", number)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The keys that nearly every decoder has.
    pub fn decoder(
        &mut self,
        config: &Config,
        defaults: &Defaults,
    ) -> Result<Decoder, ConfigError> {
        let sizes = Keys::sizes(config, defaults)?;
        let rope = config.rope(Layers::Full, defaults.theta)?;
        if rope.partial != 1.0 {
            return Err(config.unsupported("partial_rotary_factor"));
        }
        self.count("block_count", sizes.n_layers);
        self.count("context_length", sizes.n_ctx);
        self.count("embedding_length", sizes.n_embd);
        self.count("feed_forward_length", sizes.n_ff);
        self.count("attention.head_count", sizes.n_heads);
        self.count("attention.head_count_kv", sizes.n_kv_heads);
        self.scaling(config, &rope.scaling, defaults)?;
        self.float("rope.freq_base", rope.theta);
        if let Some(theta) = self.sliding_theta {
            self.float("rope.freq_base_swa", theta);
        }
        self.float("attention.layer_norm_rms_epsilon", Keys::epsilon(config, defaults)?);
        let written = !matches!(defaults.head_dim, HeadDim::Unwritten);
        if written || config.get("head_dim").is_some() {
            self.count("attention.key_length", sizes.head_dim);
            self.count("attention.value_length", sizes.head_dim);
        }
        self.file_type();
        Ok(Decoder { sizes, rope })
    }

    /// `rms_norm_eps`.
    pub fn epsilon(config: &Config, defaults: &Defaults) -> Result<f64, ConfigError> {
        Ok(config.float("rms_norm_eps", 1e-30..=0.999)?.unwrap_or(defaults.epsilon))
    }

    /// The sizes of a decoder, checked against each other.
    pub fn sizes(config: &Config, defaults: &Defaults) -> Result<Sizes, ConfigError> {
        let or_default = |key, default: Option<u64>| match (config.count(key)?, default) {
            (None, Some(default)) => Ok(default),
            (Some(n), _) => Ok(n),
            (None, None) => config.required(key),
        };
        let n_embd = config.required("hidden_size")?;
        let n_heads = or_default("num_attention_heads", defaults.n_heads)?;
        let n_kv_heads = or_default(
            "num_key_value_heads",
            Some(match defaults.kv_heads {
                KvHeads::AsHeads => n_heads,
                KvHeads::Fixed(n) => n,
            }),
        )?;
        if !n_heads.is_multiple_of(n_kv_heads) {
            let why = "must divide num_attention_heads";
            return Err(config.out_of_range("num_key_value_heads", why));
        }
        let head_dim = match (config.count("head_dim")?, defaults.head_dim) {
            (Some(dim), _) | (None, HeadDim::Fixed(dim)) => dim,
            _ if n_embd.is_multiple_of(n_heads) => n_embd / n_heads,
            _ => return Err(config.out_of_range("num_attention_heads", "must divide hidden_size")),
        };
        if !head_dim.is_multiple_of(2) || head_dim > MAX_HEAD_DIM {
            let why = format_args!("must be even and at most {MAX_HEAD_DIM}");
            return Err(config.out_of_range("head_dim", why));
        }
        let n_ff = config.required("intermediate_size")?;
        let widths = [
            ("hidden_size", n_embd),
            ("intermediate_size", n_ff),
            ("num_attention_heads", n_heads.saturating_mul(head_dim)),
        ];
        Self::check_widths(config, &widths)?;
        Ok(Sizes {
            n_layers: config.required("num_hidden_layers")?,
            n_embd,
            n_heads,
            n_kv_heads,
            head_dim,
            n_ff,
            n_vocab: or_default("vocab_size", defaults.n_vocab)?,
            n_ctx: or_default("max_position_embeddings", Some(defaults.n_ctx))?,
        })
    }

    /// Refuses widths that the runtime does not believe; a row of a matrix is in memory as a whole.
    pub fn check_widths(config: &Config, widths: &[(&str, u64)]) -> Result<(), ConfigError> {
        match widths.iter().find(|(_, width)| *width > MAX_WIDTH as u64) {
            Some((key, _)) => {
                Err(config.out_of_range(key, format_args!("makes more than {MAX_WIDTH} columns")))
            }
            None => Ok(()),
        }
    }

    /// Refuses a sliding window that is in use: the GGUF architecture has none.
    pub fn no_window(&self, config: &Config, sizes: &Sizes) -> Result<(), ConfigError> {
        if let Some(kinds) = config.texts("layer_types")? {
            let full = kinds.iter().all(|kind| *kind == "full_attention");
            return if full { Ok(()) } else { Err(config.unsupported("layer_types")) };
        }
        let used = config.flag("use_sliding_window")?.unwrap_or(false)
            && config.count("sliding_window")?.is_some_and(|window| window < sizes.n_ctx)
            && config.get("max_window_layers").and_then(|n| n.as_u64()).unwrap_or(0)
                < sizes.n_layers;
        if used { Err(config.unsupported("use_sliding_window")) } else { Ok(()) }
    }

    fn scaling(
        &mut self,
        config: &Config,
        scaling: &Scaling,
        defaults: &Defaults,
    ) -> Result<(), ConfigError> {
        match *scaling {
            Scaling::None => {}
            Scaling::Llama3 { .. } if defaults.stretched => {}
            Scaling::Linear { factor } => {
                self.text("rope.scaling.type", "linear");
                self.float("rope.scaling.factor", factor);
            }
            Scaling::Yarn { factor, original, attention, beta_fast, beta_slow } => {
                self.text("rope.scaling.type", "yarn");
                self.float("rope.scaling.factor", factor);
                self.count("rope.scaling.original_context_length", original);
                let more = [
                    ("rope.scaling.yarn_attn_factor", attention),
                    ("rope.scaling.yarn_beta_fast", beta_fast),
                    ("rope.scaling.yarn_beta_slow", beta_slow),
                ];
                for (key, value) in more {
                    if let Some(value) = value {
                        self.float(key, value);
                    }
                }
            }
            Scaling::Llama3 { .. } | Scaling::Long { .. } => {
                let parameters = config.get("rope_parameters").is_some();
                let key = if parameters { "rope_parameters" } else { "rope_scaling" };
                return Err(config.unsupported(key));
            }
        }
        Ok(())
    }
}
