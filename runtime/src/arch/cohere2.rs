//! Command R7B (Cohere 2024): LayerNorm without biases, one for both branches of a layer, which begin with
//! the same state, and a scale of the logits. Every fourth layer sees everything and has no position
//! embedding; the others have a sliding window and rotary positions.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind};
use crate::error::LoadError;
use mote_kernels::RopeLayout;

pub static COHERE2: Architecture =
    Architecture { name: "cohere2", config, required: &[], optional: &[], fused: &[] };

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.decoder(NormKind::LayerUnbiased, Some(RopeLayout::Interleaved))?;
    config.parallel_residual = true;
    config.logit_scale = keys.required_float("logit_scale", f32::MIN_POSITIVE..=1e6)?;
    let period = keys.window_period(4)?;
    config.window = keys.window(config.rope, period)?;
    config.no_rope_period = period;
    Ok(config)
}
