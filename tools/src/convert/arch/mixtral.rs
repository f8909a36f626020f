//! Mixtral, which is stored as a llama with experts.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Embd, ExpertFf, Experts, KeyValue, Query};
use super::{Mapping, Rule, Sizes, decoder, tensor};
use crate::convert::keys::{Defaults, HeadDim, Keys, KvHeads};

pub static MIXTRAL: Mapping =
    decoder("llama", &["MixtralForCausalLM"], &["mixtral"], LAYER, describe);

const LAYER: &[Rule] = &[
    tensor("input_layernorm.weight", "attn_norm.weight", &[Embd]),
    tensor("self_attn.q_proj.weight", "attn_q.weight", &[Query, Embd]).interleaved(),
    tensor("self_attn.k_proj.weight", "attn_k.weight", &[KeyValue, Embd]).interleaved(),
    tensor("self_attn.v_proj.weight", "attn_v.weight", &[KeyValue, Embd]),
    tensor("self_attn.o_proj.weight", "attn_output.weight", &[Embd, Query]),
    tensor("post_attention_layernorm.weight", "ffn_norm.weight", &[Embd]),
    tensor("block_sparse_moe.gate.weight", "ffn_gate_inp.weight", &[Experts, Embd]),
    tensor("block_sparse_moe.experts.{}.w1.weight", "ffn_gate_exps.weight", &[ExpertFf, Embd])
        .stacked(Experts),
    tensor("block_sparse_moe.experts.{}.w2.weight", "ffn_down_exps.weight", &[Embd, ExpertFf])
        .stacked(Experts),
    tensor("block_sparse_moe.experts.{}.w3.weight", "ffn_up_exps.weight", &[ExpertFf, Embd])
        .stacked(Experts),
];

const DEFAULTS: Defaults = Defaults {
    kv_heads: KvHeads::Fixed(8),
    head_dim: HeadDim::Quotient,
    n_ctx: 131_072,
    epsilon: 1e-5,
    theta: 1_000_000.0,
    ..Defaults::USUAL
};

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("hidden_act", &["silu".into()])?;
    let sizes = keys.decoder(config, &DEFAULTS)?;
    keys.count("vocab_size", sizes.n_vocab);
    keys.count("rope.dimension_count", sizes.head_dim);
    // Beyond the GGUF architecture as llama.cpp knows it, which sees everything.
    if let Some(window) = config.count("sliding_window")?.filter(|window| *window < sizes.n_ctx) {
        keys.count("attention.sliding_window", window);
    }
    Ok(sizes)
}
