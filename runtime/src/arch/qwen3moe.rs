//! Qwen 3 with experts (Qwen Team 2025): norms of each head's queries and keys, and a choice of
//! feed-forward networks whose weights sum to one.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind};
use crate::error::LoadError;
use crate::weights::Slot;
use mote_kernels::RopeLayout;

pub static QWEN3MOE: Architecture = Architecture {
    name: "qwen3moe",
    config,
    required: &[Slot::QNorm, Slot::KNorm],
    optional: &[],
    fused: &[],
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    keys.refuse("attention.sliding_window")?;
    let mut config = keys.decoder(NormKind::Rms, Some(RopeLayout::Halves))?;
    config.experts = keys.experts(config.n_ff, true)?;
    if let Some(experts) = &mut config.experts {
        // Layers without experts are those that have none: no key says so.
        experts.dense = keys.layers_without("ffn_gate_inp.weight")?;
    }
    Ok(config)
}
