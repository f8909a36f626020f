//! StableLM 2: LayerNorm, rotations of a part of each head; perhaps a norm for each head, of queries and
//! keys, and one norm for both branches of a layer.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Embd, Ff, Head, Heads, KeyValue, KvHeads, Query, Vocab};
use super::{HEAD, Mapping, Rule, Sizes, decoder, tensor};
use crate::convert::keys::{self, Defaults, Keys, Norm};

pub static STABLELM: Mapping = Mapping {
    globals: &[
        tensor("embed_tokens.weight", "token_embd.weight", &[Vocab, Embd]),
        tensor("norm.weight", "output_norm.weight", &[Embd]),
        tensor("norm.bias", "output_norm.bias", &[Embd]),
        HEAD,
    ],
    ..decoder("stablelm", CLASSES, &["stablelm"], LAYER, describe)
};

const CLASSES: &[&str] = &["StableLmForCausalLM", "StableLMEpochForCausalLM"];

const LAYER: &[Rule] = &[
    tensor("input_layernorm.weight", "attn_norm.weight", &[Embd]),
    tensor("input_layernorm.bias", "attn_norm.bias", &[Embd]),
    tensor("self_attn.q_proj.weight", "attn_q.weight", &[Query, Embd]),
    tensor("self_attn.k_proj.weight", "attn_k.weight", &[KeyValue, Embd]),
    tensor("self_attn.v_proj.weight", "attn_v.weight", &[KeyValue, Embd]),
    tensor("self_attn.o_proj.weight", "attn_output.weight", &[Embd, Query]),
    tensor("self_attn.q_proj.bias", "attn_q.bias", &[Query]).optional(),
    tensor("self_attn.k_proj.bias", "attn_k.bias", &[KeyValue]).optional(),
    tensor("self_attn.v_proj.bias", "attn_v.bias", &[KeyValue]).optional(),
    tensor("self_attn.q_layernorm.norms.{}.weight", "attn_q_norm.weight", &[Head])
        .stacked(Heads)
        .optional(),
    tensor("self_attn.k_layernorm.norms.{}.weight", "attn_k_norm.weight", &[Head])
        .stacked(KvHeads)
        .optional(),
    tensor("post_attention_layernorm.weight", "ffn_norm.weight", &[Embd]).optional(),
    tensor("post_attention_layernorm.bias", "ffn_norm.bias", &[Embd]).optional(),
    tensor("mlp.gate_proj.weight", "ffn_gate.weight", &[Ff, Embd]),
    tensor("mlp.up_proj.weight", "ffn_up.weight", &[Ff, Embd]),
    tensor("mlp.down_proj.weight", "ffn_down.weight", &[Embd, Ff]),
];

const DEFAULTS: Defaults = Defaults {
    kv_heads: keys::KvHeads::AsHeads,
    n_ctx: 4096,
    epsilon: 1e-5,
    norm: Norm::Layer,
    partial: Some(0.25),
    ..Defaults::USUAL
};

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("hidden_act", &["silu".into()])?;
    let sizes = keys.decoder(config, &DEFAULTS)?;
    let parallel = config.flag("use_parallel_residual")?.unwrap_or(false);
    keys.flag("use_parallel_residual", parallel);
    Ok(sizes)
}
