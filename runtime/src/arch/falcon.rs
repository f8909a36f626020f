//! Falcon (Almazrouei et al. 2023): LayerNorm, one matrix for queries, keys and values, few key-value heads,
//! a feed-forward network without a gate; both branches of a layer begin with the same state, in the
//! 40B model with a norm each. The first models (falcon-rw) have ALiBi, biases, and one branch after the
//! other, of which GGUF as llama.cpp has it knows nothing: the keys `attention.max_alibi_bias` and
//! `use_parallel_residual` are mote's.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind, Rope};
use crate::error::LoadError;
use crate::weights::{QKV, QKV_BIAS, Slot};
use mote_kernels::{Gate, RopeLayout};

pub static FALCON: Architecture = Architecture {
    name: "falcon",
    config,
    required: &[],
    optional: &[
        Slot::QBias,
        Slot::KBias,
        Slot::VBias,
        Slot::OBias,
        Slot::UpBias,
        Slot::DownBias,
        Slot::AttentionNorm2,
        Slot::AttentionNorm2Bias,
    ],
    fused: &[QKV, QKV_BIAS],
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.decoder(NormKind::Layer, Some(RopeLayout::Halves))?;
    config.gate = Gate::GeluErf;
    config.gated = false;
    config.parallel_residual = keys.flag("use_parallel_residual")?.unwrap_or(true);
    config.alibi_max_bias = keys.float("attention.max_alibi_bias", 0.0..=1e3)?.unwrap_or(0.0);
    if config.alibi_max_bias > 0.0 {
        config.rope = Rope::NONE;
        // The sum of score and slope is what is scaled.
        config.alibi_scale = config.attention_scale;
    }
    Ok(config)
}
