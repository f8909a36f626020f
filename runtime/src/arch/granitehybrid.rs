//! Granite 4, hybrid and dense (IBM 2025): Granite's multipliers; most layers have selective state spaces in
//! heads in the place of attention, and nothing else may tell positions.

use super::{Architecture, Keys, granite};
use crate::config::{Config, NormKind};
use crate::error::LoadError;
use crate::weights::Slot;
use mote_kernels::RopeLayout;

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
    let mut config = keys.decoder(NormKind::Rms, Some(RopeLayout::Interleaved))?;
    keys.refuse("expert_count")?;
    config.recurrence = keys.state_heads()?;
    granite::multipliers(keys, &mut config)?;
    Ok(config)
}
