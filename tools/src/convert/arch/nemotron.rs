//! Nemotron: LayerNorm whose weights are stored without the 1 that is added to them, squared ReLU, rotations
//! of a part of each head.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Embd, Ff, KeyValue, Query, Vocab};
use super::{HEAD, Mapping, Rule, Sizes, decoder, tensor};
use crate::convert::keys::{Defaults, Keys, Norm};

pub static NEMOTRON: Mapping = Mapping {
    globals: &[
        tensor("embed_tokens.weight", "token_embd.weight", &[Vocab, Embd]),
        tensor("norm.weight", "output_norm.weight", &[Embd]).plus_one(),
        tensor("norm.bias", "output_norm.bias", &[Embd]),
        HEAD,
    ],
    ..decoder("nemotron", &["NemotronForCausalLM"], &["nemotron"], LAYER, describe)
};

const LAYER: &[Rule] = &[
    tensor("input_layernorm.weight", "attn_norm.weight", &[Embd]).plus_one(),
    tensor("input_layernorm.bias", "attn_norm.bias", &[Embd]),
    tensor("self_attn.q_proj.weight", "attn_q.weight", &[Query, Embd]),
    tensor("self_attn.k_proj.weight", "attn_k.weight", &[KeyValue, Embd]),
    tensor("self_attn.v_proj.weight", "attn_v.weight", &[KeyValue, Embd]),
    tensor("self_attn.o_proj.weight", "attn_output.weight", &[Embd, Query]),
    tensor("self_attn.q_proj.bias", "attn_q.bias", &[Query]).optional(),
    tensor("self_attn.k_proj.bias", "attn_k.bias", &[KeyValue]).optional(),
    tensor("self_attn.v_proj.bias", "attn_v.bias", &[KeyValue]).optional(),
    tensor("self_attn.o_proj.bias", "attn_output.bias", &[Embd]).optional(),
    tensor("post_attention_layernorm.weight", "ffn_norm.weight", &[Embd]).plus_one(),
    tensor("post_attention_layernorm.bias", "ffn_norm.bias", &[Embd]),
    tensor("mlp.up_proj.weight", "ffn_up.weight", &[Ff, Embd]),
    tensor("mlp.up_proj.bias", "ffn_up.bias", &[Ff]).optional(),
    tensor("mlp.down_proj.weight", "ffn_down.weight", &[Embd, Ff]),
    tensor("mlp.down_proj.bias", "ffn_down.bias", &[Embd]).optional(),
];

const DEFAULTS: Defaults = Defaults {
    n_ctx: 4096,
    epsilon: 1e-5,
    norm: Norm::Layer,
    partial: Some(0.5),
    ..Defaults::USUAL
};

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("hidden_act", &["relu2".into()])?;
    keys.decoder(config, &DEFAULTS)
}
