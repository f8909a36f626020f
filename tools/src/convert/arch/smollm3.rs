//! SmolLM3: a llama of which every fourth layer has no position embedding.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Embd, Ff, KeyValue, Query};
use super::{Mapping, Rule, Sizes, decoder, tensor};
use crate::convert::keys::{Defaults, Keys, KvHeads};

pub static SMOLLM3: Mapping = Mapping {
    tied: true,
    ..decoder("smollm3", &["SmolLM3ForCausalLM"], &["smollm3"], LAYER, describe)
};

const LAYER: &[Rule] = &[
    tensor("input_layernorm.weight", "attn_norm.weight", &[Embd]),
    tensor("self_attn.q_proj.weight", "attn_q.weight", &[Query, Embd]).interleaved(),
    tensor("self_attn.k_proj.weight", "attn_k.weight", &[KeyValue, Embd]).interleaved(),
    tensor("self_attn.v_proj.weight", "attn_v.weight", &[KeyValue, Embd]),
    tensor("self_attn.o_proj.weight", "attn_output.weight", &[Embd, Query]),
    tensor("self_attn.q_proj.bias", "attn_q.bias", &[Query]).interleaved().optional(),
    tensor("self_attn.k_proj.bias", "attn_k.bias", &[KeyValue]).interleaved().optional(),
    tensor("self_attn.v_proj.bias", "attn_v.bias", &[KeyValue]).optional(),
    tensor("self_attn.o_proj.bias", "attn_output.bias", &[Embd]).optional(),
    tensor("post_attention_layernorm.weight", "ffn_norm.weight", &[Embd]),
    tensor("mlp.gate_proj.weight", "ffn_gate.weight", &[Ff, Embd]),
    tensor("mlp.up_proj.weight", "ffn_up.weight", &[Ff, Embd]),
    tensor("mlp.down_proj.weight", "ffn_down.weight", &[Embd, Ff]),
    tensor("mlp.gate_proj.bias", "ffn_gate.bias", &[Ff]).optional(),
    tensor("mlp.up_proj.bias", "ffn_up.bias", &[Ff]).optional(),
    tensor("mlp.down_proj.bias", "ffn_down.bias", &[Embd]).optional(),
];

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
    let Some(list) = config.get(LIST).and_then(|list| list.as_array()) else {
        return Ok(interval);
    };
    let has = |value: &serde_json::Value| value.as_u64().is_none_or(|n| n != 0);
    let first = list.iter().position(|value| !has(value));
    let period = first.map_or(n_layers + 1, |index| index as u64 + 1);
    let regular = list.iter().zip(1..).all(|(value, layer)| has(value) == (layer % period != 0));
    match list.len() as u64 == n_layers && regular {
        true => Ok(period),
        false => Err(config.unsupported(LIST)),
    }
}
