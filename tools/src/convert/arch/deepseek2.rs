//! DeepSeek 2 and 3: the matrix that makes keys and values becomes one for each head's keys, transposed,
//! and one for each head's values, as latent attention multiplies by them.

use mote_formats::hf::config::{Layers, Scaling};
use mote_formats::hf::{Config, ConfigError};

use super::Width::{
    Embd, ExpertFf, Experts, Ff, Heads, LatentDirect, LatentKeyTurning, LatentKeyValue,
    LatentKeysValues, LatentQueries, LatentQuery, LatentStill, LatentValue, LatentValues, SharedFf,
};
use super::{Latent, Mapping, Rule, Sizes, Transform, Width, decoder, tensor};
use crate::convert::keys::{Defaults, Keys, KvHeads};

pub static DEEPSEEK2: Mapping = decoder(
    "deepseek2",
    &["DeepseekV2ForCausalLM", V3],
    &["deepseek_v2", "deepseek_v3"],
    LAYER,
    describe,
);

const V3: &str = "DeepseekV3ForCausalLM";

/// A part of each head's rows.
const fn of_heads(before: Option<Width>, rows: Width, transposed: bool) -> Transform {
    Transform::Blocks { count: Heads, before, rows, transposed }
}

const LAYER: &[Rule] = &[
    tensor("input_layernorm.weight", "attn_norm.weight", &[Embd]),
    tensor("self_attn.q_proj.weight", "attn_q.weight", &[LatentDirect, Embd]),
    tensor("self_attn.q_a_proj.weight", "attn_q_a.weight", &[LatentQuery, Embd]),
    tensor("self_attn.q_a_layernorm.weight", "attn_q_a_norm.weight", &[LatentQuery]),
    tensor("self_attn.q_b_proj.weight", "attn_q_b.weight", &[LatentQueries, LatentQuery]),
    tensor(
        "self_attn.kv_a_proj_with_mqa.weight",
        "attn_kv_a_mqa.weight",
        &[LatentKeyTurning, Embd],
    ),
    tensor("self_attn.kv_a_layernorm.weight", "attn_kv_a_norm.weight", &[LatentKeyValue]),
    tensor("self_attn.kv_b_proj.weight", "attn_k_b.weight", &[LatentKeysValues, LatentKeyValue])
        .transform(of_heads(None, LatentStill, true)),
    tensor("self_attn.kv_b_proj.weight", "attn_v_b.weight", &[LatentKeysValues, LatentKeyValue])
        .transform(of_heads(Some(LatentStill), LatentValue, false)),
    tensor("self_attn.o_proj.weight", "attn_output.weight", &[Embd, LatentValues]),
    tensor("post_attention_layernorm.weight", "ffn_norm.weight", &[Embd]),
    tensor("mlp.gate_proj.weight", "ffn_gate.weight", &[Ff, Embd]).dense(),
    tensor("mlp.up_proj.weight", "ffn_up.weight", &[Ff, Embd]).dense(),
    tensor("mlp.down_proj.weight", "ffn_down.weight", &[Embd, Ff]).dense(),
    tensor("mlp.gate.weight", "ffn_gate_inp.weight", &[Experts, Embd]).sparse(),
    tensor("mlp.gate.e_score_correction_bias", "exp_probs_b.bias", &[Experts]).sparse().optional(),
    tensor("mlp.experts.{}.gate_proj.weight", "ffn_gate_exps.weight", &[ExpertFf, Embd])
        .stacked(Experts)
        .sparse(),
    tensor("mlp.experts.{}.up_proj.weight", "ffn_up_exps.weight", &[ExpertFf, Embd])
        .stacked(Experts)
        .sparse(),
    tensor("mlp.experts.{}.down_proj.weight", "ffn_down_exps.weight", &[Embd, ExpertFf])
        .stacked(Experts)
        .sparse(),
    tensor("mlp.shared_experts.gate_proj.weight", "ffn_gate_shexp.weight", &[SharedFf, Embd])
        .sparse(),
    tensor("mlp.shared_experts.up_proj.weight", "ffn_up_shexp.weight", &[SharedFf, Embd]).sparse(),
    tensor("mlp.shared_experts.down_proj.weight", "ffn_down_shexp.weight", &[Embd, SharedFf])
        .sparse(),
];

/// What the two classes have where a configuration is silent.
const DEFAULTS: Defaults = Defaults { kv_heads: KvHeads::Exactly(1), ..Defaults::USUAL };
const DEFAULTS_V3: Defaults = Defaults { n_ctx: 4096, ..DEFAULTS };

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    let v3 = config.class() == Some(V3) || config.text("model_type")? == Some("deepseek_v3");
    check(config, v3)?;
    routing(config, keys, v3)?;
    let rope = config.rope(Layers::Full, 10_000.0)?;
    let all = rope_number(config, "mscale_all_dim")?;
    if let Scaling::Yarn { .. } = rope.scaling {
        keys.log_multiplier = all.map(|all| 0.1 * all);
    }
    let mut sizes = keys.decoder(config, if v3 { &DEFAULTS_V3 } else { &DEFAULTS })?;
    sizes.latent = Latent {
        // null: there is no such vector.
        query: match config.count("q_lora_rank")? {
            None if config.names("q_lora_rank") => 0,
            _ => config.required("q_lora_rank")?,
        },
        key_value: config.required("kv_lora_rank")?,
        still: config.required("qk_nope_head_dim")?,
        turning: config.required("qk_rope_head_dim")?,
        value: config.required("v_head_dim")?,
    };
    sizes.dense_layers = config.count_or_zero("first_k_dense_replace")?.unwrap_or(0);
    sizes.extra_layers = config.count_or_zero("num_nextn_predict_layers")?.unwrap_or(0);
    let shared = config.required("n_shared_experts")?;
    sizes.shared_ff = shared.saturating_mul(sizes.expert_ff);
    config.required("moe_intermediate_size")?;
    if sizes.n_experts == 0 {
        return Err(config.unsupported("n_routed_experts"));
    }
    let Latent { query, key_value, still, turning, value } = sizes.latent;
    Keys::check_widths(
        config,
        &[
            ("q_lora_rank", query),
            ("kv_lora_rank", key_value.saturating_add(turning)),
            ("qk_nope_head_dim", Width::LatentQueries.of(&sizes)),
            ("v_head_dim", Width::LatentKeysValues.of(&sizes)),
            ("n_shared_experts", sizes.shared_ff),
        ],
    )?;
    keys.count("leading_dense_block_count", sizes.dense_layers);
    keys.count("vocab_size", sizes.n_vocab);
    if query > 0 {
        keys.count("attention.q_lora_rank", query);
    }
    keys.count("attention.kv_lora_rank", key_value);
    keys.count("attention.key_length", key_value + turning);
    keys.count("attention.value_length", key_value);
    keys.count("attention.key_length_mla", still + turning);
    keys.count("attention.value_length_mla", value);
    keys.count("expert_feed_forward_length", sizes.expert_ff);
    keys.count("expert_shared_count", shared);
    let scale = config.float("routed_scaling_factor", 1e-6..=1e6)?;
    keys.float("expert_weights_scale", scale.unwrap_or(if v3 { 2.5 } else { 1.0 }));
    // The class of DeepSeek 2 does not ask.
    if v3 && config.flag("norm_topk_prob")?.unwrap_or(true) {
        keys.flag("expert_weights_norm", true);
    }
    keys.count("rope.dimension_count", turning);
    if let Some(multiplier) = keys.log_multiplier {
        keys.float("rope.scaling.yarn_log_multiplier", multiplier);
    }
    Ok(sizes)
}

/// Refuses what the runtime does not compute.
fn check(config: &Config, v3: bool) -> Result<(), ConfigError> {
    config.expect("hidden_act", &["silu".into()])?;
    config.expect("attention_bias", &[false.into()])?;
    config.expect("mlp_bias", &[false.into()])?;
    config.expect("moe_layer_freq", &[1.into()])?;
    config.expect("rope_interleave", &[true.into()])?;
    match v3 {
        true => config.expect("scoring_func", &["sigmoid".into()])?,
        false => config.expect("scoring_func", &["softmax".into()])?,
    }
    let methods: &[serde_json::Value] = match v3 {
        true => &["noaux_tc".into()],
        false => &["greedy".into(), "group_limited_greedy".into()],
    };
    config.expect("topk_method", methods)
}

/// The keys about who is chosen.
fn routing(config: &Config, keys: &mut Keys, v3: bool) -> Result<(), ConfigError> {
    let (groups, used) = (config.count("n_group")?, config.count("topk_group")?);
    let limited = v3 || config.text("topk_method")? == Some("group_limited_greedy");
    let groups = if v3 { groups.or(Some(8)) } else { groups };
    let used = if v3 { used.or(Some(4)) } else { used };
    // Groups that do not limit anything are written where they say so.
    if limited || groups == Some(1) {
        keys.routing.extend(groups.map(|n| ("expert_group_count", n)));
        keys.routing.extend(used.map(|n| ("expert_group_used_count", n)));
    }
    const SOFTMAX: u64 = 1;
    const SIGMOID: u64 = 2;
    keys.routing.push(("expert_gating_func", if v3 { SIGMOID } else { SOFTMAX }));
    Ok(())
}

/// A number beside the scaling's own, unless it is 0.
fn rope_number(config: &Config, key: &str) -> Result<Option<f64>, ConfigError> {
    for name in ["rope_parameters", "rope_scaling"] {
        if config.get(name).is_some() {
            let given = config.part(name)?.float(key, 0.0..=1e3)?;
            return Ok(given.filter(|given| *given != 0.0));
        }
    }
    Ok(None)
}
