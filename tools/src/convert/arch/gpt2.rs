//! GPT-2: learned positions, LayerNorm, biases everywhere, queries, keys and values in one matrix,
//! and matrices stored [inputs, outputs].

use mote_formats::hf::{Config, ConfigError};
use serde_json::Value;

use super::Width::{Context, Embd, Ff, QueryKeyValue, Vocab};
use super::{HEAD, Mapping, Rule, Sizes, tensor};
use crate::convert::keys::{EPSILONS, Keys};

pub static GPT2: Mapping = Mapping {
    name: "gpt2",
    classes: &["GPT2LMHeadModel"],
    models: &["gpt2"],
    tied: true,
    describe,
    globals: &[
        tensor("wte.weight", "token_embd.weight", &[Vocab, Embd]),
        tensor("wpe.weight", "position_embd.weight", &[Context, Embd]),
        tensor("ln_f.weight", "output_norm.weight", &[Embd]),
        tensor("ln_f.bias", "output_norm.bias", &[Embd]),
        HEAD,
    ],
    layers: "h",
    layer: LAYER,
    prefixes: &[],
    // The causal mask.
    ignored: &[".attn.bias", ".attn.masked_bias"],
    other_parts: &[],
};

const LAYER: &[Rule] = &[
    tensor("ln_1.weight", "attn_norm.weight", &[Embd]),
    tensor("ln_1.bias", "attn_norm.bias", &[Embd]),
    tensor("attn.c_attn.weight", "attn_qkv.weight", &[Embd, QueryKeyValue]).transposed(),
    tensor("attn.c_attn.bias", "attn_qkv.bias", &[QueryKeyValue]),
    tensor("attn.c_proj.weight", "attn_output.weight", &[Embd, Embd]).transposed(),
    tensor("attn.c_proj.bias", "attn_output.bias", &[Embd]),
    tensor("ln_2.weight", "ffn_norm.weight", &[Embd]),
    tensor("ln_2.bias", "ffn_norm.bias", &[Embd]),
    tensor("mlp.c_fc.weight", "ffn_up.weight", &[Embd, Ff]).transposed(),
    tensor("mlp.c_fc.bias", "ffn_up.bias", &[Ff]),
    tensor("mlp.c_proj.weight", "ffn_down.weight", &[Ff, Embd]).transposed(),
    tensor("mlp.c_proj.bias", "ffn_down.bias", &[Embd]),
];

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("activation_function", &["gelu_new".into(), "gelu_pytorch_tanh".into()])?;
    config.expect("scale_attn_weights", &[Value::Bool(true)])?;
    config.expect("scale_attn_by_inverse_layer_idx", &[Value::Bool(false)])?;
    config.expect("add_cross_attention", &[Value::Bool(false)])?;
    let n_embd = config.required("n_embd")?;
    let n_heads = config.required("n_head")?;
    let n_ctx = config.count("n_positions")?.or(config.count("n_ctx")?).unwrap_or(1024);
    let sizes = Sizes {
        n_layers: Keys::layers(config, config.required("n_layer")?)?,
        n_embd,
        n_heads,
        n_kv_heads: n_heads,
        head_dim: n_embd / n_heads,
        n_ff: config.count("n_inner")?.unwrap_or(n_embd.saturating_mul(4)),
        n_vocab: config.required("vocab_size")?,
        n_ctx,
        ..Sizes::default()
    };
    if !n_embd.is_multiple_of(n_heads) {
        return Err(config.out_of_range("n_head", "must divide n_embd"));
    }
    Keys::check_widths(config, &[("n_embd", n_embd), ("n_inner", sizes.n_ff)])?;
    let epsilon = config.float("layer_norm_epsilon", EPSILONS)?.unwrap_or(1e-5);
    keys.count("block_count", sizes.n_layers);
    keys.count("context_length", n_ctx);
    keys.count("embedding_length", n_embd);
    keys.count("feed_forward_length", sizes.n_ff);
    keys.count("attention.head_count", n_heads);
    keys.float("attention.layer_norm_epsilon", epsilon);
    keys.file_type();
    Ok(sizes)
}
