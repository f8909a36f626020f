//! StarCoder 2: LayerNorm, biases everywhere, a feed-forward network without a gate.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Embd, Ff, KeyValue, Query, Vocab};
use super::{HEAD, Mapping, Rule, Sizes, decoder, tensor};
use crate::convert::keys::{Defaults, Keys, KvHeads, Norm};

pub static STARCODER2: Mapping = Mapping {
    tied: true,
    globals: &[
        tensor("embed_tokens.weight", "token_embd.weight", &[Vocab, Embd]),
        tensor("norm.weight", "output_norm.weight", &[Embd]),
        tensor("norm.bias", "output_norm.bias", &[Embd]),
        HEAD,
    ],
    ..decoder("starcoder2", &["Starcoder2ForCausalLM"], &["starcoder2"], LAYER, describe)
};

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
    tensor("self_attn.o_proj.bias", "attn_output.bias", &[Embd]).optional(),
    tensor("post_attention_layernorm.weight", "ffn_norm.weight", &[Embd]),
    tensor("post_attention_layernorm.bias", "ffn_norm.bias", &[Embd]),
    tensor("mlp.c_fc.weight", "ffn_up.weight", &[Ff, Embd]),
    tensor("mlp.c_fc.bias", "ffn_up.bias", &[Ff]).optional(),
    tensor("mlp.c_proj.weight", "ffn_down.weight", &[Embd, Ff]),
    tensor("mlp.c_proj.bias", "ffn_down.bias", &[Embd]).optional(),
];

const DEFAULTS: Defaults = Defaults {
    kv_heads: KvHeads::Fixed(2),
    n_ctx: 4096,
    epsilon: 1e-5,
    norm: Norm::Layer,
    ..Defaults::USUAL
};

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("hidden_act", &["gelu_pytorch_tanh".into()])?;
    let sizes = keys.decoder(config, &DEFAULTS)?;
    // Beyond the GGUF architecture as llama.cpp knows it, which sees everything.
    if let Some(window) = config.count("sliding_window")?.filter(|window| *window < sizes.n_ctx) {
        keys.count("attention.sliding_window", window);
    }
    Ok(sizes)
}
