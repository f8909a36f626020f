//! OLMoE (Muennighoff et al. 2024): queries and keys normed as a whole, and experts whose weights are
//! their share among all of them.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind, QkNorm};
use crate::error::LoadError;
use crate::weights::Slot;
use mote_kernels::RopeLayout;

pub static OLMOE: Architecture = Architecture {
    name: "olmoe",
    config,
    required: &[Slot::QNorm, Slot::KNorm],
    optional: &[],
    fused: &[],
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.decoder(NormKind::Rms, Some(RopeLayout::Halves))?;
    config.qk_norm = QkNorm::Whole;
    config.qkv_clamp = keys.float("attention.clamp_kqv", 0.0..=1e6)?.unwrap_or(0.0);
    config.experts = keys.experts(config.n_ff, false)?;
    Ok(config)
}
