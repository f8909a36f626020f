//! What the facts of an architecture mean: tensors that hold several, positions that end, a bias of
//! the head, and what is refused because nothing here computes it.

use mote_formats::gguf::{Gguf, Value};
use mote_kernels::{CacheType, QuantType};
use mote_runtime::{KeyError, LoadError, Model, Options, Plan, SessionError, TensorError};
use mote_tests::models::{OwnedTensor, edited, encoded, fixture};
use mote_tests::speak::Run;

fn text(len: u32) -> Vec<u32> {
    (0..len).map(|i| (i * 37 + i * i * 11) % 29 + 3).collect()
}

fn small(name: &str) -> Vec<u8> {
    fixture(&format!("models/{name}.gguf"))
}

fn refused(file: &[u8]) -> LoadError {
    Model::bytes_needed(&Gguf::parse(file).unwrap()).unwrap_err()
}

/// The tensor's outputs in parts, each a tensor of its own.
fn split(tensor: &OwnedTensor, parts: &[(&str, u64)]) -> Vec<OwnedTensor> {
    let outputs = *tensor.dims.last().unwrap();
    let bytes = tensor.data.len() / outputs as usize;
    let mut from = 0;
    let part = |&(name, n): &(&str, u64)| {
        let mut part = tensor.clone();
        part.name = tensor.name.replace("attn_qkv", name);
        *part.dims.last_mut().unwrap() = n;
        part.data = tensor.data[from * bytes..][..n as usize * bytes].to_vec();
        from += n as usize;
        part
    };
    parts.iter().map(part).collect()
}

/// Queries, keys and values in one tensor are what they are in three, whatever the encoding.
#[test]
fn fused_tensors_are_several() {
    for (name, kv) in [("gpt2", 32), ("phi3", 16)] {
        for kind in [QuantType::F16, QuantType::Q8_0, QuantType::Q4_0] {
            let fused = encoded(&small(name), kind);
            let parts = [("attn_q", 32), ("attn_k", kv), ("attn_v", kv)];
            let several = edited(&fused, &[], |tensors| {
                let take_apart = |tensor: OwnedTensor| match tensor.name.contains("attn_qkv") {
                    true => split(&tensor, &parts),
                    false => vec![tensor],
                };
                *tensors = std::mem::take(tensors).into_iter().flat_map(take_apart).collect();
            });
            assert_ne!(fused.len(), several.len());
            let bits = |file: &[u8]| Run::default().bits(file, &text(20), 20);
            assert!(bits(&fused) == bits(&several), "{name} {}", kind.name());
        }
    }
}

/// A context cannot be longer than the learned embedding of positions, and can be as long.
#[test]
fn learned_positions_end() {
    let file = small("gpt2");
    let gguf = Gguf::parse(&file).unwrap();
    let mut tables = vec![0; Model::bytes_needed(&gguf).unwrap()];
    let model = Model::new(&gguf, &mut tables).unwrap();
    assert_eq!(model.config().learned_positions, 704);
    let plan = |n_ctx| Plan::new(model.config(), &Options { n_ctx, ..Options::default() });
    assert_eq!(plan(705), Err(SessionError::ContextFull { needed: 705, capacity: 704 }));
    plan(704).unwrap();
    Run { cache: CacheType::F16, ..Run::default() }.session(&file, 704, |session| {
        session.feed(&text(704)).unwrap();
        assert!(session.logits().unwrap().iter().all(|logit| logit.is_finite()));
    });
}

/// Every position adds what the embedding has for it: where its rows are equal, the order of the
/// tokens before the last one does not matter.
#[test]
fn positions_are_all_that_gives_an_order() {
    let same = edited(&small("gpt2"), &[], |tensors| {
        let positions = tensors.iter_mut().find(|tensor| tensor.name.starts_with("position"));
        let data = &mut positions.unwrap().data;
        let row = data.len() / 704;
        (1..704).for_each(|i| data.copy_within(..row, i * row));
    });
    let last = |file: &[u8], ids: &[u32]| {
        Run::default().session(file, 10, |session| {
            session.feed(ids).unwrap();
            session.logits().unwrap().to_vec()
        })
    };
    let distance = |file: &[u8]| {
        let (a, b) = (last(file, &[3, 4, 9, 7]), last(file, &[9, 3, 4, 7]));
        a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    // The first layer's order is lost; what the second one sees still depends on who saw whom.
    let one_layer = |file: &[u8]| edited(file, &[("gpt2.block_count", Value::U32(1))], |_| ());
    assert!(distance(&one_layer(&same)) < 1e-4);
    assert!(distance(&one_layer(&small("gpt2"))) > 0.1);
}

#[test]
fn a_window_in_every_layer() {
    let with = |size| {
        edited(&small("phi3"), &[("phi3.attention.sliding_window", Value::U32(size))], |_| ())
    };
    let bits = |file: &[u8]| Run::default().bits(file, &text(30), 30);
    assert!(bits(&with(0)) == bits(&with(30)));
    assert!(bits(&with(0)) != bits(&with(29)));
    // With a window of one position and two layers, only the last token matters.
    let last = |ids: &[u32]| {
        Run::default().session(&with(1), 4, |session| {
            session.feed(ids).unwrap();
            session.logits().unwrap().to_vec()
        })
    };
    assert_eq!(last(&[3, 4, 5]), last(&[9, 8, 5]));
    assert_ne!(last(&[3, 4, 5]), last(&[3, 4, 6]));
}

#[test]
fn a_head_may_have_a_bias() {
    let plain = small("qwen2");
    let biased = edited(&plain, &[], |tensors| {
        let data = (0..32).flat_map(|i| (i as f32).to_le_bytes()).collect();
        let kind = QuantType::F32.into();
        tensors.push(OwnedTensor { name: "output.bias".into(), dims: vec![32], kind, data });
    });
    let bits = |file: &[u8]| Run::default().bits(file, &text(9), 9);
    let add = |(i, bits): (usize, u32)| (f32::from_bits(bits) + (i % 32) as f32 + 0.0).to_bits();
    let expected: Vec<_> = bits(&plain).into_iter().enumerate().map(add).collect();
    assert!(bits(&biased) == expected);
}

#[test]
fn what_is_not_computed_is_refused() {
    let key = |name, key: &str, value| refused(&edited(&small(name), &[(key, value)], |_| ()));
    for name in ["qwen2", "qwen3"] {
        let window = format!("{name}.attention.sliding_window");
        let expected = LoadError::Key("attention.sliding_window", KeyError::Unsupported);
        assert_eq!(key(name, &window, Value::U32(9)), expected);
    }
    for name in ["phi3", "qwen2", "qwen3"] {
        let scaling = format!("{name}.rope.scaling.type");
        let expected = LoadError::Key("rope.scaling.type", KeyError::Unsupported);
        assert_eq!(key(name, &scaling, Value::from("yarn")), expected);
    }
    for name in ["rope_factors_long.weight", "rope_factors_short.weight"] {
        let file = edited(&small("phi3"), &[], |tensors| {
            let (kind, data) = (QuantType::F32.into(), vec![0; 12]);
            tensors.push(OwnedTensor { name: name.into(), dims: vec![3], kind, data });
        });
        let error = refused(&file);
        assert_eq!(error, LoadError::Tensor(name, None, TensorError::Unsupported));
        let sentence = format!("tensor '{name}' asks for something not supported");
        assert_eq!(error.to_string(), sentence);
    }
}

/// Facts ask for tensors: without its biases or its positions a model is damaged.
#[test]
fn what_the_facts_ask_for_must_be_there() {
    let without = |name: &str, tensor: &str| {
        let file = edited(&small(name), &[], |tensors| tensors.retain(|t| t.name != tensor));
        let gguf = Gguf::parse(&file).unwrap();
        let mut tables = vec![0; Model::bytes_needed(&gguf).unwrap()];
        Model::new(&gguf, &mut tables).unwrap_err()
    };
    for tensor in ["position_embd.weight", "output_norm.bias"] {
        assert_eq!(without("gpt2", tensor), LoadError::Tensor(tensor, None, TensorError::Missing));
    }
    let layer = [
        ("gpt2", "attn_norm.bias", "attn_norm.bias"),
        ("gpt2", "attn_qkv.weight", "attn_q.weight"),
        ("gpt2", "ffn_up.bias", "ffn_up.bias"),
        ("phi3", "ffn_up.weight", "ffn_up.weight"),
        ("qwen2", "attn_k.bias", "attn_k.bias"),
        ("qwen3", "attn_q_norm.weight", "attn_q_norm.weight"),
    ];
    for (name, tensor, missing) in layer {
        let error = without(name, &format!("blk.1.{tensor}"));
        assert_eq!(error, LoadError::Tensor(missing, Some(1), TensorError::Missing));
    }
}
