//! SmolLM3: a llama of which every fourth layer has no position embedding.

use mote_formats::hf::{Config, ConfigError};

use super::llama::LAYER;
use super::{Mapping, Sizes, decoder};
use crate::convert::keys::{Defaults, Keys, KvHeads};

pub static SMOLLM3: Mapping = Mapping {
    tied: true,
    ..decoder("smollm3", &["SmolLM3ForCausalLM"], &["smollm3"], LAYER, describe)
};

const DEFAULTS: Defaults = Defaults {
    kv_heads: KvHeads::Fixed(4),
    n_ctx: 32_768,
    theta: 2_000_000.0,
    stretched: true,
    ..Defaults::USUAL
};

/// Of how many layers the last has no position embedding; a GGUF file need not say so.
const NO_ROPE_PERIOD: u64 = 4;

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("hidden_act", &["silu".into()])?;
    let sizes = keys.decoder(config, &DEFAULTS)?;
    keys.count("vocab_size", sizes.n_vocab);
    keys.count("rope.dimension_count", sizes.head_dim);
    let period = no_rope_period(config, sizes.n_layers)?;
    if period != NO_ROPE_PERIOD {
        // Beyond the GGUF architecture as llama.cpp knows it.
        keys.count("rope.no_rope_layer_interval", period);
    }
    keys.no_window(config, &sizes).map(|()| sizes)
}

/// By the list that says of each layer whether it has a position embedding, or by the interval.
fn no_rope_period(config: &Config, n_layers: u64) -> Result<u64, ConfigError> {
    const LIST: &str = "no_rope_layers";
    let interval = config.count("no_rope_layer_interval")?.unwrap_or(NO_ROPE_PERIOD);
    let Some(value) = config.get(LIST) else { return Ok(interval) };
    let list: Option<Vec<bool>> = value.as_array().and_then(|list| {
        list.iter().map(|has| has.as_u64().filter(|n| *n < 2).map(|n| n == 1)).collect()
    });
    let Some(list) = list else { return Err(config.unsupported(LIST)) };
    let first = list.iter().position(|has| !has);
    let period = first.map_or(n_layers + 1, |index| index as u64 + 1);
    let regular = list.iter().zip(1..).all(|(has, layer)| *has == (layer % period != 0));
    match list.len() as u64 == n_layers && regular {
        true => Ok(period),
        false => Err(config.unsupported(LIST)),
    }
}
