//! Phi 3 and 4, dense (Abdin et al. 2024): a llama with one matrix for queries, keys and values, one
//! for gate and up, rotations of a part of each head, and, in some sizes, a sliding window in every
//! layer. (llama.cpp leaves the window out; Hugging Face does not.)

use super::{Architecture, Keys};
use crate::config::{Config, NormKind, Window};
use crate::error::LoadError;
use crate::weights::{GATE_UP, QKV};
use mote_kernels::RopeLayout;

pub static PHI3: Architecture =
    Architecture { name: "phi3", config, required: &[], optional: &[], fused: &[QKV, GATE_UP] };

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    // LongRoPE (Ding et al. 2024).
    keys.refuse_tensor("rope_factors_long.weight")?;
    keys.refuse_tensor("rope_factors_short.weight")?;
    let mut config = keys.decoder(NormKind::Rms, Some(RopeLayout::Halves))?;
    let size = keys.count_or_zero("attention.sliding_window", usize::MAX)?;
    let rope = config.rope;
    config.window = size.map(|size| Window { size, period: usize::MAX, rope });
    Ok(config)
}
