//! ModernBERT (Warner et al. 2024), an encoder as later decoders are: norms before the branches (but before the
//! first, behind the embedding's), rotations, GeGLU. Every third layer, the first among them, sees everything,
//! the others a window to both sides. (llama.cpp knows no biases, and takes the tanh form of GELU.)

use super::{Architecture, Keys};
use crate::config::{Config, LayerSet, NormKind};
use crate::error::{KeyError, LoadError};
use crate::weights::{GATE_UP, GATE_UP_BIAS, QKV, QKV_BIAS, Slot};
use mote_kernels::{Gate, RopeLayout};

pub static MODERN_BERT: Architecture = Architecture {
    name: "modern-bert",
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
    fused: &[QKV, QKV_BIAS, GATE_UP, GATE_UP_BIAS],
};

/// Of how many layers the first sees everything, where the file does not say.
const PERIOD: usize = 3;

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let biased = keys.has_tensor("output_norm.bias");
    let norm = if biased { NormKind::Layer } else { NormKind::LayerUnbiased };
    let mut config = keys.decoder(norm, Some(RopeLayout::Halves))?;
    if config.causal {
        return Err(LoadError::Key("attention.causal", KeyError::Unsupported));
    }
    config.embedding_norm = true;
    config.first_norm_missing = true;
    config.gate = gate(keys)?;
    let base = keys.float("rope.freq_base_swa", 1.0..=1e9)?.unwrap_or(10_000.0);
    let rope = config.rope.unstretched(base.into());
    let layers = match keys.windowed(config.n_layers)? {
        Some(layers) => layers,
        None => {
            let period = keys.window_period(PERIOD)?;
            LayerSet::of(config.n_layers, |layer| !layer.is_multiple_of(period))
        }
    };
    config.window = keys.window(rope, PERIOD)?;
    if let Some(window) = &mut config.window {
        // Half of it to either side of a token.
        window.ahead = window.size / 2;
        window.size = 2 * window.ahead + 1;
        window.layers = layers;
        if window.ahead == 0 {
            return Err(LoadError::Key("attention.sliding_window", KeyError::OutOfRange));
        }
    }
    Ok(config)
}

fn gate(keys: &Keys<'_>) -> Result<Gate, LoadError> {
    const KEY: &str = "hidden_activation";
    match keys.text(KEY)? {
        None | Some("gelu") => Ok(Gate::GeluErf),
        Some("silu") => Ok(Gate::Silu),
        Some(_) => Err(LoadError::Key(KEY, KeyError::Unsupported)),
    }
}
