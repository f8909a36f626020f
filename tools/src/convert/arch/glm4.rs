//! GLM 4: norms before and after each branch, gate and up in one matrix, rotations of a part of each head.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Embd, Ff, GateUp, KeyValue, Query};
use super::{Mapping, Rule, Sizes, decoder, tensor};
use crate::convert::keys::{Defaults, HeadDim, Keys, KvHeads};

pub static GLM4: Mapping = decoder("glm4", &["Glm4ForCausalLM"], &["glm4"], LAYER, describe);

const LAYER: &[Rule] = &[
    tensor("input_layernorm.weight", "attn_norm.weight", &[Embd]),
    tensor("self_attn.q_proj.weight", "attn_q.weight", &[Query, Embd]),
    tensor("self_attn.k_proj.weight", "attn_k.weight", &[KeyValue, Embd]),
    tensor("self_attn.v_proj.weight", "attn_v.weight", &[KeyValue, Embd]),
    tensor("self_attn.o_proj.weight", "attn_output.weight", &[Embd, Query]),
    tensor("self_attn.q_proj.bias", "attn_q.bias", &[Query]).optional(),
    tensor("self_attn.k_proj.bias", "attn_k.bias", &[KeyValue]).optional(),
    tensor("self_attn.v_proj.bias", "attn_v.bias", &[KeyValue]).optional(),
    tensor("post_self_attn_layernorm.weight", "post_attention_norm.weight", &[Embd]),
    tensor("post_attention_layernorm.weight", "ffn_norm.weight", &[Embd]),
    tensor("mlp.gate_up_proj.weight", "ffn_up.weight", &[GateUp, Embd]),
    tensor("mlp.down_proj.weight", "ffn_down.weight", &[Embd, Ff]),
    tensor("post_mlp_layernorm.weight", "post_ffw_norm.weight", &[Embd]),
];

const DEFAULTS: Defaults = Defaults {
    kv_heads: KvHeads::Fixed(2),
    head_dim: HeadDim::Fixed(128),
    n_ctx: 131_072,
    epsilon: 1.562_5e-7,
    partial: Some(0.5),
    ..Defaults::USUAL
};

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("hidden_act", &["silu".into()])?;
    keys.decoder(config, &DEFAULTS)
}
