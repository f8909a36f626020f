//! Architectures: **the list**. To add one, write its file, add its `mod` line and its line in
//! [`ARCHITECTURES`]. A file maps GGUF keys to [`Config`] and says which tensors a layer has; no
//! other file may name an architecture (`tests/it/tidy.rs`).

use mote_formats::gguf::{Array, Gguf, ShortName, Value};

use crate::config::{
    Config, DeltaLayout, Experts, Gating, Latent, LayerSet, MAX_EXPERTS, MAX_LAYERS, MAX_POSITIONS,
    MAX_STATE, MAX_TAPS, MAX_VOCABULARY, MAX_WIDTH, NormKind, Pooling, QkNorm, Recurrence, Rope,
    Stretch, Window,
};
use crate::error::{KeyError, LoadError};
use crate::weights::{Fused, Slot, TOKEN_TYPES};
use mote_kernels::RopeLayout;

mod bert;
mod bloom;
mod cohere2;
mod command_r;
mod deepseek2;
mod exaone4;
mod falcon;
mod gemma;
mod gemma2;
mod gemma3;
mod gemma4;
mod glm4;
mod gpt2;
mod gpt_oss;
mod gptneox;
mod granite;
mod granitehybrid;
mod granitemoe;
mod lfm2;
mod llama;
mod lstm;
mod mamba;
mod mamba2;
mod modern_bert;
mod mpt;
mod nemotron;
mod nplm;
mod olmo2;
mod olmoe;
mod opt;
mod phi3;
mod qwen2;
mod qwen2moe;
mod qwen3;
mod qwen35;
mod qwen35moe;
mod qwen3moe;
mod qwen3next;
mod rwkv4;
mod rwkv7;
mod smollm3;
mod stablelm;
mod starcoder2;

/// Every architecture.
pub static ARCHITECTURES: &[&Architecture] = &[
    &llama::LLAMA,
    &gemma::GEMMA,
    &gemma2::GEMMA2,
    &gemma3::GEMMA3,
    &gemma4::GEMMA4,
    &qwen2::QWEN2,
    &qwen3::QWEN3,
    &qwen2moe::QWEN2MOE,
    &qwen3moe::QWEN3MOE,
    &gpt2::GPT2,
    &phi3::PHI3,
    &smollm3::SMOLLM3,
    &granite::GRANITE,
    &granitemoe::GRANITEMOE,
    &olmo2::OLMO2,
    &olmoe::OLMOE,
    &gpt_oss::GPT_OSS,
    &starcoder2::STARCODER2,
    &stablelm::STABLELM,
    &gptneox::GPTNEOX,
    &falcon::FALCON,
    &bloom::BLOOM,
    &mpt::MPT,
    &opt::OPT,
    &command_r::COMMAND_R,
    &cohere2::COHERE2,
    &exaone4::EXAONE4,
    &deepseek2::DEEPSEEK2,
    &glm4::GLM4,
    &nemotron::NEMOTRON,
    &lfm2::LFM2,
    &mamba::MAMBA,
    &mamba2::MAMBA2,
    &qwen3next::QWEN3NEXT,
    &qwen35::QWEN35,
    &qwen35moe::QWEN35MOE,
    &granitehybrid::GRANITE_HYBRID,
    &rwkv4::RWKV4,
    &rwkv7::RWKV7,
    &bert::BERT,
    &modern_bert::MODERN_BERT,
    &nplm::NPLM,
    &lstm::LSTM,
];

/// Keys that more than one fact depends on.
const LATENT: &str = "attention.kv_lora_rank";
const LOG_MULTIPLIER: &str = "rope.scaling.yarn_log_multiplier";

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
    /// Whether YaRN's bounds are rounded where no key says so.
    truncate: bool,
    /// The layer of which numbers are taken that are given for each.
    layer: Option<usize>,
}

impl<'a> Keys<'a> {
    /// Keys that begin with `prefix` and a dot.
    pub fn new(gguf: &Gguf<'a>, prefix: &'static str) -> Self {
        Keys { gguf: *gguf, prefix, truncate: true, layer: None }
    }

    /// The same where YaRN's bounds are not rounded unless a key says so.
    fn untruncated(self) -> Self {
        Keys { truncate: false, ..self }
    }

    /// The same where of counts that are given for each layer this one's is taken; else all must be equal.
    fn of_layer(self, layer: usize) -> Self {
        Keys { layer: Some(layer), ..self }
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
                let first = numbers.nth(self.layer.unwrap_or(0)).flatten();
                first.filter(|_| self.layer.is_some() || numbers.all(|number| number == first))
            }
            value => value.as_u64(),
        };
        let number = number.ok_or(LoadError::Key(key, KeyError::WrongType))?;
        match usize::try_from(number) {
            Ok(number) if (1..=limit).contains(&number) => Ok(Some(number)),
            _ => Err(LoadError::Key(key, KeyError::OutOfRange)),
        }
    }

    /// Whether a key says of each layer what `of` does, by one number for all or by one for each. The key is
    /// looked up once: a file may have many, and many layers.
    pub fn counts_are(&self, key: &str, n_layers: usize, of: &dyn Fn(usize) -> usize) -> bool {
        let is = |value: Option<Value<'_>>, layer| {
            value.and_then(|value| value.as_u64()) == Some(of(layer) as u64)
        };
        match self.get(key) {
            Some(Value::Array(array)) if array.len() != n_layers => false,
            Some(Value::Array(array)) => (0..n_layers).all(|layer| is(array.get(layer), layer)),
            value => (0..n_layers).all(|layer| is(value, layer)),
        }
    }

    /// The layers of which an array of truth values, one for each, says yes.
    fn layers_of(
        key: &'static str,
        array: &Array<'_>,
        n_layers: usize,
    ) -> Result<LayerSet, LoadError> {
        let is = |layer| array.get(layer).and_then(|value| value.as_bool());
        if array.len() < n_layers || (0..n_layers).any(|layer| is(layer).is_none()) {
            return Err(LoadError::Key(key, KeyError::OutOfRange));
        }
        Ok(LayerSet::of(n_layers, |layer| is(layer) == Some(true)))
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

    /// A truth value, if the key is there.
    pub fn flag(&self, key: &'static str) -> Result<Option<bool>, LoadError> {
        let wrong = LoadError::Key(key, KeyError::WrongType);
        self.get(key).map(|value| value.as_bool().ok_or(wrong)).transpose()
    }

    /// A text, if the key is there.
    pub fn text(&self, key: &'static str) -> Result<Option<&'a str>, LoadError> {
        let wrong = LoadError::Key(key, KeyError::WrongType);
        self.get(key).map(|value| value.as_str().ok_or(wrong)).transpose()
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

    /// A number that must be there.
    pub fn required_float(
        &self,
        key: &'static str,
        range: core::ops::RangeInclusive<f32>,
    ) -> Result<f32, LoadError> {
        self.float(key, range)?.ok_or(LoadError::Key(key, KeyError::Missing))
    }

    /// Whether the file has a tensor of this name.
    pub fn has_tensor(&self, name: &str) -> bool {
        self.gguf.tensor(name).is_some()
    }

    /// The layers without a tensor of this name.
    pub fn layers_without(&self, name: &str) -> Result<LayerSet, LoadError> {
        let n_layers = self.required_count("block_count", MAX_LAYERS)?;
        let mut with = LayerSet::NONE;
        for tensor in self.gguf.tensors() {
            let parts = tensor.name().strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
            let layer = parts.filter(|(_, rest)| *rest == name).map(|(layer, _)| layer.parse());
            if let Some(Ok(layer)) = layer {
                with.insert(layer);
            }
        }
        Ok(LayerSet::of(n_layers, |layer| !with.contains(layer)))
    }

    /// Kinds of segments that have a learned embedding: the rows of a tensor, or none.
    pub fn token_types(&self) -> usize {
        let rows = self.gguf.tensor(TOKEN_TYPES).map_or(0, |tensor| tensor.shape()[1]);
        rows.try_into().unwrap_or(usize::MAX)
    }

    /// Positions that have a learned embedding: all of the context.
    pub fn learned_positions(&self) -> Result<usize, LoadError> {
        // Each is a row of a matrix.
        self.required_count("context_length", MAX_POSITIONS)
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

    /// The facts that nearly every decoder has under the same keys. `rope` says which dimensions
    /// form a pair, where positions are rotations.
    pub fn decoder(&self, norm: NormKind, rope: Option<RopeLayout>) -> Result<Config, LoadError> {
        let config = self.stack(norm)?;
        let n_embd = config.n_embd;
        let n_heads = self.required_count("attention.head_count", MAX_WIDTH)?;
        let (n_kv_heads, recurrent) = self.kv_heads(n_heads)?;
        if !n_heads.is_multiple_of(n_kv_heads) {
            return Err(LoadError::Key("attention.head_count_kv", KeyError::OutOfRange));
        }
        let head_dim = match self.count("attention.key_length", MAX_WIDTH)? {
            Some(head_dim) => head_dim,
            None if n_embd.is_multiple_of(n_heads) => n_embd.checked_div(n_heads).unwrap_or(0),
            None => return Err(LoadError::Key("attention.head_count", KeyError::OutOfRange)),
        };
        let value_dim = self.count("attention.value_length", MAX_WIDTH)?;
        let is_latent = self.get(LATENT).is_some();
        if value_dim.is_some_and(|dim| dim != head_dim) && !is_latent {
            return Err(LoadError::Key("attention.value_length", KeyError::Unsupported));
        }
        if n_heads.saturating_mul(head_dim) > MAX_WIDTH {
            return Err(LoadError::Key("attention.key_length", KeyError::OutOfRange));
        }
        Ok(Config {
            n_heads,
            n_kv_heads,
            head_dim,
            recurrent,
            n_ff: self.feed_forward()?,
            attention_scale: 1.0 / libm::sqrtf(head_dim as f32),
            rope: rope.map_or(Ok(Rope::NONE), |layout| self.rope(layout, head_dim))?,
            ..config
        })
    }

    /// Width of the feed-forward network: that of experts may be all there is.
    fn feed_forward(&self) -> Result<usize, LoadError> {
        const KEY: &str = "feed_forward_length";
        match self.get("expert_feed_forward_length") {
            Some(_) => Ok(self.count_or_zero(KEY, MAX_WIDTH)?.unwrap_or(0)),
            None => self.required_count(KEY, MAX_WIDTH),
        }
    }

    /// Key-value heads of the layers that attend, and the layers that have none.
    fn kv_heads(&self, n_heads: usize) -> Result<(usize, LayerSet), LoadError> {
        const KEY: &str = "attention.head_count_kv";
        let array = match self.get(KEY) {
            Some(Value::Array(array)) if array.iter().any(|n| n.as_u64() == Some(0)) => array,
            _ => return Ok((self.count(KEY, MAX_WIDTH)?.unwrap_or(n_heads), LayerSet::NONE)),
        };
        let n_layers = self.required_count("block_count", MAX_LAYERS)?;
        let others = || array.iter().map(|n| n.as_u64()).filter(|&n| n != Some(0));
        let n = others().next().unwrap_or(Some(n_heads as u64));
        let same = array.len() == n_layers && others().all(|other| other == n);
        let n = n.and_then(|n| usize::try_from(n).ok()).filter(|&n| same && n <= MAX_WIDTH);
        let n = n.ok_or(LoadError::Key(KEY, KeyError::OutOfRange))?;
        let zero = |layer: usize| array.iter().nth(layer).and_then(|n| n.as_u64()) == Some(0);
        Ok((n, LayerSet::of(n_layers, zero)))
    }

    /// Selective state spaces in heads.
    pub fn state_heads(&self) -> Result<Recurrence, LoadError> {
        let inner = self.required_count("ssm.inner_size", MAX_WIDTH / 2)?;
        let state = self.required_count("ssm.state_size", MAX_WIDTH / 4)?;
        let heads = self.required_count("ssm.time_step_rank", inner)?;
        let groups = self.count("ssm.group_count", heads)?.unwrap_or(1);
        let taps = self.required_count("ssm.conv_kernel", MAX_TAPS)?;
        let wrong = |key| Err(LoadError::Key(key, KeyError::OutOfRange));
        if !inner.is_multiple_of(heads) {
            return wrong("ssm.time_step_rank");
        }
        if !heads.is_multiple_of(groups) {
            return wrong("ssm.group_count");
        }
        if inner * state > MAX_STATE || groups * state > MAX_WIDTH {
            return wrong("ssm.state_size");
        }
        Ok(Recurrence::Heads { taps, inner, state, heads, groups })
    }

    /// The gated delta rule.
    pub fn delta(&self, layout: DeltaLayout) -> Result<Recurrence, LoadError> {
        let inner = self.required_count("ssm.inner_size", MAX_WIDTH / 2)?;
        let key_dim = self.required_count("ssm.state_size", MAX_WIDTH / 4)?;
        let values = self.required_count("ssm.time_step_rank", inner)?;
        let keys = self.required_count("ssm.group_count", values)?;
        let taps = self.required_count("ssm.conv_kernel", MAX_TAPS)?;
        let wrong = |key| Err(LoadError::Key(key, KeyError::OutOfRange));
        if !inner.is_multiple_of(values) {
            return wrong("ssm.time_step_rank");
        }
        if !values.is_multiple_of(keys) {
            return wrong("ssm.group_count");
        }
        if inner * key_dim > MAX_STATE || keys * key_dim > MAX_WIDTH / 4 {
            return wrong("ssm.state_size");
        }
        let value_dim = inner.checked_div(values).unwrap_or(0);
        Ok(Recurrence::Delta { taps, keys, key_dim, values, value_dim, layout })
    }

    /// Layers that do not attend: by a list, or all but every so many.
    pub fn recurrent_layers(&self, n_layers: usize, period: usize) -> Result<LayerSet, LoadError> {
        const LIST: &str = "attention.recurrent_layers";
        let period = self.count("full_attention_interval", MAX_WIDTH)?.unwrap_or(period);
        let Some(value) = self.get(LIST) else {
            return Ok(LayerSet::of(n_layers, |layer| !(layer + 1).is_multiple_of(period)));
        };
        let Value::Array(array) = value else {
            return Err(LoadError::Key(LIST, KeyError::WrongType));
        };
        Keys::layers_of(LIST, &array, n_layers)
    }

    /// A stack of layers that do not add to what they begin with, `width` wide behind each.
    pub fn replacing(&self, recurrence: Recurrence, width: usize) -> Result<Config, LoadError> {
        let config = self.stack(NormKind::None)?;
        let recurrent = LayerSet::of(config.n_layers, |_| true);
        Ok(Config { n_embd: width, residual: false, recurrent, recurrence, ..config })
    }

    /// The same facts without attention and without a feed-forward network.
    pub fn stack(&self, norm: NormKind) -> Result<Config, LoadError> {
        self.count("vocab_size", MAX_VOCABULARY)?;
        const RMS: &str = "attention.layer_norm_rms_epsilon";
        const LAYER: &str = "attention.layer_norm_epsilon";
        let epsilon = match norm {
            NormKind::None => None,
            NormKind::Rms => Some(RMS),
            // Where a checkpoint says `norm_eps`, llama.cpp's converter takes it for RMSNorm's.
            _ if self.get(LAYER).is_none() && self.get(RMS).is_some() => Some(RMS),
            NormKind::Layer | NormKind::LayerUnbiased => Some(LAYER),
        };
        let epsilon = epsilon.map(|key| self.required_float(key, f32::MIN_POSITIVE..=0.999));
        let norm_epsilon = epsilon.unwrap_or(Ok(0.0))?;
        let n_embd = self.required_count("embedding_length", MAX_WIDTH)?;
        Ok(Config {
            n_layers: self.required_count("block_count", MAX_LAYERS)?,
            n_embd,
            embedding_width: n_embd,
            residual: true,
            n_heads: 0,
            n_kv_heads: 0,
            head_dim: 0,
            borrowing: None,
            keys_as_values: false,
            value_norm: false,
            latent: None,
            recurrent: LayerSet::NONE,
            recurrence: Recurrence::None,
            n_ff: 0,
            n_vocab: 0,
            n_ctx_train: self.required_count("context_length", usize::MAX)?,
            norm,
            norm_epsilon,
            output_epsilon: norm_epsilon,
            halving_period: usize::MAX,
            causal: self.flag("attention.causal")?.unwrap_or(true),
            pooling: self.pooling()?,
            pre_norm: norm != NormKind::None,
            first_norm_missing: false,
            residual_norm: false,
            embedding_norm: false,
            output_norm_misnamed: false,
            parallel_residual: false,
            qk_norm: QkNorm::Head,
            qkv_clamp: 0.0,
            embedding_scale: 1.0,
            layer_embd: 0,
            residual_scale: 1.0,
            logit_scale: 1.0,
            logit_softcap: 0.0,
            attention_softcap: 0.0,
            alibi_max_bias: 0.0,
            alibi_scale: 1.0,
            attention_gate: false,
            sinks: false,
            no_rope_period: usize::MAX,
            experts: None,
            attention_scale: 1.0,
            gate: mote_kernels::Gate::Silu,
            gated: true,
            learned_positions: 0,
            token_types: 0,
            rope: Rope::NONE,
            window: None,
        })
    }

    /// How the states of a text become one vector.
    fn pooling(&self) -> Result<Option<Pooling>, LoadError> {
        const KEY: &str = "pooling_type";
        match self.get(KEY).map(|value| value.as_u64()) {
            None | Some(Some(0)) => Ok(None),
            Some(Some(1)) => Ok(Some(Pooling::Mean)),
            Some(Some(2)) => Ok(Some(Pooling::First)),
            Some(Some(3)) => Ok(Some(Pooling::Last)),
            // 4: a score of a pair of texts.
            _ => Err(LoadError::Key(KEY, KeyError::Unsupported)),
        }
    }

    /// Latent attention in the place of the one that is given. `epsilon`: see [`Latent`].
    pub fn latent(&self, mut config: Config, epsilon: f32) -> Result<Config, LoadError> {
        let key_value = self.required_count(LATENT, MAX_WIDTH)?;
        let query = self.count_or_zero("attention.q_lora_rank", MAX_WIDTH)?.unwrap_or(0);
        // Files from before keys and values had matrices of their own do not have it.
        const KEY: &str = "attention.key_length_mla";
        let head = self.required_count(KEY, MAX_WIDTH)?;
        let value = self.required_count("attention.value_length_mla", MAX_WIDTH)?;
        let turning = config.rope.dims;
        let is_one = config.n_kv_heads == 1 && config.head_dim == turning + key_value;
        if !is_one {
            return Err(LoadError::Key("attention.key_length", KeyError::OutOfRange));
        }
        let widest = config.n_heads.saturating_mul(head.max(value).max(key_value));
        if head <= turning || turning == 0 || widest > MAX_WIDTH {
            return Err(LoadError::Key(KEY, KeyError::OutOfRange));
        }
        config.latent = Some(Latent { query, key_value, still: head - turning, value, epsilon });
        let mut scale = 1.0 / libm::sqrt(head as f64);
        if let Stretch::Yarn { factor, .. } = config.rope.stretch
            && factor > 1.0
        {
            let multiplier = self.float(LOG_MULTIPLIER, -1e3..=1e3)?.map_or(0.0, f64::from);
            let magnitude = multiplier * libm::log(factor) + 1.0;
            scale *= magnitude * magnitude;
        }
        config.attention_scale = scale as f32;
        Ok(config)
    }

    fn rope(&self, layout: RopeLayout, head_dim: usize) -> Result<Rope, LoadError> {
        let dims = self.count("rope.dimension_count", head_dim)?.unwrap_or(head_dim);
        if !dims.is_multiple_of(2) {
            return Err(LoadError::Key("rope.dimension_count", KeyError::OutOfRange));
        }
        let base = self.float("rope.freq_base", 1.0..=1e9)?.unwrap_or(10_000.0);
        let (base, stretch) = (base.into(), Stretch::Divided);
        let rope = Rope { layout, dims, base, stretch, ..Rope::NONE };
        let factor = self.float("rope.scaling.factor", f32::MIN_POSITIVE..=1e6)?.unwrap_or(1.0);
        const KIND: &str = "rope.scaling.type";
        match self.text(KIND)? {
            None | Some("linear") => Ok(Rope { scale: factor.into(), ..rope }),
            Some("none") => Ok(rope),
            Some("yarn") => self.yarn(rope, factor.into()),
            Some("longrope") => self.long_rope(rope),
            Some(_) => Err(LoadError::Key(KIND, KeyError::Unsupported)),
        }
    }

    /// YaRN's bounds: the pairs that turn `beta` times within the original context.
    fn yarn(&self, rope: Rope, factor: f64) -> Result<Rope, LoadError> {
        const CONTEXT: &str = "rope.scaling.original_context_length";
        let context = self.count(CONTEXT, usize::MAX)?;
        let context =
            context.map_or_else(|| self.required_count("context_length", usize::MAX), Ok)?;
        let fast = self.float("rope.scaling.yarn_beta_fast", 1e-3..=1e6)?.unwrap_or(32.0);
        let slow = self.float("rope.scaling.yarn_beta_slow", 1e-3..=1e6)?.unwrap_or(1.0);
        let pair = |beta: f32| {
            let turns = f64::from(beta) * 2.0 * core::f64::consts::PI;
            rope.dims as f64 * libm::log(context as f64 / turns) / (2.0 * libm::log(rope.base))
        };
        let (mut low, mut high) = (pair(fast), pair(slow));
        if self.flag("rope.scaling.yarn_truncate")?.unwrap_or(self.truncate) {
            (low, high) = (libm::floor(low), libm::ceil(high));
        }
        (low, high) = (low.max(0.0), high.min(rope.dims as f64 - 1.0));
        if low == high {
            high += 0.001;
        }
        // Latent attention scales its scores instead.
        let multiplier = self.float(LOG_MULTIPLIER, -1e3..=1e3)?.filter(|given| *given != 0.0);
        if multiplier.is_some() && self.get(LATENT).is_none() {
            return Err(LoadError::Key(LOG_MULTIPLIER, KeyError::Unsupported));
        }
        let magnitude = match self.float("rope.scaling.yarn_attn_factor", 1e-3..=1e3)? {
            Some(given) => f64::from(given),
            None if factor <= 1.0 || multiplier.is_some() => 1.0,
            None => 0.1 * libm::log(factor) + 1.0,
        };
        let given = self.float("rope.scaling.attn_factor", 1e-3..=1e3)?;
        let magnitude = magnitude * given.map_or(1.0, f64::from);
        const EXTRAPOLATION: &str = "rope.scaling.yarn_ext_factor";
        if self.float(EXTRAPOLATION, -1e3..=1e3)?.is_some_and(|given| given != 1.0) {
            return Err(LoadError::Key(EXTRAPOLATION, KeyError::Unsupported));
        }
        if !low.is_finite() || !high.is_finite() {
            return Err(LoadError::Key("rope.freq_base", KeyError::OutOfRange));
        }
        Ok(Rope { stretch: Stretch::Yarn { factor, low, high }, magnitude, ..rope })
    }

    /// Whether the file has tensors of LongRoPE. It need not have a key that says so.
    pub fn has_long_rope(&self) -> bool {
        ["rope_factors_long.weight", "rope_factors_short.weight"].iter().any(|n| self.has_tensor(n))
    }

    /// LongRoPE in the place of the embedding that is given.
    pub fn long_rope(&self, rope: Rope) -> Result<Rope, LoadError> {
        let original = self.required_count("rope.scaling.original_context_length", usize::MAX)?;
        let magnitude = self.float("rope.scaling.attn_factor", 1e-3..=1e3)?.unwrap_or(1.0);
        let stretch = Stretch::Long { original };
        Ok(Rope { stretch, magnitude: magnitude.into(), ..rope })
    }

    /// The experts, if the file has any. `normalized`: see [`Experts`].
    pub fn experts(&self, n_ff: usize, normalized: bool) -> Result<Option<Experts>, LoadError> {
        let n = self.count_or_zero("expert_count", MAX_EXPERTS)?;
        let Some(n) = n else {
            self.refuse("expert_used_count")?;
            return Ok(None);
        };
        let used = self.required_count("expert_used_count", n)?;
        let n_ff = self.count_or_zero("expert_feed_forward_length", MAX_WIDTH)?.unwrap_or(n_ff);
        let normalized = self.flag("expert_weights_norm")?.unwrap_or(normalized);
        const GATING: &str = "expert_gating_func";
        let (gating, normalized) = match self.get(GATING).map(|value| value.as_u64()) {
            None | Some(Some(1)) => (Gating::Softmax, normalized),
            Some(Some(2)) => (Gating::Sigmoid, normalized),
            // The softmax of those used alone.
            Some(Some(3)) => (Gating::Softmax, true),
            _ => return Err(LoadError::Key(GATING, KeyError::Unsupported)),
        };
        // 0 says the same as no key.
        let scale = self.float("expert_weights_scale", 0.0..=1e6)?.filter(|scale| *scale != 0.0);
        let shared = self.count_or_zero("expert_shared_count", MAX_EXPERTS)?.unwrap_or(0) * n_ff;
        let shared_ff = self.count_or_zero("expert_shared_feed_forward_length", MAX_WIDTH)?;
        let shared_ff = shared_ff.unwrap_or(shared);
        if shared_ff > MAX_WIDTH {
            return Err(LoadError::Key("expert_shared_count", KeyError::OutOfRange));
        }
        let groups = self.count_or_zero("expert_group_count", n)?.unwrap_or(1);
        let groups_used = self.count_or_zero("expert_group_used_count", groups)?.unwrap_or(groups);
        // What those who trained with either kind of gating did (DeepSeek-AI 2024).
        let group_best = if gating == Gating::Sigmoid { 2 } else { 1 };
        let size = n.checked_div(groups).unwrap_or(0);
        let enough = used <= groups_used * size && (groups == 1 || size >= group_best);
        if !n.is_multiple_of(groups) || !enough {
            return Err(LoadError::Key("expert_group_count", KeyError::OutOfRange));
        }
        let leading = self.count_or_zero("leading_dense_block_count", MAX_LAYERS)?;
        Ok(Some(Experts {
            n,
            used,
            n_ff,
            gating,
            normalized,
            scale: scale.unwrap_or(1.0),
            groups,
            groups_used,
            group_best,
            shared_ff,
            shared_gate: false,
            dense: LayerSet::of(leading.unwrap_or(0), |_| true),
            beside: false,
            fused: false,
        }))
    }

    /// Of how many layers the last sees everything: `default`, where the key
    /// `attention.sliding_window_pattern` does not say. It is that number, or says for each layer
    /// whether it has a window; then layers that see everything must come at equal distances.
    pub fn window_period(&self, default: usize) -> Result<usize, LoadError> {
        const KEY: &str = "attention.sliding_window_pattern";
        let Some(Value::Array(array)) = self.get(KEY) else {
            return Ok(self.count(KEY, MAX_WIDTH)?.unwrap_or(default));
        };
        if array.len() as u64 != self.required_count("block_count", MAX_LAYERS)? as u64 {
            return Err(LoadError::Key(KEY, KeyError::OutOfRange));
        }
        let windows = || array.iter().map(|value| value.as_bool());
        let period = windows().position(|window| window == Some(false));
        let period = period.map_or(usize::MAX, |index| index + 1);
        let regular = windows()
            .zip(1..)
            .all(|(window, layer): (_, usize)| window == Some(!layer.is_multiple_of(period)));
        if regular { Ok(period) } else { Err(LoadError::Key(KEY, KeyError::Unsupported)) }
    }

    /// The layers with a window, where the key `attention.sliding_window_pattern` says it of each.
    pub fn windowed(&self, n_layers: usize) -> Result<Option<LayerSet>, LoadError> {
        const KEY: &str = "attention.sliding_window_pattern";
        let Some(Value::Array(array)) = self.get(KEY) else { return Ok(None) };
        match array.len() == n_layers {
            true => Keys::layers_of(KEY, &array, n_layers).map(Some),
            false => Err(LoadError::Key(KEY, KeyError::OutOfRange)),
        }
    }

    /// A window for each layer but every `period`-th, if the key `attention.sliding_window` asks for
    /// one, with the same position embedding.
    pub fn window(&self, rope: Rope, period: usize) -> Result<Option<Window>, LoadError> {
        let size = self.count_or_zero("attention.sliding_window", usize::MAX)?;
        let n_layers = self.required_count("block_count", MAX_LAYERS)?;
        let layers = LayerSet::of(n_layers, |layer| !(layer + 1).is_multiple_of(period));
        Ok(size.map(|size| Window { size, ahead: 0, layers, rope, heads: None }))
    }
}
