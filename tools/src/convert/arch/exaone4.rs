//! EXAONE 4: branches begin without a norm; norms of each head's queries and keys; in the large model most
//! layers have a sliding window, and the others no position embedding.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Embd, Ff, Head, KeyValue, Query};
use super::{Mapping, Rule, Sizes, decoder, tensor};
use crate::convert::keys::{Defaults, Keys};

pub static EXAONE4: Mapping =
    decoder("exaone4", &["Exaone4ForCausalLM"], &["exaone4"], LAYER, describe);

const LAYER: &[Rule] = &[
    tensor("self_attn.q_proj.weight", "attn_q.weight", &[Query, Embd]),
    tensor("self_attn.k_proj.weight", "attn_k.weight", &[KeyValue, Embd]),
    tensor("self_attn.v_proj.weight", "attn_v.weight", &[KeyValue, Embd]),
    tensor("self_attn.o_proj.weight", "attn_output.weight", &[Embd, Query]),
    tensor("self_attn.q_norm.weight", "attn_q_norm.weight", &[Head]),
    tensor("self_attn.k_norm.weight", "attn_k_norm.weight", &[Head]),
    tensor("post_attention_layernorm.weight", "post_attention_norm.weight", &[Embd]),
    tensor("mlp.gate_proj.weight", "ffn_gate.weight", &[Ff, Embd]),
    tensor("mlp.up_proj.weight", "ffn_up.weight", &[Ff, Embd]),
    tensor("mlp.down_proj.weight", "ffn_down.weight", &[Embd, Ff]),
    tensor("post_feedforward_layernorm.weight", "post_ffw_norm.weight", &[Embd]),
];

const DEFAULTS: Defaults = Defaults { epsilon: 1e-5, stretched: true, ..Defaults::USUAL };
/// Every fourth layer sees everything.
const PERIOD: u64 = 4;

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("hidden_act", &["silu".into()])?;
    let sizes = keys.decoder(config, &DEFAULTS)?;
    let Some(window) = config.count("sliding_window")? else { return Ok(sizes) };
    // "LLLG" or the number of these letters.
    const PATTERN: &str = "sliding_window_pattern";
    let default = match config.get(PATTERN).and_then(|pattern| pattern.as_str()) {
        None => config.count(PATTERN)?.unwrap_or(PERIOD),
        Some(letters) if letters.trim_start_matches('L') == "G" => letters.len() as u64,
        Some(_) => return Err(config.unsupported(PATTERN)),
    };
    let period = Keys::window_period(config, sizes.n_layers, &[], default)?;
    keys.count("attention.sliding_window", window);
    let windows = (1..=sizes.n_layers).map(|layer| layer % period != 0).collect();
    keys.flags("attention.sliding_window_pattern", windows);
    Ok(sizes)
}
