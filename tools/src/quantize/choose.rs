//! Which tensor becomes what.

use mote_formats::gguf::{Gguf, Tensor, TensorType, Value};
use mote_kernels::QuantType;

use super::mix::{Facts, Mix, Role};
use super::pattern::Override;
use crate::fitting::fitting;

/// What becomes of a tensor.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// Its encoding.
    pub kind: TensorType,
    /// What it would be if its rows were whole blocks of that.
    pub wanted: Option<QuantType>,
}

/// What was asked for.
#[derive(Debug)]
pub struct Wish<'a> {
    /// `None`: all tensors stay as they are.
    pub mix: Option<&'static Mix>,
    /// The mix's first encoding for all matrices.
    pub pure: bool,
    /// The first that matches counts.
    pub overrides: &'a [Override],
}

/// Matrices that stay as they are: endings of names, or parts of them. Small or sensitive ones, and
/// tables that are not multiplied with.
const KEPT: &[&str] = &[
    "_norm.weight",
    "ffn_gate_inp.weight",
    "ffn_gate_tid2eid.weight",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "ssm_conv1d",
    "shortconv.conv.weight",
    "indexer.k_proj.weight",
    "indexer.q_proj.weight",
    "time_mix_first.weight",
    "time_mix_w0.weight",
    "time_mix_w1.weight",
    "time_mix_w2.weight",
    "time_mix_v0.weight",
    "time_mix_v1.weight",
    "time_mix_v2.weight",
    "time_mix_a0.weight",
    "time_mix_a1.weight",
    "time_mix_a2.weight",
    "time_mix_g1.weight",
    "time_mix_g2.weight",
    "time_mix_decay_w1.weight",
    "time_mix_decay_w2.weight",
    "time_mix_lerp_fused.weight",
    "attn_rel_b.weight",
    ".position_embd",
    "sam.pos_embd",
    "sam.neck.",
    "sam.net_",
    ".rel_pos",
    ".patch_embd",
    ".patch_merger",
    "a.rvq.codebook",
    "mm.a.code_embd",
];

/// The same by their whole names.
const KEPT_NAMES: &[&str] = &["position_embd.weight", "token_types.weight"];

/// Whether a TYPE is for this tensor: it is a matrix of weights.
pub fn is_quantized(tensor: &Tensor<'_>) -> bool {
    let name = tensor.name();
    let [_, rest @ ..] = tensor.shape();
    rest.iter().any(|&n| n > 1)
        && name.ends_with("weight")
        && !KEPT.iter().any(|part| name.contains(part))
        && !KEPT_NAMES.contains(&name)
}

/// A choice for each tensor, in the order of the file.
pub fn choose(gguf: &Gguf<'_>, wish: &Wish<'_>, importance: bool) -> Vec<Choice> {
    let tensors: Vec<Tensor<'_>> = gguf.tensors().collect();
    let facts = facts(gguf, importance);
    let tied = !tensors.iter().any(|tensor| tensor.name() == "output.weight");
    let mut choices: Vec<Choice> =
        tensors.iter().map(|tensor| Choice { kind: tensor.tensor_type(), wanted: None }).collect();
    // Those of a role are counted by layers, whatever their order in the file.
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by_key(|&i| (layer(tensors[i].name()), tensors[i].name()));
    let (mut values, mut downs) = (0, 0);
    for i in order {
        let tensor = &tensors[i];
        let Some(mix) = wish.mix.filter(|_| is_quantized(tensor)) else { continue };
        let role = role(tensor.name(), tied);
        let index = match role {
            Role::Value => &mut values,
            Role::Down => &mut downs,
            _ => &mut 0,
        };
        let row = tensor.shape()[0];
        let asked = wish.overrides.iter().find(|asked| asked.matches(tensor.name()));
        let wanted = match asked {
            Some(asked) => asked.kind,
            None if wish.pure => mix.base,
            None => {
                // Experts of one layer may lie in several tensors.
                let by_name = facts.experts > 1 && role == Role::Down;
                let layer = layer(tensor.name()).filter(|_| by_name).unwrap_or(*index);
                let kind = mix.kind(role, layer, tensor.shape(), &facts);
                *index += 1;
                kind
            }
        };
        let kind = fitting(wanted, row);
        choices[i] = Choice { kind: kind.into(), wanted: (kind != wanted).then_some(wanted) };
    }
    choices
}

/// The layer that a name begins with.
fn layer(name: &str) -> Option<u64> {
    name.strip_prefix("blk.")?.split('.').next()?.parse().ok()
}

fn role(name: &str, tied: bool) -> Role {
    let has = |part| name.contains(part);
    match name {
        "output.weight" => Role::Head,
        "token_embd.weight" | "per_layer_token_embd.weight" if tied => Role::Head,
        "token_embd.weight" | "per_layer_token_embd.weight" => Role::Embedding,
        _ if has("attn_qkv.weight") || has("attn_kv_b.weight") || has("attn_v.weight") => {
            Role::Value
        }
        _ if has("attn_k.weight") => Role::Key,
        _ if has("attn_q.weight") => Role::Other,
        _ if has("attn_output.weight") => Role::AttentionOutput,
        _ if has("ffn_up") || has("ffn_gate") => Role::Other,
        _ if has("ffn_down") => Role::Down,
        _ => Role::Other,
    }
}

fn facts(gguf: &Gguf<'_>, importance: bool) -> Facts {
    let architecture = gguf.get("general.architecture").and_then(|value| value.as_str());
    let architecture = architecture.unwrap_or_default();
    let number = |key: &str| match gguf.get(&format!("{architecture}.{key}"))? {
        // One for each layer.
        Value::Array(numbers) => numbers.iter().next()?.as_u64(),
        number => number.as_u64(),
    };
    let layers = number("block_count").unwrap_or(0);
    let heads = number("attention.head_count").unwrap_or(0);
    let value_heads = number("attention.head_count_kv").unwrap_or(heads);
    let large = match architecture {
        "llama" => layers == 80 && heads != value_heads,
        "qwen2" | "deci" | "olmo" => layers == 80,
        "jais2" => layers == 68,
        _ => false,
    };
    Facts {
        layers,
        experts: number("expert_count").unwrap_or(0),
        heads_per_value: heads.checked_div(value_heads).unwrap_or(0),
        falcon: architecture == "falcon",
        large,
        importance,
    }
}
