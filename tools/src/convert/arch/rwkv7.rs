//! RWKV 7, as flash-linear-attention writes it.

use mote_formats::hf::{Config, ConfigError};

use super::Width::{
    Embd, Ff, GateRank, Head, Heads, LearningRank, MixingRank, Rank, Shifts, Single, Vocab,
};
use super::{HEAD, Mapping, MixerSizes, Rule, Sizes, Transform, decoder, tensor};
use crate::convert::keys::{Keys, Norm};

pub static RWKV7: Mapping = Mapping {
    globals: GLOBALS,
    // Of values that would be mixed with themselves.
    other_parts: &["layers.0.attn.v_lora."],
    ..decoder("rwkv7", &["RWKV7ForCausalLM"], &["rwkv7"], LAYER, describe)
};

const GLOBALS: &[Rule] = &[
    tensor("embeddings.weight", "token_embd.weight", &[Vocab, Embd]),
    tensor("layers.0.pre_norm.weight", "token_embd_norm.weight", &[Embd]),
    tensor("layers.0.pre_norm.bias", "token_embd_norm.bias", &[Embd]),
    tensor("norm.weight", "output_norm.weight", &[Embd]),
    tensor("norm.bias", "output_norm.bias", &[Embd]),
    HEAD,
];

/// In the first layer what is learnt stands once more in the place of what is mixed, because llama.cpp wants
/// something there.
const fn idle(from: &'static str, to: &'static str, shape: &'static [super::Width]) -> Rule {
    tensor(from, to, shape).first()
}

const LAYER: &[Rule] = &[
    tensor("attn_norm.weight", "attn_norm.weight", &[Embd]),
    tensor("attn_norm.bias", "attn_norm.bias", &[Embd]),
    tensor("ffn_norm.weight", "attn_norm_2.weight", &[Embd]),
    tensor("ffn_norm.bias", "attn_norm_2.bias", &[Embd]),
    tensor("attn.x_{r|w|k|v|a|g}", "time_mix_lerp_fused.weight", &[Single, Single, Embd])
        .stacked(Shifts),
    // As it was at first.
    tensor("attn.x_x", "time_mix_lerp_fused.weight", &[Shifts, Embd])
        .transform(Transform::Apart)
        .optional(),
    tensor("attn.k_k", "time_mix_k_k.weight", &[Embd]),
    tensor("attn.k_a", "time_mix_k_a.weight", &[Embd]),
    tensor("attn.r_k", "time_mix_r_k.weight", &[Heads, Head]).transform(Transform::Flat),
    tensor("attn.r_proj.weight", "time_mix_receptance.weight", &[Embd, Embd]),
    tensor("attn.k_proj.weight", "time_mix_key.weight", &[Embd, Embd]),
    tensor("attn.v_proj.weight", "time_mix_value.weight", &[Embd, Embd]),
    tensor("attn.o_proj.weight", "time_mix_output.weight", &[Embd, Embd]),
    tensor("attn.g_norm.weight", "time_mix_ln.weight", &[Embd]),
    tensor("attn.g_norm.bias", "time_mix_ln.bias", &[Embd]),
    tensor("attn.w_lora.lora.0.weight", "time_mix_w1.weight", &[Rank, Embd]),
    tensor("attn.w_lora.lora.2.weight", "time_mix_w2.weight", &[Embd, Rank]),
    tensor("attn.w_lora.lora.2.bias", "time_mix_w0.weight", &[Embd]),
    tensor("attn.a_lora.lora.0.weight", "time_mix_a1.weight", &[LearningRank, Embd]),
    tensor("attn.a_lora.lora.2.weight", "time_mix_a2.weight", &[Embd, LearningRank]),
    tensor("attn.a_lora.lora.2.bias", "time_mix_a0.weight", &[Embd]),
    idle("attn.a_lora.lora.0.weight", "time_mix_v1.weight", &[LearningRank, Embd]),
    idle("attn.a_lora.lora.2.weight", "time_mix_v2.weight", &[Embd, LearningRank]),
    idle("attn.a_lora.lora.2.bias", "time_mix_v0.weight", &[Embd]),
    tensor("attn.v_lora.lora.0.weight", "time_mix_v1.weight", &[MixingRank, Embd]).later(),
    tensor("attn.v_lora.lora.2.weight", "time_mix_v2.weight", &[Embd, MixingRank]).later(),
    tensor("attn.v_lora.lora.2.bias", "time_mix_v0.weight", &[Embd]).later(),
    tensor("attn.g_lora.lora.0.weight", "time_mix_g1.weight", &[GateRank, Embd]),
    tensor("attn.g_lora.lora.2.weight", "time_mix_g2.weight", &[Embd, GateRank]),
    tensor("ffn.x_k", "channel_mix_lerp_k.weight", &[Embd]),
    tensor("ffn.key.weight", "channel_mix_key.weight", &[Ff, Embd]),
    tensor("ffn.value.weight", "channel_mix_value.weight", &[Embd, Ff]),
];

fn describe(config: &Config, keys: &mut Keys) -> Result<Sizes, ConfigError> {
    config.expect("hidden_act", &["sqrelu".into()])?;
    config.expect("norm_first", &[true.into()])?;
    config.expect("norm_bias", &[true.into()])?;
    // Layers that attend.
    config.expect("attn", &[])?;
    let mut sizes = keys.recurrent_stack(config, (Norm::Layer, 1e-5), Some(32_000))?;
    let n = sizes.n_embd;
    check_values(config, n)?;
    let head = match (config.count("head_dim")?, config.count("num_heads")?) {
        (Some(head), _) => head,
        (None, Some(heads)) => n / heads,
        (None, None) => 64,
    };
    if head == 0 || !n.is_multiple_of(head) {
        return Err(config.out_of_range("head_dim", "must divide hidden_size"));
    }
    let ratio = config.float("hidden_ratio", 1e-3..=1e3)?.unwrap_or(4.0);
    let usual = ((n as f64 * ratio) as u64).next_multiple_of(32);
    sizes.n_ff = config.count("intermediate_size")?.unwrap_or(usual);
    // Where none is given it goes by the widths.
    let rank = |key, factor: f64| {
        let rank = (factor * (n as f64).sqrt() / 32.0).round() * 32.0;
        config.count(key).map(|given| given.unwrap_or((rank as u64).max(32)))
    };
    let wide = head as f64 / 64.0;
    let decay = rank("decay_low_rank_dim", 2.5 * wide)?;
    let learning = rank("a_low_rank_dim", 2.5 * wide)?;
    let mixing = rank("v_low_rank_dim", 1.7 * wide)?;
    let gate = rank("gate_low_rank_dim", 5.0)?;
    let widths = [
        ("intermediate_size", sizes.n_ff),
        ("decay_low_rank_dim", decay),
        ("a_low_rank_dim", learning),
        ("v_low_rank_dim", mixing),
        ("gate_low_rank_dim", gate),
    ];
    Keys::check_widths(config, &widths)?;
    keys.count("wkv.head_size", head);
    keys.count("attention.decay_lora_rank", decay);
    keys.count("attention.iclr_lora_rank", learning);
    keys.count("attention.value_residual_mix_lora_rank", mixing);
    keys.count("attention.gate_lora_rank", gate);
    keys.count("feed_forward_length", sizes.n_ff);
    (sizes.n_heads, sizes.head_dim) = (n / head, head);
    sizes.mixer = MixerSizes { rank: decay, ranks: [learning, mixing, gate], ..sizes.mixer };
    Ok(sizes)
}

/// Refuses values of another width than the stream's, in one layer or all.
fn check_values(config: &Config, n: u64) -> Result<(), ConfigError> {
    const KEY: &str = "value_dim";
    let Some(value) = config.get(KEY) else { return Ok(()) };
    let is = |value: &serde_json::Value| value.is_null() || value.as_u64() == Some(n);
    let fits = value.as_array().map_or_else(|| is(value), |list| list.iter().all(is));
    fits.then_some(()).ok_or_else(|| config.unsupported(KEY))
}
