//! Granite 4 (IBM 2025): Granite's multipliers; most layers have selective state spaces in heads in the place of
//! attention, and nothing else may tell positions. Larger ones have experts, and a network for every token.

use super::granite::scaled;
use super::{Architecture, Keys};
use crate::config::Config;
use crate::error::LoadError;
use crate::weights::Slot;

pub static GRANITE_HYBRID: Architecture = Architecture {
    name: "granitehybrid",
    config,
    required: &[],
    optional: &[
        Slot::QBias,
        Slot::KBias,
        Slot::VBias,
        Slot::OBias,
        Slot::MixInBias,
        Slot::ConvolutionBias,
        Slot::MixOutBias,
    ],
    fused: &[],
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = scaled(keys)?;
    config.recurrence = keys.state_heads()?;
    config.experts = keys.experts(config.n_ff, true)?;
    Ok(config)
}
