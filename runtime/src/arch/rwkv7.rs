//! RWKV 7 (Peng et al. 2025): a delta rule with rates for each dimension, and networks that see the token
//! before, too.

use mote_kernels::Gate;

use super::rwkv4::FUSED;
use super::{Architecture, Keys};
use crate::config::{Config, LayerSet, MAX_STATE, MAX_WIDTH, NormKind, Ranks, Recurrence};
use crate::error::{KeyError, LoadError};

pub static RWKV7: Architecture =
    Architecture { name: "rwkv7", config, required: &[], optional: &[], fused: FUSED };

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    const HEAD: &str = "wkv.head_size";
    const SHIFTS: &str = "token_shift_count";
    let mut config = keys.stack(NormKind::Layer)?;
    let width = config.n_embd;
    let head_dim = keys.required_count(HEAD, width)?;
    if !width.is_multiple_of(head_dim) || width.saturating_mul(head_dim) > MAX_STATE {
        return Err(LoadError::Key(HEAD, KeyError::OutOfRange));
    }
    // One of each branch.
    if keys.count(SHIFTS, MAX_WIDTH)?.is_some_and(|shifts| shifts != 2) {
        return Err(LoadError::Key(SHIFTS, KeyError::Unsupported));
    }
    keys.refuse("rescale_every_n_layers")?;
    let ranks = Ranks {
        decay: keys.required_count("attention.decay_lora_rank", MAX_WIDTH)?,
        learning: keys.required_count("attention.iclr_lora_rank", MAX_WIDTH)?,
        mixing: keys.required_count("attention.value_residual_mix_lora_rank", MAX_WIDTH)?,
        gate: keys.required_count("attention.gate_lora_rank", MAX_WIDTH)?,
    };
    config.n_ff = keys.required_count("feed_forward_length", MAX_WIDTH)?;
    config.embedding_norm = true;
    config.gate = Gate::ReluSquared;
    config.gated = false;
    config.recurrence = Recurrence::Dimensions { width, head_dim, ranks };
    config.recurrent = LayerSet::of(config.n_layers, |_| true);
    Ok(config)
}
