//! Llama 2 and 3, SmolLM2 and what else is stored as `llama` (Touvron et al. 2023): RMSNorm,
//! rotary positions, grouped-query attention, SwiGLU. Llama 3's stretched frequencies come as the
//! tensor `rope_freqs.weight`; the head may share the embedding's weights; projections may have
//! biases.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind};
use crate::error::LoadError;
use crate::weights::Slot;
use mote_kernels::RopeLayout;

pub static LLAMA: Architecture = Architecture {
    name: "llama",
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

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.decoder(NormKind::Rms, Some(RopeLayout::Interleaved))?;
    // Mixtral is stored under the same name.
    config.experts = keys.experts(config.n_ff, true)?;
    // Mistral's first models: every layer has a window. llama.cpp leaves it out and writes no such key.
    config.window = keys.window(config.rope, usize::MAX)?;
    Ok(config)
}
