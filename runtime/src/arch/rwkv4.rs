//! RWKV 4 (Peng et al. 2023): averages of values with weights that decay, and networks that see the token
//! before, too.

use mote_kernels::Gate;

use super::{Architecture, Keys};
use crate::config::{Config, LayerSet, MAX_LAYERS, MAX_WIDTH, NormKind, Recurrence};
use crate::error::LoadError;
use crate::weights::{Fused, Slot};

pub static RWKV4: Architecture =
    Architecture { name: "rwkv4", config, required: &[], optional: &[], fused: FUSED };

/// What every RWKV calls otherwise.
pub(super) const FUSED: &[Fused] = &[
    Fused::renamed("attn_norm_2.weight", &[Slot::FfnNorm]),
    Fused::renamed("attn_norm_2.bias", &[Slot::FfnNormBias]),
    Fused::renamed("time_mix_output.weight", &[Slot::MixOut]),
    Fused::renamed("channel_mix_key.weight", &[Slot::Up]),
    Fused::renamed("channel_mix_value.weight", &[Slot::Down]),
];

/// What the norm before the head adds to the variance, whatever the others do.
const OUTPUT_EPSILON: f32 = 1e-5;

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.stack(NormKind::Layer)?;
    let width = config.n_embd;
    let inner = keys.count("wkv.channel_count", MAX_WIDTH)?.unwrap_or(width);
    config.n_ff = keys.required_count("feed_forward_length", MAX_WIDTH)?;
    config.halving_period = keys.count_or_zero("halving_period", MAX_LAYERS)?.unwrap_or(usize::MAX);
    config.output_epsilon = OUTPUT_EPSILON;
    config.embedding_norm = true;
    config.gate = Gate::ReluSquared;
    config.gated = false;
    config.recurrence = Recurrence::Weighted { width, inner };
    config.recurrent = LayerSet::of(config.n_layers, |_| true);
    Ok(config)
}
