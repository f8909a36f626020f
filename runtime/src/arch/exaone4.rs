//! EXAONE 4 (LG AI Research 2025): branches begin without a norm and are normed when they are added; norms
//! of each head's queries and keys. The large model has a sliding window and rotary positions in three
//! of four layers, and neither in the fourth; the small one rotary positions in all of them.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind};
use crate::error::LoadError;
use crate::weights::Slot;
use mote_kernels::RopeLayout;

pub static EXAONE4: Architecture = Architecture {
    name: "exaone4",
    config,
    required: &[Slot::QNorm, Slot::KNorm, Slot::PostAttentionNorm, Slot::PostFfnNorm],
    optional: &[],
    fused: &[],
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.decoder(NormKind::Rms, Some(RopeLayout::Halves))?;
    config.pre_norm = false;
    let period = keys.window_period(4)?;
    config.window = keys.window(config.rope, period)?;
    if config.window.is_some() {
        config.no_rope_period = period;
    }
    Ok(config)
}
