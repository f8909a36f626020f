//! GPT-NeoX, Pythia: queries, keys and values of one head after the other in one matrix, rotations of a
//! part of each head.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Embd, Ff, Query, QueryKeyValue, Vocab};
use super::{Mapping, Rule, Sizes, Transform, decoder, tensor};
use crate::convert::keys::{Defaults, Keys, KvHeads, Norm};

pub static GPTNEOX: Mapping = Mapping {
    globals: &[
        tensor("embed_in.weight", "token_embd.weight", &[Vocab, Embd]),
        tensor("final_layer_norm.weight", "output_norm.weight", &[Embd]),
        tensor("final_layer_norm.bias", "output_norm.bias", &[Embd]),
        tensor("embed_out.weight", "output.weight", &[Vocab, Embd]).optional(),
    ],
    ignored: &[".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq"],
    ..decoder("gptneox", &["GPTNeoXForCausalLM"], &["gpt_neox"], LAYER, describe)
};

const LAYER: &[Rule] = &[
    tensor("input_layernorm.weight", "attn_norm.weight", &[Embd]),
    tensor("input_layernorm.bias", "attn_norm.bias", &[Embd]),
    tensor("attention.query_key_value.weight", "attn_qkv.weight", &[QueryKeyValue, Embd])
        .transform(Transform::Ungroup),
    tensor("attention.query_key_value.bias", "attn_qkv.bias", &[QueryKeyValue])
        .transform(Transform::Ungroup)
        .optional(),
    tensor("attention.dense.weight", "attn_output.weight", &[Embd, Query]),
    tensor("attention.dense.bias", "attn_output.bias", &[Embd]).optional(),
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
    partial: Some(0.25),
    ..Defaults::USUAL
};

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("hidden_act", &["gelu".into()])?;
    let sizes = keys.decoder(config, &DEFAULTS)?;
    let parallel = config.flag("use_parallel_residual")?.unwrap_or(true);
    keys.flag("use_parallel_residual", parallel);
    Ok(sizes)
}
