//! Checkpoints with recurrent layers and experts become the small models of the fixtures again, however the
//! experts are spelt.

use mote_formats::gguf::{Gguf, Tensor};
use mote_tests::checkpoint::{Checkpoint, Tensor as Source};
use mote_tests::models::{OwnedTensor, edited, fixture};
use mote_tests::variants::join_projections;
use serde_json::json;

use super::convert::{Output, convert};

/// Names of the file and of the checkpoint; norms of which the model adds 1 end in +.
const NAMES: &[(&str, &str)] = &[
    ("attn_norm.weight", "input_layernorm.weight+"),
    ("post_attention_norm.weight", "post_attention_layernorm.weight+"),
    ("attn_q.weight", "self_attn.q_proj.weight"),
    ("attn_k.weight", "self_attn.k_proj.weight"),
    ("attn_v.weight", "self_attn.v_proj.weight"),
    ("attn_output.weight", "self_attn.o_proj.weight"),
    ("attn_q_norm.weight", "self_attn.q_norm.weight+"),
    ("attn_k_norm.weight", "self_attn.k_norm.weight+"),
    ("ssm_in.weight", "linear_attn.in_proj_qkvz.weight"),
    ("ssm_ba.weight", "linear_attn.in_proj_ba.weight"),
    ("ssm_conv1d.weight", "linear_attn.conv1d.weight"),
    ("ssm_dt.bias", "linear_attn.dt_bias"),
    ("ssm_a", "linear_attn.A_log"),
    ("ssm_norm.weight", "linear_attn.norm.weight"),
    ("ssm_out.weight", "linear_attn.out_proj.weight"),
    ("ffn_gate_inp.weight", "mlp.gate.weight"),
    ("ffn_gate_inp_shexp.weight", "mlp.shared_expert_gate.weight"),
    ("ffn_gate_shexp.weight", "mlp.shared_expert.gate_proj.weight"),
    ("ffn_up_shexp.weight", "mlp.shared_expert.up_proj.weight"),
    ("ffn_down_shexp.weight", "mlp.shared_expert.down_proj.weight"),
];

/// How experts are spelt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// Each in tensors of its own.
    Apart,
    /// All in two tensors, gate and up in one.
    Together,
}

/// The checkpoint of which qwen3next.gguf was made.
fn checkpoint(name: &str, spelling: Spelling) -> Checkpoint {
    let checkpoint = Checkpoint::new(name);
    let mut joined = Vec::new();
    edited(&fixture("models/qwen3next.gguf"), &[], |tensors| {
        join_projections(tensors);
        joined.append(tensors);
    });
    checkpoint.change_tensors(|tensors| {
        *tensors = joined.iter().flat_map(|tensor| sources(tensor, &joined, spelling)).collect();
        // A layer that guesses further tokens.
        for (name, shape) in [("mtp.fc.weight", vec![2]), ("mtp.layers.0.mlp.gate.weight", vec![2])]
        {
            let (name, dtype) = (name.to_string(), "F32".to_string());
            tensors.push(Source { name, dtype, shape, data: vec![0; 8] });
        }
    });
    checkpoint.write("config.json", config().to_string());
    checkpoint
}

fn config() -> serde_json::Value {
    json!({
        "architectures": ["Qwen3NextForCausalLM"], "model_type": "qwen3_next", "vocab_size": 32,
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "hidden_act": "silu",
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-6,
        "layer_types": ["linear_attention", "full_attention", "linear_attention"],
        "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 16,
        "linear_value_head_dim": 8, "linear_conv_kernel_dim": 4, "max_position_embeddings": 704,
        "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "norm_topk_prob": true,
        "shared_expert_intermediate_size": 24, "decoder_sparse_step": 1, "mlp_only_layers": [],
        "rope_theta": 1e5, "partial_rotary_factor": 0.5, "tie_word_embeddings": true,
        "attention_bias": false
    })
}

/// The tensors of the checkpoint of which one of the file is made.
fn sources(tensor: &OwnedTensor, all: &[OwnedTensor], spelling: Spelling) -> Vec<Source> {
    let dtype = tensor.kind.name().to_uppercase();
    let shape: Vec<u64> = tensor.dims.iter().rev().copied().collect();
    let of = |name: String, shape: Vec<u64>, data: Vec<u8>| {
        vec![Source { name, dtype: dtype.clone(), shape, data }]
    };
    match tensor.name.as_str() {
        "token_embd.weight" => {
            return of("model.embed_tokens.weight".into(), shape, tensor.data.clone());
        }
        "output_norm.weight" => {
            return of("model.norm.weight".into(), shape, mapped(&tensor.data, |x| x - 1.0));
        }
        _ => {}
    }
    let (layer, name) = tensor.name.strip_prefix("blk.").unwrap().split_once('.').unwrap();
    let prefix = format!("model.layers.{layer}.");
    if let Some((part, _)) = name.strip_prefix("ffn_").and_then(|name| name.split_once("_exps")) {
        return experts(&format!("{prefix}mlp.experts"), part, (tensor, all), spelling);
    }
    let to = NAMES.iter().find(|(from, _)| *from == name).unwrap().1;
    let (shape, data) = match name {
        "ssm_a" => (shape, mapped(&tensor.data, |x| (-x).ln())),
        "ssm_conv1d.weight" => (vec![shape[0], 1, shape[1]], tensor.data.clone()),
        _ if to.ends_with('+') => (shape, mapped(&tensor.data, |x| x - 1.0)),
        _ => (shape, tensor.data.clone()),
    };
    of(prefix + to.trim_end_matches('+'), shape, data)
}

fn experts(
    prefix: &str,
    part: &str,
    (tensor, all): (&OwnedTensor, &[OwnedTensor]),
    spelling: Spelling,
) -> Vec<Source> {
    let dtype = tensor.kind.name().to_uppercase();
    let &[cols, rows, n] = tensor.dims.as_slice() else { panic!("three dimensions") };
    let of_one = tensor.data.len() / n as usize;
    let source = |name: String, shape, data| Source { name, dtype: dtype.clone(), shape, data };
    match (spelling, part) {
        (Spelling::Apart, _) => {
            let each = tensor.data.chunks_exact(of_one).enumerate();
            let each = each.map(|(i, data)| {
                source(format!("{prefix}.{i}.{part}_proj.weight"), vec![rows, cols], data.to_vec())
            });
            each.collect()
        }
        (_, "down") => {
            vec![source(format!("{prefix}.down_proj"), vec![n, rows, cols], tensor.data.clone())]
        }
        (_, "gate") => {
            let up = tensor.name.replace("gate", "up");
            let up = &all.iter().find(|tensor| tensor.name == up).unwrap().data;
            let both = tensor.data.chunks_exact(of_one).zip(up.chunks_exact(of_one));
            let data = both.flat_map(|(gate, up)| [gate, up].concat()).collect();
            vec![source(format!("{prefix}.gate_up_proj"), vec![n, 2 * rows, cols], data)]
        }
        _ => Vec::new(),
    }
}

fn mapped(floats: &[u8], f: impl Fn(f32) -> f32) -> Vec<u8> {
    floats.as_chunks().0.iter().flat_map(|x| f(f32::from_le_bytes(*x)).to_le_bytes()).collect()
}

fn described(tensor: &Tensor<'_>) -> (String, Vec<u64>, &'static str) {
    (tensor.name().to_string(), tensor.dims().to_vec(), tensor.tensor_type().name())
}

#[test]
fn checkpoints_become_the_small_models() {
    let expected = fixture("models/qwen3next.gguf");
    let expected = Gguf::parse(&expected).unwrap();
    for spelling in [Spelling::Apart, Spelling::Together] {
        let output = Output::new("next");
        let file = output.of(checkpoint("next", spelling).arg(), &[]);
        let gguf = Gguf::parse(&file).unwrap();
        assert_eq!(gguf.n_tensors(), expected.n_tensors());
        for theirs in expected.tensors() {
            let ours = gguf.tensor(theirs.name()).unwrap();
            assert_eq!(described(&ours), described(&theirs));
            // A logarithm is rounded.
            let rounded = described(&ours).0.ends_with("ssm_a");
            assert!(rounded || ours.data() == theirs.data(), "{}", theirs.name());
        }
    }
}

/// Which layers have no experts is not told yet.
#[test]
fn layers_without_experts_are_refused() {
    let checkpoint = checkpoint("next-dense", Spelling::Apart);
    let output = Output::new("dense");
    for (key, value) in [("mlp_only_layers", json!([1])), ("decoder_sparse_step", json!(2))] {
        let mut config = config();
        config[key] = value;
        checkpoint.write("config.json", config.to_string());
        let converted = convert(&[checkpoint.arg(), "-o", output.arg(), "--force"]);
        assert_eq!(converted.code, 3);
        assert!(converted.report.to_string().contains(key), "{}", converted.report);
    }
}
