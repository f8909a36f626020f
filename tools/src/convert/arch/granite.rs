//! Granite 3, dense: a llama with multipliers for the embedding, the scores of attention and what branches
//! add, and a divisor of the logits.

use mote_formats::hf::{Config, ConfigError};

use super::llama::LAYER;
use super::{Mapping, Sizes, decoder};
use crate::convert::keys::{Defaults, Keys};

pub static GRANITE: Mapping =
    decoder("granite", &["GraniteForCausalLM"], &["granite"], LAYER, describe);

const DEFAULTS: Defaults = Defaults { stretched: true, ..Defaults::USUAL };

pub(super) fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("hidden_act", &["silu".into()])?;
    let sizes = keys.decoder(config, &DEFAULTS)?;
    keys.count("vocab_size", sizes.n_vocab);
    keys.count("rope.dimension_count", sizes.head_dim);
    let scales = [
        ("attention_multiplier", "attention.scale"),
        ("embedding_multiplier", "embedding_scale"),
        ("residual_multiplier", "residual_scale"),
        ("logits_scaling", "logit_scale"),
    ];
    for (from, to) in scales {
        keys.float(to, config.float(from, 1e-6..=1e6)?.unwrap_or(1.0));
    }
    Ok(sizes)
}
