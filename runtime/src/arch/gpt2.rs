//! GPT-2 (Radford et al. 2019): LayerNorm, learned positions, one matrix for queries, keys and
//! values, biases everywhere, and a feed-forward network without a gate (GELU's tanh form). The head
//! shares the embedding's weights, or has its own.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind};
use crate::error::{KeyError, LoadError};
use crate::weights::{QKV, QKV_BIAS, Slot};
use mote_kernels::Gate;

pub static GPT2: Architecture = Architecture {
    name: "gpt2",
    config,
    required: &[Slot::QBias, Slot::KBias, Slot::VBias, Slot::OBias, Slot::UpBias, Slot::DownBias],
    optional: &[],
    fused: &[QKV, QKV_BIAS],
};

/// Positions that are believed of a file.
const MAX_POSITIONS: usize = 1 << 24;

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.decoder(NormKind::Layer, None)?;
    config.gate = Gate::GeluTanh;
    config.gated = false;
    // Each is a row of a matrix.
    if config.n_ctx_train > MAX_POSITIONS {
        return Err(LoadError::Key("context_length", KeyError::OutOfRange));
    }
    config.learned_positions = config.n_ctx_train;
    Ok(config)
}
