//! Gemma. All norms are stored without the 1 that is added to them.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Embd, Ff, KeyValue, Query, Vocab};
use super::{HEAD, Mapping, Rule, Sizes, decoder, tensor};
use crate::convert::keys::{Defaults, HeadDim, Keys, KvHeads};

pub static GEMMA: Mapping = Mapping {
    tied: true,
    globals: &[
        tensor("embed_tokens.weight", "token_embd.weight", &[Vocab, Embd]),
        tensor("norm.weight", "output_norm.weight", &[Embd]).plus_one(),
        HEAD,
    ],
    ..decoder("gemma", &["GemmaForCausalLM"], &["gemma"], LAYER, describe)
};

const LAYER: &[Rule] = &[
    tensor("input_layernorm.weight", "attn_norm.weight", &[Embd]).plus_one(),
    tensor("self_attn.q_proj.weight", "attn_q.weight", &[Query, Embd]),
    tensor("self_attn.k_proj.weight", "attn_k.weight", &[KeyValue, Embd]),
    tensor("self_attn.v_proj.weight", "attn_v.weight", &[KeyValue, Embd]),
    tensor("self_attn.o_proj.weight", "attn_output.weight", &[Embd, Query]),
    tensor("post_attention_layernorm.weight", "ffn_norm.weight", &[Embd]).plus_one(),
    tensor("mlp.gate_proj.weight", "ffn_gate.weight", &[Ff, Embd]),
    tensor("mlp.up_proj.weight", "ffn_up.weight", &[Ff, Embd]),
    tensor("mlp.down_proj.weight", "ffn_down.weight", &[Embd, Ff]),
];

const DEFAULTS: Defaults = Defaults {
    kv_heads: KvHeads::AsHeads,
    head_dim: HeadDim::Fixed(256),
    n_ctx: 8192,
    ..Defaults::USUAL
};

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    // Old configurations say "gelu" and mean the tanh form, which the class takes.
    config.expect("hidden_activation", &["gelu_pytorch_tanh".into()])?;
    config.expect("hidden_act", &["gelu_pytorch_tanh".into(), "gelu".into()])?;
    config.expect("attention_bias", &[false.into()])?;
    config.expect("use_bidirectional_attention", &[false.into()])?;
    keys.decoder(config, &DEFAULTS)
}
