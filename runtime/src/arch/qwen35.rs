//! Qwen 3.5 (Alibaba 2026): three of four layers have the gated delta rule in the place of attention; those
//! that attend norm each head of queries and keys, and multiply what they find by a gate.

use super::{Architecture, Keys};
use crate::config::{Config, DeltaLayout, MAX_LAYERS, NormKind};
use crate::error::{KeyError, LoadError};
use crate::weights::{FFN_NORM, Fused, Slot};
use mote_kernels::RopeLayout;

pub static QWEN35: Architecture = Architecture {
    name: "qwen35",
    config,
    required: &[Slot::QNorm, Slot::KNorm],
    optional: &[],
    fused: FUSED,
};

/// What bears other names than elsewhere.
pub(super) const FUSED: &[Fused] = &[FFN_NORM, Fused::renamed("attn_qkv.weight", &[Slot::MixIn])];

/// Of how many layers the last attends, where the file does not say.
const PERIOD: usize = 4;

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    hybrid(keys, DeltaLayout::Tiled)
}

/// Such a decoder, without experts.
pub(super) fn hybrid(keys: &Keys<'_>, layout: DeltaLayout) -> Result<Config, LoadError> {
    let mut config = keys.decoder(NormKind::Rms, Some(RopeLayout::Halves))?;
    // Layers that guess further tokens come last; they are not run.
    const MORE: &str = "nextn_predict_layers";
    let more = keys.count_or_zero(MORE, MAX_LAYERS)?.unwrap_or(0);
    let own = config.n_layers.checked_sub(more).filter(|&own| own > 0);
    config.n_layers = own.ok_or(LoadError::Key(MORE, KeyError::OutOfRange))?;
    config.recurrent = keys.recurrent_layers(config.n_layers, PERIOD)?;
    config.recurrence = keys.delta(layout)?;
    config.attention_gate = true;
    Ok(config)
}
