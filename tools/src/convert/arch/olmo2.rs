//! OLMo 2 and 3: branches begin without a norm and are normed when they are added; queries and keys are
//! normed as a whole. In OLMo 3 most layers have a sliding window.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Embd, Ff, KeyValue, Query};
use super::{Mapping, Rule, Sizes, decoder, tensor};
use crate::convert::keys::{Defaults, Keys};

pub static OLMO2: Mapping = decoder("olmo2", CLASSES, &["olmo2", "olmo3"], LAYER, describe);

const CLASSES: &[&str] = &["Olmo2ForCausalLM", "Olmo3ForCausalLM"];

const LAYER: &[Rule] = &[
    tensor("self_attn.q_proj.weight", "attn_q.weight", &[Query, Embd]),
    tensor("self_attn.k_proj.weight", "attn_k.weight", &[KeyValue, Embd]),
    tensor("self_attn.v_proj.weight", "attn_v.weight", &[KeyValue, Embd]),
    tensor("self_attn.o_proj.weight", "attn_output.weight", &[Embd, Query]),
    tensor("self_attn.q_norm.weight", "attn_q_norm.weight", &[Query]),
    tensor("self_attn.k_norm.weight", "attn_k_norm.weight", &[KeyValue]),
    tensor("post_attention_layernorm.weight", "post_attention_norm.weight", &[Embd]),
    tensor("mlp.gate_proj.weight", "ffn_gate.weight", &[Ff, Embd]),
    tensor("mlp.up_proj.weight", "ffn_up.weight", &[Ff, Embd]),
    tensor("mlp.down_proj.weight", "ffn_down.weight", &[Embd, Ff]),
    tensor("post_feedforward_layernorm.weight", "post_ffw_norm.weight", &[Embd]),
];

const DEFAULTS: Defaults = Defaults { epsilon: 1e-5, ..Defaults::USUAL };
const WINDOW: u64 = 4096;
const PERIOD: u64 = 4;

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("hidden_act", &["silu".into()])?;
    config.expect("attention_bias", &[false.into()])?;
    let sizes = keys.decoder(config, &DEFAULTS)?;
    let newer =
        config.class() == Some("Olmo3ForCausalLM") || config.text("model_type")? == Some("olmo3");
    if newer {
        let period = Keys::window_period(config, sizes.n_layers, &[], PERIOD)?;
        let window = config.count("sliding_window")?.unwrap_or(WINDOW);
        keys.count("attention.sliding_window", window);
        let windows = (1..=sizes.n_layers).map(|layer| layer % period != 0).collect();
        keys.flags("attention.sliding_window_pattern", windows);
    }
    Ok(sizes)
}
