//! Qwen 3 (Qwen Team 2025), dense: RMSNorm, norms of queries and keys, rotary positions,
//! grouped-query attention with heads of any width, SwiGLU. The head may share the embedding's
//! weights; the projections of attention may have biases.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind};
use crate::error::LoadError;
use crate::weights::Slot;
use mote_kernels::RopeLayout;

pub static QWEN3: Architecture = Architecture {
    name: "qwen3",
    config,
    required: &[Slot::QNorm, Slot::KNorm],
    optional: &[Slot::QBias, Slot::KBias, Slot::VBias, Slot::OBias],
    fused: &[],
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    // Only layers above a certain one have the window, and no key says which.
    keys.refuse("attention.sliding_window")?;
    keys.decoder(NormKind::Rms, Some(RopeLayout::Halves))
}
