//! Llama 2 and 3, SmolLM2 and what else is stored as `llama` (Touvron et al. 2023): RMSNorm,
//! rotary positions, grouped-query attention, SwiGLU. Llama 3's stretched frequencies come as the
//! tensor `rope_freqs.weight`; the head may share the embedding's weights; projections may have
//! biases.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind, Window};
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
    // Mixtral is stored under the same name.
    keys.refuse("expert_count")?;
    keys.refuse("expert_used_count")?;
    let mut config = keys.decoder(NormKind::Rms, Some(RopeLayout::Interleaved))?;
    // Mistral's first models: every layer has a window. llama.cpp leaves it out and writes no such key.
    let size = keys.count_or_zero("attention.sliding_window", usize::MAX)?;
    let rope = config.rope;
    config.window = size.map(|size| Window { size, period: usize::MAX, rope });
    Ok(config)
}
