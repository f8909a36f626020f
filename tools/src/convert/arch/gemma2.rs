//! Gemma 2. All norms are stored without the 1 that is added to them.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Embd, Ff, KeyValue, Query, Vocab};
use super::{HEAD, Mapping, Rule, Sizes, decoder, tensor};
use crate::convert::keys::{Defaults, HeadDim, Keys, KvHeads};

pub static GEMMA2: Mapping = Mapping {
    tied: true,
    globals: &[
        tensor("embed_tokens.weight", "token_embd.weight", &[Vocab, Embd]),
        tensor("norm.weight", "output_norm.weight", &[Embd]).plus_one(),
        HEAD,
    ],
    ..decoder("gemma2", &["Gemma2ForCausalLM"], &["gemma2"], LAYER, describe)
};

const LAYER: &[Rule] = &[
    tensor("input_layernorm.weight", "attn_norm.weight", &[Embd]).plus_one(),
    tensor("self_attn.q_proj.weight", "attn_q.weight", &[Query, Embd]),
    tensor("self_attn.k_proj.weight", "attn_k.weight", &[KeyValue, Embd]),
    tensor("self_attn.v_proj.weight", "attn_v.weight", &[KeyValue, Embd]),
    tensor("self_attn.o_proj.weight", "attn_output.weight", &[Embd, Query]),
    tensor("post_attention_layernorm.weight", "post_attention_norm.weight", &[Embd]).plus_one(),
    tensor("pre_feedforward_layernorm.weight", "ffn_norm.weight", &[Embd]).plus_one(),
    tensor("mlp.gate_proj.weight", "ffn_gate.weight", &[Ff, Embd]),
    tensor("mlp.up_proj.weight", "ffn_up.weight", &[Ff, Embd]),
    tensor("mlp.down_proj.weight", "ffn_down.weight", &[Embd, Ff]),
    tensor("post_feedforward_layernorm.weight", "post_ffw_norm.weight", &[Embd]).plus_one(),
];

const DEFAULTS: Defaults = Defaults {
    kv_heads: KvHeads::Fixed(4),
    head_dim: HeadDim::Fixed(256),
    n_ctx: 8192,
    n_heads: Some(8),
    ..Defaults::USUAL
};
const WINDOW: u64 = 4096;
/// Every second layer sees everything, where nothing else is said.
const PERIOD: u64 = 2;
/// Layers of the one size whose queries are scaled by another width than a head's, which readers
/// of the files know.
const LAYERS_27B: u64 = 46;

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("hidden_activation", &["gelu_pytorch_tanh".into()])?;
    config.expect("attention_bias", &[false.into()])?;
    config.expect("use_bidirectional_attention", &[false.into()])?;
    let sizes = keys.decoder(config, &DEFAULTS)?;
    let caps = [
        ("attn_logit_softcapping", "attn_logit_softcapping", 50.0),
        ("final_logit_softcapping", "final_logit_softcapping", 30.0),
    ];
    for (from, to, default) in caps {
        if config.names(from) && config.get(from).is_none() {
            return Err(config.unsupported(from));
        }
        keys.float(to, config.float(from, 1e-3..=1e6)?.unwrap_or(default));
    }
    keys.count("attention.sliding_window", config.count("sliding_window")?.unwrap_or(WINDOW));
    let period = Keys::window_period(config, sizes.n_layers, &[], PERIOD)?;
    if period != PERIOD {
        keys.count("attention.sliding_window_pattern", period);
    }
    let scale = config.float("query_pre_attn_scalar", 1e-3..=1e6)?.unwrap_or(256.0);
    let known = match sizes.n_layers {
        LAYERS_27B => sizes.n_embd / sizes.n_heads,
        _ => sizes.head_dim,
    };
    if scale != known as f64 {
        // Beyond the GGUF architecture as llama.cpp knows it.
        keys.float("attention.scale", 1.0 / libm::sqrt(scale));
    }
    Ok(sizes)
}
