//! BLOOM (BigScience 2022): ALiBi, LayerNorm, one of them behind the embedding, one matrix for queries,
//! keys and values, biases everywhere, a feed-forward network without a gate.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind};
use crate::error::LoadError;
use crate::weights::{QKV, QKV_BIAS, Slot};
use mote_kernels::Gate;

pub static BLOOM: Architecture = Architecture {
    name: "bloom",
    config,
    required: &[Slot::QBias, Slot::KBias, Slot::VBias, Slot::OBias, Slot::UpBias, Slot::DownBias],
    optional: &[],
    fused: &[QKV, QKV_BIAS],
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.decoder(NormKind::Layer, None)?;
    config.gate = Gate::GeluTanh;
    config.gated = false;
    config.embedding_norm = true;
    config.alibi_max_bias = 8.0;
    Ok(config)
}
