//! Phi 3 and 4, dense (Abdin et al. 2024): a llama with one matrix for queries, keys and values, one
//! for gate and up, rotations of a part of each head, and, in some sizes, a sliding window in every
//! layer. (llama.cpp leaves the window out; Hugging Face does not.) Long contexts: LongRoPE; which of
//! its two lists of factors is for a session is decided by the number of its positions.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind};
use crate::error::LoadError;
use crate::weights::{GATE_UP, QKV};
use mote_kernels::RopeLayout;

pub static PHI3: Architecture =
    Architecture { name: "phi3", config, required: &[], optional: &[], fused: &[QKV, GATE_UP] };

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.decoder(NormKind::Rms, Some(RopeLayout::Halves))?;
    if keys.has_long_rope() {
        config.rope = keys.long_rope(config.rope)?;
    }
    config.window = keys.window(config.rope, usize::MAX)?;
    Ok(config)
}
