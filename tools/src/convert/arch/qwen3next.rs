//! Qwen 3 Next: the gated delta rule in three of four layers, gated attention in the others; experts in all. The
//! first projections of the rule are together, for each head of keys.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{Channels, Embd, Inner, MixGroup, MixInGates, One, Steps, Taps, TwiceSteps};
use super::qwen35::{self, ATTENTION, EXPERTS, GLOBALS, OTHER_PARTS};
use super::{Mapping, Rule, Sizes, Transform, decoder, joined, qwen2moe, tensor};
use crate::convert::keys::{Defaults, Keys, KvHeads};

pub static QWEN3NEXT: Mapping = Mapping {
    globals: GLOBALS,
    other_parts: OTHER_PARTS,
    ..decoder("qwen3next", &["Qwen3NextForCausalLM"], &["qwen3_next"], LAYER, describe)
};

const LAYER: &[Rule] = &joined::<{ MIXERS.len() + EXPERTS.len() }>(MIXERS, EXPERTS);

const MIXERS: &[Rule] = &joined::<{ ATTENTION.len() + DELTA.len() }>(ATTENTION, DELTA);

const IN: &str = "linear_attn.in_proj_qkvz.weight";

const DELTA: &[Rule] = &[
    tensor(IN, "attn_qkv.weight", &[MixInGates, Embd])
        .transform(Transform::OfKeyHeads { gates: false })
        .recurrent(),
    tensor(IN, "attn_gate.weight", &[MixInGates, Embd])
        .transform(Transform::OfKeyHeads { gates: true })
        .recurrent(),
    tensor("linear_attn.in_proj_ba.weight", "ssm_ba.weight", &[TwiceSteps, Embd]).recurrent(),
    tensor("linear_attn.conv1d.weight", "ssm_conv1d.weight", &[Channels, One, Taps]).recurrent(),
    tensor("linear_attn.dt_bias", "ssm_dt.bias", &[Steps]).recurrent(),
    tensor("linear_attn.A_log", "ssm_a", &[Steps]).transform(Transform::Rate).recurrent(),
    tensor("linear_attn.norm.weight", "ssm_norm.weight", &[MixGroup]).recurrent(),
    tensor("linear_attn.out_proj.weight", "ssm_out.weight", &[Embd, Inner]).recurrent(),
];

const DEFAULTS: Defaults =
    Defaults { kv_heads: KvHeads::Fixed(2), n_vocab: Some(151_936), ..qwen35::DEFAULTS };

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    // Every layer has experts.
    config.expect("decoder_sparse_step", &[1.into()])?;
    config.expect("mlp_only_layers", &[serde_json::json!([])])?;
    let mut sizes = qwen35::hybrid(config, keys, &DEFAULTS)?;
    qwen2moe::shared(config, keys, &mut sizes)?;
    if !config.flag("norm_topk_prob")?.unwrap_or(true) {
        keys.flag("expert_weights_norm", false);
    }
    Ok(sizes)
}
