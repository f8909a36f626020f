//! gpt-oss (OpenAI 2025): attention sinks, every other layer with a sliding window, YaRN, biases
//! everywhere, and experts with a clamped SwiGLU.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind};
use crate::error::LoadError;
use crate::weights::{FFN_NORM, Slot};
use mote_kernels::{Gate, RopeLayout};

pub static GPT_OSS: Architecture = Architecture {
    name: "gpt-oss",
    config,
    required: &[
        Slot::QBias,
        Slot::KBias,
        Slot::VBias,
        Slot::OBias,
        Slot::RouterBias,
        Slot::GateExpertsBias,
        Slot::UpExpertsBias,
        Slot::DownExpertsBias,
    ],
    optional: &[],
    fused: &[FFN_NORM],
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    // OpenAI's configurations say so; llama.cpp's files do not.
    let keys = &keys.untruncated();
    let mut config = keys.decoder(NormKind::Rms, Some(RopeLayout::Halves))?;
    config.gate = Gate::ClampedSwish;
    config.sinks = true;
    config.experts = keys.experts(config.n_ff, true)?;
    config.window = keys.window(config.rope, keys.window_period(2)?)?;
    Ok(config)
}
