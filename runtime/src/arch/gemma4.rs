//! Gemma 4, text (Google DeepMind 2026): Gemma 3's norms and windows; heads of other sizes where there
//! is a window, values that are normed and may be keys, last layers that see what earlier ones
//! remember, an embedding of each token for each layer, and experts beside the feed-forward network.

use super::{Architecture, Keys};
use crate::config::{
    Borrowing, Config, HeadSizes, LayerSet, MAX_LAYERS, MAX_WIDTH, NormKind, Rope, Window,
};
use crate::error::{KeyError, LoadError};
use crate::weights::Slot;
use mote_kernels::{Gate, RopeLayout};

pub static GEMMA4: Architecture = Architecture {
    name: "gemma4",
    config,
    required: &[Slot::QNorm, Slot::KNorm, Slot::PostAttentionNorm, Slot::PostFfnNorm],
    // Published files have keys and values also where they are not used.
    optional: &[Slot::K, Slot::V, Slot::LayerScale, Slot::ExpertScales],
    fused: &[],
};

const KV_HEADS: &str = "attention.head_count_kv";
const HEAD: &str = "attention.key_length_swa";
const FF: &str = "feed_forward_length";
const PATTERN: &str = "attention.sliding_window_pattern";
const BORROWING: &str = "attention.shared_kv_layers";
const LAYER_EMBD: &str = "embedding_length_per_layer_input";

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let n_layers = keys.required_count("block_count", MAX_LAYERS)?;
    let windowed = windowed(keys, n_layers)?;
    let full = (0..n_layers).find(|&layer| !windowed.contains(layer)).unwrap_or(0);
    let mut config = keys.of_layer(full).decoder(NormKind::Rms, Some(RopeLayout::Halves))?;
    config.n_ff = keys.of_layer(0).required_count(FF, MAX_WIDTH)?;
    config.embedding_scale = libm::sqrtf(config.n_embd as f32);
    config.gate = Gate::GeluTanh;
    config.attention_scale = 1.0;
    config.value_norm = true;
    config.keys_as_values = true;
    // 0 says the same as no key, as Hugging Face has it.
    config.logit_softcap = keys.float("final_logit_softcapping", 0.0..=1e6)?.unwrap_or(0.0);
    config.layer_embd =
        keys.count_or_zero(LAYER_EMBD, MAX_WIDTH.checked_div(n_layers).unwrap_or(0))?.unwrap_or(0);
    // The network beside the experts is the layer's own.
    keys.refuse("expert_shared_count")?;
    keys.refuse("expert_shared_feed_forward_length")?;
    config.experts = keys.experts(config.n_ff, true)?;
    if let Some(experts) = &mut config.experts {
        experts.beside = true;
        experts.fused = keys.has_tensor("blk.0.ffn_gate_up_exps.weight");
    }
    config.window = window(keys, &config, windowed)?;
    config.borrowing = borrowing(keys, &config)?;
    check_layers(keys, &config).map(|()| config)
}

/// The layers with a window: by a list, or all but every so many.
fn windowed(keys: &Keys<'_>, n_layers: usize) -> Result<LayerSet, LoadError> {
    if let Some(layers) = keys.windowed(n_layers)? {
        return Ok(layers);
    }
    let period = keys.required_count(PATTERN, MAX_LAYERS)?;
    Ok(LayerSet::of(n_layers, |layer| !(layer + 1).is_multiple_of(period)))
}

fn window(keys: &Keys<'_>, config: &Config, layers: LayerSet) -> Result<Option<Window>, LoadError> {
    let Some(first) = (0..config.n_layers).find(|&layer| layers.contains(layer)) else {
        return Ok(None);
    };
    let size = keys.required_count("attention.sliding_window", usize::MAX)?;
    let own = keys.of_layer(first);
    let n_kv_heads = own.count(KV_HEADS, MAX_WIDTH)?.unwrap_or(config.n_heads);
    let head_dim = keys
        .count(HEAD, MAX_WIDTH.checked_div(config.n_heads).unwrap_or(0))?
        .unwrap_or(config.head_dim);
    let value_dim = keys.count("attention.value_length_swa", MAX_WIDTH)?;
    if value_dim.is_some_and(|dim| dim != head_dim) {
        return Err(LoadError::Key("attention.value_length_swa", KeyError::Unsupported));
    }
    const TURNING: &str = "rope.dimension_count_swa";
    let dims = keys.count(TURNING, head_dim)?.unwrap_or(head_dim);
    if !dims.is_multiple_of(2) {
        return Err(LoadError::Key(TURNING, KeyError::OutOfRange));
    }
    let base = keys.float("rope.freq_base_swa", 1.0..=1e9)?.unwrap_or(10_000.0);
    let rope = Rope { dims, ..config.rope.unstretched(base.into()) };
    let heads = Some(HeadSizes { n_kv_heads, head_dim });
    Ok(Some(Window { size, ahead: 0, layers, rope, heads }))
}

/// The last layers that have no keys of their own. Before them there must be a layer of either kind
/// that is among them.
fn borrowing(keys: &Keys<'_>, config: &Config) -> Result<Option<Borrowing>, LoadError> {
    let Some(count) = keys.count_or_zero(BORROWING, config.n_layers)? else { return Ok(None) };
    let first = config.n_layers - count;
    let kind = |layer: usize| config.window(layer).is_some();
    let has_source = |layer| (0..first).any(|other| kind(other) == kind(layer));
    if !(first..config.n_layers).all(has_source) {
        return Err(LoadError::Key(BORROWING, KeyError::OutOfRange));
    }
    let n_ff = keys.of_layer(first).required_count(FF, MAX_WIDTH)?;
    Ok(Some(Borrowing { first, n_ff }))
}

/// That every layer is like the others of its kind.
fn check_layers(keys: &Keys<'_>, config: &Config) -> Result<(), LoadError> {
    let is_each = |key: &'static str, of: &dyn Fn(usize) -> usize| match keys.counts_are(
        key,
        config.n_layers,
        of,
    ) {
        true => Ok(()),
        false => Err(LoadError::Key(key, KeyError::Unsupported)),
    };
    if keys.get(KV_HEADS).is_some() {
        is_each(KV_HEADS, &|layer| config.heads(layer).n_kv_heads)?;
    }
    is_each(FF, &|layer| config.n_ff_of(layer))?;
    is_each("attention.head_count", &|_| config.n_heads)?;
    let divides = |layer| config.n_heads.is_multiple_of(config.heads(layer).n_kv_heads);
    match (0..config.n_layers).all(divides) {
        true => Ok(()),
        false => Err(LoadError::Key(KV_HEADS, KeyError::Unsupported)),
    }
}
