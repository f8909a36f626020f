//! `mote convert` writes what llama.cpp's converter writes, and models score as Hugging Face says.

use std::path::{Path, PathBuf};

use mote_formats::gguf::{Gguf, Tensor, Value};
use mote_formats::{Mapping, gguf::checksum::checksum};
use mote_kernels::QuantType;
use mote_tests::checkpoint::{Checkpoint, Tensor as Source, fixture, read};
use mote_tests::shared::{json, root, shared};
use mote_tests::speak::Run;
use mote_tools::streams::{Streams, Terminal};

/// Float weights against Hugging Face in float32: both sides round, in different orders.
const FLOAT: f64 = 1e-4;

/// Checkpoints of the reference set.
const MODELS: &[&str] = &[
    "llama",
    "llama3",
    "llama_k256",
    "llama_linear_rope",
    "mistral",
    "gemma3",
    "gemma3_k256",
    "qwen2",
    "qwen3",
    "gpt2",
    "phi3",
    "smollm3",
    "granite",
    "olmo2",
    "gemma",
    "gemma2",
    "qwen3_moe",
    "deepseek_v2",
    "mixtral",
    "gpt_oss",
    "starcoder2",
    "stablelm",
    "gpt_neox",
    "falcon",
    "bloom",
    "opt",
    "lfm2",
    "mamba",
    "qwen3_5",
];

/// Those of them that llama.cpp's converter has converted.
const LLAMA_CPPS: &[&str] = &[
    "llama",
    "llama3",
    "llama_k256",
    "gemma3",
    "qwen2",
    "qwen3",
    "gpt2",
    "phi3",
    "smollm3",
    "granite",
    "olmo2",
    "bert",
];

/// Encoders (scores: tests/it/embedding.rs).
const ENCODERS: &[&str] = &["bert"];

/// What a conversion left behind.
pub struct Converted {
    pub code: u8,
    /// With --json: the report, or the failure's sentence.
    pub report: serde_json::Value,
}

/// `mote convert ARGS --json`.
pub fn convert(args: &[&str]) -> Converted {
    let args = [&["mote", "convert"], args, &["--json"]].concat();
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let terminal = Terminal::default();
    let mut streams =
        Streams { input: &mut &b""[..], output: &mut output, errors: &mut errors, terminal };
    let code = mote_tools::run(args.into_iter().map(Into::into), &mut streams);
    let report = serde_json::from_slice(&output);
    let shown = || String::from_utf8_lossy(&errors).into_owned();
    Converted { code, report: report.unwrap_or_else(|error| panic!("{error}: {}", shown())) }
}

/// A GGUF file that is removed in the end.
pub struct Output(PathBuf);

impl Output {
    pub fn new(name: &str) -> Output {
        let name = format!("mote-convert-{}-{name}.gguf", std::process::id());
        Output(std::env::temp_dir().join(name))
    }

    pub fn arg(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// Converts; gives the file's bytes.
    pub fn of(&self, checkpoint: &str, more: &[&str]) -> Vec<u8> {
        let args = [&[checkpoint, "-o", self.arg(), "--force"], more].concat();
        let Converted { code, report } = convert(&args);
        assert_eq!(code, 0, "{checkpoint}: {report}");
        let bytes = read(&self.0);
        assert_eq!(report["bytes"], bytes.len());
        bytes
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Every tensor of `theirs` is one of `ours`: place, shape, type and bytes.
fn same_tensors(ours: &Gguf<'_>, theirs: &Gguf<'_>, in_order: bool) {
    assert_eq!(ours.n_tensors(), theirs.n_tensors());
    for (first, second) in ours.tensors().zip(theirs.tensors()) {
        let tensor = ours.tensor(second.name()).unwrap_or(first);
        let described = |tensor: &Tensor<'_>| {
            let kind = tensor.tensor_type().name();
            (tensor.name().to_string(), tensor.dims().to_vec(), kind)
        };
        assert_eq!(described(&tensor), described(&second));
        assert!(!in_order || first.name() == second.name());
        assert!(tensor.data() == second.data(), "{} differs", tensor.name());
    }
}

/// Keys whose values have reasons of their own: the name (ours is the folder's, theirs was given by
/// hand), and what only mote writes.
const OTHER_KEYS: &[&str] = &["general.name", "mote.version", "mote.checksums"];

/// The same keys with the same values. T's tests compare those of tokenizers.
fn same_keys(ours: &Gguf<'_>, theirs: &Gguf<'_>) {
    let is_compared = |key: &str| !OTHER_KEYS.contains(&key) && !key.starts_with("tokenizer.");
    let keys = |gguf: &Gguf<'_>| -> Vec<(String, String)> {
        let all = gguf.metadata().filter(|(key, _)| is_compared(key));
        let shown = |value: Value<'_>| match value {
            Value::F32(x) => format!("f32 {:08x}", x.to_bits()),
            other => format!("{other:?}"),
        };
        all.map(|(key, value)| (key.to_string(), shown(value))).collect()
    };
    assert_eq!(keys(ours), keys(theirs));
}

#[test]
fn the_tiny_checkpoint_becomes_its_model() {
    let output = Output::new("tiny");
    let file = output.of(fixture().to_str().unwrap(), &[]);
    let ours = Gguf::parse(&file).unwrap();
    let folder = root().join("tests/fixtures/malformed");
    let theirs = read(&folder.join("ok_baseline.gguf"));
    same_tensors(&ours, &Gguf::parse(&theirs).unwrap(), false);
    let baseline = &json(&folder.join("manifest.json"))["baseline"];
    let ids = |key: &str| -> Vec<u32> {
        baseline[key].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
    };
    let (prompt, greedy) = (ids("prompt_ids"), ids("greedy_ids"));
    let mapped = Mapping::open(&output.0).unwrap();
    assert_eq!(Run::default().greedy(&mapped, &prompt, greedy.len()), greedy);
    // Its checksums are those of its tensors.
    let stored: Vec<u64> = ours.checksums().unwrap().unwrap().iter().collect();
    assert_eq!(stored, ours.tensors().map(|tensor| checksum(tensor.data())).collect::<Vec<_>>());
}

#[test]
fn every_type_is_the_one_that_the_encoding_gives() {
    let output = Output::new("types");
    let plain = output.of(fixture().to_str().unwrap(), &["--type", "f32"]);
    let plain = Gguf::parse(&plain).unwrap();
    for kind in QuantType::written() {
        let threads = if kind.block_len() > 1 { "2" } else { "1" };
        let args = ["--type", kind.name(), "--threads", threads];
        let file = output.of(fixture().to_str().unwrap(), &args);
        let gguf = Gguf::parse(&file).unwrap();
        for (tensor, exact) in gguf.tensors().zip(plain.tensors()) {
            let row = exact.dims()[0];
            let is_vector = exact.dims().len() == 1;
            let fits = row.is_multiple_of(kind.block_len() as u64);
            let expected = match (is_vector, fits) {
                (true, _) => "f32",
                (false, true) => kind.name(),
                (false, false) => "f16",
            };
            assert_eq!(tensor.tensor_type().name(), expected, "{}", tensor.name());
            let mut x = vec![0.0; exact.n_elements() as usize];
            QuantType::from_name("f32").unwrap().decode(exact.data(), &mut x);
            let mut encoded = vec![0; tensor.data().len()];
            QuantType::from_name(expected).unwrap().encode(&x, &mut encoded);
            assert!(encoded == tensor.data(), "{} {}", kind.name(), tensor.name());
        }
    }
}

#[test]
fn halves_are_kept_as_they_are() {
    let checkpoint = Checkpoint::new("halves");
    let bits = |i: usize| (i as u16).wrapping_mul(40_503).to_le_bytes();
    checkpoint.change_tensors(|tensors| {
        for tensor in tensors.iter_mut().filter(|tensor| tensor.shape.len() == 2) {
            tensor.dtype = "F16".into();
            tensor.data = (0..tensor.data.len() / 4).flat_map(bits).collect();
        }
    });
    let output = Output::new("halves");
    let file = output.of(checkpoint.arg(), &[]);
    let gguf = Gguf::parse(&file).unwrap();
    // NaN payloads as well: nothing was decoded.
    let tensor = gguf.tensor("blk.0.ffn_up.weight").unwrap();
    assert_eq!(tensor.tensor_type().name(), "f16");
    assert!(tensor.data().iter().copied().eq((0..tensor.data().len() / 2).flat_map(bits)));
}

/// Sharded or not, with an odd header or not (case 317): the same file.
#[test]
fn case_317_shards_and_odd_headers_change_nothing() {
    let output = Output::new("shards");
    let plain = output.of(fixture().to_str().unwrap(), &["--name", "x"]);
    let checkpoint = Checkpoint::new("shards");
    let whole = read(&checkpoint.path("model.safetensors"));
    let header = u64::from_le_bytes(*whole.first_chunk().unwrap()) as usize;
    let text = [&whole[8..8 + header], b" "].concat();
    let odd = mote_tests::checkpoint::safetensors(&text, &whole[8 + header..]);
    checkpoint.write("model.safetensors", odd);
    assert!(output.of(checkpoint.arg(), &["--name", "x"]) == plain);

    let tensors = mote_tests::checkpoint::tensors(&whole);
    let mut map = serde_json::Map::new();
    let shards = [&tensors[..5], &tensors[5..]];
    for (number, tensors) in (1..).zip(shards) {
        let name = format!("model-{number:05}-of-00002.safetensors");
        checkpoint.write(&name, mote_tests::checkpoint::file_of(tensors));
        map.extend(tensors.iter().map(|tensor| (tensor.name.clone(), name.clone().into())));
    }
    std::fs::remove_file(checkpoint.path("model.safetensors")).unwrap();
    let index = serde_json::json!({ "metadata": {}, "weight_map": map });
    checkpoint.write("model.safetensors.index.json", index.to_string());
    assert!(output.of(checkpoint.arg(), &["--name", "x"]) == plain);
    // Shards without their index, too.
    std::fs::remove_file(checkpoint.path("model.safetensors.index.json")).unwrap();
    assert!(output.of(checkpoint.arg(), &["--name", "x"]) == plain);
}

#[test]
fn reference_models_become_llama_cpps_files() {
    let Some(folder) = shared("reference") else { return };
    for name in LLAMA_CPPS {
        let output = Output::new(&format!("same-{name}"));
        let checkpoint = folder.join("models").join(name);
        let file = output.of(checkpoint.to_str().unwrap(), &["--type", "f32"]);
        let ours = Gguf::parse(&file).unwrap();
        let theirs = read(&folder.join(format!("gguf/{name}-f32.gguf")));
        let theirs = Gguf::parse(&theirs).unwrap();
        println!("{name}");
        same_tensors(&ours, &theirs, true);
        same_keys(&ours, &theirs);
    }
}

/// A checkpoint of the reference set, to be changed.
fn copy_of(source: &Path, name: &str) -> Checkpoint {
    let checkpoint = Checkpoint::empty(name);
    for entry in std::fs::read_dir(source).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        // Not as read-only as the source.
        checkpoint.write(name, read(&path));
    }
    checkpoint
}

/// The text of a model that sees images, with the tensors' names of transformers 4 and 5.
#[test]
fn the_part_about_text_is_converted_alone() {
    let Some(folder) = shared("reference") else { return };
    let source = folder.join("models/gemma3");
    let output = Output::new("text");
    let plain = output.of(source.to_str().unwrap(), &["--name", "x"]);
    for (before, after) in [("", "language_model.model."), ("model.", "model.language_model.")] {
        let checkpoint = copy_of(&source, "text");
        checkpoint.change_tensors(|tensors| {
            for tensor in tensors.iter_mut() {
                tensor.name = tensor.name.replacen("model.", after, 1);
            }
            for name in ["vision_tower.encoder.weight", "multi_modal_projector.weight"] {
                let name = format!("{before}{name}");
                let (dtype, shape) = ("F32".to_string(), vec![1]);
                tensors.push(Source { name, dtype, shape, data: vec![0; 4] });
            }
        });
        let mut text = json(&source.join("config.json"));
        text.as_object_mut().unwrap().remove("architectures");
        let config = serde_json::json!({
            "architectures": ["Gemma3ForConditionalGeneration"],
            "model_type": "gemma3",
            "text_config": text,
            "vision_config": { "hidden_size": 7 },
        });
        checkpoint.write("config.json", config.to_string());
        assert!(output.of(checkpoint.arg(), &["--name", "x"]) == plain, "{after}");
    }
}

/// The first checkpoint of its kind has names without the model's, and the causal masks.
#[test]
fn names_without_the_models_and_masks_change_nothing() {
    let Some(folder) = shared("reference") else { return };
    let source = folder.join("models/gpt2");
    let output = Output::new("bare");
    let plain = output.of(source.to_str().unwrap(), &["--name", "x"]);
    let checkpoint = copy_of(&source, "bare");
    checkpoint.change_tensors(|tensors| {
        for tensor in tensors.iter_mut() {
            tensor.name = tensor.name.replacen("transformer.", "", 1);
        }
        let (name, dtype, shape) = ("h.0.attn.bias".into(), "U8".into(), vec![1, 1, 4, 4]);
        tensors.push(Source { name, dtype, shape, data: vec![1; 16] });
    });
    assert!(output.of(checkpoint.arg(), &["--name", "x"]) == plain);
}

/// What no key of the file could say is refused; what one says is written.
#[test]
fn configurations_that_a_file_cannot_carry_are_refused() {
    let Some(folder) = shared("reference") else { return };
    let output = Output::new("carry");
    let with = |name: &str, changes: serde_json::Value| {
        let checkpoint = copy_of(&folder.join("models").join(name), "carry");
        checkpoint.configure(&changes);
        convert(&[checkpoint.arg(), "-o", output.arg(), "--force"])
    };
    let refused = |name: &str, changes: serde_json::Value, part: &str| {
        let Converted { code, report } = with(name, changes);
        assert!(code == 3 && report.to_string().contains(part), "{name}: {report}");
    };
    let (full, sliding) = ("full_attention", "sliding_attention");
    let irregular = serde_json::json!([sliding, full, full, sliding, full, full]);
    refused("gemma3", serde_json::json!({ "layer_types": irregular }), "layer_types");
    let scale = serde_json::json!({ "query_pre_attn_scalar": 168 });
    refused("gemma3", scale, "query_pre_attn_scalar");
    let window = serde_json::json!({ "layer_types": [sliding, sliding, sliding] });
    refused("qwen2", window, "layer_types");
    let stretched = serde_json::json!({ "rope_parameters": { "rope_type": "llama3", "factor": 4.0,
        "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 64 } });
    refused("qwen3", stretched, "rope_parameters");
    let part = serde_json::json!({ "rope_parameters": { "partial_rotary_factor": 0.5 } });
    refused("llama", part, "partial_rotary_factor");
    let every_second = serde_json::json!([sliding, full, sliding, full, sliding, full]);
    for name in ["phi3", "qwen2"] {
        let yarn = serde_json::json!({ "rope_parameters": { "rope_type": "yarn", "factor": 4.0,
            "original_max_position_embeddings": 64, "truncate": false, "rope_theta": 1e4 } });
        assert_eq!(with(name, yarn).code, 0);
        let file = read(&output.0);
        let gguf = Gguf::parse(&file).unwrap();
        let key = format!("{name}.rope.scaling.");
        let kind = gguf.get(&format!("{key}type")).and_then(|kind| kind.as_str());
        let truncate = gguf.get(&format!("{key}yarn_truncate")).and_then(|it| it.as_bool());
        assert_eq!((kind, truncate), (Some("yarn"), Some(false)));
        Run::default().bits(&file, &[3, 4, 5], 3);
    }
    assert_eq!(with("gemma3", serde_json::json!({ "layer_types": every_second })).code, 0);
    let file = read(&output.0);
    let pattern = Gguf::parse(&file).unwrap().get("gemma3.attention.sliding_window_pattern");
    assert_eq!(pattern.unwrap().as_u32(), Some(2));
}

/// Experts in MXFP4, as they are published, stay what they are: the same numbers as from floats, bit for bit.
#[test]
fn experts_in_mxfp4_are_not_encoded_again() {
    let Some(folder) = shared("reference") else { return };
    let source = folder.join("models/gpt_oss");
    let output = Output::new("mxfp4");
    let checkpoint = copy_of(&source, "mxfp4");
    let kind = QuantType::MXFP4;
    // In the file [expert][input][output] floats; here [expert][output] rows of blocks.
    let mut rows_of: Vec<(String, Vec<u8>)> = Vec::new();
    checkpoint.change_tensors(|tensors| {
        for mut tensor in std::mem::take(tensors) {
            let matrices =
                tensor.name.ends_with("gate_up_proj") || tensor.name.ends_with("down_proj");
            let &[experts, inputs, outputs] = tensor.shape.as_slice() else {
                tensors.push(tensor);
                continue;
            };
            assert!(matrices && tensor.dtype == "BF16");
            let at = |e: u64, i: u64, o: u64| {
                let at = 2 * ((e * inputs + i) * outputs + o) as usize;
                f32::from_bits(
                    u32::from(u16::from_le_bytes([tensor.data[at], tensor.data[at + 1]])) << 16,
                )
            };
            let (mut rows, mut codes, mut scales) = (Vec::new(), Vec::new(), Vec::new());
            for (e, o) in (0..experts).flat_map(|e| (0..outputs).map(move |o| (e, o))) {
                let row: Vec<f32> = (0..inputs).map(|i| at(e, i, o)).collect();
                let mut blocks = vec![0; kind.row_bytes(row.len()).unwrap()];
                kind.encode(&row, &mut blocks);
                for block in blocks.chunks_exact(17) {
                    scales.push(block[0]);
                    let code = |i: usize| block[1 + i % 16] >> (i / 16 * 4) & 15;
                    codes.extend((0..16).map(|i| code(2 * i) | code(2 * i + 1) << 4));
                }
                rows.extend(blocks);
            }
            rows_of.push((tensor.name.clone(), rows));
            let name = std::mem::take(&mut tensor.name);
            let packed = |end, shape, data| Source {
                name: format!("{name}_{end}"),
                dtype: "U8".into(),
                shape,
                data,
            };
            let blocks = inputs / 32;
            tensors.push(packed("blocks", vec![experts, outputs, blocks, 16], codes));
            tensors.push(packed("scales", vec![experts, outputs, blocks], scales));
        }
    });
    let convert_it = |more: &[&str]| output.of(checkpoint.arg(), more);
    checkpoint
        .configure(&serde_json::json!({ "quantization_config": { "quant_method": "mxfp4" } }));
    let file = convert_it(&["--name", "x"]);
    let gguf = Gguf::parse(&file).unwrap();
    for (name, rows) in rows_of {
        let layer = name.split('.').nth(2).unwrap();
        let row = rows.len() / rows.chunks_exact(17).count() * 2; // two blocks: 64 inputs
        let every = |first: usize, step: usize| -> Vec<u8> {
            rows.chunks_exact(row).skip(first).step_by(step).flatten().copied().collect()
        };
        let parts = match name.ends_with("down_proj") {
            true => vec![("down", every(0, 1))],
            false => vec![("gate", every(0, 2)), ("up", every(1, 2))],
        };
        for (part, expected) in parts {
            let tensor = gguf.tensor(&format!("blk.{layer}.ffn_{part}_exps.weight")).unwrap();
            assert_eq!(tensor.kind(), Ok(kind));
            assert!(tensor.data() == expected, "{name}, {part}");
        }
    }
    // As floats they score alike, if activations are exact.
    let exact = Run::default().logprobs(&convert_it(&["--type", "f32"]), &[3, 4, 5, 6, 7]);
    let near = Run { precision: mote_runtime::Precision::Bits16, ..Run::default() };
    for (a, b) in exact.iter().zip(near.logprobs(&file, &[3, 4, 5, 6, 7])) {
        assert!((a - b).abs() < 0.05, "{a} {b}");
    }
    checkpoint.configure(&serde_json::json!({ "quantization_config": { "quant_method": "fp8" } }));
    let Converted { code, report } = convert(&[checkpoint.arg(), "-o", output.arg(), "--force"]);
    assert!(code == 3 && report.to_string().contains("quantised already"), "{report}");
    checkpoint.configure(&serde_json::json!({ "quantization_config": null }));
    checkpoint
        .change_tensors(|tensors| tensors.retain(|it| !it.name.ends_with("down_proj_scales")));
    let Converted { code, report } = convert(&[checkpoint.arg(), "-o", output.arg(), "--force"]);
    assert!(code == 4 && report.to_string().contains("one is missing"), "{report}");
}

/// config.json as transformers 4 wrote it means the same.
#[test]
fn both_spellings_of_a_configuration_give_the_same_file() {
    let Some(folder) = shared("reference") else { return };
    for name in MODELS.iter().chain(ENCODERS) {
        let source = folder.join("models").join(name);
        if !source.join("config.legacy.json").exists() {
            continue;
        }
        let output = Output::new(&format!("spelling-{name}"));
        let plain = output.of(source.to_str().unwrap(), &["--name", "x"]);
        let checkpoint = copy_of(&source, &format!("spelling-{name}"));
        checkpoint.write("config.json", read(&source.join("config.legacy.json")));
        assert!(output.of(checkpoint.arg(), &["--name", "x"]) == plain, "{name}");
    }
}

fn check_scores(name: &str, file: &Path, reference: &serde_json::Value) {
    let file = Mapping::open(file).unwrap();
    let mut worst: f64 = 0.0;
    for (prompt, ids) in reference["prompts"].as_object().unwrap() {
        let ids: Vec<u32> =
            ids.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
        let want = reference[format!("logprobs_{prompt}")].as_array().unwrap();
        let got = Run::default().logprobs(&file, &ids);
        assert_eq!(got.len(), want.len());
        for (got, want) in got.iter().zip(want) {
            worst = worst.max((got - want.as_f64().unwrap()).abs());
        }
        let greedy = reference[format!("greedy_{prompt}")].as_array().unwrap();
        let got = Run::default().greedy(&file, &ids, greedy.len());
        assert!(greedy.iter().zip(&got).all(|(want, got)| *want == *got), "{name} {prompt}");
    }
    println!("{name:20} {worst:.2e}");
    // Hugging Face's own distance from float64 can be more: what a state adds up is not forgotten.
    let noise = reference["info"]["f64_max_abs_diff"].as_f64().unwrap_or_default();
    assert!(worst <= FLOAT.max(2.0 * noise), "{name}: {worst}");
}

#[test]
fn converted_models_score_as_hugging_face_says() {
    let Some(folder) = shared("reference") else { return };
    for name in MODELS {
        let checkpoint = folder.join("models").join(name);
        let output = Output::new(&format!("score-{name}"));
        output.of(checkpoint.to_str().unwrap(), &[]);
        check_scores(name, &output.0, &json(&checkpoint.join("ref.json")));
    }
}
