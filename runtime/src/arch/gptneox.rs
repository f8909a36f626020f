//! GPT-NeoX, Pythia (Black et al. 2022): LayerNorm, one matrix for queries, keys and values, rotations of a
//! part of each head, biases everywhere, a feed-forward network without a gate; both branches of a layer
//! begin with the same state.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind};
use crate::error::LoadError;
use crate::weights::{QKV, QKV_BIAS, Slot};
use mote_kernels::{Gate, RopeLayout};

pub static GPTNEOX: Architecture = Architecture {
    name: "gptneox",
    config,
    required: &[Slot::FfnNorm, Slot::FfnNormBias, Slot::UpBias, Slot::DownBias],
    optional: &[Slot::QBias, Slot::KBias, Slot::VBias, Slot::OBias],
    fused: &[QKV, QKV_BIAS],
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.decoder(NormKind::Layer, Some(RopeLayout::Halves))?;
    config.gate = Gate::GeluErf;
    config.gated = false;
    config.parallel_residual = keys.flag("use_parallel_residual")?.unwrap_or(true);
    Ok(config)
}
