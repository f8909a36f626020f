//! Granite 3, dense (IBM 2024): a llama with multipliers for the embedding, the scores of attention and
//! what branches add, and a divisor of the logits.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind, Rope};
use crate::error::{KeyError, LoadError};
use crate::weights::Slot;
use mote_kernels::RopeLayout;

pub static GRANITE: Architecture = Architecture {
    name: "granite",
    config,
    required: &[],
    optional: &[
        Slot::QBias,
        Slot::KBias,
        Slot::VBias,
        Slot::OBias,
        Slot::GateBias,
        Slot::UpBias,
        Slot::DownBias,
    ],
    fused: &[],
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    keys.refuse("expert_count")?;
    scaled(keys)
}

/// A llama with the multipliers.
pub(super) fn scaled(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.decoder(NormKind::Rms, Some(RopeLayout::Interleaved))?;
    let scales = f32::MIN_POSITIVE..=1e6;
    config.embedding_scale = keys.float("embedding_scale", scales.clone())?.unwrap_or(1.0);
    config.residual_scale = keys.float("residual_scale", scales.clone())?.unwrap_or(1.0);
    if let Some(scale) = keys.float("attention.scale", scales.clone())? {
        config.attention_scale = scale;
    }
    let divisor = keys.float("logit_scale", scales)?;
    let missing = LoadError::Key("logit_scale", KeyError::Missing);
    config.logit_scale = 1.0 / divisor.ok_or(missing)?;
    // The key has become the switch of the position embedding.
    if keys.flag("rope.scaling.finetuned")? == Some(false) {
        config.rope = Rope::NONE;
    }
    Ok(config)
}
