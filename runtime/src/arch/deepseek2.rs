//! DeepSeek 2 and 3 (DeepSeek-AI 2024): latent attention, experts beside those for every token, chosen
//! among groups of them or not, by softmax or by sigmoid; the first layers have none.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind};
use crate::error::LoadError;
use crate::weights::Slot;
use mote_kernels::RopeLayout;

pub static DEEPSEEK2: Architecture = Architecture {
    name: "deepseek2",
    config,
    required: &[],
    optional: &[Slot::RouterChoice],
    fused: &[],
};

/// Of the norms within attention, whatever the others have.
const EPSILON: f32 = 1e-6;

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    // Scores that depend on the position.
    keys.refuse("attention.temperature_length")?;
    keys.refuse("attention.temperature_scale")?;
    let mut config = keys.decoder(NormKind::Rms, Some(RopeLayout::Interleaved))?;
    config.experts = keys.experts(config.n_ff, false)?;
    keys.latent(config, EPSILON)
}
