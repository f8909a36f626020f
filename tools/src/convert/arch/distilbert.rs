//! DistilBERT: a BERT without kinds of segments, under other names.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Context, Embd, Ff, KeyValue, Query};
use super::bert::{BERT, NORM, NORM_BIAS, WORDS};
use super::{Mapping, Rule, Sizes, tensor};
use crate::convert::keys::Keys;

pub static DISTILBERT: Mapping = Mapping {
    globals: &[
        tensor("embeddings.position_embeddings.weight", "position_embd.weight", &[Context, Embd]),
        WORDS,
        NORM,
        NORM_BIAS,
    ],
    layers: "layer",
    layer: LAYER,
    prefixes: &["distilbert.transformer.", "distilbert."],
    classes: &["DistilBertModel", "DistilBertForMaskedLM"],
    models: &["distilbert"],
    describe,
    other_parts: &["vocab_"],
    ..BERT
};

const LAYER: &[Rule] = &[
    tensor("attention.q_lin.weight", "attn_q.weight", &[Query, Embd]),
    tensor("attention.k_lin.weight", "attn_k.weight", &[KeyValue, Embd]),
    tensor("attention.v_lin.weight", "attn_v.weight", &[KeyValue, Embd]),
    tensor("attention.q_lin.bias", "attn_q.bias", &[Query]),
    tensor("attention.k_lin.bias", "attn_k.bias", &[KeyValue]),
    tensor("attention.v_lin.bias", "attn_v.bias", &[KeyValue]),
    tensor("attention.out_lin.weight", "attn_output.weight", &[Embd, Query]),
    tensor("attention.out_lin.bias", "attn_output.bias", &[Embd]),
    tensor("sa_layer_norm.weight", "attn_output_norm.weight", &[Embd]),
    tensor("sa_layer_norm.bias", "attn_output_norm.bias", &[Embd]),
    tensor("ffn.lin1.weight", "ffn_up.weight", &[Ff, Embd]),
    tensor("ffn.lin1.bias", "ffn_up.bias", &[Ff]),
    tensor("ffn.lin2.weight", "ffn_down.weight", &[Embd, Ff]),
    tensor("ffn.lin2.bias", "ffn_down.bias", &[Embd]),
    tensor("output_layer_norm.weight", "layer_output_norm.weight", &[Embd]),
    tensor("output_layer_norm.bias", "layer_output_norm.bias", &[Embd]),
];

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("activation", &["gelu".into()])?;
    let (n_embd, n_heads) = (config.required("dim")?, config.required("n_heads")?);
    if !n_embd.is_multiple_of(n_heads) {
        return Err(config.out_of_range("n_heads", "must divide dim"));
    }
    let sizes = Sizes {
        n_layers: Keys::layers(config, config.required("n_layers")?)?,
        n_embd,
        n_heads,
        n_kv_heads: n_heads,
        head_dim: n_embd / n_heads,
        n_ff: config.required("hidden_dim")?,
        n_vocab: config.required("vocab_size")?,
        n_ctx: config.count("max_position_embeddings")?.unwrap_or(512),
        ..Sizes::default()
    };
    Keys::check_widths(config, &[("dim", n_embd), ("hidden_dim", sizes.n_ff)])?;
    keys.encoder(&sizes, 1e-12);
    Ok(sizes)
}
