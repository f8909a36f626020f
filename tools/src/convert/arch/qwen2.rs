//! Qwen 2 and 2.5: biases of queries, keys and values.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Embd, Ff, KeyValue, Query};
use super::{Mapping, Rule, Sizes, decoder, tensor};
use crate::convert::keys::{Defaults, Keys, KvHeads};

pub static QWEN2: Mapping = decoder("qwen2", &["Qwen2ForCausalLM"], &["qwen2"], LAYER, describe);

const LAYER: &[Rule] = &[
    tensor("input_layernorm.weight", "attn_norm.weight", &[Embd]),
    tensor("self_attn.q_proj.weight", "attn_q.weight", &[Query, Embd]),
    tensor("self_attn.k_proj.weight", "attn_k.weight", &[KeyValue, Embd]),
    tensor("self_attn.v_proj.weight", "attn_v.weight", &[KeyValue, Embd]),
    tensor("self_attn.q_proj.bias", "attn_q.bias", &[Query]),
    tensor("self_attn.k_proj.bias", "attn_k.bias", &[KeyValue]),
    tensor("self_attn.v_proj.bias", "attn_v.bias", &[KeyValue]),
    tensor("self_attn.o_proj.weight", "attn_output.weight", &[Embd, Query]),
    tensor("post_attention_layernorm.weight", "ffn_norm.weight", &[Embd]),
    tensor("mlp.gate_proj.weight", "ffn_gate.weight", &[Ff, Embd]),
    tensor("mlp.up_proj.weight", "ffn_up.weight", &[Ff, Embd]),
    tensor("mlp.down_proj.weight", "ffn_down.weight", &[Embd, Ff]),
];

const DEFAULTS: Defaults =
    Defaults { kv_heads: KvHeads::Fixed(32), n_ctx: 32_768, ..Defaults::USUAL };

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("hidden_act", &["silu".into()])?;
    let sizes = keys.decoder(config, &DEFAULTS)?;
    keys.no_window(config, &sizes).map(|()| sizes)
}
