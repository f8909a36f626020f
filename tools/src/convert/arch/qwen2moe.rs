//! Qwen 2 with experts.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Embd, ExpertFf, Experts, Ff, KeyValue, Query, SharedFf, Single};
use super::{Mapping, Rule, Sizes, decoder, joined, tensor};
use crate::convert::keys::{Defaults, Keys, KvHeads};

pub static QWEN2MOE: Mapping =
    decoder("qwen2moe", &["Qwen2MoeForCausalLM"], &["qwen2_moe"], LAYER, describe);

const LAYER: &[Rule] = &joined::<{ ATTENTION.len() + EXPERTS.len() }>(ATTENTION, EXPERTS);

const ATTENTION: &[Rule] = &[
    tensor("input_layernorm.weight", "attn_norm.weight", &[Embd]),
    tensor("self_attn.q_proj.weight", "attn_q.weight", &[Query, Embd]),
    tensor("self_attn.k_proj.weight", "attn_k.weight", &[KeyValue, Embd]),
    tensor("self_attn.v_proj.weight", "attn_v.weight", &[KeyValue, Embd]),
    tensor("self_attn.o_proj.weight", "attn_output.weight", &[Embd, Query]),
    tensor("self_attn.q_proj.bias", "attn_q.bias", &[Query]).optional(),
    tensor("self_attn.k_proj.bias", "attn_k.bias", &[KeyValue]).optional(),
    tensor("self_attn.v_proj.bias", "attn_v.bias", &[KeyValue]).optional(),
    tensor("post_attention_layernorm.weight", "ffn_norm.weight", &[Embd]),
    tensor("mlp.gate_proj.weight", "ffn_gate.weight", &[Ff, Embd]).dense(),
    tensor("mlp.up_proj.weight", "ffn_up.weight", &[Ff, Embd]).dense(),
    tensor("mlp.down_proj.weight", "ffn_down.weight", &[Embd, Ff]).dense(),
];

/// The experts, each apart, and the network besides them.
pub(super) const EXPERTS: &[Rule] = &[
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
    tensor("mlp.shared_expert_gate.weight", "ffn_gate_inp_shexp.weight", &[Single, Embd]).sparse(),
    tensor("mlp.shared_expert.gate_proj.weight", "ffn_gate_shexp.weight", &[SharedFf, Embd])
        .sparse(),
    tensor("mlp.shared_expert.up_proj.weight", "ffn_up_shexp.weight", &[SharedFf, Embd]).sparse(),
    tensor("mlp.shared_expert.down_proj.weight", "ffn_down_shexp.weight", &[Embd, SharedFf])
        .sparse(),
];

const DEFAULTS: Defaults =
    Defaults { kv_heads: KvHeads::Fixed(16), n_ctx: 32_768, ..Defaults::USUAL };

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("hidden_act", &["silu".into()])?;
    let mut sizes = keys.decoder(config, &DEFAULTS)?;
    shared(config, keys, &mut sizes)?;
    // Beyond the GGUF architecture as llama.cpp knows it, where their weights are as they come.
    if config.flag("norm_topk_prob")?.unwrap_or(false) {
        keys.flag("expert_weights_norm", true);
    }
    keys.sparse_layers(config, &sizes)?;
    keys.no_window(config, &sizes).map(|()| sizes)
}

/// The widths of the experts and of the network besides them.
pub(super) fn shared(
    config: &Config,
    keys: &mut Keys,
    sizes: &mut Sizes,
) -> Result<(), ConfigError> {
    config.required("moe_intermediate_size")?;
    if sizes.n_experts == 0 {
        return Err(config.unsupported("num_experts"));
    }
    sizes.shared_ff = config.required("shared_expert_intermediate_size")?;
    Keys::check_widths(config, &[("shared_expert_intermediate_size", sizes.shared_ff)])?;
    keys.count("expert_feed_forward_length", sizes.expert_ff);
    keys.count("expert_shared_feed_forward_length", sizes.shared_ff);
    Ok(())
}
