//! Granite 4: selective state spaces in heads in the place of attention in most layers, with experts or without.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{
    Channels, Embd, Ff, GateUp, Inner, KeyValue, MixGroup, MixIn, One, Query, Steps, Taps,
};
use super::granitemoe::{EXPERTS, half, shared};
use super::mixers::{StateHeads, no_limit};
use super::{Mapping, Rule, Sizes, Transform, decoder, joined, tensor};
use crate::convert::keys::{Defaults, Keys};

pub static GRANITE_HYBRID: Mapping = decoder(
    "granitehybrid",
    &["GraniteMoeHybridForCausalLM"],
    &["granitemoehybrid"],
    LAYER,
    describe,
);

const LAYER: &[Rule] = &joined::<{ OWN.len() + EXPERTS.len() }>(OWN, EXPERTS);

const OWN: &[Rule] = &[
    tensor("input_layernorm.weight", "attn_norm.weight", &[Embd]),
    tensor("self_attn.q_proj.weight", "attn_q.weight", &[Query, Embd]).interleaved().attending(),
    tensor("self_attn.k_proj.weight", "attn_k.weight", &[KeyValue, Embd]).interleaved().attending(),
    tensor("self_attn.v_proj.weight", "attn_v.weight", &[KeyValue, Embd]).attending(),
    tensor("self_attn.o_proj.weight", "attn_output.weight", &[Embd, Query]).attending(),
    tensor("self_attn.q_proj.bias", "attn_q.bias", &[Query]).interleaved().attending().optional(),
    tensor("self_attn.k_proj.bias", "attn_k.bias", &[KeyValue])
        .interleaved()
        .attending()
        .optional(),
    tensor("self_attn.v_proj.bias", "attn_v.bias", &[KeyValue]).attending().optional(),
    tensor("self_attn.o_proj.bias", "attn_output.bias", &[Embd]).attending().optional(),
    tensor("mamba.in_proj.weight", "ssm_in.weight", &[MixIn, Embd]).recurrent(),
    tensor("mamba.in_proj.bias", "ssm_in.bias", &[MixIn]).recurrent().optional(),
    tensor("mamba.conv1d.weight", "ssm_conv1d.weight", &[Channels, One, Taps]).recurrent(),
    tensor("mamba.conv1d.bias", "ssm_conv1d.bias", &[Channels]).recurrent().optional(),
    tensor("mamba.dt_bias", "ssm_dt.bias", &[Steps]).recurrent(),
    tensor("mamba.A_log", "ssm_a", &[Steps]).transform(Transform::Rate).in_rows_of(One).recurrent(),
    tensor("mamba.D", "ssm_d", &[Steps]).in_rows_of(One).recurrent(),
    tensor("mamba.norm.weight", "ssm_norm.weight", &[Inner]).in_rows_of(MixGroup).recurrent(),
    tensor("mamba.out_proj.weight", "ssm_out.weight", &[Embd, Inner]).recurrent(),
    tensor("mamba.out_proj.bias", "ssm_out.bias", &[Embd]).recurrent().optional(),
    tensor("post_attention_layernorm.weight", "ffn_norm.weight", &[Embd]),
    tensor("shared_mlp.input_linear.weight", "ffn_gate.weight", &[GateUp, Embd])
        .transform(half(One, None, Ff))
        .dense(),
    tensor("shared_mlp.input_linear.weight", "ffn_up.weight", &[GateUp, Embd])
        .transform(half(One, Some(Ff), Ff))
        .dense(),
    tensor("shared_mlp.output_linear.weight", "ffn_down.weight", &[Embd, Ff]).dense(),
];

const DEFAULTS: Defaults =
    Defaults { heads_by_layer: true, n_vocab: Some(32_000), n_heads: Some(32), ..Defaults::USUAL };

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("hidden_act", &["silu".into()])?;
    // A class without this key has experts.
    let dense = config.get("num_local_experts").is_some_and(|n| n == 0);
    if !dense {
        config.required("num_local_experts")?;
    }
    no_limit(config)?;
    let n_layers = Keys::layers(config, config.required("num_hidden_layers")?)?;
    keys.set_recurrent(recurrent(config, n_layers)?);
    // Without experts the network besides them is the only one.
    let ff = config.count("shared_intermediate_size")?.unwrap_or(1024);
    let ff = dense.then_some(ff);
    let mut sizes = keys.decoder(config, &Defaults { dense, ff, ..DEFAULTS })?;
    if dense {
        sizes.dense_layers = sizes.n_layers;
    } else {
        sizes.shared_ff = shared(config, keys)?;
    }
    keys.count("vocab_size", sizes.n_vocab);
    keys.count("rope.dimension_count", sizes.head_dim);
    super::granite::multipliers(config, keys)?;
    let rope = config.text("position_embedding_type")? == Some("rope");
    keys.flag("rope.scaling.finetuned", rope);

    let count = |key, default| config.count(key).map(|given| given.unwrap_or(default));
    let (heads, groups) = (count("mamba_n_heads", 128)?, count("mamba_n_groups", 1)?);
    let (state, taps) = (count("mamba_d_state", 256)?, count("mamba_d_conv", 4)?);
    let inner = sizes.n_embd.saturating_mul(count("mamba_expand", 2)?);
    if !inner.is_multiple_of(heads) {
        return Err(config.out_of_range("mamba_n_heads", "must divide the mixer's width"));
    }
    let (groups_key, state_key) = ("mamba_n_groups", "mamba_d_state");
    let mixer = StateHeads { inner, heads, groups, groups_key, state, state_key, taps };
    sizes.mixer = mixer.describe(config, keys, &sizes)?;
    Ok(sizes)
}

/// Of each layer whether it does not attend.
fn recurrent(config: &Config, n_layers: u64) -> Result<Vec<bool>, ConfigError> {
    let key = if config.get("layer_types").is_some() { "layer_types" } else { "layers_block_type" };
    let kinds: [&[&str]; 2] = [&["mamba", "linear_attention"], &["attention", "full_attention"]];
    let layers = Keys::layers_of(config, key, n_layers, kinds)?;
    Ok(layers.unwrap_or_else(|| vec![true; n_layers as usize]))
}
