//! GLM 4 (GLM Team 2025): norms before and after each branch, rotations of a part of each head, gate and up
//! in one matrix, perhaps biases of queries, keys and values.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind};
use crate::error::LoadError;
use crate::weights::{GATE_UP, Slot};
use mote_kernels::RopeLayout;

pub static GLM4: Architecture = Architecture {
    name: "glm4",
    config,
    required: &[Slot::PostAttentionNorm, Slot::PostFfnNorm],
    optional: &[Slot::QBias, Slot::KBias, Slot::VBias],
    fused: &[GATE_UP],
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    keys.decoder(NormKind::Rms, Some(RopeLayout::Interleaved))
}
