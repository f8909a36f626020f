//! MPT (MosaicML 2023): ALiBi, LayerNorm without biases, one matrix for queries, keys and values, a
//! feed-forward network without a gate.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind};
use crate::error::{KeyError, LoadError};
use crate::weights::QKV;
use mote_kernels::Gate;

pub static MPT: Architecture =
    Architecture { name: "mpt", config, required: &[], optional: &[], fused: &[QKV] };

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.decoder(NormKind::LayerUnbiased, None)?;
    config.gate = Gate::GeluErf;
    config.gated = false;
    config.qkv_clamp = keys.float("attention.clamp_kqv", 0.0..=1e6)?.unwrap_or(0.0);
    const BIAS: &str = "attention.max_alibi_bias";
    config.alibi_max_bias = keys.float(BIAS, 0.0..=1e3)?.unwrap_or(0.0);
    // Without it positions are learned.
    match config.alibi_max_bias > 0.0 {
        true => Ok(config),
        false => Err(LoadError::Key(BIAS, KeyError::Unsupported)),
    }
}
