//! Llama 2 and 3, SmolLM2, Mistral and what else is stored like them. The GGUF architecture turns
//! neighbouring dimensions, so rows of queries and keys change places; Llama 3's stretched
//! frequencies become the tensor `rope_freqs.weight`.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Embd, Ff, KeyValue, Query};
use super::{Mapping, Rule, Sizes, decoder, tensor};
use crate::convert::keys::{Defaults, HeadDim, Keys, KvHeads};

pub static LLAMA: Mapping = decoder(
    "llama",
    &["LlamaForCausalLM", "LLaMAForCausalLM", "MistralForCausalLM"],
    &["llama", "mistral"],
    LAYER,
    describe,
);

/// Of a layer: of many families.
pub(super) const LAYER: &[Rule] = &[
    tensor("input_layernorm.weight", "attn_norm.weight", &[Embd]),
    tensor("self_attn.q_proj.weight", "attn_q.weight", &[Query, Embd]).interleaved(),
    tensor("self_attn.k_proj.weight", "attn_k.weight", &[KeyValue, Embd]).interleaved(),
    tensor("self_attn.v_proj.weight", "attn_v.weight", &[KeyValue, Embd]),
    tensor("self_attn.o_proj.weight", "attn_output.weight", &[Embd, Query]),
    tensor("self_attn.q_proj.bias", "attn_q.bias", &[Query]).interleaved().optional(),
    tensor("self_attn.k_proj.bias", "attn_k.bias", &[KeyValue]).interleaved().optional(),
    tensor("self_attn.v_proj.bias", "attn_v.bias", &[KeyValue]).optional(),
    tensor("self_attn.o_proj.bias", "attn_output.bias", &[Embd]).optional(),
    tensor("post_attention_layernorm.weight", "ffn_norm.weight", &[Embd]),
    tensor("mlp.gate_proj.weight", "ffn_gate.weight", &[Ff, Embd]),
    tensor("mlp.up_proj.weight", "ffn_up.weight", &[Ff, Embd]),
    tensor("mlp.down_proj.weight", "ffn_down.weight", &[Embd, Ff]),
    tensor("mlp.gate_proj.bias", "ffn_gate.bias", &[Ff]).optional(),
    tensor("mlp.up_proj.bias", "ffn_up.bias", &[Ff]).optional(),
    tensor("mlp.down_proj.bias", "ffn_down.bias", &[Embd]).optional(),
];

const DEFAULTS: Defaults =
    Defaults { head_dim: HeadDim::Quotient, stretched: true, ..Defaults::USUAL };

/// Mistral's class has other defaults.
const MISTRAL: Defaults = Defaults { kv_heads: KvHeads::Fixed(8), n_ctx: 131_072, ..DEFAULTS };
const MISTRAL_WINDOW: u64 = 4096;

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("hidden_act", &["silu".into()])?;
    let mistral = config.text("model_type")? == Some("mistral");
    let sizes = keys.decoder(config, if mistral { &MISTRAL } else { &DEFAULTS })?;
    keys.count("vocab_size", sizes.n_vocab);
    keys.count("rope.dimension_count", sizes.head_dim);
    if mistral {
        let window = match config.count("sliding_window")? {
            None if !config.names("sliding_window") => Some(MISTRAL_WINDOW),
            window => window,
        };
        // Beyond the GGUF architecture as llama.cpp knows it, which sees everything.
        if let Some(window) = window.filter(|window| *window < sizes.n_ctx) {
            keys.count("attention.sliding_window", window);
        }
    }
    Ok(sizes)
}
