//! Gemma 2 (Gemma Team 2024): a scaled embedding, norms before and after each branch, GeGLU, scores and
//! logits bounded by a tanh, and every other layer with a sliding window.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind};
use crate::error::LoadError;
use crate::weights::Slot;
use mote_kernels::{Gate, RopeLayout};

pub static GEMMA2: Architecture = Architecture {
    name: "gemma2",
    config,
    required: &[Slot::PostAttentionNorm, Slot::PostFfnNorm],
    optional: &[],
    fused: &[],
};

/// Layers of the one size whose queries are scaled by the width of a head as if the heads shared
/// the residual stream, where the file does not say.
const LAYERS_27B: usize = 46;

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.decoder(NormKind::Rms, Some(RopeLayout::Halves))?;
    config.embedding_scale = libm::sqrtf(config.n_embd as f32);
    config.gate = Gate::GeluTanh;
    if config.n_layers == LAYERS_27B {
        let width = config.n_embd.checked_div(config.n_heads).unwrap_or(1).max(1);
        config.attention_scale = 1.0 / libm::sqrtf(width as f32);
    }
    if let Some(scale) = keys.float("attention.scale", f32::MIN_POSITIVE..=1e6)? {
        config.attention_scale = scale;
    }
    let caps = f32::MIN_POSITIVE..=1e6;
    config.attention_softcap = keys.float("attn_logit_softcapping", caps.clone())?.unwrap_or(50.0);
    config.logit_softcap = keys.float("final_logit_softcapping", caps)?.unwrap_or(30.0);
    config.window = keys.window(config.rope, keys.window_period(2)?)?;
    Ok(config)
}
