//! SmolLM3 (Hugging Face 2025): a llama of which every fourth layer has no position embedding.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind};
use crate::error::LoadError;
use crate::weights::Slot;
use mote_kernels::RopeLayout;

pub static SMOLLM3: Architecture = Architecture {
    name: "smollm3",
    config,
    required: &[],
    optional: &[
        Slot::QBias,
        Slot::KBias,
        Slot::VBias,
        Slot::OBias,
        Slot::GateBias,
        Slot::UpBias,
        Slot::DownBias,
    ],
    fused: &[],
};

/// Of how many layers the last has no position embedding, where the file does not say.
const NO_ROPE_PERIOD: usize = 4;

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.decoder(NormKind::Rms, Some(RopeLayout::Interleaved))?;
    let period = keys.count("rope.no_rope_layer_interval", usize::MAX)?;
    config.no_rope_period = period.unwrap_or(NO_ROPE_PERIOD);
    config.window = keys.window(config.rope, usize::MAX)?;
    Ok(config)
}
