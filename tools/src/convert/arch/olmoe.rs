//! OLMoE: experts whose weights are their share among all of them.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Embd, ExpertFf, Experts, KeyValue, Query};
use super::{Mapping, Rule, Sizes, decoder, tensor};
use crate::convert::keys::{Defaults, Keys};

pub static OLMOE: Mapping = decoder("olmoe", &["OlmoeForCausalLM"], &["olmoe"], LAYER, describe);

const LAYER: &[Rule] = &[
    tensor("input_layernorm.weight", "attn_norm.weight", &[Embd]),
    tensor("self_attn.q_proj.weight", "attn_q.weight", &[Query, Embd]),
    tensor("self_attn.k_proj.weight", "attn_k.weight", &[KeyValue, Embd]),
    tensor("self_attn.v_proj.weight", "attn_v.weight", &[KeyValue, Embd]),
    tensor("self_attn.o_proj.weight", "attn_output.weight", &[Embd, Query]),
    tensor("self_attn.q_norm.weight", "attn_q_norm.weight", &[Query]),
    tensor("self_attn.k_norm.weight", "attn_k_norm.weight", &[KeyValue]),
    tensor("post_attention_layernorm.weight", "ffn_norm.weight", &[Embd]),
    tensor("mlp.gate.weight", "ffn_gate_inp.weight", &[Experts, Embd]),
    tensor("mlp.experts.{}.gate_proj.weight", "ffn_gate_exps.weight", &[ExpertFf, Embd])
        .stacked(Experts),
    tensor("mlp.experts.{}.up_proj.weight", "ffn_up_exps.weight", &[ExpertFf, Embd])
        .stacked(Experts),
    tensor("mlp.experts.{}.down_proj.weight", "ffn_down_exps.weight", &[Embd, ExpertFf])
        .stacked(Experts),
];

const DEFAULTS: Defaults = Defaults { n_ctx: 4096, epsilon: 1e-5, ..Defaults::USUAL };

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("hidden_act", &["silu".into()])?;
    config.expect("attention_bias", &[false.into()])?;
    let sizes = keys.decoder(config, &DEFAULTS)?;
    if let Some(limit) = config.float("clip_qkv", 1e-3..=1e6)? {
        keys.float("attention.clamp_kqv", limit);
    }
    if config.flag("norm_topk_prob")?.unwrap_or(false) {
        keys.flag("expert_weights_norm", true);
    }
    Ok(sizes)
}
