//! BERT (Devlin et al. 2019), an encoder: LayerNorm behind every branch and behind the embedding, learned
//! positions, segments, of which a text is one, biases everywhere. RoBERTa (Liu et al. 2019) and DistilBERT
//! (Sanh et al. 2019) are the same. What predicted masked words in training is not part of it.

use super::{Architecture, Keys};
use crate::config::{Config, NormKind};
use crate::error::{KeyError, LoadError};
use crate::weights::{QKV, QKV_BIAS, Slot};
use mote_kernels::Gate;

pub static BERT: Architecture = Architecture {
    name: "bert",
    config,
    required: &[],
    optional: &[Slot::QBias, Slot::KBias, Slot::VBias, Slot::OBias, Slot::UpBias, Slot::DownBias],
    fused: &[QKV, QKV_BIAS],
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let mut config = keys.decoder(NormKind::Layer, None)?;
    if config.causal {
        return Err(LoadError::Key("attention.causal", KeyError::Unsupported));
    }
    config.pre_norm = false;
    config.residual_norm = true;
    config.embedding_norm = true;
    config.gate = Gate::GeluErf;
    config.gated = false;
    config.learned_positions = keys.learned_positions()?;
    config.token_types = keys.token_types();
    Ok(config)
}
