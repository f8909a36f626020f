//! StarCoder 2 (Lozhkov et al. 2024): LayerNorm, rotary positions, grouped-query attention, biases
//! everywhere, a feed-forward network without a gate, and perhaps a sliding window in every layer (which
//! llama.cpp leaves out; Hugging Face does not).

use super::{Architecture, Keys};
use crate::config::{Config, NormKind};
use crate::error::LoadError;
use crate::weights::Slot;
use mote_kernels::{Gate, RopeLayout};

pub static STARCODER2: Architecture = Architecture {
    name: "starcoder2",
    config,
    required: &[],
    optional: &[Slot::QBias, Slot::KBias, Slot::VBias, Slot::OBias, Slot::UpBias, Slot::DownBias],
    fused: &[],
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.decoder(NormKind::Layer, Some(RopeLayout::Halves))?;
    config.gate = Gate::GeluTanh;
    config.gated = false;
    config.window = keys.window(config.rope, usize::MAX)?;
    Ok(config)
}
