//! Mamba 2 (Dao and Gu 2024): selective state spaces in heads, and nothing else.

use super::{Architecture, Keys};
use crate::config::{Config, LayerSet, NormKind};
use crate::error::LoadError;
use crate::weights::Slot;

pub static MAMBA2: Architecture = Architecture {
    name: "mamba2",
    config,
    required: &[],
    optional: &[Slot::MixInBias, Slot::ConvolutionBias, Slot::MixOutBias],
    fused: &[],
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.stack(NormKind::Rms)?;
    config.recurrence = keys.state_heads()?;
    config.recurrent = LayerSet::of(config.n_layers, |_| true);
    Ok(config)
}
