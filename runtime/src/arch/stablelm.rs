//! StableLM 2 (Bellagente et al. 2024): LayerNorm, rotations of a part of each head, SwiGLU, perhaps biases
//! of queries, keys and values. The 12B model has norms for each head's queries and keys, and both
//! branches of a layer begin with the same state.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind, QkNorm};
use crate::error::LoadError;
use crate::weights::Slot;
use mote_kernels::RopeLayout;

pub static STABLELM: Architecture = Architecture {
    name: "stablelm",
    config,
    required: &[],
    optional: &[Slot::QBias, Slot::KBias, Slot::VBias, Slot::QNorm, Slot::KNorm],
    fused: &[],
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.decoder(NormKind::Layer, Some(RopeLayout::Halves))?;
    config.qk_norm = QkNorm::EachHead;
    // The key is written for every model, whatever it does; a second norm says that it has none.
    let parallel = keys.flag("use_parallel_residual")?.unwrap_or(false);
    config.parallel_residual = parallel && !keys.has_tensor("blk.0.ffn_norm.weight");
    Ok(config)
}
