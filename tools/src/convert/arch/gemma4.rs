//! Gemma 4, text; of the models that see and hear, the part about text.

use mote_formats::hf::config::{Layers, Scaling};
use mote_formats::hf::{Config, ConfigError};
use mote_runtime::config::MAX_EXPERTS;
use serde_json::{Map, Value};

use super::Width::{
    Embd, ExpertFf, ExpertGateUp, Experts, Ff, Head, KeyValue, LayerEmbd, LayerEmbds, Query,
    Single, Vocab,
};
use super::{HEAD, Mapping, Rule, Sizes, Width, decoder, tensor};
use crate::convert::keys::{Defaults, HeadDim, Keys, KvHeads};

pub static GEMMA4: Mapping = Mapping {
    tied: true,
    globals: &[
        tensor("embed_tokens.weight", "token_embd.weight", &[Vocab, Embd]),
        tensor("norm.weight", "output_norm.weight", &[Embd]),
        tensor(
            "embed_tokens_per_layer.weight",
            "per_layer_token_embd.weight",
            &[Vocab, LayerEmbds],
        ),
        tensor(
            "per_layer_model_projection.weight",
            "per_layer_model_proj.weight",
            &[LayerEmbds, Embd],
        ),
        tensor("per_layer_projection_norm.weight", "per_layer_proj_norm.weight", &[LayerEmbd]),
        HEAD,
    ],
    other_parts: &["vision_tower.", "embed_vision.", "audio_tower.", "embed_audio."],
    ..decoder("gemma4", CLASSES, &["gemma4_text", "gemma4"], LAYER, describe)
};

const CLASSES: &[&str] = &["Gemma4ForCausalLM", "Gemma4ForConditionalGeneration"];

const LAYER: &[Rule] = &[
    tensor("input_layernorm.weight", "attn_norm.weight", &[Embd]),
    tensor("self_attn.q_proj.weight", "attn_q.weight", &[Query, Embd]),
    tensor("self_attn.k_proj.weight", "attn_k.weight", &[KeyValue, Embd]).own(),
    tensor("self_attn.v_proj.weight", "attn_v.weight", &[Width::Value, Embd]).own(),
    tensor("self_attn.o_proj.weight", "attn_output.weight", &[Embd, Query]),
    tensor("self_attn.q_norm.weight", "attn_q_norm.weight", &[Head]),
    tensor("self_attn.k_norm.weight", "attn_k_norm.weight", &[Head]).own(),
    tensor("post_attention_layernorm.weight", "post_attention_norm.weight", &[Embd]),
    tensor("pre_feedforward_layernorm.weight", "ffn_norm.weight", &[Embd]),
    tensor("mlp.gate_proj.weight", "ffn_gate.weight", &[Ff, Embd]),
    tensor("mlp.up_proj.weight", "ffn_up.weight", &[Ff, Embd]),
    tensor("mlp.down_proj.weight", "ffn_down.weight", &[Embd, Ff]),
    tensor("post_feedforward_layernorm.weight", "post_ffw_norm.weight", &[Embd]),
    tensor("router.proj.weight", "ffn_gate_inp.weight", &[Experts, Embd]).sparse(),
    tensor("router.scale", "ffn_gate_inp.scale", &[Embd]).sparse(),
    tensor("router.per_expert_scale", "ffn_down_exps.scale", &[Experts]).sparse(),
    tensor("experts.gate_up_proj", "ffn_gate_up_exps.weight", &[Experts, ExpertGateUp, Embd])
        .sparse(),
    tensor("experts.down_proj", "ffn_down_exps.weight", &[Experts, Embd, ExpertFf]).sparse(),
    tensor("pre_feedforward_layernorm_2.weight", "pre_ffw_norm_2.weight", &[Embd]).sparse(),
    tensor("post_feedforward_layernorm_1.weight", "post_ffw_norm_1.weight", &[Embd]).sparse(),
    tensor("post_feedforward_layernorm_2.weight", "post_ffw_norm_2.weight", &[Embd]).sparse(),
    tensor("per_layer_input_gate.weight", "inp_gate.weight", &[LayerEmbd, Embd]),
    tensor("per_layer_projection.weight", "proj.weight", &[Embd, LayerEmbd]),
    tensor("post_per_layer_input_norm.weight", "post_norm.weight", &[Embd]).optional(),
    tensor("layer_scalar", "layer_output_scale.weight", &[Single]).optional(),
];

const DEFAULTS: Defaults = Defaults {
    kv_heads: KvHeads::Fixed(4),
    head_dim: HeadDim::Fixed(256),
    n_ctx: 131_072,
    epsilon: 1e-6,
    dense: true,
    n_vocab: Some(262_144),
    n_heads: Some(8),
    ..Defaults::USUAL
};
const THETA: f64 = 1_000_000.0;
const LOCAL_THETA: f64 = 10_000.0;
const WINDOW: u64 = 512;
/// Every sixth layer sees everything, and the last one, where nothing is said.
const PERIOD: u64 = 6;
/// Dimensions of the heads that see everything.
const HEAD_DIM: u64 = 512;
/// Width of the embedding for each layer.
const LAYER_EMBD: u64 = 256;
/// The share of their dimensions that turns.
const SHARE: f64 = 0.25;
/// A frequency divided by this is none.
const STILL: f32 = 1e30;

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("hidden_activation", &["gelu_pytorch_tanh".into()])?;
    config.expect("attention_bias", &[false.into()])?;
    // Images alone see what is ahead.
    config.expect("use_bidirectional_attention", &[false.into(), "vision".into()])?;
    let mut sizes = Keys::sizes(config, &DEFAULTS)?;
    let used = experts(config, &mut sizes)?;
    sizes.layer_embd = layer_embd(config)?;
    Keys::check_widths(
        config,
        &[("hidden_size_per_layer_input", sizes.layer_embd.saturating_mul(sizes.n_layers))],
    )?;
    let full = full_layers(config, sizes.n_layers)?;
    sizes.borrowing = config.count_or_zero("num_kv_shared_layers")?.unwrap_or(0);
    let by_layer = by_layer(config, &sizes, &full)?;
    let own = by_layer.len().saturating_sub(sizes.borrowing as usize);
    if full[own..].iter().any(|kind| !full[..own].contains(kind)) {
        return Err(config.unsupported("num_kv_shared_layers"));
    }
    keys.set_sizes(by_layer.clone());
    keys.count("block_count", sizes.n_layers);
    keys.count("context_length", sizes.n_ctx);
    keys.count("embedding_length", sizes.n_embd);
    keys.count_by_layer("feed_forward_length", |sizes| sizes.n_ff);
    keys.count("attention.head_count", sizes.n_heads);
    keys.count_by_layer("attention.head_count_kv", |sizes| sizes.n_kv_heads);
    // The last layer sees everything.
    let widest = by_layer.last().map_or(sizes.head_dim, |sizes| sizes.head_dim);
    positions(config, keys, (widest, sizes.head_dim))?;
    keys.float("attention.layer_norm_rms_epsilon", Keys::epsilon(config, &DEFAULTS)?);
    keys.count("attention.sliding_window", config.count("sliding_window")?.unwrap_or(WINDOW));
    keys.flags("attention.sliding_window_pattern", full.iter().map(|full| !full).collect());
    keys.count("attention.shared_kv_layers", sizes.borrowing);
    keys.count("embedding_length_per_layer_input", sizes.layer_embd);
    // Without the key llama.cpp takes 30.
    let cap = config.float("final_logit_softcapping", 1e-3..=1e6)?;
    keys.float("final_logit_softcapping", cap.unwrap_or(0.0));
    if sizes.n_experts > 0 {
        keys.count("expert_count", sizes.n_experts);
        keys.count("expert_used_count", used);
        keys.count("expert_feed_forward_length", sizes.expert_ff);
    }
    keys.file_type();
    Ok(sizes)
}

/// The experts' sizes; how many of them a token goes through. All layers have some, or none.
fn experts(config: &Config, sizes: &mut Sizes) -> Result<u64, ConfigError> {
    if !config.flag("enable_moe_block")?.unwrap_or(false) {
        return Ok(0);
    }
    config.required("moe_intermediate_size")?;
    sizes.n_experts = config.required("num_experts")?;
    let used = config.required("top_k_experts")?;
    if sizes.n_experts > MAX_EXPERTS as u64 || used > sizes.n_experts {
        let why = format_args!("must be at most {MAX_EXPERTS}, and at least top_k_experts");
        return Err(config.out_of_range("num_experts", why));
    }
    Ok(used)
}

/// Width of the embedding for each layer, which has as many rows as the other one.
fn layer_embd(config: &Config) -> Result<u64, ConfigError> {
    const KEY: &str = "hidden_size_per_layer_input";
    if config.names(KEY) {
        return Ok(config.count_or_zero(KEY)?.unwrap_or(0));
    }
    Ok(LAYER_EMBD)
}

/// Of each layer whether it sees everything; the last one does whatever is said.
fn full_layers(config: &Config, n_layers: u64) -> Result<Vec<bool>, ConfigError> {
    const KEY: &str = "layer_types";
    let sorts: [&[&str]; 2] = [&["full_attention"], &["sliding_attention"]];
    let mut full = Keys::layers_of(config, KEY, n_layers, sorts)?
        .unwrap_or_else(|| (1..=n_layers).map(|layer| layer % PERIOD == 0).collect());
    full.iter_mut().last().into_iter().for_each(|last| *last = true);
    Ok(full)
}

/// The sizes of each layer. Those of the layers that see everything have names of their own, or
/// (transformers 5.23 and later) each layer's are said.
fn by_layer(config: &Config, sizes: &Sizes, full: &[bool]) -> Result<Vec<Sizes>, ConfigError> {
    const BY_LAYER: &str = "per_layer_config";
    let shared_values = config.flag("attention_k_eq_v")?.unwrap_or(false);
    let wide = config.flag("use_double_wide_mlp")?.unwrap_or(false);
    let own = sizes.n_layers.saturating_sub(sizes.borrowing);
    let head_dim = config.count("global_head_dim")?.unwrap_or(HEAD_DIM);
    let n_kv_heads = config.count("num_global_key_value_heads")?.filter(|_| shared_values);
    let given = config.part(BY_LAYER)?;
    let mut all = Vec::new();
    for (layer, &full) in (0..).zip(full) {
        let mut sizes = Sizes { keys_as_values: full && shared_values, ..*sizes };
        if config.names(BY_LAYER) {
            let entry = given.get(&layer.to_string()).map(|entry| entry.as_object());
            let entry = entry.map(|entry| entry.ok_or_else(|| config.unsupported(BY_LAYER)));
            override_sizes(config, entry.transpose()?, &mut sizes)?;
        } else if full {
            sizes.head_dim = head_dim;
            sizes.n_kv_heads = n_kv_heads.unwrap_or(sizes.n_kv_heads);
        }
        if wide && layer >= own {
            sizes.n_ff = sizes.n_ff.saturating_mul(2);
        }
        check(config, &sizes)?;
        all.push(sizes);
    }
    // The file says one size for each kind.
    for kind in [true, false] {
        let of_kind = || all.iter().zip(full).filter(|(_, full)| **full == kind).map(|(it, _)| it);
        let first = of_kind().next().map(|it| (it.head_dim, it.n_kv_heads));
        let usual = kind || first.is_none_or(|(head_dim, _)| head_dim == sizes.head_dim);
        if !usual || of_kind().any(|it| Some((it.head_dim, it.n_kv_heads)) != first) {
            return Err(config.unsupported(BY_LAYER));
        }
    }
    Ok(all)
}

/// What an entry of `per_layer_config` says.
fn override_sizes(
    config: &Config,
    entry: Option<&Map<String, Value>>,
    sizes: &mut Sizes,
) -> Result<(), ConfigError> {
    for (key, value) in entry.into_iter().flatten() {
        let place = match key.as_str() {
            "head_dim" => &mut sizes.head_dim,
            "num_key_value_heads" => &mut sizes.n_kv_heads,
            _ => return Err(config.unsupported("per_layer_config")),
        };
        let wrong = || config.out_of_range("per_layer_config", "must have counts above 0");
        *place = value.as_u64().filter(|n| *n > 0).ok_or_else(wrong)?;
    }
    Ok(())
}

/// What is checked of the model's sizes, of a layer's.
fn check(config: &Config, sizes: &Sizes) -> Result<(), ConfigError> {
    if !sizes.n_heads.is_multiple_of(sizes.n_kv_heads) {
        let why = "must divide num_attention_heads";
        return Err(config.out_of_range("num_global_key_value_heads", why));
    }
    if !sizes.head_dim.is_multiple_of(2) {
        return Err(config.out_of_range("global_head_dim", "must be even"));
    }
    let widths = [
        ("global_head_dim", sizes.n_heads.saturating_mul(sizes.head_dim)),
        ("intermediate_size", sizes.n_ff),
    ];
    Keys::check_widths(config, &widths)
}

/// Heads and how they turn: those that see everything, then those with a window.
fn positions(
    config: &Config,
    keys: &mut Keys,
    (full, windowed): (u64, u64),
) -> Result<(), ConfigError> {
    const KEY: &str = "rope_parameters";
    let rope = config.rope(Layers::Full, THETA)?;
    let local = config.rope(Layers::Sliding, LOCAL_THETA)?;
    let is_given = config.get(KEY).is_some() || config.get("rope_scaling").is_some();
    let (share, factor) = match rope.scaling {
        Scaling::Proportional { factor } => (rope.partial.unwrap_or(1.0), factor),
        Scaling::None if !is_given => (rope.partial.unwrap_or(SHARE), 1.0),
        Scaling::None => (1.0, 1.0),
        _ => return Err(config.unsupported(KEY)),
    };
    if local.scaling != Scaling::None {
        return Err(config.unsupported(KEY));
    }
    keys.float("rope.freq_base", rope.theta);
    keys.float("rope.freq_base_swa", local.theta);
    keys.count("attention.key_length", full);
    keys.count("attention.value_length", full);
    keys.count("attention.key_length_swa", windowed);
    keys.count("attention.value_length_swa", windowed);
    keys.count("rope.dimension_count", full);
    keys.count("rope.dimension_count_swa", windowed);
    // Those that stand still are in their place among the others, which no count could say.
    let turning = (share * full as f64 / 2.0) as u64;
    let divisor = |pair| if pair < turning { factor as f32 } else { STILL };
    keys.tensor("rope_freqs.weight", (0..full / 2).map(divisor).collect());
    Ok(())
}
