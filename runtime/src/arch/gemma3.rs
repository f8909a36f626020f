//! Gemma 3, text (Gemma Team 2025): a scaled embedding, norms before and after each branch, norms
//! of queries and keys, GeGLU, and five layers with a sliding window before each that sees
//! everything.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind};
use crate::error::LoadError;
use crate::weights::Slot;
use mote_kernels::{Gate, RopeLayout};

pub static GEMMA3: Architecture = Architecture {
    name: "gemma3",
    config,
    required: &[Slot::QNorm, Slot::KNorm, Slot::PostAttentionNorm, Slot::PostFfnNorm],
    optional: &[],
    fused: &[],
};

/// Layers of the one size whose queries are scaled by the width of a head as if the heads shared
/// the residual stream; the files do not say so.
const LAYERS_27B: usize = 62;

/// Of how many layers the last sees everything, where the file does not say.
const PERIOD: usize = 6;

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.decoder(NormKind::Rms, Some(RopeLayout::Halves))?;
    config.embedding_scale = libm::sqrtf(config.n_embd as f32);
    config.gate = Gate::GeluTanh;
    if config.n_layers == LAYERS_27B {
        let width = config.n_embd.checked_div(config.n_heads).unwrap_or(1).max(1);
        config.attention_scale = 1.0 / libm::sqrtf(width as f32);
    }
    let base = keys.float("rope.freq_base_swa", 1.0..=1e9)?.unwrap_or(10_000.0);
    // What stretches the embedding of the layers that see everything leaves the others as they are.
    let rope = config.rope.unstretched(base.into());
    config.window = keys.window(rope, keys.window_period(PERIOD)?)?;
    Ok(config)
}
