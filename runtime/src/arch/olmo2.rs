//! OLMo 2 and 3 (OLMo Team 2024, 2025): branches begin without a norm and are normed when they are added;
//! queries and keys are normed as a whole. In OLMo 3 three of four layers have a sliding window.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind, QkNorm};
use crate::error::LoadError;
use crate::weights::Slot;
use mote_kernels::RopeLayout;

pub static OLMO2: Architecture = Architecture {
    name: "olmo2",
    config,
    required: &[Slot::QNorm, Slot::KNorm, Slot::PostAttentionNorm, Slot::PostFfnNorm],
    optional: &[],
    fused: &[],
};

/// Of how many layers the last sees everything, where the file does not say.
const PERIOD: usize = 4;

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.decoder(NormKind::Rms, Some(RopeLayout::Halves))?;
    config.pre_norm = false;
    config.qk_norm = QkNorm::Whole;
    // What stretches the embedding of the layers that see everything leaves the others as they are.
    let base = keys.float("rope.freq_base_swa", 1.0..=1e9)?.map_or(config.rope.base, f64::from);
    config.window = keys.window(config.rope.unstretched(base), keys.window_period(PERIOD)?)?;
    Ok(config)
}
