//! Falcon: for each key-value head its queries, its key and its value in one matrix.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Embd, Ff, Query, QueryKeyValue, Vocab};
use super::{HEAD, Mapping, Rule, Sizes, Transform, decoder, tensor};
use crate::convert::keys::{Defaults, Keys, KvHeads, Norm};

pub static FALCON: Mapping = Mapping {
    tied: true,
    globals: &[
        tensor("word_embeddings.weight", "token_embd.weight", &[Vocab, Embd]),
        tensor("ln_f.weight", "output_norm.weight", &[Embd]),
        tensor("ln_f.bias", "output_norm.bias", &[Embd]),
        HEAD,
    ],
    layers: "h",
    ..decoder("falcon", CLASSES, &["falcon", "RefinedWeb", "RefinedWebModel"], LAYER, describe)
};

const CLASSES: &[&str] = &["FalconForCausalLM", "RWForCausalLM"];

const LAYER: &[Rule] = &[
    tensor("input_layernorm.weight", "attn_norm.weight", &[Embd]).optional(),
    tensor("input_layernorm.bias", "attn_norm.bias", &[Embd]).optional(),
    tensor("ln_mlp.weight", "attn_norm.weight", &[Embd]).optional(),
    tensor("ln_mlp.bias", "attn_norm.bias", &[Embd]).optional(),
    tensor("ln_attn.weight", "attn_norm_2.weight", &[Embd]).optional(),
    tensor("ln_attn.bias", "attn_norm_2.bias", &[Embd]).optional(),
    tensor("post_attention_layernorm.weight", "ffn_norm.weight", &[Embd]).optional(),
    tensor("post_attention_layernorm.bias", "ffn_norm.bias", &[Embd]).optional(),
    tensor("self_attention.query_key_value.weight", "attn_qkv.weight", &[QueryKeyValue, Embd])
        .transform(Transform::Ungroup),
    tensor("self_attention.query_key_value.bias", "attn_qkv.bias", &[QueryKeyValue])
        .transform(Transform::Ungroup)
        .optional(),
    tensor("self_attention.dense.weight", "attn_output.weight", &[Embd, Query]),
    tensor("self_attention.dense.bias", "attn_output.bias", &[Embd]).optional(),
    tensor("mlp.dense_h_to_4h.weight", "ffn_up.weight", &[Ff, Embd]),
    tensor("mlp.dense_h_to_4h.bias", "ffn_up.bias", &[Ff]).optional(),
    tensor("mlp.dense_4h_to_h.weight", "ffn_down.weight", &[Embd, Ff]),
    tensor("mlp.dense_4h_to_h.bias", "ffn_down.bias", &[Embd]).optional(),
];

const DEFAULTS: Defaults = Defaults {
    n_ctx: 2048,
    epsilon: 1e-5,
    norm: Norm::Layer,
    ff_factor: Some(4),
    ..Defaults::USUAL
};

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("activation", &["gelu".into()])?;
    let newer = config.flag("new_decoder_architecture")?.unwrap_or(false);
    let shared = config.flag("multi_query")?.unwrap_or(true);
    // What a configuration says of key-value heads is true of the newer models alone.
    let kv_heads = match (newer, shared) {
        (true, _) => {
            let n = config.count_of(&["num_kv_heads", "n_head_kv"])?;
            n.map_or(KvHeads::Always, KvHeads::Exactly)
        }
        (false, true) => KvHeads::Exactly(1),
        (false, false) => KvHeads::Always,
    };
    let sizes = keys.decoder(config, &Defaults { kv_heads, ..DEFAULTS })?;
    keys.text("tensor_data_layout", "jploski");
    // Beyond the GGUF architecture as llama.cpp knows it.
    if config.flag("alibi")?.unwrap_or(false) {
        keys.float("attention.max_alibi_bias", 8.0);
    }
    if !newer && !config.flag("parallel_attn")?.unwrap_or(true) {
        keys.flag("use_parallel_residual", false);
    }
    Ok(sizes)
}
