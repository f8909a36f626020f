//! Models of other architectures, made of the small ones: the same weights under other facts, and tensors
//! of no meaning where those ask for more.

use mote_formats::Gguf;
use mote_formats::gguf::Value;
use mote_kernels::QuantType;

use crate::models::{OwnedTensor, edited, fixture};

/// Experts of the variants.
const EXPERTS: u64 = 3;

/// Each with its name.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("smollm3", smollm3()),
        ("gemma2", gemma2()),
        ("cohere2", cohere2()),
        ("bloom", bloom()),
        ("qwen3moe", qwen3moe()),
        ("gpt-oss", gpt_oss()),
        ("qwen3next", qwen3next()),
    ]
}

/// A llama with a layer that has no position embedding.
pub fn smollm3() -> Vec<u8> {
    let interval = ("rope.no_rope_layer_interval", Value::U32(2));
    renamed("qwen2", "smollm3", &[interval], without(&[".bias"]))
}

/// Caps of scores and of logits.
pub fn gemma2() -> Vec<u8> {
    let caps = [
        ("attn_logit_softcapping", Value::F32(2.0)),
        ("final_logit_softcapping", Value::F32(3.0)),
        ("attention.sliding_window_pattern", Value::U32(2)),
    ];
    renamed("gemma3", "gemma2", &caps, without(&["_q_norm.weight", "_k_norm.weight"]))
}

/// LayerNorm without biases, branches side by side, layers without positions, a scale of the logits.
pub fn cohere2() -> Vec<u8> {
    let facts = [
        ("attention.layer_norm_epsilon", Value::F32(1e-5)),
        ("logit_scale", Value::F32(0.5)),
        ("attention.sliding_window", Value::U32(7)),
        ("attention.sliding_window_pattern", Value::U32(2)),
    ];
    renamed("qwen2", "cohere2", &facts, without(&[".bias", ".ffn_norm.weight"]))
}

/// Slopes for positions, a norm behind the embedding.
pub fn bloom() -> Vec<u8> {
    renamed("gpt2", "bloom", &[], |tensors| {
        for (from, to) in [("output_norm.weight", "weight"), ("output_norm.bias", "bias")] {
            copy(tensors, from, &format!("token_embd_norm.{to}"));
        }
    })
}

/// Experts.
pub fn qwen3moe() -> Vec<u8> {
    renamed("qwen3", "qwen3moe", &experts(), add_experts)
}

/// Sinks, and experts with biases and a clamped gate.
pub fn gpt_oss() -> Vec<u8> {
    let window = [("attention.sliding_window", Value::U32(7))];
    let facts = [&experts()[..], &window].concat();
    renamed("qwen2", "gpt-oss", &facts, |tensors| {
        let ff = add_experts(tensors);
        for layer in 0..2 {
            let name = |name: &str| format!("blk.{layer}.{name}");
            let norm = tensors.iter_mut().find(|tensor| tensor.name == name("ffn_norm.weight"));
            norm.unwrap().name = name("post_attention_norm.weight");
            let width = tensors.iter().find(|tensor| tensor.name == name("attn_q.weight"));
            let (width, heads) = (width.unwrap().dims[0], tensors_heads(tensors, layer));
            tensors.push(vector(&name("attn_output.bias"), &[width]));
            tensors.push(vector(&name("attn_sinks.weight"), &[heads]));
            tensors.push(vector(&name("ffn_gate_inp.bias"), &[EXPERTS]));
            tensors.push(vector(&name("ffn_gate_exps.bias"), &[ff, EXPERTS]));
            tensors.push(vector(&name("ffn_up_exps.bias"), &[ff, EXPERTS]));
            tensors.push(vector(&name("ffn_down_exps.bias"), &[width, EXPERTS]));
        }
    })
}

/// The gated delta rule with its first projections in one matrix, as in the first files and in checkpoints.
pub fn qwen3next() -> Vec<u8> {
    edited(&fixture("models/qwen3next.gguf"), &[], join_projections)
}

/// The heads of keys of the small model, and the rows of a query, and of the values that go with it.
const DELTA: [usize; 3] = [2, 16, 16];

/// For each head of keys: its query, its key, its values, their gates.
pub fn join_projections(tensors: &mut Vec<OwnedTensor>) {
    let [heads, of_key, of_values] = DELTA;
    let parts: Vec<_> =
        tensors.extract_if(.., |it| it.name.ends_with("attn_gate.weight")).collect();
    for gates in parts {
        let name = gates.name.replace("attn_gate", "attn_qkv");
        let joined = tensors.iter_mut().find(|tensor| tensor.name == name).unwrap();
        let row = gates.data.len() / gates.dims[1] as usize;
        let mut data = Vec::new();
        for head in 0..heads {
            let mut take = |from: &[u8], first: usize, rows: usize| {
                data.extend_from_slice(&from[first * row..][..rows * row]);
            };
            take(&joined.data, head * of_key, of_key);
            take(&joined.data, (heads + head) * of_key, of_key);
            take(&joined.data, 2 * heads * of_key + head * of_values, of_values);
            take(&gates.data, head * of_values, of_values);
        }
        joined.name = name.replace("attn_qkv", "ssm_in");
        joined.dims[1] += gates.dims[1];
        joined.data = data;
    }
}

fn experts() -> [(&'static str, Value<'static>); 2] {
    [("expert_count", Value::U32(EXPERTS as u32)), ("expert_used_count", Value::U32(2))]
}

/// Query heads of 8 dimensions, as the small models have them.
fn tensors_heads(tensors: &[OwnedTensor], layer: usize) -> u64 {
    let name = format!("blk.{layer}.attn_q.weight");
    tensors.iter().find(|tensor| tensor.name == name).unwrap().dims[1] / 8
}

/// The keys of architecture `from` under the name of another, and more of them.
fn renamed<R>(
    from: &str,
    to: &str,
    more: &[(&str, Value<'_>)],
    edit: impl FnOnce(&mut Vec<OwnedTensor>) -> R,
) -> Vec<u8> {
    let file = fixture(&format!("models/{from}.gguf"));
    let gguf = Gguf::parse(&file).unwrap();
    let mut keys = vec![("general.architecture".to_string(), Value::from(to))];
    for (key, value) in gguf.metadata() {
        let own =
            key.to_string().strip_prefix(&format!("{from}.")).map(|rest| format!("{to}.{rest}"));
        keys.extend(own.map(|key| (key, value)));
    }
    for (key, value) in more {
        let key = format!("{to}.{key}");
        keys.retain(|(other, _)| *other != key);
        keys.push((key, *value));
    }
    let keys: Vec<_> = keys.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    edited(&file, &keys, |tensors| {
        edit(tensors);
    })
}

/// Leaves out the tensors whose names end so: the other architecture has none.
fn without(ends: &[&str]) -> impl FnOnce(&mut Vec<OwnedTensor>) {
    move |tensors| tensors.retain(|tensor| !ends.iter().any(|end| tensor.name.ends_with(end)))
}

fn copy(tensors: &mut Vec<OwnedTensor>, from: &str, to: &str) {
    let tensor = tensors.iter().find(|tensor| tensor.name == from).unwrap();
    tensors.push(OwnedTensor { name: to.into(), ..tensor.clone() });
}

/// Some numbers between -1 and 1.
fn vector(name: &str, dims: &[u64]) -> OwnedTensor {
    let n = dims.iter().product::<u64>() as usize;
    let value = |i: usize| ((i * 7 + name.len() * 13) % 31) as f32 / 15.5 - 1.0;
    let data = (0..n).flat_map(|i| value(i).to_le_bytes()).collect();
    OwnedTensor { name: name.into(), dims: dims.to_vec(), kind: QuantType::F32.into(), data }
}

/// Each layer's feed-forward network becomes several: the same rows, begun elsewhere. Returns its width.
fn add_experts(tensors: &mut Vec<OwnedTensor>) -> u64 {
    let mut ff = 0;
    let mut routers = Vec::new();
    for tensor in tensors.iter_mut() {
        let Some((layer, part)) = tensor.name.split_once(".ffn_") else { continue };
        let Some(part) = part.strip_suffix(".weight").filter(|part| *part != "norm") else {
            continue;
        };
        if part == "up" {
            ff = tensor.dims[1];
            let name = format!("{layer}.ffn_gate_inp.weight");
            routers.push(vector(&name, &[tensor.dims[0], EXPERTS]));
        }
        tensor.name = format!("{layer}.ffn_{part}_exps.weight");
        let row = tensor.data.len() / tensor.dims[1] as usize;
        let one = tensor.data.clone();
        tensor.data = (0..EXPERTS as usize)
            .flat_map(|expert| {
                let mut rows = one.clone();
                rows.rotate_left(5 * expert * row);
                rows
            })
            .collect();
        tensor.dims.push(EXPERTS);
    }
    tensors.extend(routers);
    ff
}
