//! Gemma 3, text (Gemma Team 2025): a scaled embedding, norms before and after each branch, norms
//! of queries and keys, GeGLU, and five layers with a sliding window before each that sees
//! everything.

use super::{Architecture, Keys};
use crate::config::{Config, MAX_WIDTH, NormKind, Rope, Window};
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

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.decoder(NormKind::Rms, Some(RopeLayout::Halves))?;
    config.embedding_scale = libm::sqrtf(config.n_embd as f32);
    config.gate = Gate::GeluTanh;
    if config.n_layers == LAYERS_27B {
        config.attention_scale = 1.0 / libm::sqrtf((config.n_embd / config.n_heads) as f32);
    }
    let size = keys.count("attention.sliding_window", usize::MAX)?;
    let period = keys.count("attention.sliding_window_pattern", MAX_WIDTH)?.unwrap_or(6);
    let base = keys.float("rope.freq_base_swa", 1.0..=1e9)?.unwrap_or(10_000.0);
    config.window = size.map(|size| Window {
        size,
        period,
        // Linear scaling stretches the layers that see everything, and only those.
        rope: Rope { base: base.into(), scale: 1.0, ..config.rope },
    });
    Ok(config)
}
