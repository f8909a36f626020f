//! BLOOM: queries, keys and values of one head after the other in one matrix, a norm behind the
//! embedding.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Embd, Ff, Query, QueryKeyValue, Vocab};
use super::{HEAD, Mapping, Rule, Sizes, Transform, decoder, tensor};
use crate::convert::keys::{Defaults, Keys, KvHeads, Norm};

pub static BLOOM: Mapping = Mapping {
    tied: true,
    globals: &[
        tensor("word_embeddings.weight", "token_embd.weight", &[Vocab, Embd]),
        tensor("word_embeddings_layernorm.weight", "token_embd_norm.weight", &[Embd]),
        tensor("word_embeddings_layernorm.bias", "token_embd_norm.bias", &[Embd]),
        tensor("ln_f.weight", "output_norm.weight", &[Embd]),
        tensor("ln_f.bias", "output_norm.bias", &[Embd]),
        HEAD,
    ],
    layers: "h",
    ..decoder("bloom", &["BloomForCausalLM"], &["bloom"], LAYER, describe)
};

const LAYER: &[Rule] = &[
    tensor("input_layernorm.weight", "attn_norm.weight", &[Embd]),
    tensor("input_layernorm.bias", "attn_norm.bias", &[Embd]),
    tensor("self_attention.query_key_value.weight", "attn_qkv.weight", &[QueryKeyValue, Embd])
        .transform(Transform::Ungroup),
    tensor("self_attention.query_key_value.bias", "attn_qkv.bias", &[QueryKeyValue])
        .transform(Transform::Ungroup),
    tensor("self_attention.dense.weight", "attn_output.weight", &[Embd, Query]),
    tensor("self_attention.dense.bias", "attn_output.bias", &[Embd]),
    tensor("post_attention_layernorm.weight", "ffn_norm.weight", &[Embd]),
    tensor("post_attention_layernorm.bias", "ffn_norm.bias", &[Embd]),
    tensor("mlp.dense_h_to_4h.weight", "ffn_up.weight", &[Ff, Embd]),
    tensor("mlp.dense_h_to_4h.bias", "ffn_up.bias", &[Ff]),
    tensor("mlp.dense_4h_to_h.weight", "ffn_down.weight", &[Embd, Ff]),
    tensor("mlp.dense_4h_to_h.bias", "ffn_down.bias", &[Embd]),
];

const DEFAULTS: Defaults = Defaults {
    kv_heads: KvHeads::Always,
    epsilon: 1e-5,
    norm: Norm::Layer,
    ff_factor: Some(4),
    ..Defaults::USUAL
};

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("apply_residual_connection_post_layernorm", &[false.into()])?;
    keys.decoder(config, &DEFAULTS)
}
