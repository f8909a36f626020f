//! `mote quantize`: which tensor becomes what, the same bytes everywhere, and what is refused.

mod models;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use mote_formats::Gguf;
use mote_formats::gguf::checksum::checksum;
use mote_kernels::QuantType;
use mote_tests::models::{fixture, llama};
use mote_tools::interrupt;
use serde_json::Value;

use crate::cli::{folder, mote, text};
use models::{NAMES, model, with_kind};

/// What llama-quantize makes of the models: see the folder's README.
const TYPES: &str = include_str!("../fixtures/quantize/types.txt");
/// Checksums of what mote makes of one.
const CHECKSUMS: &str = include_str!("../fixtures/quantize/checksums.txt");

/// All mixes.
const MIXES: [&str; 23] = [
    "F32",
    "F16",
    "BF16",
    "Q8_0",
    "Q6_K",
    "Q5_K_M",
    "Q5_K_S",
    "Q5_1",
    "Q5_0",
    "Q4_K_M",
    "Q4_K_S",
    "Q4_1",
    "Q4_0",
    "Q3_K_L",
    "Q3_K_M",
    "Q3_K_S",
    "Q2_K",
    "Q2_K_S",
    "IQ4_NL",
    "IQ4_XS",
    "MXFP4_MOE",
    "TQ2_0",
    "TQ1_0",
];

fn written(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    text(&path).to_owned()
}

fn dry_run(input: &str, mix: &str, options: &[&str]) -> Value {
    let command = ["quantize", input, mix, "--dry-run", "--json"];
    mote(&[&command, options].concat()).json()
}

/// A line of types.txt: for each kind of tensor the encodings, layer by layer.
fn line(model: &str, mix: &str, tensors: &Value) -> String {
    let mut kinds: BTreeMap<&str, BTreeMap<u64, &str>> = BTreeMap::new();
    for tensor in tensors.as_array().unwrap() {
        let (name, to) = (tensor["name"].as_str().unwrap(), tensor["to"].as_str().unwrap());
        let in_layer = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
        let (layer, kind) = in_layer.map_or((0, name), |(n, rest)| (n.parse().unwrap(), rest));
        if tensor["shape"].as_array().unwrap().len() > 1 {
            kinds.entry(kind.trim_end_matches(".weight")).or_default().insert(layer, to);
        }
    }
    let kinds: Vec<String> = kinds
        .into_iter()
        .map(|(kind, layers)| {
            let mut runs: Vec<(&str, usize)> = Vec::new();
            for (_, to) in layers {
                match runs.last_mut() {
                    Some((last, n)) if *last == to => *n += 1,
                    _ => runs.push((to, 1)),
                }
            }
            let runs: Vec<String> = runs.iter().map(|(to, n)| format!("{to}*{n}")).collect();
            format!("{kind}={}", runs.join(","))
        })
        .collect();
    format!("{model} {mix}: {}", kinds.join(" "))
}

#[test]
fn mixes_are_those_of_llama_quantize() {
    let folder = folder("quantize_types");
    let mut lines = Vec::new();
    for name in NAMES {
        let path = written(&folder, &format!("{name}.gguf"), &model(name));
        for mix in MIXES {
            lines.push(line(name, mix, &dry_run(&path, mix, &[])["tensors"]));
        }
    }
    let expected: Vec<&str> = TYPES.lines().collect();
    for (line, expected) in lines.iter().zip(&expected) {
        assert_eq!(line, expected);
    }
    assert_eq!(lines.len(), expected.len());
}

/// The bytes are the same for every CPU, number of threads and build.
#[test]
fn bytes_are_golden() {
    let folder = folder("quantize_golden");
    let input = written(&folder, "in.gguf", &with_kind("tied", QuantType::F16, |_| ()));
    let important = written(&folder, "importance.gguf", &importance_of_tied());
    let mut lines = Vec::new();
    for mix in MIXES.iter().skip(3) {
        for importance in [&[][..], &["--importance", &important]] {
            let files = ["1", "3"].map(|threads| {
                let output = folder.join("out.gguf");
                let common =
                    ["quantize", &input, mix, "-o", text(&output), "--force", "-t", threads];
                mote(&[&common, importance].concat()).text();
                fs::read(output).unwrap()
            });
            let [file, others @ ..] = files;
            assert!(others.iter().all(|other| *other == file), "{mix}: threads");
            let gguf = Gguf::parse(&file).unwrap();
            let stored: Vec<u64> = gguf.checksums().unwrap().unwrap().iter().collect();
            let computed: Vec<u64> = gguf.tensors().map(|t| checksum(t.data())).collect();
            assert_eq!(stored, computed);
            let all: Vec<u8> = computed.iter().flat_map(|sum| sum.to_le_bytes()).collect();
            let important = if importance.is_empty() { "" } else { " important" };
            lines.push(format!("{mix}{important} {:016x}", checksum(&all)));
        }
    }
    let expected: Vec<&str> = CHECKSUMS.lines().collect();
    assert_eq!(lines, expected, "\n{}\n", lines.join("\n"));
}

/// Importance of the model "tied", as `mote importance` would write it.
fn importance_of_tied() -> Vec<u8> {
    let file = model("tied");
    let gguf = Gguf::parse(&file).unwrap();
    let mut builder = mote_formats::gguf::Builder::new();
    builder.set("general.type", "imatrix").unwrap();
    builder.set_strings("imatrix.datasets", &["text"]).unwrap();
    builder.set("imatrix.chunk_count", 3_u32).unwrap();
    let in_layers = |tensor: &mote_formats::gguf::Tensor<'_>| {
        tensor.name().starts_with("blk.") && tensor.dims().len() > 1
    };
    let matrices: Vec<_> = gguf.tensors().filter(in_layers).collect();
    for tensor in &matrices {
        let (name, cols) = (tensor.name(), tensor.shape()[0]);
        builder.add_tensor(&format!("{name}.in_sum2"), &[cols, 1], QuantType::F32).unwrap();
        builder.add_tensor(&format!("{name}.counts"), &[1, 1], QuantType::F32).unwrap();
    }
    let mut writer = builder.write_index(Vec::new()).unwrap();
    for tensor in &matrices {
        // Some columns matter not at all, and some a hundred times as much as others.
        let sum = |i: u64| if i.is_multiple_of(7) { 0.0 } else { ((i * i) % 100 + 1) as f32 };
        for i in 0..tensor.shape()[0] {
            writer.write(&sum(i).to_le_bytes()).unwrap();
        }
        writer.write(&4_f32.to_le_bytes()).unwrap();
    }
    writer.finish().unwrap()
}

/// Where importance is given, the errors of important columns are smaller, and those of all larger.
#[test]
fn importance_moves_the_errors_to_where_they_matter_less() {
    let folder = folder("quantize_importance");
    let source = model("tied");
    let input = written(&folder, "in.gguf", &source);
    let important = written(&folder, "importance.gguf", &importance_of_tied());
    let gguf = Gguf::parse(&source).unwrap();
    for mix in [
        "Q2_K", "Q3_K_S", "Q4_K_S", "Q5_K_S", "Q6_K", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL",
        "IQ4_XS", "TQ2_0", "TQ1_0",
    ] {
        let errors = [&[][..], &["--importance", &important]].map(|options| {
            let output = folder.join("out.gguf");
            let common = ["quantize", &input, mix, "-o", text(&output), "--force", "--pure"];
            mote(&[&common, options].concat()).text();
            let file = fs::read(output).unwrap();
            let quantized = Gguf::parse(&file).unwrap();
            let mut error = 0.0;
            for tensor in gguf.tensors().filter(|tensor| tensor.name().contains("attn_q")) {
                let n = tensor.n_elements() as usize;
                let (mut x, mut y) = (vec![0.0; n], vec![0.0; n]);
                tensor.kind().unwrap().decode(tensor.data(), &mut x);
                let other = quantized.tensor(tensor.name()).unwrap();
                other.kind().unwrap().decode(other.data(), &mut y);
                for (i, (x, y)) in x.iter().zip(&y).enumerate() {
                    let i = i % 256;
                    let weight = if i % 7 == 0 { 0 } else { (i * i) % 100 + 1 };
                    error += weight as f64 * f64::from(x - y).powi(2);
                }
            }
            error
        });
        assert!(errors[1] < errors[0], "{mix}: {errors:?}");
    }
}

#[test]
fn a_dry_run_tells_the_size_and_writes_nothing() {
    let folder = folder("quantize_dry_run");
    let input = written(&folder, "in.gguf", &model("narrow"));
    let output = folder.join("out.gguf");
    for mix in ["Q4_K_M", "COPY"] {
        let told = dry_run(&input, mix, &["-o", text(&output)]);
        assert!(!output.exists());
        assert_eq!(told["output"], Value::Null);
        let done = mote(&["quantize", &input, mix, "-o", text(&output), "--json"]).json();
        let size = fs::metadata(&output).unwrap().len();
        assert_eq!(told["bytes"]["output"], size, "{mix}");
        assert_eq!(told["tensors"], done["tensors"]);
        fs::remove_file(&output).unwrap();
    }
    let table = mote(&["quantize", &input, "Q4_K_M", "--dry-run"]);
    let wide = table.text().lines().find(|line| line.starts_with("blk.0.attn_output.weight"));
    assert!(wide.unwrap().ends_with("bytes  not q4_k"), "{wide:?}");
}

#[test]
fn patterns_choose_and_keys_tell() {
    let folder = folder("quantize_patterns");
    let input = written(&folder, "in.gguf", &model("shared"));
    let output = folder.join("out.gguf");
    let important = written(&folder, "importance.gguf", &importance_of_tied());
    let options = ["--tensor-type", "*.1?.ffn_*=Q8_0", "--tensor-type", "*ffn_down*=F16"];
    let common = ["quantize", &input, "Q4_K_S", "-o", text(&output), "--importance", &important];
    mote(&[&common[..], &options].concat()).text();
    let file = fs::read(&output).unwrap();
    let gguf = Gguf::parse(&file).unwrap();
    let kind = |name: &str| gguf.tensor(name).unwrap().kind().unwrap();
    assert_eq!(kind("blk.12.ffn_down.weight"), QuantType::Q8_0);
    assert_eq!(kind("blk.2.ffn_down.weight"), QuantType::F16);
    assert_eq!(kind("blk.2.ffn_up.weight"), QuantType::Q4_K);
    assert_eq!(kind("blk.2.attn_norm.weight"), QuantType::F32);
    let number = |key: &str| gguf.get(key).unwrap().as_u32().unwrap();
    assert_eq!(number("general.file_type"), 14);
    assert_eq!(number("general.quantization_version"), 2);
    assert_eq!(number("quantize.imatrix.chunks_count"), 3);
    assert_eq!(number("quantize.imatrix.entries_count"), 17 * 6);
    let string = |key: &str| gguf.get(key).unwrap().as_str().unwrap();
    assert_eq!(string("quantize.imatrix.file"), "importance.gguf");
    assert_eq!(string("quantize.imatrix.dataset"), "text");
    // What is copied is what it was; what is quantised again is so for a reason.
    let copied = folder.join("copy.gguf");
    mote(&["quantize", text(&output), "COPY", "-o", text(&copied)]).text();
    let copy = fs::read(&copied).unwrap();
    let copy = Gguf::parse(&copy).unwrap();
    assert_eq!(copy.get("general.file_type").unwrap().as_u32(), Some(14));
    assert!(copy.tensors().zip(gguf.tensors()).all(|(a, b)| a.data() == b.data()));
}

#[test]
fn what_cannot_be_is_refused() {
    let folder = folder("quantize_refused");
    let input = written(&folder, "in.gguf", &model("tied"));
    let small = written(&folder, "q4_0.gguf", &fixture("models/llama-q4_0.gguf"));
    let damaged = |weights: &mut Vec<f32>| weights[5] = f32::NAN;
    let nan = written(&folder, "nan.gguf", &with_kind("tied", QuantType::F32, damaged));
    let old = written(&folder, "old.dat", b"\x01\0\0\0\x0f\0\0\0blk.0.attn_q.weight");
    let other = written(&folder, "other.gguf", &llama());
    let important = written(&folder, "importance.gguf", &importance_of_tied());
    let out = folder.join("out.gguf");
    let out = text(&out);
    let there = written(&folder, "there.gguf", b"mine");
    let before = fs::read_dir(&folder).unwrap().count();
    let cases: &[(&[&str], u8, &str)] = &[
        (&[&input, "Q4_K_X", "-o", out], 2, "no such type"),
        (&[&input, "Q4_K"], 2, "--output"),
        (&[&input, "Q4_K", "-o", &there], 1, "exists"),
        (&[&small, "Q8_0", "-o", out], 2, "--requantize"),
        (&[&nan, "Q4_K", "-o", out], 1, "not finite"),
        (&[&input, "Q4_K", "-o", out, "--importance", &old], 4, "llama-imatrix"),
        (&[&input, "Q4_K", "-o", out, "--importance", &other], 3, "no importance matrix"),
        (&[&other, "F16", "-o", out, "--importance", &important], 2, "another model's"),
        (&[&input, "Q4_K", "-o", out, "--tensor-type", "x"], 2, "PATTERN=TYPE"),
        (&[&input, "Q4_K", "-o", out, "--tensor-type", "x=Q4_K_M"], 2, "no such encoding"),
        (&[&old, "Q4_K", "-o", out], 4, "GGUF"),
    ];
    for (args, code, sentence) in cases {
        let outcome = mote(&[&["quantize"], *args].concat());
        assert_eq!(outcome.code(), *code, "{args:?}: {}", outcome.errors());
        assert!(outcome.errors().contains(sentence), "{args:?}: {}", outcome.errors());
    }
    interrupt::after(Some(3));
    let outcome = mote(&["quantize", &input, "Q4_K", "-o", out]);
    interrupt::after(None);
    assert_eq!(outcome.code(), 130);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), before, "something was left behind");
    assert_eq!(fs::read(&there).unwrap(), b"mine");
    mote(&["quantize", &input, "Q4_K", "-o", &there, "--force"]).text();
    mote(&["quantize", &small, "Q8_0", "-o", out, "--requantize"]).text();
}
