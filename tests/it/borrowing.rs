//! Layers of several sizes in one model, and layers that see what an earlier one remembers.

use mote_formats::Gguf;
use mote_formats::gguf::{Builder, Value};
use mote_kernels::{CacheType, QuantType};
use mote_runtime::{KeyError, LoadError, Model, Options, Plan, SessionError, TensorError};
use mote_tests::models::{OwnedTensor, edited, fixture};
use mote_tests::speak::Run;

fn text(len: u32) -> Vec<u32> {
    (0..len).map(|i| (i * 37 + i * i * 11) % 29 + 3).collect()
}

fn model() -> Vec<u8> {
    fixture("models/gemma4.gguf")
}

fn refused(file: &[u8]) -> LoadError {
    let gguf = Gguf::parse(file).unwrap();
    let mut tables = vec![0; 1 << 20];
    Model::new(&gguf, &mut tables).unwrap_err()
}

/// The model with a list in the place of a key's value.
fn with_list(key: &str, list: &[i32]) -> Vec<u8> {
    let mut builder = Builder::new();
    builder.set_array(key, list).unwrap();
    let lists = builder.write_index(Vec::new()).unwrap().finish().unwrap();
    let lists = Gguf::parse(&lists).unwrap();
    edited(&model(), &[(key, lists.get(key).unwrap())], |_| ())
}

/// Three layers remember 32 values a token, or 128, both keys and values.
#[test]
fn the_cache_has_what_layers_remember() {
    let file = model();
    let gguf = Gguf::parse(&file).unwrap();
    let mut tables = vec![0; Model::bytes_needed(&gguf).unwrap()];
    let model = Model::new(&gguf, &mut tables).unwrap();
    let config = model.config();
    assert_eq!((config.cached_dim(), config.n_own()), (32 + 128 + 32, 3));
    assert_eq!([0, 1, 2, 3, 4].map(|layer| config.source(layer)), [0, 1, 2, 2, 1]);
    assert_eq!([0, 1, 2].map(|layer| config.cached_before(layer)), [0, 32, 160]);
    let plan = |n_ctx, cache| Plan::new(config, &Options { n_ctx, cache, ..Options::default() });
    let bytes = |cache| {
        let [one, two] = [160, 320].map(|n_ctx| plan(n_ctx, cache).unwrap().cache_bytes);
        two - one
    };
    // Besides a token's id and the bit of its origin.
    let others = 160 * 4 + 160 / 8;
    for (cache, one) in [(CacheType::F32, 4 * 192), (CacheType::Q8_0, 192 / 32 * 34)] {
        assert!(bytes(cache).abs_diff(160 * 2 * one + others) < 128);
    }
}

/// Keys and values that a borrowing layer has are not used; its queries are.
#[test]
fn what_a_borrowing_layer_has_of_its_own_changes_nothing() {
    let bits = |file: &[u8]| Run::default().bits(file, &text(30), 15);
    let plain = model();
    let copy = |tensors: &mut Vec<OwnedTensor>, name: &str| {
        let from = tensors.iter().find(|tensor| tensor.name == format!("blk.1.{name}"));
        let mut tensor = from.unwrap().clone();
        tensor.name = format!("blk.4.{name}");
        tensor.data.iter_mut().for_each(|byte| *byte ^= 1);
        tensors.push(tensor);
    };
    let more = edited(&plain, &[], |tensors| {
        ["attn_k.weight", "attn_k_norm.weight"].iter().for_each(|name| copy(tensors, name));
    });
    assert!(more.len() > plain.len() && bits(&more) == bits(&plain));
    let other = edited(&plain, &[], |tensors| {
        let query = tensors.iter_mut().find(|tensor| tensor.name == "blk.4.attn_q.weight");
        query.unwrap().data.iter_mut().step_by(2).for_each(|byte| *byte ^= 1);
    });
    assert!(bits(&other) != bits(&plain));
}

/// Values that are the keys are what a matrix of the same weights gives.
#[test]
fn keys_as_values_are_a_second_matrix_of_the_same_weights() {
    let bits = |file: &[u8]| Run::default().bits(file, &text(30), 15);
    let two = edited(&model(), &[], |tensors| {
        let mut tensor =
            tensors.iter().find(|tensor| tensor.name == "blk.1.attn_k.weight").unwrap().clone();
        tensor.name = "blk.1.attn_v.weight".into();
        tensors.push(tensor);
    });
    assert!(bits(&two) == bits(&model()));
}

/// Logits are bounded where the file says so, and only there.
#[test]
fn no_cap_is_none() {
    let key = "gemma4.final_logit_softcapping";
    let bits = |file: &[u8]| Run::default().bits(file, &text(9), 9);
    let zero = edited(&model(), &[(key, Value::F32(0.0))], |_| ());
    let missing = {
        let file = model();
        let gguf = Gguf::parse(&file).unwrap();
        let mut builder = Builder::new();
        for (name, value) in gguf.metadata().filter(|(name, _)| *name != key) {
            builder.set(name, value).unwrap();
        }
        for tensor in gguf.tensors() {
            builder.add_tensor(tensor.name(), tensor.dims(), tensor.tensor_type()).unwrap();
        }
        let mut writer = builder.write_index(Vec::new()).unwrap();
        gguf.tensors().for_each(|tensor| writer.write(tensor.data()).unwrap());
        writer.finish().unwrap()
    };
    assert!(bits(&zero) == bits(&missing));
    assert!(bits(&zero) != bits(&model()));
}

#[test]
fn what_layers_cannot_be_is_refused() {
    let kv = "gemma4.attention.head_count_kv";
    let ff = "gemma4.feed_forward_length";
    let error = |key, reason| LoadError::Key(key, reason);
    let (heads, width) = ("attention.head_count_kv", "feed_forward_length");
    let list = |key, list: &[i32]| refused(&with_list(key, list));
    assert_eq!(list(kv, &[1, 2, 2, 1, 2]), error(heads, KeyError::Unsupported));
    assert_eq!(list(kv, &[1, 2, 1, 1]), error(heads, KeyError::OutOfRange));
    assert_eq!(list(kv, &[1, 2, 1, 1, -1]), error(heads, KeyError::Unsupported));
    assert_eq!(list(kv, &[1, 3, 1, 1, 3]), error(heads, KeyError::OutOfRange));
    assert_eq!(list(ff, &[32, 32, 64, 64, 64]), error(width, KeyError::Unsupported));
    let set =
        |key: &str, value| refused(&edited(&model(), &[(&format!("gemma4.{key}"), value)], |_| ()));
    let shared = "attention.shared_kv_layers";
    for n in [4, 5, 6, 1000] {
        assert_eq!(set(shared, Value::U32(n)), error(shared, KeyError::OutOfRange));
    }
    let by_layer = "embedding_length_per_layer_input";
    assert_eq!(set(by_layer, Value::U32(1 << 16)), error(by_layer, KeyError::OutOfRange));
    let values = "attention.value_length_swa";
    assert_eq!(set(values, Value::U32(16)), error(values, KeyError::Unsupported));
    let besides = "expert_shared_count";
    assert_eq!(set(besides, Value::U32(1)), error(besides, KeyError::Unsupported));
    let pattern = "attention.sliding_window_pattern";
    assert_eq!(
        list("gemma4.attention.sliding_window_pattern", &[1; 5]),
        error(pattern, KeyError::OutOfRange)
    );
}

#[test]
fn every_layer_has_what_it_needs() {
    let without = |tensor: &str| {
        refused(&edited(&model(), &[], |tensors| tensors.retain(|it| it.name != tensor)))
    };
    let layers = [
        (0, "attn_k.weight"),
        (0, "attn_k_norm.weight"),
        (4, "attn_q_norm.weight"),
        (4, "inp_gate.weight"),
        (4, "proj.weight"),
        (4, "post_norm.weight"),
    ];
    for (layer, name) in layers {
        let missing = LoadError::Tensor(name, Some(layer), TensorError::Missing);
        assert_eq!(without(&format!("blk.{layer}.{name}")), missing);
    }
    for name in
        ["per_layer_token_embd.weight", "per_layer_model_proj.weight", "per_layer_proj_norm.weight"]
    {
        assert_eq!(without(name), LoadError::Tensor(name, None, TensorError::Missing));
    }
}

/// A cache of blocks must fit the heads of all layers.
#[test]
fn a_cache_fits_all_heads_or_none() {
    let file = edited(&model(), &[("gemma4.attention.key_length_swa", Value::U32(16))], |_| ());
    let narrow = edited(
        &file,
        &[
            ("gemma4.attention.value_length_swa", Value::U32(16)),
            ("gemma4.rope.dimension_count_swa", Value::U32(16)),
        ],
        |tensors| {
            for tensor in tensors.iter_mut().filter(|it| {
                ["blk.0", "blk.2", "blk.3"].iter().any(|layer| it.name.starts_with(layer))
            }) {
                let dim = match tensor.name.split_once("attn_").map(|(_, name)| name) {
                    Some("q.weight" | "k.weight" | "v.weight") => 1,
                    Some("output.weight" | "q_norm.weight" | "k_norm.weight") => 0,
                    _ => continue,
                };
                tensor.dims[dim] /= 2;
                tensor.data.truncate(tensor.data.len() / 2);
            }
        },
    );
    let gguf = Gguf::parse(&narrow).unwrap();
    let mut tables = vec![0; Model::bytes_needed(&gguf).unwrap()];
    let model = Model::new(&gguf, &mut tables).unwrap();
    let plan = |cache| Plan::new(model.config(), &Options { cache, ..Options::default() });
    plan(CacheType::F16).unwrap();
    assert!(matches!(plan(CacheType::Q8_0), Err(SessionError::Option(_))));
    assert_eq!(gguf.tensor("blk.0.attn_q.weight").unwrap().kind(), Ok(QuantType::F16));
}
