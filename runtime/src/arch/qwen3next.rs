//! Qwen 3 Next (Qwen Team 2025): as Qwen 3.5 with experts, which followed it; heads of the gated delta rule lie
//! otherwise in the file.

use super::{Architecture, Keys, qwen2moe, qwen35};
use crate::config::{Config, DeltaLayout};
use crate::error::LoadError;
use crate::weights::Slot;

pub static QWEN3NEXT: Architecture = Architecture {
    name: "qwen3next",
    config,
    required: &[Slot::QNorm, Slot::KNorm],
    optional: &[],
    fused: qwen35::FUSED,
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    // The first files have the matrix as it was in the checkpoint.
    let joined = keys.has_tensor("blk.0.ssm_in.weight");
    let layout = if joined { DeltaLayout::Joined } else { DeltaLayout::Grouped };
    let mut config = qwen35::hybrid(keys, layout)?;
    config.experts = Some(qwen2moe::experts(keys, config.n_ff, true)?);
    Ok(config)
}
