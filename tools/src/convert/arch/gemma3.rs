//! Gemma 3, text; of the models that see images, the part about text. All norms are stored without
//! the 1 that is added to them.

use mote_formats::hf::config::{Layers, Scaling};
use mote_formats::hf::{Config, ConfigError};
use serde_json::Value;

use super::Width::{Embd, Ff, Head, KeyValue, Query, Vocab};
use super::{HEAD, Mapping, Rule, Sizes, decoder, tensor};
use crate::convert::keys::{Defaults, HeadDim, Keys, KvHeads};

pub static GEMMA3: Mapping = Mapping {
    tied: true,
    globals: &[
        tensor("embed_tokens.weight", "token_embd.weight", &[Vocab, Embd]),
        tensor("norm.weight", "output_norm.weight", &[Embd]).plus_one(),
        HEAD,
    ],
    other_parts: &["vision_tower.", "multi_modal_projector."],
    ..decoder("gemma3", CLASSES, &["gemma3_text", "gemma3"], LAYER, describe)
};

const CLASSES: &[&str] = &["Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"];

const LAYER: &[Rule] = &[
    tensor("input_layernorm.weight", "attn_norm.weight", &[Embd]).plus_one(),
    tensor("self_attn.q_proj.weight", "attn_q.weight", &[Query, Embd]),
    tensor("self_attn.k_proj.weight", "attn_k.weight", &[KeyValue, Embd]),
    tensor("self_attn.v_proj.weight", "attn_v.weight", &[KeyValue, Embd]),
    tensor("self_attn.o_proj.weight", "attn_output.weight", &[Embd, Query]),
    tensor("self_attn.q_norm.weight", "attn_q_norm.weight", &[Head]).plus_one(),
    tensor("self_attn.k_norm.weight", "attn_k_norm.weight", &[Head]).plus_one(),
    tensor("post_attention_layernorm.weight", "post_attention_norm.weight", &[Embd]).plus_one(),
    tensor("pre_feedforward_layernorm.weight", "ffn_norm.weight", &[Embd]).plus_one(),
    tensor("mlp.gate_proj.weight", "ffn_gate.weight", &[Ff, Embd]),
    tensor("mlp.up_proj.weight", "ffn_up.weight", &[Ff, Embd]),
    tensor("mlp.down_proj.weight", "ffn_down.weight", &[Embd, Ff]),
    tensor("post_feedforward_layernorm.weight", "post_ffw_norm.weight", &[Embd]).plus_one(),
];

/// Published configurations leave out much of what is the class's default.
const DEFAULTS: Defaults = Defaults {
    kv_heads: KvHeads::Fixed(4),
    head_dim: HeadDim::Fixed(256),
    n_ctx: 131_072,
    epsilon: 1e-6,
    theta: 1_000_000.0,
    n_vocab: Some(262_208),
    n_heads: Some(8),
    ..Defaults::USUAL
};
const LOCAL_THETA: f64 = 10_000.0;
const WINDOW: u64 = 4096;
/// Every sixth layer sees everything, where nothing else is said; a GGUF file need not say so.
const PERIOD: u64 = 6;
/// Layers of the one size whose queries are scaled by another width than a head's, which readers
/// of the files know.
const LAYERS_27B: u64 = 62;

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("hidden_activation", &["gelu_pytorch_tanh".into()])?;
    config.expect("attn_logit_softcapping", &[])?;
    config.expect("final_logit_softcapping", &[])?;
    config.expect("use_bidirectional_attention", &[Value::Bool(false)])?;
    let local = config.rope(Layers::Sliding, LOCAL_THETA)?;
    if local.scaling != Scaling::None {
        return Err(config.unsupported("rope_parameters"));
    }
    keys.sliding_theta(local.theta);
    let sizes = keys.decoder(config, &DEFAULTS)?;
    check_scale(config, &sizes)?;
    let names = ["sliding_window_pattern", "_sliding_window_pattern"];
    let period = Keys::window_period(config, sizes.n_layers, &names, PERIOD)?;
    // With a period of 1 every layer sees everything.
    if period != 1 {
        let window = config.count("sliding_window")?.unwrap_or(WINDOW);
        keys.count("attention.sliding_window", window);
        if period != PERIOD {
            keys.count("attention.sliding_window_pattern", period);
        }
    }
    Ok(sizes)
}

/// The scale of queries is not in a GGUF file: readers take it from a head's width.
fn check_scale(config: &Config, sizes: &Sizes) -> Result<(), ConfigError> {
    let scale = config.float("query_pre_attn_scalar", 1e-3..=1e6)?.unwrap_or(256.0);
    let known = match sizes.n_layers {
        LAYERS_27B => sizes.n_embd / sizes.n_heads,
        _ => sizes.head_dim,
    };
    if scale == known as f64 { Ok(()) } else { Err(config.unsupported("query_pre_attn_scalar")) }
}
