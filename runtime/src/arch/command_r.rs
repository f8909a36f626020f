//! Command R (Cohere 2024): LayerNorm without biases, one for both branches of a layer, which begin with
//! the same state, and a scale of the logits. Command R+ norms each head's queries and keys.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind, QkNorm};
use crate::error::LoadError;
use crate::weights::Slot;
use mote_kernels::RopeLayout;

pub static COMMAND_R: Architecture = Architecture {
    name: "command-r",
    config,
    required: &[],
    optional: &[Slot::QNorm, Slot::KNorm],
    fused: &[],
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.decoder(NormKind::LayerUnbiased, Some(RopeLayout::Interleaved))?;
    config.parallel_residual = true;
    config.qk_norm = QkNorm::EachHead;
    config.logit_scale = keys.required_float("logit_scale", f32::MIN_POSITIVE..=1e6)?;
    Ok(config)
}
