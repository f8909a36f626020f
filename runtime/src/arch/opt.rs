//! OPT (Zhang et al. 2022): LayerNorm, learned positions, biases everywhere, a feed-forward network of ReLU
//! without a gate. llama.cpp has no such architecture; names and keys are those of `gpt2`, with
//! separate queries, keys and values.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind};
use crate::error::LoadError;
use crate::weights::Slot;
use mote_kernels::Gate;

pub static OPT: Architecture = Architecture {
    name: "opt",
    config,
    required: &[],
    optional: &[Slot::QBias, Slot::KBias, Slot::VBias, Slot::OBias, Slot::UpBias, Slot::DownBias],
    fused: &[],
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.decoder(NormKind::Layer, None)?;
    config.gate = Gate::Relu;
    config.gated = false;
    config.learned_positions = keys.learned_positions()?;
    Ok(config)
}
