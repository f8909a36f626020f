//! Qwen 2 with experts (Qwen Team 2024): beside those chosen, one for every token, which a score of its
//! own weighs.

use super::{Architecture, Keys};
use crate::config::{Config, Experts, NormKind};
use crate::error::{KeyError, LoadError};
use crate::weights::Slot;
use mote_kernels::RopeLayout;

pub static QWEN2MOE: Architecture = Architecture {
    name: "qwen2moe",
    config,
    required: &[],
    optional: &[Slot::QBias, Slot::KBias, Slot::VBias],
    fused: &[],
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    keys.refuse("attention.sliding_window")?;
    let mut config = keys.decoder(NormKind::Rms, Some(RopeLayout::Halves))?;
    let mut experts = experts(keys, config.n_ff, false)?;
    // Layers without experts are those that have none: no key says so.
    experts.dense = keys.layers_without("ffn_gate_inp.weight")?;
    config.experts = Some(experts);
    Ok(config)
}

/// Experts beside one for every token, which a score of its own weighs.
pub(super) fn experts(
    keys: &Keys<'_>,
    n_ff: usize,
    normalized: bool,
) -> Result<Experts, LoadError> {
    let missing = LoadError::Key("expert_count", KeyError::Missing);
    let mut experts = keys.experts(n_ff, normalized)?.ok_or(missing)?;
    // Old files do not say how wide it is, but it is always there.
    if experts.shared_ff == 0 {
        experts.shared_ff = n_ff;
    }
    experts.shared_gate = true;
    Ok(experts)
}
