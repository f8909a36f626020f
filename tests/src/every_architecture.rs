//! A small model of every architecture of the list, with random weights: what its file asks for and
//! nothing else. Loading says what is missing, and it is added until nothing is, so that an
//! architecture that is new comes with a model of its own.

use std::sync::OnceLock;

use mote_formats::Gguf;
use mote_formats::gguf::{TensorType, Value};
use mote_kernels::QuantType;
use mote_runtime::arch::{ARCHITECTURES, Architecture};
use mote_runtime::{LoadError, Model, TensorError};

use crate::models::{OwnedTensor, edited, llama};
use crate::random::Random;

/// What hyper-parameters are here where a value is asked for; those of a group are given together. A key's
/// second value is for architectures that do not take the first.
const GROUPS: &[&[(&str, Value<'static>)]] = &[
    &[("block_count", Value::U32(3))],
    &[("block_count", Value::U32(1))],
    &[("embedding_length", Value::U32(64))],
    &[("context_length", Value::U32(96))],
    &[("feed_forward_length", Value::U32(96))],
    &[("attention.head_count", Value::U32(4)), ("attention.head_count_kv", Value::U32(2))],
    &[("attention.layer_norm_rms_epsilon", Value::F32(1e-5))],
    &[("attention.layer_norm_epsilon", Value::F32(1e-5))],
    &[("attention.sliding_window_pattern", Value::U32(2))],
    &[("attention.sliding_window", Value::U32(16))],
    &[("attention.max_alibi_bias", Value::F32(8.0))],
    &[("attention.causal", Value::Bool(false))],
    &[("logit_scale", Value::F32(0.5))],
    &[
        ("attention.kv_lora_rank", Value::U32(32)),
        ("attention.key_length", Value::U32(40)),
        ("attention.value_length", Value::U32(32)),
        ("attention.key_length_mla", Value::U32(24)),
        ("attention.value_length_mla", Value::U32(16)),
        ("rope.dimension_count", Value::U32(8)),
        ("attention.head_count_kv", Value::U32(1)),
    ],
    EXPERTS,
    &[("shortconv.l_cache", Value::U32(3))],
    &[
        ("ssm.inner_size", Value::U32(128)),
        ("ssm.conv_kernel", Value::U32(4)),
        ("ssm.state_size", Value::U32(16)),
        ("ssm.time_step_rank", Value::U32(8)),
        ("ssm.group_count", Value::U32(4)),
    ],
    &[
        ("wkv.head_size", Value::U32(32)),
        ("attention.decay_lora_rank", Value::U32(8)),
        ("attention.iclr_lora_rank", Value::U32(8)),
        ("attention.value_residual_mix_lora_rank", Value::U32(8)),
        ("attention.gate_lora_rank", Value::U32(8)),
    ],
    &[("window_length", Value::U32(3))],
    &[("hidden_length", Value::U32(32))],
];

/// Also where tensors of experts are asked for without a number of them.
const EXPERTS: &[(&str, Value<'static>)] = &[
    ("expert_count", Value::U32(4)),
    ("expert_used_count", Value::U32(2)),
    ("expert_feed_forward_length", Value::U32(32)),
];

/// Of each architecture its name and a model.
pub fn all() -> &'static [(&'static str, Vec<u8>)] {
    static ALL: OnceLock<Vec<(&'static str, Vec<u8>)>> = OnceLock::new();
    ALL.get_or_init(|| ARCHITECTURES.iter().map(|of| (of.name, model(of))).collect())
}

/// Whether it writes text: encoders give vectors alone.
pub fn is_causal(file: &[u8]) -> bool {
    let gguf = Gguf::parse(file).unwrap();
    !gguf
        .metadata()
        .any(|(key, value)| key.ends_with(".attention.causal") && value.as_bool() == Some(false))
}

/// Adds what loading misses, until it misses nothing.
fn model(architecture: &Architecture) -> Vec<u8> {
    let name = architecture.name;
    let mut file = edited(&llama(), &[("general.architecture", Value::from(name))], Vec::clear);
    for _ in 0..1000 {
        let Some(error) = error(&file) else { return file };
        file = match error {
            LoadError::Key(key, _) => {
                let gguf = Gguf::parse(&file).unwrap();
                let given = gguf.get(&format!("{name}.{key}"));
                let is_new = |&(known, value): &(&str, Value<'_>)| {
                    known == key && given.is_none_or(|given| given != value)
                };
                let group = GROUPS.iter().find(|group| group.iter().any(is_new));
                with_keys(&file, name, group.unwrap_or_else(|| panic!("{name}: {error}")))
            }
            LoadError::Tensor(_, _, TensorError::Shape { expected, .. })
                if expected.contains(&0) =>
            {
                with_keys(&file, name, EXPERTS)
            }
            LoadError::Tensor(tensor, layer, TensorError::Unused) => without(&file, tensor, layer),
            LoadError::Tensor(tensor, layer, TensorError::Missing) => {
                with_tensor(&file, tensor, layer, [64, 32, 1])
            }
            LoadError::Tensor(tensor, layer, TensorError::Shape { expected, .. }) => {
                with_tensor(&file, tensor, layer, expected)
            }
            error => panic!("{name}: {error}"),
        };
    }
    panic!("{name}: again and again {}", error(&file).unwrap());
}

/// The file with these hyper-parameters.
fn with_keys(file: &[u8], name: &str, keys: &[(&str, Value<'static>)]) -> Vec<u8> {
    let keys: Vec<_> = keys.iter().map(|(key, value)| (format!("{name}.{key}"), *value)).collect();
    let keys: Vec<_> = keys.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    edited(file, &keys, |_| ())
}

/// What it cannot be loaded for.
fn error(file: &[u8]) -> Option<LoadError> {
    let gguf = Gguf::parse(file).unwrap();
    let bytes = match Model::bytes_needed(&gguf) {
        Ok(bytes) => bytes,
        Err(error) => return Some(error),
    };
    Model::new(&gguf, &mut vec![0; bytes]).err()
}

/// The file with this tensor, of random numbers.
fn with_tensor(file: &[u8], name: &str, layer: Option<u32>, shape: [u64; 3]) -> Vec<u8> {
    let full = full_name(name, layer);
    let used = 1 + shape.iter().rposition(|&n| n > 1).unwrap_or(0);
    let n: u64 = shape.iter().product();
    let seed = full.bytes().fold(n, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let mut random = Random::new(seed);
    let scale = (shape[0] as f32).sqrt().recip();
    let value = || match name {
        // Rates of decay are negative; what weighs numbers one by one is about 1.
        "ssm_a" => -0.1 - random.normal().abs(),
        _ if shape[1] * shape[2] == 1 && name.ends_with(".weight") => 1.0 + 0.1 * random.normal(),
        _ => scale * random.normal(),
    };
    let values: Vec<f32> = std::iter::repeat_with(value).take(n as usize).collect();
    let tensor = OwnedTensor {
        name: full.clone(),
        dims: shape[..used].to_vec(),
        kind: TensorType::from(QuantType::F32),
        data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    };
    edited(&without(file, name, layer), &[], |tensors| tensors.push(tensor))
}

/// The file without this tensor.
fn without(file: &[u8], name: &str, layer: Option<u32>) -> Vec<u8> {
    let full = full_name(name, layer);
    edited(file, &[], |tensors| tensors.retain(|tensor| tensor.name != full))
}

fn full_name(name: &str, layer: Option<u32>) -> String {
    layer.map_or(name.to_string(), |layer| format!("blk.{layer}.{name}"))
}
