//! Checkpoints whose layers differ in their sizes.

use mote_formats::gguf::{Gguf, Value as Key};
use mote_tests::checkpoint::{Checkpoint, Tensor, file_of, fixture, read};
use mote_tests::models;
use serde_json::{Value, json};

use crate::convert::{Converted, convert};

/// What tensors are called here and in checkpoints; the first that a file has.
const NAMES: &[(&str, &str)] = &[
    ("attn_norm.weight", "input_layernorm.weight"),
    ("attn_q.weight", "self_attn.q_proj.weight"),
    ("attn_k.weight", "self_attn.k_proj.weight"),
    ("attn_v.weight", "self_attn.v_proj.weight"),
    ("attn_output.weight", "self_attn.o_proj.weight"),
    ("attn_q_norm.weight", "self_attn.q_norm.weight"),
    ("attn_k_norm.weight", "self_attn.k_norm.weight"),
    ("post_attention_norm.weight", "post_attention_layernorm.weight"),
    ("ffn_norm.weight", "pre_feedforward_layernorm.weight"),
    ("ffn_gate.weight", "mlp.gate_proj.weight"),
    ("ffn_up.weight", "mlp.up_proj.weight"),
    ("ffn_down.weight", "mlp.down_proj.weight"),
    ("post_ffw_norm.weight", "post_feedforward_layernorm.weight"),
    ("inp_gate.weight", "per_layer_input_gate.weight"),
    ("proj.weight", "per_layer_projection.weight"),
    ("post_norm.weight", "post_per_layer_input_norm.weight"),
    ("layer_output_scale.weight", "layer_scalar"),
    ("token_embd.weight", "embed_tokens.weight"),
    ("output_norm.weight", "norm.weight"),
    ("per_layer_token_embd.weight", "embed_tokens_per_layer.weight"),
    ("per_layer_model_proj.weight", "per_layer_model_projection.weight"),
    ("per_layer_proj_norm.weight", "per_layer_projection_norm.weight"),
    ("ffn_gate_inp.weight", "router.proj.weight"),
    ("ffn_gate_inp.scale", "router.scale"),
    ("ffn_down_exps.scale", "router.per_expert_scale"),
    ("ffn_gate_up_exps.weight", "experts.gate_up_proj"),
    ("ffn_down_exps.weight", "experts.down_proj"),
    ("pre_ffw_norm_2.weight", "pre_feedforward_layernorm_2.weight"),
    ("post_ffw_norm_1.weight", "post_feedforward_layernorm_1.weight"),
    ("post_ffw_norm_2.weight", "post_feedforward_layernorm_2.weight"),
];

/// The same of Qwen 3, where it differs.
const QWEN: &[(&str, &str)] = &[
    ("ffn_norm.weight", "post_attention_layernorm.weight"),
    ("ffn_gate_inp.weight", "mlp.gate.weight"),
    ("ffn_gate_exps.weight", "mlp.experts.{}.gate_proj.weight"),
    ("ffn_up_exps.weight", "mlp.experts.{}.up_proj.weight"),
    ("ffn_down_exps.weight", "mlp.experts.{}.down_proj.weight"),
];

/// The tensors of a file as the checkpoint had them, behind `prefix`.
fn tensors_of(gguf: &Gguf<'_>, prefix: &str) -> Vec<Tensor> {
    let is_qwen = gguf.get("qwen3moe.block_count").is_some();
    let own = if is_qwen { QWEN } else { &[] };
    let mut tensors = Vec::new();
    for tensor in gguf.tensors() {
        let rest = tensor.name().strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
        let (layer, name) = match rest {
            Some((number, name)) => (format!("layers.{number}."), name),
            None => (String::new(), tensor.name()),
        };
        // Others are computed from the configuration.
        let mut names = own.iter().chain(NAMES);
        let Some((_, theirs)) = names.find(|(ours, _)| *ours == name) else { continue };
        let mut shape: Vec<u64> = tensor.dims().iter().rev().copied().collect();
        let parts = if theirs.contains("{}") { shape.remove(0) } else { 1 };
        let bytes = tensor.data().len() / parts as usize;
        for (number, data) in tensor.data().chunks_exact(bytes).enumerate() {
            let theirs = theirs.replace("{}", &number.to_string());
            tensors.push(Tensor {
                name: format!("{prefix}{layer}{theirs}"),
                dtype: tensor.kind().unwrap().name().to_uppercase(),
                shape: shape.clone(),
                data: data.to_vec(),
            });
        }
    }
    tensors
}

/// What both spellings have in common.
fn configuration() -> Value {
    let (window, full) = ("sliding_attention", "full_attention");
    json!({
        "architectures": ["Gemma4ForCausalLM"], "model_type": "gemma4_text",
        "vocab_size": 32, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 5,
        "layer_types": [window, full, window, window, full], "num_kv_shared_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32,
        "attention_k_eq_v": true, "use_double_wide_mlp": true, "rms_norm_eps": 1e-6,
        "hidden_size_per_layer_input": 32, "sliding_window": 8, "final_logit_softcapping": 20.0,
        "max_position_embeddings": 704, "tie_word_embeddings": true, "enable_moe_block": false,
        "bos_token_id": 1, "eos_token_id": 2,
    })
}

fn with(mut config: Value, changes: Value) -> Value {
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

/// Sizes as transformers 5.23 and later say them, and as published configurations do.
fn spellings() -> [Value; 3] {
    let wide = json!({ "head_dim": 64, "num_key_value_heads": 2 });
    let rope = json!({
        "full_attention": {
            "rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6
        },
        "sliding_attention": { "rope_type": "default", "rope_theta": 1e4 },
    });
    let by_layer = json!({ "per_layer_config": { "1": wide, "4": wide }, "rope_parameters": rope });
    let by_kind = json!({ "global_head_dim": 64, "num_global_key_value_heads": 2 });
    let older = json!({ "rope_theta": 1e6, "rope_local_base_freq": 1e4, "rope_scaling": null });
    let base = configuration();
    [
        with(base.clone(), by_layer),
        with(base.clone(), by_kind.clone()),
        with(with(base, by_kind), older),
    ]
}

/// A checkpoint of these tensors.
fn checkpoint(name: &str, config: &Value, tensors: &[Tensor]) -> Checkpoint {
    let checkpoint = Checkpoint::empty(name);
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        checkpoint.write(file, read(&fixture().join(file)));
    }
    checkpoint.write("config.json", config.to_string());
    checkpoint.write("model.safetensors", file_of(tensors));
    checkpoint
}

/// The file of a checkpoint, or why there is none.
fn converted(checkpoint: &Checkpoint) -> Result<Vec<u8>, String> {
    let path = checkpoint.path("out.gguf");
    let args = [checkpoint.arg(), "-o", path.to_str().unwrap(), "--force", "--name", "x"];
    let Converted { code, report } = convert(&args);
    if code == 0 { Ok(read(&path)) } else { Err(report.to_string()) }
}

/// Converts the checkpoint that a small model would have come from, and compares.
fn becomes(name: &str, config: &Value) {
    let expected = models::fixture(&format!("models/{name}.gguf"));
    let gguf = Gguf::parse(&expected).unwrap();
    let keys = |gguf: &Gguf<'_>| -> Vec<String> {
        let own = gguf.metadata().filter(|(key, _)| {
            !key.starts_with("general.")
                && !key.starts_with("tokenizer.")
                && !key.starts_with("mote.")
        });
        let list = |value: Key<'_>| match value {
            Key::Array(array) => array.iter().map(|value| format!("{value:?}")).collect(),
            value => vec![format!("{value:?}")],
        };
        own.map(|(key, value)| format!("{key} {:?}", list(value))).collect()
    };
    let checkpoint = checkpoint(&format!("layers-{name}"), config, &tensors_of(&gguf, "model."));
    let ours = converted(&checkpoint).unwrap();
    let ours = Gguf::parse(&ours).unwrap();
    assert_eq!(keys(&ours), keys(&gguf));
    assert_eq!(ours.n_tensors(), gguf.n_tensors());
    for tensor in gguf.tensors() {
        let same = ours.tensor(tensor.name()).unwrap();
        assert_eq!(same.dims(), tensor.dims());
        assert!(same.data() == tensor.data(), "{}", tensor.name());
    }
}

#[test]
fn every_spelling_becomes_the_same_file() {
    spellings().iter().for_each(|config| becomes("gemma4", config));
}

#[test]
fn experts_beside_a_network_stay_together() {
    let [_, config, _] = spellings();
    let experts = json!({
        "num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"],
        "num_kv_shared_layers": 0, "use_double_wide_mlp": false, "hidden_size_per_layer_input": 0,
        "global_head_dim": 32, "final_logit_softcapping": null, "enable_moe_block": true,
        "num_experts": 5, "top_k_experts": 2, "moe_intermediate_size": 24,
    });
    becomes("gemma4-experts", &with(config, experts));
}

/// Which layers have experts follows from a list and from a step.
#[test]
fn layers_with_and_without_experts() {
    let config = json!({
        "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "vocab_size": 32,
        "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 3, "head_dim": 32,
        "num_attention_heads": 2, "num_key_value_heads": 1, "num_experts": 4,
        "num_experts_per_tok": 2, "moe_intermediate_size": 24, "norm_topk_prob": true,
        "max_position_embeddings": 704, "rms_norm_eps": 1e-6, "rope_theta": 1e4,
        "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2,
    });
    let list = json!({ "mlp_only_layers": [0, 2, 9], "decoder_sparse_step": 1 });
    becomes("qwen3moe", &with(config.clone(), list));
    becomes("qwen3moe", &with(config.clone(), json!({ "decoder_sparse_step": 2 })));
    let file = models::fixture("models/qwen3moe.gguf");
    let tensors = tensors_of(&Gguf::parse(&file).unwrap(), "model.");
    let error = converted(&checkpoint("layers-sparse", &config, &tensors)).unwrap_err();
    assert!(error.contains("mlp.down_proj"), "{error}");
}

/// Of a model that sees and hears the text is taken, and of layers that see what others remember not the
/// keys and values that nobody uses.
#[test]
fn what_is_not_used_is_left_out() {
    let expected = models::fixture("models/gemma4.gguf");
    let gguf = Gguf::parse(&expected).unwrap();
    let [config, ..] = spellings();
    let plain = checkpoint("layers-plain", &config, &tensors_of(&gguf, "model."));
    let mut tensors = tensors_of(&gguf, "model.language_model.");
    let more = ["vision_tower.x", "embed_vision.x", "audio_tower.x", "embed_audio.x"];
    let unused = ["self_attn.k_proj.weight", "self_attn.v_proj.weight", "self_attn.k_norm.weight"];
    let unused = unused.map(|name| format!("language_model.layers.4.{name}"));
    for name in more.into_iter().map(str::to_string).chain(unused) {
        let name = format!("model.{name}");
        tensors.push(Tensor { name, dtype: "F32".into(), shape: vec![1], data: vec![0; 4] });
    }
    let outer = json!({
        "architectures": ["Gemma4ForConditionalGeneration"], "model_type": "gemma4",
        "text_config": with(config, json!({ "architectures": null })), "vision_config": {},
    });
    let ours = converted(&checkpoint("layers-outer", &outer, &tensors)).unwrap();
    assert!(ours == converted(&plain).unwrap());
}

#[test]
fn what_no_file_can_say_is_refused() {
    let file = models::fixture("models/gemma4.gguf");
    let tensors = tensors_of(&Gguf::parse(&file).unwrap(), "model.");
    let refused = |changes: Value, part: &str| {
        let [config, ..] = spellings();
        let error = converted(&checkpoint("layers-refused", &with(config, changes), &tensors));
        let error = error.unwrap_err();
        assert!(error.contains(part), "{error}");
    };
    let full = "full_attention";
    refused(json!({ "use_bidirectional_attention": "all" }), "use_bidirectional_attention");
    refused(json!({ "num_kv_shared_layers": 5 }), "num_kv_shared_layers");
    refused(json!({ "num_kv_shared_layers": 1000 }), "num_kv_shared_layers");
    refused(json!({ "layer_types": [full, full, full, full, "chunked_attention"] }), "layer_types");
    for entry in [json!({ "intermediate_size": 8 }), json!({ "head_dim": 62 })] {
        refused(json!({ "per_layer_config": { "1": entry } }), "per_layer_config");
    }
    let none = json!({ "4": { "head_dim": 0 } });
    refused(json!({ "per_layer_config": none }), "per_layer_config");
    let slow = json!({ "sliding_attention": { "rope_type": "linear", "factor": 2.0 } });
    refused(json!({ "rope_parameters": slow }), "rope_parameters");
    // Other tensors than the configuration says.
    refused(json!({ "attention_k_eq_v": false }), "v_proj");
    refused(json!({ "use_double_wide_mlp": false }), "has shape");
    refused(json!({ "hidden_size_per_layer_input": 0 }), "per_layer");
    refused(json!({ "num_kv_shared_layers": 1 }), "has shape");
}
