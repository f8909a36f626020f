//! GPT-2 (Radford et al. 2019): LayerNorm, learned positions, one matrix for queries, keys and
//! values, biases everywhere, and a feed-forward network without a gate (GELU's tanh form). The head
//! shares the embedding's weights, or has its own.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind};
use crate::error::LoadError;
use crate::weights::{QKV, QKV_BIAS, Slot};
use mote_kernels::Gate;

pub static GPT2: Architecture = Architecture {
    name: "gpt2",
    config,
    required: &[Slot::QBias, Slot::KBias, Slot::VBias, Slot::OBias, Slot::UpBias, Slot::DownBias],
    optional: &[],
    fused: &[QKV, QKV_BIAS],
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.decoder(NormKind::Layer, None)?;
    config.gate = Gate::GeluTanh;
    config.gated = false;
    config.learned_positions = keys.learned_positions()?;
    Ok(config)
}
