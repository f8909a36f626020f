//! Gemma (Gemma Team 2024): a scaled embedding, heads that are wider than the residual stream's share,
//! GeGLU.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind};
use crate::error::LoadError;
use mote_kernels::{Gate, RopeLayout};

pub static GEMMA: Architecture =
    Architecture { name: "gemma", config, required: &[], optional: &[], fused: &[] };

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.decoder(NormKind::Rms, Some(RopeLayout::Halves))?;
    config.embedding_scale = libm::sqrtf(config.n_embd as f32);
    config.gate = Gate::GeluTanh;
    Ok(config)
}
