//! Qwen 3.5, without experts and with: the gated delta rule in three of four layers, gated attention in the others.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{
    Channels, Embd, ExpertFf, ExpertGateUp, Experts, Ff, GatedQuery, Head, Inner, KeyValue,
    MixGroup, MixIn, One, Query, Steps, Taps, Vocab,
};
use super::granitemoe::half;
use super::{
    HEAD, Mapping, MixerSizes, Rule, Sizes, Tile, Transform, decoder, joined, qwen2moe, tensor,
};
use crate::convert::keys::{Defaults, HeadDim, Keys, KvHeads};

pub static QWEN35: Mapping = Mapping {
    globals: GLOBALS,
    other_parts: OTHER_PARTS,
    ..decoder("qwen35", CLASSES, &["qwen3_5_text", "qwen3_5"], LAYER, describe)
};

const CLASSES: &[&str] = &["Qwen3_5ForCausalLM", "Qwen3_5ForConditionalGeneration"];

/// The same with experts.
pub static QWEN35MOE: Mapping = Mapping {
    globals: GLOBALS,
    other_parts: OTHER_PARTS,
    ..decoder(
        "qwen35moe",
        &["Qwen3_5MoeForCausalLM", "Qwen3_5MoeForConditionalGeneration"],
        &["qwen3_5_moe_text", "qwen3_5_moe"],
        LAYER_WITH_EXPERTS,
        describe_with_experts,
    )
};

/// What belongs to no layer.
pub(super) const GLOBALS: &[Rule] = &[
    tensor("embed_tokens.weight", "token_embd.weight", &[Vocab, Embd]),
    tensor("norm.weight", "output_norm.weight", &[Embd]).plus_one(),
    HEAD,
];

/// Images, and layers that guess further tokens.
pub(super) const OTHER_PARTS: &[&str] = &["model.visual.", "visual.", "mtp."];

const fn tiled(rule: Rule, tile: Tile) -> Rule {
    rule.transform(Transform::Tile(tile)).recurrent()
}

const LAYER: &[Rule] = &joined::<{ MIXERS.len() + NETWORK.len() }>(MIXERS, NETWORK);

const LAYER_WITH_EXPERTS: &[Rule] = &joined::<{ MIXERS.len() + EXPERTS.len() }>(MIXERS, EXPERTS);

const MIXERS: &[Rule] = &joined::<{ ATTENTION.len() + DELTA.len() }>(ATTENTION, DELTA);

/// Attention, and the norms before it and before the feed-forward network.
pub(super) const ATTENTION: &[Rule] = &[
    tensor("input_layernorm.weight", "attn_norm.weight", &[Embd]).plus_one(),
    tensor("self_attn.q_proj.weight", "attn_q.weight", &[GatedQuery, Embd]).attending(),
    tensor("self_attn.k_proj.weight", "attn_k.weight", &[KeyValue, Embd]).attending(),
    tensor("self_attn.v_proj.weight", "attn_v.weight", &[KeyValue, Embd]).attending(),
    tensor("self_attn.o_proj.weight", "attn_output.weight", &[Embd, Query]).attending(),
    tensor("self_attn.q_norm.weight", "attn_q_norm.weight", &[Head]).plus_one().attending(),
    tensor("self_attn.k_norm.weight", "attn_k_norm.weight", &[Head]).plus_one().attending(),
    tensor("post_attention_layernorm.weight", "post_attention_norm.weight", &[Embd]).plus_one(),
];

const DELTA: &[Rule] = &[
    tiled(
        tensor("linear_attn.in_proj_qkv.weight", "attn_qkv.weight", &[MixIn, Embd]),
        Tile::Channels,
    ),
    tiled(tensor("linear_attn.in_proj_z.weight", "attn_gate.weight", &[Inner, Embd]), Tile::Values),
    tiled(tensor("linear_attn.in_proj_b.weight", "ssm_beta.weight", &[Steps, Embd]), Tile::Heads),
    tiled(tensor("linear_attn.in_proj_a.weight", "ssm_alpha.weight", &[Steps, Embd]), Tile::Heads),
    tiled(
        tensor("linear_attn.conv1d.weight", "ssm_conv1d.weight", &[Channels, One, Taps]),
        Tile::Channels,
    ),
    tiled(tensor("linear_attn.dt_bias", "ssm_dt.bias", &[Steps]), Tile::Heads),
    tiled(tensor("linear_attn.A_log", "ssm_a", &[Steps]), Tile::Rates),
    tensor("linear_attn.norm.weight", "ssm_norm.weight", &[MixGroup]).recurrent(),
    tiled(tensor("linear_attn.out_proj.weight", "ssm_out.weight", &[Embd, Inner]), Tile::Columns),
];

const NETWORK: &[Rule] = &[
    tensor("mlp.gate_proj.weight", "ffn_gate.weight", &[Ff, Embd]),
    tensor("mlp.up_proj.weight", "ffn_up.weight", &[Ff, Embd]),
    tensor("mlp.down_proj.weight", "ffn_down.weight", &[Embd, Ff]),
];

/// Experts, all of them in a tensor, or each apart; and the network besides them.
pub(super) const EXPERTS: &[Rule] =
    &joined::<{ TOGETHER.len() + qwen2moe::EXPERTS.len() }>(TOGETHER, qwen2moe::EXPERTS);

const TOGETHER: &[Rule] = &[
    tensor(GATE_UP, "ffn_gate_exps.weight", &[Experts, ExpertGateUp, Embd])
        .transform(half(Experts, None, ExpertFf)),
    tensor(GATE_UP, "ffn_up_exps.weight", &[Experts, ExpertGateUp, Embd]).transform(half(
        Experts,
        Some(ExpertFf),
        ExpertFf,
    )),
    tensor("mlp.experts.down_proj", "ffn_down_exps.weight", &[Experts, Embd, ExpertFf]),
];

const GATE_UP: &str = "mlp.experts.gate_up_proj";

/// What the classes have where a configuration is silent.
pub(super) const DEFAULTS: Defaults = Defaults {
    kv_heads: KvHeads::Fixed(4),
    head_dim: HeadDim::Fixed(256),
    n_ctx: 32_768,
    partial: Some(0.25),
    n_vocab: Some(248_320),
    n_heads: Some(16),
    ..Defaults::USUAL
};

/// Of how many layers the last attends, where the configuration does not say.
const PERIOD: u64 = 4;

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    let sizes = hybrid(config, keys, &DEFAULTS)?;
    keys.counts("rope.dimension_sections", sections(config));
    Ok(sizes)
}

fn describe_with_experts(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    // All layers have experts.
    let defaults = Defaults { kv_heads: KvHeads::Fixed(2), ff: Some(0), ..DEFAULTS };
    let mut sizes = hybrid(config, keys, &defaults)?;
    keys.counts("rope.dimension_sections", sections(config));
    qwen2moe::shared(config, keys, &mut sizes)?;
    Ok(sizes)
}

/// The keys of such a decoder.
pub(super) fn hybrid(
    config: &Config,
    keys: &mut Keys,
    defaults: &Defaults,
) -> Result<Sizes, ConfigError> {
    config.expect("hidden_act", &["silu".into()])?;
    config.expect("attention_bias", &[false.into()])?;
    let mut sizes = keys.decoder(config, defaults)?;
    let count = |key, default| config.count(key).map(|given| given.unwrap_or(default));
    let (taps, key_dim) = (count("linear_conv_kernel_dim", 4)?, count("linear_key_head_dim", 128)?);
    let (key_heads, group) =
        (count("linear_num_key_heads", 16)?, count("linear_value_head_dim", 128)?);
    let steps = count("linear_num_value_heads", 32)?;
    if !steps.is_multiple_of(key_heads) {
        let why = "must be a multiple of linear_num_key_heads";
        return Err(config.out_of_range("linear_num_value_heads", why));
    }
    let (inner, keys_width) = (steps.saturating_mul(group), key_heads.saturating_mul(key_dim));
    let channels = keys_width.saturating_mul(2).saturating_add(inner);
    Keys::check_widths(config, &[("linear_num_value_heads", channels)])?;
    let period = count("full_attention_interval", PERIOD)?;
    let recurrent = recurrent(config, sizes.n_layers, period)?;
    keys.count("ssm.conv_kernel", taps);
    keys.count("ssm.state_size", key_dim);
    keys.count("ssm.group_count", key_heads);
    keys.count("ssm.time_step_rank", steps);
    keys.count("ssm.inner_size", inner);
    keys.flags("attention.recurrent_layers", recurrent.clone());
    keys.count("full_attention_interval", period);
    keys.set_recurrent(recurrent);
    let projected = channels;
    let more =
        MixerSizes { projected, channels, taps, inner, steps, group, key_heads, ..sizes.mixer };
    sizes.mixer = more;
    Ok(sizes)
}

/// Of each layer whether it does not attend.
fn recurrent(config: &Config, n_layers: u64, period: u64) -> Result<Vec<bool>, ConfigError> {
    let kinds: [&[&str]; 2] = [&["linear_attention"], &["full_attention"]];
    let layers = Keys::layers_of(config, "layer_types", n_layers, kinds)?;
    let usual = || (1..=n_layers).map(|layer| !layer.is_multiple_of(period)).collect();
    Ok(layers.unwrap_or_else(usual))
}

/// Which pairs of dimensions turn with a place in a text, and which in an image: for text alone it does not
/// matter, but llama.cpp wants to know.
fn sections(config: &Config) -> Vec<i32> {
    let of = |key: &str| config.get(key)?.get("mrope_section")?.as_array();
    let given = of("rope_parameters").or_else(|| of("rope_scaling"));
    let mut sections = vec![11, 11, 10, 0];
    if let Some(given) = given {
        let given =
            given.iter().map(|n| n.as_i64().and_then(|n| i32::try_from(n).ok()).unwrap_or(0));
        sections = given.chain([0; 4]).take(4).collect();
    }
    sections
}
