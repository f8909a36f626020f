//! Nemotron (Parmar et al. 2024): LayerNorm, rotations of a part of each head, a feed-forward network of
//! squared ReLU without a gate.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind};
use crate::error::LoadError;
use crate::weights::Slot;
use mote_kernels::{Gate, RopeLayout};

pub static NEMOTRON: Architecture = Architecture {
    name: "nemotron",
    config,
    required: &[],
    optional: &[Slot::QBias, Slot::KBias, Slot::VBias, Slot::OBias, Slot::UpBias, Slot::DownBias],
    fused: &[],
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.decoder(NormKind::Layer, Some(RopeLayout::Halves))?;
    config.gate = Gate::ReluSquared;
    config.gated = false;
    Ok(config)
}
