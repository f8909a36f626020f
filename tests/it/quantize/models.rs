//! Models of a few rows, as far as quantising is concerned: names, shapes and the facts that the choice
//! of encodings depends on.

use mote_formats::gguf::Builder;
use mote_kernels::QuantType;
use mote_tests::random::Random;

/// All of them.
pub const NAMES: [&str; 6] = ["shared", "tied", "narrow", "experts", "falcon", "large"];

struct Facts {
    architecture: &'static str,
    layers: u64,
    heads: u32,
    kv_heads: u32,
    experts: u32,
}

/// Two rows of random weights in every matrix, f32.
pub fn model(name: &str) -> Vec<u8> {
    with_kind(name, QuantType::F32, |_| ())
}

/// The same in another encoding of floats, with weights that are changed.
pub fn with_kind(name: &str, kind: QuantType, change: impl Fn(&mut Vec<f32>)) -> Vec<u8> {
    let facts = match name {
        "shared" => Facts { architecture: "llama", layers: 24, heads: 8, kv_heads: 2, experts: 0 },
        "tied" => Facts { architecture: "llama", layers: 17, heads: 4, kv_heads: 4, experts: 0 },
        "narrow" => Facts { architecture: "llama", layers: 12, heads: 9, kv_heads: 3, experts: 0 },
        "experts" => Facts { architecture: "llama", layers: 16, heads: 8, kv_heads: 2, experts: 8 },
        "falcon" => Facts { architecture: "falcon", layers: 32, heads: 8, kv_heads: 1, experts: 0 },
        "large" => Facts { architecture: "llama", layers: 80, heads: 8, kv_heads: 1, experts: 0 },
        _ => panic!("{name}"),
    };
    let tensors = tensors(name, &facts);
    let mut builder = Builder::new();
    let architecture = facts.architecture;
    builder.set("general.architecture", architecture).unwrap();
    for (key, number) in [
        ("context_length", 128),
        ("embedding_length", 256),
        ("block_count", facts.layers as u32),
        ("feed_forward_length", 512),
        ("attention.head_count", facts.heads),
        ("attention.head_count_kv", facts.kv_heads),
        ("expert_count", facts.experts),
        ("expert_used_count", facts.experts / 4),
    ] {
        builder.set(&format!("{architecture}.{key}"), number).unwrap();
    }
    for key in ["layer_norm_rms_epsilon", "layer_norm_epsilon"] {
        builder.set(&format!("{architecture}.attention.{key}"), 1e-5_f32).unwrap();
    }
    builder.set_strings("tokenizer.ggml.tokens", &["a", "b"]).unwrap();
    builder.set("tokenizer.ggml.model", "gpt2").unwrap();
    let of = |dims: &[u64]| if dims.len() > 1 { kind } else { QuantType::F32 };
    for (name, dims) in &tensors {
        builder.add_tensor(name, dims, of(dims)).unwrap();
    }
    let mut random = Random::new(tensors.len() as u64);
    let mut writer = builder.write_index(Vec::new()).unwrap();
    for (_, dims) in &tensors {
        let n = dims.iter().product::<u64>() as usize;
        let mut weights = random.normals(n);
        weights.iter_mut().for_each(|weight| *weight *= 0.05);
        if dims.len() > 1 {
            change(&mut weights);
        }
        let mut data = vec![0; of(dims).row_bytes(n).unwrap()];
        of(dims).encode(&weights, &mut data);
        writer.write(&data).unwrap();
    }
    writer.finish().unwrap()
}

fn tensors(name: &str, facts: &Facts) -> Vec<(String, Vec<u64>)> {
    let width = if name == "narrow" { 288 } else { 256 };
    let mut tensors = vec![("token_embd.weight".to_owned(), vec![width, 2])];
    // Not in the order of the layers.
    for layer in (0..facts.layers).rev() {
        let mut add = |name: &str, dims: &[u64]| {
            tensors.push((format!("blk.{layer}.{name}"), dims.to_vec()));
        };
        add("attn_norm.weight", &[width]);
        match name {
            "falcon" => add("attn_qkv.weight", &[width, 2]),
            _ => ["attn_q.weight", "attn_k.weight", "attn_v.weight"]
                .iter()
                .for_each(|name| add(name, &[width, 2])),
        }
        // 48: no encoding of integers has such rows.
        add("attn_output.weight", &[if name == "narrow" { 48 } else { 256 }, 2]);
        if name == "experts" {
            add("ffn_gate_inp.weight", &[256, 8]);
            add("ffn_gate_exps.weight", &[256, 1, 8]);
            add("ffn_down_exps.weight", &[512, 1, 8]);
            add("ffn_up_exps.weight", &[256, 1, 8]);
        } else {
            add("ffn_down.weight", &[512, 2]);
            add("ffn_up.weight", &[width, 2]);
        }
    }
    tensors.push(("output_norm.weight".to_owned(), vec![width]));
    if !matches!(name, "tied" | "narrow") {
        tensors.push(("output.weight".to_owned(), vec![width, 2]));
    }
    tensors
}
