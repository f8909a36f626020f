//! Qwen 3.5 with experts (Alibaba 2026): the gated delta rule in three of four layers, experts in all, beside
//! one for every token, which a score of its own weighs.

use super::{Architecture, Keys, qwen2moe, qwen35};
use crate::config::{Config, DeltaLayout};
use crate::error::LoadError;
use crate::weights::Slot;

pub static QWEN35MOE: Architecture = Architecture {
    name: "qwen35moe",
    config,
    required: &[Slot::QNorm, Slot::KNorm],
    optional: &[],
    fused: qwen35::FUSED,
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = qwen35::hybrid(keys, DeltaLayout::Tiled)?;
    config.experts = Some(qwen2moe::experts(keys, config.n_ff, true)?);
    Ok(config)
}
