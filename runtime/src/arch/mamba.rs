//! Mamba (Gu and Dao 2023): selective state spaces, and nothing else. Falcon Mamba norms what is selected.

use super::{Architecture, Keys};
use crate::config::{Config, LayerSet, MAX_STATE, MAX_TAPS, MAX_WIDTH, NormKind, Recurrence};
use crate::error::{KeyError, LoadError};
use crate::weights::Slot;

pub static MAMBA: Architecture = Architecture {
    name: "mamba",
    config,
    required: &[],
    optional: &[Slot::MixInBias, Slot::ConvolutionBias, Slot::MixOutBias],
    fused: &[],
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.stack(NormKind::Rms)?;
    let inner = keys.required_count("ssm.inner_size", MAX_WIDTH / 2)?;
    let state = keys.required_count("ssm.state_size", MAX_WIDTH / 4)?;
    let rank = keys.required_count("ssm.time_step_rank", MAX_WIDTH / 4)?;
    let taps = keys.required_count("ssm.conv_kernel", MAX_TAPS)?;
    if inner * state > MAX_STATE {
        return Err(LoadError::Key("ssm.state_size", KeyError::OutOfRange));
    }
    // The second key is beyond the GGUF architecture as llama.cpp knows it.
    let epsilon = match keys.flag("ssm.dt_b_c_rms")? {
        Some(true) => {
            let range = f32::MIN_POSITIVE..=0.999;
            keys.float("ssm.dt_b_c_rms_epsilon", range)?.unwrap_or(1e-6)
        }
        _ => 0.0,
    };
    let norm_epsilon = epsilon.to_bits();
    config.recurrence = Recurrence::Selective { taps, inner, state, rank, norm_epsilon };
    config.recurrent = LayerSet::of(config.n_layers, |_| true);
    Ok(config)
}
