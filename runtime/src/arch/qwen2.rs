//! Qwen 2 and 2.5 (Qwen Team 2024): RMSNorm, rotary positions, grouped-query attention with biases
//! of queries, keys and values, SwiGLU. The head may share the embedding's weights.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind};
use crate::error::LoadError;
use crate::weights::Slot;
use mote_kernels::RopeLayout;

pub static QWEN2: Architecture = Architecture {
    name: "qwen2",
    config,
    required: &[Slot::QBias, Slot::KBias, Slot::VBias],
    optional: &[],
    fused: &[],
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    // Only layers above a certain one have the window, and no key says which.
    keys.refuse("attention.sliding_window")?;
    keys.decoder(NormKind::Rms, Some(RopeLayout::Halves))
}
