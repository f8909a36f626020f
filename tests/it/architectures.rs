//! What the facts of an architecture mean: tensors that hold several, positions that end, a bias of
//! the head, and what is refused because nothing here computes it.

use mote_formats::gguf::{Gguf, Value};
use mote_kernels::{CacheType, QuantType};
use mote_runtime::{KeyError, LoadError, Model, Options, Plan, SessionError, TensorError};
use mote_tests::models::{OwnedTensor, edited, encoded, fixture};
use mote_tests::speak::Run;
use mote_tests::variants;

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

/// The gated delta rule's first projections are the same in one matrix as in two.
#[test]
fn joined_projections_are_several() {
    let (apart, joined) = (small("qwen3next"), variants::qwen3next());
    assert_ne!(apart.len(), joined.len());
    let bits = |file: &[u8]| Run::default().bits(file, &text(20), 20);
    assert!(bits(&apart) == bits(&joined));
    let quantized = |file: &[u8]| bits(&encoded(file, QuantType::Q8_0));
    assert!(quantized(&apart) == quantized(&joined) && quantized(&apart) != bits(&apart));
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
        assert_eq!(key(name, &scaling, Value::from("dynamic")), expected);
    }
    let gating = "qwen3moe.expert_gating_func";
    let error = refused(&edited(&variants::qwen3moe(), &[(gating, Value::U32(4))], |_| ()));
    assert_eq!(error, LoadError::Key("expert_gating_func", KeyError::Unsupported));
}

/// Facts about experts and latent attention that contradict each other, or tensors that are not there.
#[test]
fn experts_and_latent_attention_are_checked() {
    let with = |key: &str, value| {
        let key = format!("deepseek2.{key}");
        refused(&edited(&small("deepseek3"), &[(&key, Value::U32(value))], |_| ()))
    };
    let range = |key| LoadError::Key(key, KeyError::OutOfRange);
    assert_eq!(with("expert_group_count", 3), range("expert_group_count"));
    assert_eq!(with("expert_group_count", 8), range("expert_group_count"));
    assert_eq!(with("expert_group_used_count", 1), range("expert_group_count"));
    assert_eq!(with("expert_group_used_count", 5), range("expert_group_used_count"));
    assert_eq!(with("expert_used_count", 5), range("expert_group_count"));
    assert_eq!(with("expert_shared_count", 4096 * 2), range("expert_shared_count"));
    assert_eq!(with("attention.head_count_kv", 4), range("attention.key_length"));
    assert_eq!(with("attention.kv_lora_rank", 16), range("attention.key_length"));
    assert_eq!(with("attention.key_length_mla", 8), range("attention.key_length_mla"));
    assert_eq!(with("attention.value_length_mla", 1 << 17), range("attention.key_length_mla"));
    let missing = |name, layer| LoadError::Tensor(name, Some(layer), TensorError::Missing);
    let loaded = |file: &[u8]| {
        let gguf = Gguf::parse(file).unwrap();
        let mut tables = vec![0; Model::bytes_needed(&gguf).unwrap()];
        Model::new(&gguf, &mut tables).map(|_| ()).unwrap_err()
    };
    let dense = |layers| {
        let key = "deepseek2.leading_dense_block_count";
        loaded(&edited(&small("deepseek3"), &[(key, Value::U32(layers))], |_| ()))
    };
    // What a layer has and what the facts say it has are of two kinds then.
    let unused = |name, layer| LoadError::Tensor(name, Some(layer), TensorError::Unused);
    assert_eq!(dense(0), unused("ffn_gate.weight", 0));
    assert_eq!(dense(2), unused("ffn_gate_exps.weight", 1));
    let without = |name: &str| {
        loaded(&edited(&small("deepseek3"), &[], |tensors| {
            tensors.retain(|tensor| !tensor.name.ends_with(name));
        }))
    };
    assert_eq!(without("attn_k_b.weight"), missing("attn_k_b.weight", 0));
    assert_eq!(without("ffn_up_shexp.weight"), missing("ffn_up_shexp.weight", 1));
    // Without a bias of the choice others are chosen.
    let unbiased = edited(&small("deepseek3"), &[], |tensors| {
        tensors.retain(|tensor| !tensor.name.contains("exp_probs_b"));
    });
    let bits = |file: &[u8]| Run::default().bits(file, &text(20), 20);
    assert!(bits(&unbiased) != bits(&small("deepseek3")));
}

/// A score of an expert that is none is found in the logits.
#[test]
fn scores_of_experts_that_are_none_stay() {
    for name in ["qwen2moe", "deepseek3"] {
        let file = edited(&small(name), &[], |tensors| {
            let router =
                tensors.iter_mut().find(|tensor| tensor.name == "blk.1.ffn_gate_inp.weight");
            router.unwrap().data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        });
        Run::default().session(&file, 4, |session| {
            session.feed(&text(3)).unwrap();
            assert!(session.logits().unwrap().iter().all(|logit| logit.is_nan()), "{name}");
        });
    }
}

/// A file with one of LongRoPE's lists is damaged; which list is for a session, its length decides.
#[test]
fn long_rope_goes_by_the_length_of_the_session() {
    let original = [("phi3.rope.scaling.original_context_length", Value::U32(20))];
    let with = |lists: &[(&str, f32)]| {
        edited(&small("phi3"), &original, |tensors| {
            for (name, factor) in lists {
                let name = format!("rope_factors_{name}.weight");
                let data = [1.0, *factor, *factor].iter().flat_map(|x| x.to_le_bytes()).collect();
                let kind = QuantType::F32.into();
                tensors.push(OwnedTensor { name, dims: vec![3], kind, data });
            }
        })
    };
    let bits = |file: &[u8], n: u32| Run::default().bits(file, &text(n), n as usize);
    let (both, short) = (with(&[("short", 1.0), ("long", 4.0)]), small("phi3"));
    let long = with(&[("short", 4.0), ("long", 4.0)]);
    assert!(bits(&both, 20) == bits(&short, 20));
    assert!(bits(&both, 21) == bits(&long, 21) && bits(&both, 21) != bits(&short, 21));
    let half = with(&[("short", 1.0)]);
    let gguf = Gguf::parse(&half).unwrap();
    let mut tables = vec![0; Model::bytes_needed(&gguf).unwrap()];
    let name = "rope_factors_long.weight";
    let expected = LoadError::Tensor(name, None, TensorError::Missing);
    assert_eq!(Model::new(&gguf, &mut tables).unwrap_err(), expected);
}

/// Positions are turned less by YaRN, and by a factor of 1 as always.
#[test]
fn yarn_with_a_factor_of_one_is_nothing() {
    let with = |factor: f32| {
        let keys = [
            ("qwen2.rope.scaling.type", Value::from("yarn")),
            ("qwen2.rope.scaling.factor", Value::F32(factor)),
            ("qwen2.rope.scaling.original_context_length", Value::U32(64)),
        ];
        edited(&small("qwen2"), &keys, |_| ())
    };
    let bits = |file: &[u8]| Run::default().bits(file, &text(30), 30);
    assert!(bits(&with(1.0)) == bits(&small("qwen2")));
    assert!(bits(&with(4.0)) != bits(&small("qwen2")));
}

/// Facts change what is computed: none of them is lost on the way.
#[test]
fn every_fact_of_the_variants_matters() {
    let bits = |file: &[u8]| Run::default().bits(file, &text(30), 30);
    let changed = |file: &[u8], key: &str, value| {
        assert!(bits(file) != bits(&edited(file, &[(key, value)], |_| ())), "{key}");
    };
    let gemma2 = variants::gemma2();
    changed(&gemma2, "gemma2.attn_logit_softcapping", Value::F32(20.0));
    changed(&gemma2, "gemma2.final_logit_softcapping", Value::F32(20.0));
    changed(&gemma2, "gemma2.attention.scale", Value::F32(0.1));
    changed(&variants::smollm3(), "smollm3.rope.no_rope_layer_interval", Value::U32(1));
    changed(&variants::cohere2(), "cohere2.logit_scale", Value::F32(2.0));
    changed(&variants::qwen3moe(), "qwen3moe.expert_used_count", Value::U32(3));
    changed(&variants::qwen3moe(), "qwen3moe.expert_weights_norm", Value::Bool(false));
    for tensor in ["attn_sinks.weight", "ffn_gate_inp.bias", "ffn_down_exps.bias"] {
        let without = edited(&variants::gpt_oss(), &[], |tensors| {
            let tensors = tensors.iter_mut().filter(|it| it.name.ends_with(tensor));
            tensors.for_each(|tensor| tensor.data.fill(0));
        });
        assert!(bits(&without) != bits(&variants::gpt_oss()), "{tensor}");
    }
}

/// Slopes alone give an order, in the first layer already.
#[test]
fn slopes_give_an_order() {
    let file = edited(&variants::bloom(), &[("bloom.block_count", Value::U32(1))], |_| ());
    let last = |file: &[u8], ids: &[u32]| {
        Run::default().session(file, 4, |session| {
            session.feed(ids).unwrap();
            session.logits().unwrap().to_vec()
        })
    };
    let (a, b) = (last(&file, &[3, 4, 9, 7]), last(&file, &[9, 3, 4, 7]));
    assert!(a.iter().zip(&b).any(|(a, b)| (a - b).abs() > 0.01));
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

/// Steps come from a vector that may be wider than everything else.
#[test]
fn a_step_of_a_high_rank() {
    for kind in [QuantType::F32, QuantType::Q8_0] {
        const RANK: u64 = 1024;
        let rank = ("mamba.ssm.time_step_rank", Value::U32(RANK as u32));
        let file = edited(&small("mamba"), &[rank], |tensors| {
            let state =
                tensors.iter().find(|tensor| tensor.name.ends_with("ssm_a")).unwrap().dims[0];
            for tensor in tensors {
                if tensor.name.ends_with("ssm_dt.weight") {
                    tensor.dims[0] = RANK;
                } else if tensor.name.ends_with("ssm_x.weight") {
                    tensor.dims[1] = RANK + 2 * state;
                } else {
                    continue;
                }
                let n = tensor.dims.iter().product::<u64>() as usize;
                tensor.kind = kind.into();
                tensor.data = vec![0; kind.row_bytes(n).unwrap()];
            }
        });
        for batch in [1, 32] {
            Run { batch, ..Run::default() }.session(&file, 40, |session| {
                session.feed(&text(33)).unwrap();
                assert!(session.logits().unwrap().iter().all(|logit| logit.is_finite()));
            });
        }
    }
}
