//! Granite 3 with experts: gate and up of all of them lie in one tensor.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{
    Embd, ExpertFf, ExpertGateUp, Experts, KeyValue, Query, SharedFf, SharedGateUp, Single,
};
use super::{Mapping, Rule, Sizes, Transform, Width, decoder, granite, joined, tensor};
use crate::convert::keys::Keys;

pub static GRANITEMOE: Mapping = decoder(
    "granitemoe",
    &["GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM"],
    &["granitemoe", "granitemoeshared"],
    LAYER,
    describe,
);

/// The gate's or the other half of the rows, for each of `count` networks.
pub(super) const fn half(count: Width, before: Option<Width>, rows: Width) -> Transform {
    Transform::Blocks { count, before, rows, transposed: false }
}

const LAYER: &[Rule] = &joined::<{ ATTENTION.len() + EXPERTS.len() }>(ATTENTION, EXPERTS);

const ATTENTION: &[Rule] = &[
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
];

/// The experts, and the network besides them.
pub(super) const EXPERTS: &[Rule] = &[
    tensor("block_sparse_moe.router.layer.weight", "ffn_gate_inp.weight", &[Experts, Embd])
        .sparse(),
    tensor(GATE_UP, "ffn_gate_exps.weight", &[Experts, ExpertGateUp, Embd])
        .transform(half(Experts, None, ExpertFf))
        .sparse(),
    tensor(GATE_UP, "ffn_up_exps.weight", &[Experts, ExpertGateUp, Embd])
        .transform(half(Experts, Some(ExpertFf), ExpertFf))
        .sparse(),
    tensor(DOWN, "ffn_down_exps.weight", &[Experts, Embd, ExpertFf]).sparse(),
    tensor(SHARED, "ffn_gate_shexp.weight", &[SharedGateUp, Embd])
        .transform(half(Single, None, SharedFf))
        .sparse(),
    tensor(SHARED, "ffn_up_shexp.weight", &[SharedGateUp, Embd])
        .transform(half(Single, Some(SharedFf), SharedFf))
        .sparse(),
    tensor("shared_mlp.output_linear.weight", "ffn_down_shexp.weight", &[Embd, SharedFf]).sparse(),
];

const GATE_UP: &str = "block_sparse_moe.input_linear.weight";
const DOWN: &str = "block_sparse_moe.output_linear.weight";
const SHARED: &str = "shared_mlp.input_linear.weight";

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    let mut sizes = granite::describe(config, keys)?;
    if sizes.n_experts == 0 {
        return Err(config.unsupported("num_local_experts"));
    }
    if config.text("model_type")? == Some("granitemoeshared") {
        sizes.shared_ff = shared(config, keys)?;
    }
    Ok(sizes)
}

/// The width of the network besides the experts, and its key.
pub(super) fn shared(config: &Config, keys: &mut Keys) -> Result<u64, ConfigError> {
    const WIDTH: &str = "shared_intermediate_size";
    let width = config.count_or_zero(WIDTH)?.unwrap_or(0);
    Keys::check_widths(config, &[(WIDTH, width)])?;
    if width > 0 {
        keys.count("expert_shared_feed_forward_length", width);
    }
    Ok(width)
}
