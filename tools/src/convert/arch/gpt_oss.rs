//! gpt-oss: gate and up of all experts lie in one tensor, their outputs in turns; as floats, or in MXFP4 as they
//! were published, which they stay.

use mote_formats::hf::config::{Layers, Scaling};
use mote_formats::hf::{Config, ConfigError};

use super::Width::{Embd, ExpertFf, ExpertGateUp, Experts, Heads, KeyValue, Query};
use super::{Mapping, Rule, Sizes, Transform, decoder, tensor};
use crate::convert::keys::{Defaults, HeadDim, Keys, KvHeads};

pub static GPT_OSS: Mapping =
    decoder("gpt-oss", &["GptOssForCausalLM"], &["gpt_oss"], LAYER, describe);

const LAYER: &[Rule] = &[
    tensor("input_layernorm.weight", "attn_norm.weight", &[Embd]),
    tensor("self_attn.q_proj.weight", "attn_q.weight", &[Query, Embd]),
    tensor("self_attn.k_proj.weight", "attn_k.weight", &[KeyValue, Embd]),
    tensor("self_attn.v_proj.weight", "attn_v.weight", &[KeyValue, Embd]),
    tensor("self_attn.o_proj.weight", "attn_output.weight", &[Embd, Query]),
    tensor("self_attn.q_proj.bias", "attn_q.bias", &[Query]),
    tensor("self_attn.k_proj.bias", "attn_k.bias", &[KeyValue]),
    tensor("self_attn.v_proj.bias", "attn_v.bias", &[KeyValue]),
    tensor("self_attn.o_proj.bias", "attn_output.bias", &[Embd]),
    tensor("self_attn.sinks", "attn_sinks.weight", &[Heads]),
    tensor("post_attention_layernorm.weight", "post_attention_norm.weight", &[Embd]),
    tensor("mlp.router.weight", "ffn_gate_inp.weight", &[Experts, Embd]),
    tensor("mlp.router.bias", "ffn_gate_inp.bias", &[Experts]),
    tensor("mlp.experts.gate_up_proj", "ffn_gate_exps.weight", &[Experts, Embd, ExpertGateUp])
        .transform(Transform::Transpose { step: 2, first: 0 }),
    tensor("mlp.experts.gate_up_proj", "ffn_up_exps.weight", &[Experts, Embd, ExpertGateUp])
        .transform(Transform::Transpose { step: 2, first: 1 }),
    tensor("mlp.experts.gate_up_proj_bias", "ffn_gate_exps.bias", &[Experts, ExpertGateUp])
        .transform(Transform::Half(0)),
    tensor("mlp.experts.gate_up_proj_bias", "ffn_up_exps.bias", &[Experts, ExpertGateUp])
        .transform(Transform::Half(1)),
    tensor("mlp.experts.down_proj", "ffn_down_exps.weight", &[Experts, ExpertFf, Embd])
        .transposed(),
    tensor("mlp.experts.gate_up_proj", "ffn_gate_exps.weight", &[Experts, ExpertGateUp, Embd])
        .transform(Transform::Packed { step: 2, first: 0 })
        .optional(),
    tensor("mlp.experts.gate_up_proj", "ffn_up_exps.weight", &[Experts, ExpertGateUp, Embd])
        .transform(Transform::Packed { step: 2, first: 1 })
        .optional(),
    tensor("mlp.experts.down_proj", "ffn_down_exps.weight", &[Experts, Embd, ExpertFf])
        .transform(Transform::Packed { step: 1, first: 0 })
        .optional(),
    tensor("mlp.experts.down_proj_bias", "ffn_down_exps.bias", &[Experts, Embd]),
];

const DEFAULTS: Defaults = Defaults {
    kv_heads: KvHeads::Fixed(8),
    head_dim: HeadDim::Fixed(64),
    n_ctx: 131_072,
    epsilon: 1e-5,
    theta: 150_000.0,
    ..Defaults::USUAL
};
const WINDOW: u64 = 128;
/// Every second layer sees everything.
const PERIOD: u64 = 2;

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("hidden_act", &["silu".into()])?;
    config.expect("swiglu_limit", &[7.0.into(), 7.into()])?;
    config.expect("swiglu_alpha", &[1.702.into()])?;
    let sizes = keys.decoder(config, &DEFAULTS)?;
    // The class stretches unless it is told otherwise.
    let told = config.get("rope_parameters").or(config.get("rope_scaling")).is_some();
    if !told {
        keys.yarn(&Scaling::Yarn {
            factor: 32.0,
            original: 4096,
            attention: None,
            beta_fast: Some(32.0),
            beta_slow: Some(1.0),
            truncate: false,
        });
    }
    // Readers take OpenAI's own choice, false, where no key speaks.
    if let Scaling::Yarn { truncate: true, .. } = config.rope(Layers::Full, DEFAULTS.theta)?.scaling
    {
        keys.flag("rope.scaling.yarn_truncate", true);
    }
    keys.count("attention.sliding_window", config.count("sliding_window")?.unwrap_or(WINDOW));
    keys.count("expert_feed_forward_length", sizes.expert_ff);
    let period = Keys::window_period(config, sizes.n_layers, &[], PERIOD)?;
    if period != PERIOD {
        keys.count("attention.sliding_window_pattern", period);
    }
    Ok(sizes)
}
