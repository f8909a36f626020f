//! Command R and Command R7B: one norm, without biases, for both branches of a layer.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Embd, Ff, Head, Heads, KeyValue, KvHeads, Query};
use super::{Mapping, Rule, Sizes, decoder, tensor};
use crate::convert::keys::{self, Defaults, Keys, Norm};

pub static COMMAND_R: Mapping = Mapping {
    tied: true,
    ..decoder("command-r", &["CohereForCausalLM"], &["cohere"], LAYER, describe)
};

pub static COHERE2: Mapping = Mapping {
    tied: true,
    ..decoder("cohere2", &["Cohere2ForCausalLM"], &["cohere2"], LAYER, describe_windows)
};

const LAYER: &[Rule] = &[
    tensor("input_layernorm.weight", "attn_norm.weight", &[Embd]),
    tensor("self_attn.q_proj.weight", "attn_q.weight", &[Query, Embd]),
    tensor("self_attn.k_proj.weight", "attn_k.weight", &[KeyValue, Embd]),
    tensor("self_attn.v_proj.weight", "attn_v.weight", &[KeyValue, Embd]),
    tensor("self_attn.o_proj.weight", "attn_output.weight", &[Embd, Query]),
    tensor("self_attn.q_norm.weight", "attn_q_norm.weight", &[Heads, Head]).optional(),
    tensor("self_attn.k_norm.weight", "attn_k_norm.weight", &[KvHeads, Head]).optional(),
    tensor("mlp.gate_proj.weight", "ffn_gate.weight", &[Ff, Embd]),
    tensor("mlp.up_proj.weight", "ffn_up.weight", &[Ff, Embd]),
    tensor("mlp.down_proj.weight", "ffn_down.weight", &[Embd, Ff]),
];

const DEFAULTS: Defaults = Defaults {
    kv_heads: keys::KvHeads::AsHeads,
    n_ctx: 8192,
    epsilon: 1e-5,
    norm: Norm::Layer,
    ..Defaults::USUAL
};
const SCALE: f64 = 0.0625;
const WINDOW: u64 = 4096;
/// Every fourth layer sees everything; a GGUF file need not say so.
const PERIOD: u64 = 4;

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("hidden_act", &["silu".into()])?;
    config.expect("attention_bias", &[false.into()])?;
    let sizes = keys.decoder(config, &DEFAULTS)?;
    keys.float("logit_scale", config.float("logit_scale", 1e-6..=1e6)?.unwrap_or(SCALE));
    Ok(sizes)
}

fn describe_windows(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    let sizes = describe(config, keys)?;
    keys.count("attention.sliding_window", config.count("sliding_window")?.unwrap_or(WINDOW));
    keys.count("vocab_size", sizes.n_vocab);
    keys.count("rope.dimension_count", sizes.head_dim);
    let names = ["sliding_window_pattern", "_sliding_window_pattern"];
    let period = Keys::window_period(config, sizes.n_layers, &names, PERIOD)?;
    if period != PERIOD {
        keys.count("attention.sliding_window_pattern", period);
    }
    Ok(sizes)
}
