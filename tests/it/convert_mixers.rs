//! Checkpoints of RWKV and of Granite's hybrids with experts become the small models of the fixtures again.

use mote_formats::gguf::{Gguf, Tensor};
use mote_tests::checkpoint::{Checkpoint, Tensor as Source};
use mote_tests::models::{OwnedTensor, edited, fixture};
use mote_tests::speak::Run;
use serde_json::{Value, json};

use super::convert::Output;

/// What becomes of a tensor of the file, so that it is the checkpoint's again.
#[derive(Clone, Copy)]
enum Back {
    Same,
    /// 1 - w; a shape with two dimensions of 1 in front.
    Complement,
    /// The logarithm of the rate.
    Rate,
    /// A vector, or a vector for each row.
    Flat,
    /// A convolution.
    Apart,
    /// Rows of two heads' halves in turns.
    Turned(usize),
    /// The rows of another tensor come behind, in each block of the first dimension.
    With(&'static str),
}
use Back::*;

/// Names of the file and of the checkpoint. Those that are not listed are not in the checkpoint, or in that of
/// another.
type Names = &'static [(&'static str, &'static str, Back)];

const RWKV4: Names = &[
    ("token_embd.weight", "rwkv.embeddings.weight", Same),
    ("token_embd_norm.weight", "rwkv.blocks.0.pre_ln.weight", Same),
    ("token_embd_norm.bias", "rwkv.blocks.0.pre_ln.bias", Same),
    ("output_norm.weight", "rwkv.ln_out.weight", Same),
    ("output_norm.bias", "rwkv.ln_out.bias", Same),
    ("attn_norm.weight", "rwkv.blocks.N.ln1.weight", Same),
    ("attn_norm.bias", "rwkv.blocks.N.ln1.bias", Same),
    ("attn_norm_2.weight", "rwkv.blocks.N.ln2.weight", Same),
    ("attn_norm_2.bias", "rwkv.blocks.N.ln2.bias", Same),
    ("time_mix_decay.weight", "rwkv.blocks.N.attention.time_decay", Same),
    ("time_mix_first.weight", "rwkv.blocks.N.attention.time_first", Same),
    ("time_mix_lerp_k.weight", "rwkv.blocks.N.attention.time_mix_key", Complement),
    ("time_mix_lerp_v.weight", "rwkv.blocks.N.attention.time_mix_value", Complement),
    ("time_mix_lerp_r.weight", "rwkv.blocks.N.attention.time_mix_receptance", Complement),
    ("time_mix_key.weight", "rwkv.blocks.N.attention.key.weight", Same),
    ("time_mix_value.weight", "rwkv.blocks.N.attention.value.weight", Same),
    ("time_mix_receptance.weight", "rwkv.blocks.N.attention.receptance.weight", Same),
    ("time_mix_output.weight", "rwkv.blocks.N.attention.output.weight", Same),
    ("channel_mix_lerp_k.weight", "rwkv.blocks.N.feed_forward.time_mix_key", Complement),
    ("channel_mix_lerp_r.weight", "rwkv.blocks.N.feed_forward.time_mix_receptance", Complement),
    ("channel_mix_key.weight", "rwkv.blocks.N.feed_forward.key.weight", Same),
    ("channel_mix_receptance.weight", "rwkv.blocks.N.feed_forward.receptance.weight", Same),
    ("channel_mix_value.weight", "rwkv.blocks.N.feed_forward.value.weight", Same),
];

const RWKV7: Names = &[
    ("token_embd.weight", "model.embeddings.weight", Same),
    ("token_embd_norm.weight", "model.layers.0.pre_norm.weight", Same),
    ("token_embd_norm.bias", "model.layers.0.pre_norm.bias", Same),
    ("output_norm.weight", "model.norm.weight", Same),
    ("output_norm.bias", "model.norm.bias", Same),
    ("attn_norm.weight", "model.layers.N.attn_norm.weight", Same),
    ("attn_norm.bias", "model.layers.N.attn_norm.bias", Same),
    ("attn_norm_2.weight", "model.layers.N.ffn_norm.weight", Same),
    ("attn_norm_2.bias", "model.layers.N.ffn_norm.bias", Same),
    ("time_mix_k_k.weight", "model.layers.N.attn.k_k", Same),
    ("time_mix_k_a.weight", "model.layers.N.attn.k_a", Same),
    ("time_mix_r_k.weight", "model.layers.N.attn.r_k", Same),
    ("time_mix_receptance.weight", "model.layers.N.attn.r_proj.weight", Same),
    ("time_mix_key.weight", "model.layers.N.attn.k_proj.weight", Same),
    ("time_mix_value.weight", "model.layers.N.attn.v_proj.weight", Same),
    ("time_mix_output.weight", "model.layers.N.attn.o_proj.weight", Same),
    ("time_mix_ln.weight", "model.layers.N.attn.g_norm.weight", Same),
    ("time_mix_ln.bias", "model.layers.N.attn.g_norm.bias", Same),
    ("time_mix_w1.weight", "model.layers.N.attn.w_lora.lora.0.weight", Same),
    ("time_mix_w2.weight", "model.layers.N.attn.w_lora.lora.2.weight", Same),
    ("time_mix_w0.weight", "model.layers.N.attn.w_lora.lora.2.bias", Same),
    ("time_mix_a1.weight", "model.layers.N.attn.a_lora.lora.0.weight", Same),
    ("time_mix_a2.weight", "model.layers.N.attn.a_lora.lora.2.weight", Same),
    ("time_mix_a0.weight", "model.layers.N.attn.a_lora.lora.2.bias", Same),
    ("time_mix_v1.weight", "model.layers.N.attn.v_lora.lora.0.weight", Same),
    ("time_mix_v2.weight", "model.layers.N.attn.v_lora.lora.2.weight", Same),
    ("time_mix_v0.weight", "model.layers.N.attn.v_lora.lora.2.bias", Same),
    ("time_mix_g1.weight", "model.layers.N.attn.g_lora.lora.0.weight", Same),
    ("time_mix_g2.weight", "model.layers.N.attn.g_lora.lora.2.weight", Same),
    ("channel_mix_lerp_k.weight", "model.layers.N.ffn.x_k", Same),
    ("channel_mix_key.weight", "model.layers.N.ffn.key.weight", Same),
    ("channel_mix_value.weight", "model.layers.N.ffn.value.weight", Same),
];

const GRANITE: Names = &[
    ("token_embd.weight", "model.embed_tokens.weight", Same),
    ("output_norm.weight", "model.norm.weight", Same),
    ("attn_norm.weight", "model.layers.N.input_layernorm.weight", Same),
    ("ffn_norm.weight", "model.layers.N.post_attention_layernorm.weight", Same),
    ("attn_q.weight", "model.layers.N.self_attn.q_proj.weight", Turned(4)),
    ("attn_k.weight", "model.layers.N.self_attn.k_proj.weight", Turned(2)),
    ("attn_v.weight", "model.layers.N.self_attn.v_proj.weight", Same),
    ("attn_output.weight", "model.layers.N.self_attn.o_proj.weight", Same),
    ("ssm_in.weight", "model.layers.N.mamba.in_proj.weight", Same),
    ("ssm_conv1d.weight", "model.layers.N.mamba.conv1d.weight", Apart),
    ("ssm_conv1d.bias", "model.layers.N.mamba.conv1d.bias", Same),
    ("ssm_dt.bias", "model.layers.N.mamba.dt_bias", Same),
    ("ssm_a", "model.layers.N.mamba.A_log", Rate),
    ("ssm_d", "model.layers.N.mamba.D", Flat),
    ("ssm_norm.weight", "model.layers.N.mamba.norm.weight", Flat),
    ("ssm_out.weight", "model.layers.N.mamba.out_proj.weight", Same),
    ("ffn_gate_inp.weight", "model.layers.N.block_sparse_moe.router.layer.weight", Same),
    (
        "ffn_gate_exps.weight",
        "model.layers.N.block_sparse_moe.input_linear.weight",
        With("ffn_up_exps.weight"),
    ),
    ("ffn_down_exps.weight", "model.layers.N.block_sparse_moe.output_linear.weight", Same),
    (
        "ffn_gate_shexp.weight",
        "model.layers.N.shared_mlp.input_linear.weight",
        With("ffn_up_shexp.weight"),
    ),
    ("ffn_down_shexp.weight", "model.layers.N.shared_mlp.output_linear.weight", Same),
];

fn mapped(floats: &[u8], f: impl Fn(f32) -> f32) -> Vec<u8> {
    floats.as_chunks().0.iter().flat_map(|x| f(f32::from_le_bytes(*x)).to_le_bytes()).collect()
}

/// The checkpoint's tensor of which one of the file was made.
fn source(tensor: &OwnedTensor, name: String, back: Back, all: &[OwnedTensor]) -> Source {
    let mut shape: Vec<u64> = tensor.dims.iter().rev().copied().collect();
    let mut data = tensor.data.clone();
    let n: u64 = shape.iter().product();
    match back {
        Same => {}
        Complement => {
            (shape, data) = (vec![1, 1, n], mapped(&data, |x| 1.0 - x));
        }
        Rate => (shape, data) = (vec![n], mapped(&data, |x| (-x).ln())),
        Flat => shape = vec![n],
        Apart => shape = vec![shape[0], 1, shape[1]],
        Turned(heads) => {
            let row = data.len() / shape[0] as usize;
            let head = data.len() / heads;
            let turned = tensor.data.chunks_exact(head).flat_map(|head| {
                let half = |first| head.chunks_exact(row).skip(first).step_by(2);
                half(0).chain(half(1)).flatten().copied().collect::<Vec<_>>()
            });
            data = turned.collect();
        }
        With(other) => {
            let (layer, _) = tensor.name.rsplit_once(".ffn").unwrap();
            let other = all.iter().find(|it| it.name == format!("{layer}.{other}")).unwrap();
            let blocks = if shape.len() == 3 { shape[0] as usize } else { 1 };
            let of_block = data.len() / blocks;
            let both = tensor.data.chunks_exact(of_block).zip(other.data.chunks_exact(of_block));
            data = both.flat_map(|(first, second)| [first, second].concat()).collect();
            let rows = shape.len() - 2;
            shape[rows] *= 2;
        }
    }
    Source { name, dtype: tensor.kind.name().to_uppercase(), shape, data }
}

fn checkpoint(name: &str, names: Names, config: &Value) -> Checkpoint {
    let checkpoint = Checkpoint::new(&format!("mixers-{name}"));
    let mut all = Vec::new();
    edited(&fixture(&format!("models/{name}.gguf")), &[], |tensors| all.append(tensors));
    let of = |tensor: &OwnedTensor| {
        let rest = tensor.name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
        let (layer, own) = rest.unwrap_or(("", &tensor.name));
        let (_, to, back) = names.iter().find(|(from, ..)| *from == own)?;
        Some(source(tensor, to.replace('N', layer), *back, &all))
    };
    checkpoint.change_tensors(|tensors| *tensors = all.iter().filter_map(of).collect());
    checkpoint.write("config.json", config.to_string());
    checkpoint
}

/// Whether a checkpoint becomes the fixture: the same tensors, and the same model to rounding.
fn becomes(name: &str, checkpoint: &Checkpoint) {
    let file = Output::new(&format!("mixers-{name}")).of(checkpoint.arg(), &[]);
    let expected = fixture(&format!("models/{name}.gguf"));
    let described = |file: &[u8]| {
        let of = |tensor: Tensor<'_>| {
            (tensor.name().to_string(), tensor.dims().to_vec(), tensor.tensor_type().name())
        };
        let mut all: Vec<_> = Gguf::parse(file).unwrap().tensors().map(of).collect();
        all.sort();
        all
    };
    assert_eq!(described(&file), described(&expected), "{name}");
    let ids: Vec<u32> = (0..40).map(|i| (i * 37 + i * i * 11) % 29 + 3).collect();
    let logprobs = |file: &[u8]| Run::default().logprobs(file, &ids);
    let differences =
        logprobs(&file).into_iter().zip(logprobs(&expected)).map(|(a, b)| (a - b).abs());
    let worst = differences.fold(0.0, f64::max);
    assert!(worst < 1e-5, "{name}: {worst}");
}

#[test]
fn rwkv_4() {
    let config = json!({
        "architectures": ["RwkvForCausalLM"], "model_type": "rwkv", "vocab_size": 32, "hidden_size": 32,
        "num_hidden_layers": 3, "attention_hidden_size": 48, "intermediate_size": 80, "rescale_every": 1,
        "layer_norm_epsilon": 1e-3, "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2,
    });
    becomes("rwkv4", &checkpoint("rwkv4", RWKV4, &config));
}

/// The weights of six mixtures are six tensors, or, as they were at first, one.
#[test]
fn rwkv_7() {
    let config = json!({
        "architectures": ["RWKV7ForCausalLM"], "model_type": "rwkv7", "hidden_act": "sqrelu",
        "norm_first": true, "norm_bias": true, "norm_eps": 1e-4, "attn": null, "fuse_norm": false,
        "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": true, "hidden_size": 32,
        "num_hidden_layers": 3, "head_dim": 16, "value_dim": [32, 32, 32], "intermediate_size": 48,
        "decay_low_rank_dim": 8, "a_low_rank_dim": 4, "v_low_rank_dim": 6, "gate_low_rank_dim": 12,
        "vocab_size": 32,
    });
    let mut mixtures = Vec::new();
    edited(&fixture("models/rwkv7.gguf"), &[], |tensors| {
        tensors.retain(|tensor| tensor.name.ends_with("time_mix_lerp_fused.weight"));
        mixtures.append(tensors);
    });
    for apart in [true, false] {
        let checkpoint = checkpoint("rwkv7", RWKV7, &config);
        checkpoint.change_tensors(|tensors| {
            // Of the first layer nothing is mixed in; the file has something in its place.
            tensors.retain(|tensor| !tensor.name.starts_with("model.layers.0.attn.v_lora"));
            for (layer, all) in mixtures.iter().enumerate() {
                let source = |name: &str, shape: &[u64], data: &[u8]| Source {
                    name: format!("model.layers.{layer}.attn.x_{name}"),
                    dtype: "F32".into(),
                    shape: shape.to_vec(),
                    data: data.to_vec(),
                };
                if !apart {
                    tensors.push(source("x", &[6, 32], &all.data));
                    continue;
                }
                let each = all.data.chunks_exact(32 * 4).zip(["r", "w", "k", "v", "a", "g"]);
                tensors.extend(each.map(|(data, name)| source(name, &[1, 1, 32], data)));
            }
            let shaped = tensors.iter_mut().filter(|tensor| tensor.name.ends_with("attn.r_k"));
            shaped.for_each(|tensor| tensor.shape = vec![2, 16]);
        });
        becomes("rwkv7", &checkpoint);
    }
}

#[test]
fn granite_with_experts() {
    let config = json!({
        "architectures": ["GraniteMoeHybridForCausalLM"], "model_type": "granitemoehybrid",
        "vocab_size": 32, "hidden_size": 32, "num_hidden_layers": 3, "intermediate_size": 16,
        "layer_types": ["mamba", "attention", "mamba"], "num_attention_heads": 4,
        "num_key_value_heads": 2, "num_local_experts": 6, "num_experts_per_tok": 2,
        "shared_intermediate_size": 48, "embedding_multiplier": 2.0, "attention_multiplier": 0.25,
        "residual_multiplier": 0.5, "logits_scaling": 0.75, "mamba_n_heads": 8, "mamba_d_state": 16,
        "mamba_n_groups": 2, "mamba_expand": 2, "mamba_d_head": 8, "mamba_d_conv": 4,
        "mamba_conv_bias": true, "mamba_proj_bias": false, "hidden_act": "silu", "rms_norm_eps": 1e-6,
        "max_position_embeddings": 2048, "tie_word_embeddings": true, "attention_bias": false,
        "bos_token_id": 1, "eos_token_id": 2,
    });
    let name = "granite-hybrid-experts";
    becomes(name, &checkpoint(name, GRANITE, &config));
}
