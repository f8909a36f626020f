//! Qwen 3 with experts.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Embd, ExpertFf, Experts, Ff, Head, KeyValue, Query};
use super::{Mapping, Rule, Sizes, decoder, tensor};
use crate::convert::keys::{Defaults, Keys, KvHeads};

pub static QWEN3MOE: Mapping =
    decoder("qwen3moe", &["Qwen3MoeForCausalLM"], &["qwen3_moe"], LAYER, describe);

const LAYER: &[Rule] = &[
    tensor("input_layernorm.weight", "attn_norm.weight", &[Embd]),
    tensor("self_attn.q_proj.weight", "attn_q.weight", &[Query, Embd]),
    tensor("self_attn.k_proj.weight", "attn_k.weight", &[KeyValue, Embd]),
    tensor("self_attn.v_proj.weight", "attn_v.weight", &[KeyValue, Embd]),
    tensor("self_attn.o_proj.weight", "attn_output.weight", &[Embd, Query]),
    tensor("self_attn.q_norm.weight", "attn_q_norm.weight", &[Head]),
    tensor("self_attn.k_norm.weight", "attn_k_norm.weight", &[Head]),
    tensor("post_attention_layernorm.weight", "ffn_norm.weight", &[Embd]),
    tensor("mlp.gate_proj.weight", "ffn_gate.weight", &[Ff, Embd]).dense(),
    tensor("mlp.up_proj.weight", "ffn_up.weight", &[Ff, Embd]).dense(),
    tensor("mlp.down_proj.weight", "ffn_down.weight", &[Embd, Ff]).dense(),
    tensor("mlp.gate.weight", "ffn_gate_inp.weight", &[Experts, Embd]).sparse(),
    tensor("mlp.experts.{}.gate_proj.weight", "ffn_gate_exps.weight", &[ExpertFf, Embd])
        .stacked(Experts)
        .sparse(),
    tensor("mlp.experts.{}.up_proj.weight", "ffn_up_exps.weight", &[ExpertFf, Embd])
        .stacked(Experts)
        .sparse(),
    tensor("mlp.experts.{}.down_proj.weight", "ffn_down_exps.weight", &[Embd, ExpertFf])
        .stacked(Experts)
        .sparse(),
];

const DEFAULTS: Defaults =
    Defaults { kv_heads: KvHeads::Fixed(4), n_ctx: 32_768, ..Defaults::USUAL };

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("hidden_act", &["silu".into()])?;
    config.expect("attention_bias", &[false.into()])?;
    let sizes = keys.decoder(config, &DEFAULTS)?;
    keys.count("expert_feed_forward_length", sizes.expert_ff);
    if !config.flag("norm_topk_prob")?.unwrap_or(false) {
        keys.flag("expert_weights_norm", false);
    }
    keys.sparse_layers(config, &sizes)?;
    keys.no_window(config, &sizes).map(|()| sizes)
}
