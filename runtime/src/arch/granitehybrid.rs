//! Granite 4, hybrid and dense (IBM 2025): Granite's multipliers; most layers have selective state spaces in
//! heads in the place of attention, and nothing else may tell positions.

use super::{Architecture, Keys, granite};
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
    keys.refuse("expert_count")?;
    let mut config = granite::scaled(keys)?;
    config.recurrence = keys.state_heads()?;
    Ok(config)
}
