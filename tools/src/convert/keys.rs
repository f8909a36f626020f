//! The keys of an architecture: collected in the order in which llama.cpp's converter writes them.

use std::ops::RangeInclusive;

use mote_formats::gguf::{BuildError, Builder};
use mote_formats::hf::config::{Layers, Rope, Scaling};
use mote_formats::hf::{Config, ConfigError};

use mote_runtime::config::{MAX_EXPERTS, MAX_LAYERS, MAX_WIDTH};

use super::arch::Sizes;

/// The widest head that is believed: tensors are computed in its size.
const MAX_HEAD_DIM: u64 = 1 << 16;

/// Names of the number of positions.
const CONTEXT: [&str; 4] = ["max_position_embeddings", "n_positions", "max_seq_len", "seq_length"];

/// Keys and computed tensors. Keys are given without the architecture's prefix.
#[derive(Debug)]
pub struct Keys {
    prefix: &'static str,
    entries: Vec<(&'static str, Entry)>,
    tensors: Vec<(&'static str, Vec<f32>)>,
    /// The base of the layers with a window, to be written beside the other.
    sliding_theta: Option<f64>,
    /// Counts that say how experts are chosen, to be written behind their number.
    pub routing: Vec<(&'static str, u64)>,
    /// YaRN's multiplier of what scores are scaled by. (The caller writes its key.)
    pub log_multiplier: Option<f64>,
    /// Of each layer whether its mixer is recurrent; empty: none is.
    recurrent: Vec<bool>,
    /// The sizes of each layer; empty: all have the model's.
    by_layer: Vec<Sizes>,
}

#[derive(Debug)]
enum Entry {
    Count(u32),
    Float(f32),
    Text(&'static str),
    Flag(bool),
    Flags(Vec<bool>),
    Counts(Vec<i32>),
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
    /// The norms' epsilon.
    pub epsilon: f64,
    /// What they are: its names in the two files.
    pub norm: Norm,
    /// `partial_rotary_factor`, where the architecture knows it.
    pub partial: Option<f64>,
    /// The width of the feed-forward network in widths of the residual stream, unless it must be given.
    pub ff_factor: Option<u64>,
    /// Whether there are no experts, however many a configuration counts.
    pub dense: bool,
    /// Whether key-value heads are counted for each layer, where some do not attend.
    pub heads_by_layer: bool,
    /// That width, whatever a configuration says.
    pub ff: Option<u64>,
    /// `rope_theta`.
    pub theta: f64,
    /// `vocab_size`, unless it must be given.
    pub n_vocab: Option<u64>,
    /// `num_attention_heads`, unless it must be given.
    pub n_heads: Option<u64>,
    /// Whether Llama 3's stretched frequencies may be asked for; they become a tensor then.
    pub stretched: bool,
}

impl Defaults {
    /// Those of many classes.
    pub const USUAL: Defaults = Defaults {
        kv_heads: KvHeads::AsHeads,
        head_dim: HeadDim::Unwritten,
        n_ctx: 2048,
        epsilon: 1e-6,
        norm: Norm::Rms,
        partial: None,
        ff_factor: None,
        dense: false,
        heads_by_layer: false,
        ff: None,
        theta: 10_000.0,
        n_vocab: None,
        n_heads: None,
        stretched: false,
    };
}

/// What the norms are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// RMSNorm.
    Rms,
    /// LayerNorm.
    Layer,
}

impl Norm {
    /// The key of the epsilon.
    fn epsilon(self) -> &'static str {
        match self {
            Norm::Rms => "attention.layer_norm_rms_epsilon",
            Norm::Layer => "attention.layer_norm_epsilon",
        }
    }
}

/// Epsilons that are believed.
pub const EPSILONS: RangeInclusive<f64> = 1e-30..=0.999;

/// How many key-value heads there are by default.
#[derive(Clone, Copy, Debug)]
pub enum KvHeads {
    /// As many as query heads.
    AsHeads,
    /// As many as query heads, whatever a configuration says.
    Always,
    /// That many, whatever a configuration says.
    Exactly(u64),
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

impl Keys {
    /// None yet, of an architecture.
    pub fn new(prefix: &'static str) -> Keys {
        Keys {
            prefix,
            entries: Vec::new(),
            tensors: Vec::new(),
            sliding_theta: None,
            routing: Vec::new(),
            log_multiplier: None,
            recurrent: Vec::new(),
            by_layer: Vec::new(),
        }
    }

    /// A whole number, at most 2^32 - 1; in the place of one under the same key.
    pub fn count(&mut self, key: &'static str, n: u64) {
        let entry = Entry::Count(u32::try_from(n).unwrap_or(u32::MAX));
        match self.entries.iter_mut().find(|(other, _)| *other == key) {
            Some((_, other)) => *other = entry,
            None => self.entries.push((key, entry)),
        }
    }

    /// A number, rounded to f32.
    pub fn float(&mut self, key: &'static str, x: f64) {
        self.entries.push((key, Entry::Float(x as f32)));
    }

    /// A text.
    pub fn text(&mut self, key: &'static str, text: &'static str) {
        self.entries.push((key, Entry::Text(text)));
    }

    /// A truth value.
    pub fn flag(&mut self, key: &'static str, flag: bool) {
        self.entries.push((key, Entry::Flag(flag)));
    }

    /// A truth value for each layer.
    pub fn flags(&mut self, key: &'static str, flags: Vec<bool>) {
        self.entries.push((key, Entry::Flags(flags)));
    }

    /// Whole numbers.
    pub fn counts(&mut self, key: &'static str, counts: Vec<i32>) {
        self.entries.push((key, Entry::Counts(counts)));
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

    /// Of each layer whether its mixer is recurrent.
    pub fn set_recurrent(&mut self, layers: Vec<bool>) {
        self.recurrent = layers;
    }

    /// Whether the mixer of a layer is recurrent.
    pub fn is_recurrent(&self, layer: u64) -> bool {
        usize::try_from(layer).ok().and_then(|layer| self.recurrent.get(layer)) == Some(&true)
    }

    /// The sizes of each layer, where they differ from each other.
    pub fn set_sizes(&mut self, by_layer: Vec<Sizes>) {
        self.by_layer = by_layer;
    }

    /// Those of a layer, if they are its own.
    pub fn sizes_of(&self, layer: u64) -> Option<&Sizes> {
        usize::try_from(layer).ok().and_then(|layer| self.by_layer.get(layer))
    }

    /// The layers with and without experts, as Qwen's configurations say them.
    pub fn sparse_layers(&mut self, config: &Config, sizes: &Sizes) -> Result<(), ConfigError> {
        let step = config.count("decoder_sparse_step")?.unwrap_or(1);
        let dense = Keys::listed(config, "mlp_only_layers", sizes.n_layers)?.unwrap_or_default();
        let is_dense = |layer: u64| {
            !(layer + 1).is_multiple_of(step) || dense.get(layer as usize) == Some(&true)
        };
        if (0..sizes.n_layers).any(is_dense) {
            let n_experts = |layer| if is_dense(layer) { 0 } else { sizes.n_experts };
            let of = |layer| Sizes { n_experts: n_experts(layer), ..*sizes };
            self.set_sizes((0..sizes.n_layers).map(of).collect());
        }
        Ok(())
    }

    /// A number for each layer; if all are equal, that one alone.
    pub fn count_by_layer(&mut self, key: &'static str, of: impl Fn(&Sizes) -> u64) {
        let counts: Vec<u64> = self.by_layer.iter().map(of).collect();
        match counts.first() {
            Some(&n) if counts.iter().all(|other| *other == n) => self.count(key, n),
            _ => {
                let narrow = |n: u64| i32::try_from(n).unwrap_or(i32::MAX);
                self.counts(key, counts.into_iter().map(narrow).collect());
            }
        }
    }

    /// Adds all keys to a file's.
    pub fn write(&self, builder: &mut Builder, file_type: Option<u32>) -> Result<(), BuildError> {
        for (key, entry) in &self.entries {
            let key = format!("{}.{key}", self.prefix);
            match entry {
                Entry::Count(n) => builder.set(&key, *n)?,
                Entry::Float(x) => builder.set(&key, *x)?,
                Entry::Text(text) => builder.set(&key, *text)?,
                Entry::Flag(flag) => builder.set(&key, *flag)?,
                Entry::Flags(flags) => builder.set_array(&key, flags)?,
                Entry::Counts(counts) => builder.set_array(&key, counts)?,
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
    pub fn decoder(&mut self, config: &Config, defaults: &Defaults) -> Result<Sizes, ConfigError> {
        let sizes = Keys::sizes(config, defaults)?;
        let rope = config.rope(Layers::Full, defaults.theta)?;
        if defaults.partial.is_none() && rope.partial.is_some_and(|part| part != 1.0) {
            return Err(config.unsupported("partial_rotary_factor"));
        }
        // What the architecture has no key for, or nobody asked for.
        if self.sliding_theta.is_none()
            && config.rope(Layers::Sliding, rope.theta)?.theta != rope.theta
        {
            return Err(config.unsupported("rope_parameters"));
        }
        self.count("block_count", sizes.n_layers);
        self.count("context_length", sizes.n_ctx);
        self.count("embedding_length", sizes.n_embd);
        if sizes.n_ff > 0 {
            self.count("feed_forward_length", sizes.n_ff);
        }
        self.count("attention.head_count", sizes.n_heads);
        self.kv_heads(sizes.n_kv_heads, defaults.heads_by_layer);
        self.scaling(config, (&rope, &sizes), defaults)?;
        self.float("rope.freq_base", rope.theta);
        if let Some(theta) = self.sliding_theta {
            self.float("rope.freq_base_swa", theta);
        }
        self.float(defaults.norm.epsilon(), Keys::epsilon(config, defaults)?);
        if sizes.n_experts > 0 {
            self.count("expert_count", sizes.n_experts);
            self.count("expert_used_count", Keys::experts_used(config)?);
            for (key, count) in std::mem::take(&mut self.routing) {
                self.count(key, count);
            }
        }
        let written = !matches!(defaults.head_dim, HeadDim::Unwritten);
        if written || config.get("head_dim").is_some() {
            self.count("attention.key_length", sizes.head_dim);
            self.count("attention.value_length", sizes.head_dim);
        }
        self.file_type();
        if let Some(default) = defaults.partial {
            let part = rope.partial.unwrap_or(default);
            self.count("rope.dimension_count", (part * sizes.head_dim as f64) as u64);
        }
        Ok(sizes)
    }

    /// The keys of an encoder with learned positions.
    pub fn encoder(&mut self, sizes: &Sizes, epsilon: f64) {
        self.count("block_count", sizes.n_layers);
        self.count("context_length", sizes.n_ctx);
        self.count("embedding_length", sizes.n_embd);
        self.count("feed_forward_length", sizes.n_ff);
        self.count("attention.head_count", sizes.n_heads);
        self.float("attention.layer_norm_epsilon", epsilon);
        self.file_type();
        self.flag("attention.causal", false);
    }

    /// One number for all layers, unless some do not attend.
    fn kv_heads(&mut self, n: u64, by_layer: bool) {
        const KEY: &str = "attention.head_count_kv";
        if !by_layer {
            return self.count(KEY, n);
        }
        let n = i32::try_from(n).unwrap_or(i32::MAX);
        let counts = self.recurrent.iter().map(|recurrent| if *recurrent { 0 } else { n });
        self.entries.push((KEY, Entry::Counts(counts.collect())));
    }

    /// The keys of a stack of recurrent layers alone, and its sizes.
    pub fn recurrent_stack(
        &mut self,
        config: &Config,
        (norm, epsilon): (Norm, f64),
        n_vocab: Option<u64>,
    ) -> Result<Sizes, ConfigError> {
        let n_embd = config.count_of(&["hidden_size", "d_model", "dim"])?;
        let n_embd = n_embd.map_or_else(|| config.required("hidden_size"), Ok)?;
        let n_layers = config.count_of(&["num_hidden_layers", "n_layer"])?;
        let n_layers = n_layers.map_or_else(|| config.required("num_hidden_layers"), Ok)?;
        let n_vocab = config.count("vocab_size")?.or(n_vocab);
        let n_vocab = n_vocab.map_or_else(|| config.required("vocab_size"), Ok)?;
        Self::check_widths(config, &[("hidden_size", n_embd)])?;
        let sizes = Sizes {
            n_layers: Keys::layers(config, n_layers)?,
            n_embd,
            n_vocab,
            // There is no end to it.
            n_ctx: 1 << 20,
            ..Sizes::default()
        };
        self.recurrent = vec![true; sizes.n_layers as usize];
        self.count("context_length", sizes.n_ctx);
        self.count("embedding_length", sizes.n_embd);
        self.count("feed_forward_length", 0);
        self.count("attention.head_count", 0);
        self.count("block_count", sizes.n_layers);
        let given = config.float_of(&["layer_norm_epsilon", "norm_eps"], EPSILONS)?;
        self.float(norm.epsilon(), given.unwrap_or(epsilon));
        self.file_type();
        Ok(sizes)
    }

    /// The keys of a language model from before Transformers, and its sizes.
    pub fn seed(&mut self, config: &Config, n_layers: u64) -> Result<Sizes, ConfigError> {
        let (n_vocab, n_embd) =
            (config.required("vocab_size")?, config.required("embedding_size")?);
        Self::check_widths(config, &[("embedding_size", n_embd)])?;
        // There is no end to it.
        let n_ctx = 1 << 20;
        self.count("block_count", n_layers);
        self.count("context_length", n_ctx);
        self.count("embedding_length", n_embd);
        self.file_type();
        Ok(Sizes { n_layers, n_embd, n_vocab, n_ctx, ..Sizes::default() })
    }

    /// The norms' epsilon.
    pub fn epsilon(config: &Config, defaults: &Defaults) -> Result<f64, ConfigError> {
        let names: &[&str] = match defaults.norm {
            Norm::Rms => &["rms_norm_eps", "norm_eps", "layer_norm_epsilon"],
            Norm::Layer => &[
                "layer_norm_eps",
                "layer_norm_epsilon",
                "norm_epsilon",
                "norm_eps",
                "rms_norm_eps",
            ],
        };
        Ok(config.float_of(names, EPSILONS)?.unwrap_or(defaults.epsilon))
    }

    fn experts_used(config: &Config) -> Result<u64, ConfigError> {
        let used = config.count_of(&["num_experts_per_tok", "num_experts_per_token"])?;
        used.map_or_else(|| config.required("num_experts_per_tok"), Ok)
    }

    /// Refuses more layers than are run: lists of them are made before any tensor is looked at.
    pub fn layers(config: &Config, n: u64) -> Result<u64, ConfigError> {
        if n > MAX_LAYERS as u64 {
            let why = format_args!("must be at most {MAX_LAYERS}");
            return Err(config.out_of_range("num_hidden_layers", why));
        }
        Ok(n)
    }

    /// The sizes of a decoder, checked against each other.
    pub fn sizes(config: &Config, defaults: &Defaults) -> Result<Sizes, ConfigError> {
        // The first name is the one that is missed.
        let or_default = |names: &[&str], default: Option<u64>| match (
            config.count_of(names)?.or(default),
            names.first(),
        ) {
            (Some(n), _) => Ok(n),
            (None, name) => config.required(name.unwrap_or(&"")),
        };
        let n_embd = or_default(&["hidden_size", "n_embed", "n_embd", "d_model"], None)?;
        let heads = ["num_attention_heads", "n_head", "n_heads"];
        let n_heads = or_default(&heads, defaults.n_heads)?;
        let n_kv_heads = match defaults.kv_heads {
            KvHeads::Always => n_heads,
            KvHeads::Exactly(n) => n,
            KvHeads::AsHeads => or_default(&["num_key_value_heads"], Some(n_heads))?,
            KvHeads::Fixed(n) => or_default(&["num_key_value_heads"], Some(n))?,
        };
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
        let ff = ["intermediate_size", "ffn_dim", "ffn_hidden_size", "n_inner"];
        let ff_default = defaults.ff_factor.map(|factor| n_embd.saturating_mul(factor));
        let n_ff = defaults.ff.map_or_else(|| or_default(&ff, ff_default), Ok)?;
        let experts = ["num_local_experts", "num_experts", "n_routed_experts"];
        let n_experts = if defaults.dense { None } else { config.count_of(&experts)? };
        let n_experts = n_experts.unwrap_or(0);
        if n_experts > MAX_EXPERTS as u64 {
            let why = format_args!("must be at most {MAX_EXPERTS}");
            return Err(config.out_of_range("num_local_experts", why));
        }
        let expert_ff = config.count("moe_intermediate_size")?.unwrap_or(n_ff);
        let widths = [
            ("hidden_size", n_embd),
            ("intermediate_size", n_ff),
            ("moe_intermediate_size", expert_ff),
            ("num_attention_heads", n_heads.saturating_mul(head_dim)),
        ];
        Self::check_widths(config, &widths)?;
        Ok(Sizes {
            n_layers: Self::layers(
                config,
                or_default(&["num_hidden_layers", "n_layer", "n_layers"], None)?,
            )?,
            n_embd,
            n_heads,
            n_kv_heads,
            head_dim,
            n_ff,
            n_experts,
            expert_ff,
            n_vocab: or_default(&["vocab_size"], defaults.n_vocab)?,
            n_ctx: or_default(&CONTEXT, Some(defaults.n_ctx))?,
            ..Sizes::default()
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

    /// Of each layer whether a list names its number, if the key is there. Numbers behind the last layer's
    /// name none.
    pub fn listed(
        config: &Config,
        key: &'static str,
        n_layers: u64,
    ) -> Result<Option<Vec<bool>>, ConfigError> {
        let Some(list) = config.get(key) else { return Ok(None) };
        let list = list.as_array().ok_or_else(|| config.unsupported(key))?;
        let mut named = vec![false; n_layers as usize];
        for number in list {
            let number = number.as_u64().ok_or_else(|| config.unsupported(key))?;
            if let Some(place) = usize::try_from(number).ok().and_then(|at| named.get_mut(at)) {
                *place = true;
            }
        }
        Ok(Some(named))
    }

    /// Of each layer whether it is of the first of two sorts, by a list of the layers' kinds; `None`: there is
    /// no such list. `sorts`: the kinds of either.
    pub fn layers_of(
        config: &Config,
        key: &'static str,
        n_layers: u64,
        [yes, no]: [&[&str]; 2],
    ) -> Result<Option<Vec<bool>>, ConfigError> {
        let Some(kinds) = Keys::layer_kinds(config, key, n_layers)? else { return Ok(None) };
        let of = |kind: &&str| match yes.contains(kind) {
            false if !no.contains(kind) => Err(config.unsupported(key)),
            is_of_first => Ok(is_of_first),
        };
        kinds.iter().map(of).collect::<Result<_, _>>().map(Some)
    }

    /// A list of the layers' kinds, if the key is there.
    pub fn layer_kinds<'c>(
        config: &'c Config,
        key: &'static str,
        n_layers: u64,
    ) -> Result<Option<Vec<&'c str>>, ConfigError> {
        let kinds = config.texts(key)?;
        match &kinds {
            Some(kinds) if kinds.len() as u64 != n_layers => {
                Err(config.out_of_range(key, "must have one entry for each layer"))
            }
            _ => Ok(kinds),
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
        (rope, sizes): (&Rope, &Sizes),
        defaults: &Defaults,
    ) -> Result<(), ConfigError> {
        match rope.scaling {
            Scaling::None => {}
            Scaling::Llama3 { .. } if defaults.stretched => self.stretch(rope, sizes),
            Scaling::Linear { factor } => {
                self.text("rope.scaling.type", "linear");
                self.float("rope.scaling.factor", factor);
            }
            Scaling::Yarn { .. } => self.yarn(&rope.scaling),
            Scaling::Llama3 { .. } | Scaling::Long { .. } | Scaling::Proportional { .. } => {
                let parameters = config.get("rope_parameters").is_some();
                let key = if parameters { "rope_parameters" } else { "rope_scaling" };
                return Err(config.unsupported(key));
            }
        }
        Ok(())
    }

    /// What YaRN needs.
    pub fn yarn(&mut self, scaling: &Scaling) {
        let Scaling::Yarn { factor, original, attention, beta_fast, beta_slow, truncate } =
            *scaling
        else {
            return;
        };
        // Where scores are scaled, readers take 1 unless they are told.
        let attention = match self.log_multiplier {
            None => attention,
            Some(_) => Some(attention.unwrap_or(0.1 * libm::log(factor.max(1.0)) + 1.0)),
        };
        let attention = attention.filter(|it| self.log_multiplier.is_none() || *it != 1.0);
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
        // Beyond the GGUF architectures as llama.cpp knows them, which always do.
        if !truncate {
            self.flag("rope.scaling.yarn_truncate", false);
        }
    }

    /// Llama 3's stretched frequencies, as a tensor of divisors.
    fn stretch(&mut self, rope: &Rope, sizes: &Sizes) {
        let Scaling::Llama3 { factor, low, high, original } = rope.scaling else { return };
        let context = original as f32;
        let divisors = (0..sizes.head_dim / 2).map(|i| {
            let exponent = (2 * i) as f32 / sizes.head_dim as f32;
            let frequency = 1.0 / libm::powf(rope.theta as f32, exponent);
            divisor(frequency, context, factor as f32, low as f32, high as f32)
        });
        self.tensor("rope_freqs.weight", divisors.collect());
    }

    /// Of how many layers the last sees everything: by the kinds of layers, or else by the numbers that
    /// have this meaning.
    pub fn window_period(
        config: &Config,
        n_layers: u64,
        names: &[&str],
        default: u64,
    ) -> Result<u64, ConfigError> {
        let Some(kinds) = Self::layer_kinds(config, "layer_types", n_layers)? else {
            return Ok(config.count_of(names)?.unwrap_or(default));
        };
        let first = kinds.iter().position(|kind| *kind == "full_attention");
        let period = match first {
            Some(index) => index as u64 + 1,
            // None sees everything: any period beyond the last layer says so.
            None if default > n_layers => default,
            None => n_layers + 1,
        };
        let regular = kinds.iter().zip(1..).all(|(kind, layer)| match *kind {
            "full_attention" => layer % period == 0,
            "sliding_attention" => layer % period != 0,
            _ => false,
        });
        if regular { Ok(period) } else { Err(config.unsupported("layer_types")) }
    }
}

/// What a frequency is divided by: 1 for short waves, `factor` for long ones, in between by the
/// position of the wavelength.
fn divisor(frequency: f32, context: f32, factor: f32, low: f32, high: f32) -> f32 {
    let wavelength = std::f32::consts::TAU / frequency;
    if wavelength < context / high {
        1.0
    } else if wavelength > context / low {
        factor
    } else {
        let smooth = (context / wavelength - low) / (high - low);
        1.0 / ((1.0 - smooth) / factor + smooth)
    }
}
