//! Granite 3 with experts (Granite Team 2024): the weights of those used are a softmax among themselves,
//! and there may be a network besides for every token.

use super::granite::scaled;
use super::{Architecture, Keys};
use crate::config::Config;
use crate::error::LoadError;
use crate::weights::Slot;

pub static GRANITEMOE: Architecture = Architecture {
    name: "granitemoe",
    config,
    required: &[],
    optional: &[Slot::QBias, Slot::KBias, Slot::VBias, Slot::OBias],
    fused: &[],
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = scaled(keys)?;
    config.experts = keys.experts(config.n_ff, true)?;
    Ok(config)
}
