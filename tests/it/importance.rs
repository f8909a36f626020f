//! `mote importance`: what meets the columns of the matrices, and that other programs agree.

use std::fs;

use mote_formats::Gguf;
use mote_kernels::QuantType;
use mote_tests::models::{edited, fixture};
use mote_tests::shared::root;
use serde_json::Value;

use crate::cli::folder;
use crate::cli::mote;

const WINDOW: usize = 32;

fn path(name: &str) -> String {
    root().join("tests/fixtures").join(name).into_os_string().into_string().unwrap()
}

/// Runs the command on the small llama and the small text.
fn importance(output: &str, options: &[&str]) -> Value {
    let (model, text) = (path("models/llama-f32.gguf"), path("quantize/text.txt"));
    let window = WINDOW.to_string();
    let common = ["importance", "-m", &model, "-f", &text, "-o", output, "-c", &window, "--json"];
    mote(&[&common, options].concat()).json()
}

fn floats(gguf: &Gguf<'_>, name: &str) -> Vec<f32> {
    let tensor = gguf.tensor(name).unwrap_or_else(|| panic!("{name} is missing"));
    let mut values = vec![0.0; tensor.n_elements() as usize];
    tensor.kind().unwrap().decode(tensor.data(), &mut values);
    values
}

/// The ids of the windows, each beginning with BOS.
fn windows() -> Vec<u32> {
    let (model, text) = (path("models/llama-f32.gguf"), path("quantize/text.txt"));
    let ids = mote(&["tokenize", "-m", &model, "-f", &text, "--json"]).json();
    let ids: Vec<u32> =
        ids["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
    let whole = ids.len() / WINDOW * WINDOW;
    let bos = ids[0];
    ids[..whole].iter().enumerate().map(|(i, &id)| if i % WINDOW == 0 { bos } else { id }).collect()
}

/// The first layer's input is the embedding, normed: computed here a second time, in f64.
#[test]
fn sums_are_those_of_the_inputs() {
    let folder = folder("importance_sums");
    let output = folder.join("out.gguf");
    let report = importance(output.to_str().unwrap(), &["--head"]);
    let file = fs::read(&output).unwrap();
    let (found, model) = (Gguf::parse(&file).unwrap(), fixture("models/llama-f32.gguf"));
    let model = Gguf::parse(&model).unwrap();
    let (embedding, norm) =
        (floats(&model, "token_embd.weight"), floats(&model, "blk.0.attn_norm.weight"));
    let epsilon = model.get("llama.attention.layer_norm_rms_epsilon").unwrap().as_f64().unwrap();
    let ids = windows();
    let mut sums = vec![0.0f64; 64];
    for &id in &ids {
        let x = &embedding[id as usize * 64..][..64];
        let mean = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / 64.0;
        for ((sum, &x), &w) in sums.iter_mut().zip(x).zip(&norm) {
            *sum += (f64::from(x) * f64::from(w)).powi(2) / (mean + epsilon);
        }
    }
    for name in ["attn_q", "attn_k", "attn_v"] {
        let got = floats(&found, &format!("blk.0.{name}.weight.in_sum2"));
        for (&got, &want) in got.iter().zip(&sums) {
            assert!((f64::from(got) - want).abs() <= 1e-5 * want, "{name}: {got} {want}");
        }
        assert_eq!(floats(&found, &format!("blk.0.{name}.weight.counts")), [ids.len() as f32]);
    }
    assert_eq!(report["tokens"], ids.len());
    // Three layers of seven matrices, and the head.
    assert_eq!((&report["matrices"], found.n_tensors()), (&Value::from(22), 44));
    assert_eq!(floats(&found, "output.weight.counts"), [ids.len() as f32]);
}

/// The same model and text by llama-imatrix: both compute in f32, in different orders.
#[test]
fn sums_are_those_of_llama_imatrix() {
    let folder = folder("importance_llama");
    let output = folder.join("out.gguf");
    importance(output.to_str().unwrap(), &[]);
    let (ours, theirs) =
        (fs::read(&output).unwrap(), fixture("quantize/llama-f32-importance.gguf"));
    let (ours, theirs) = (Gguf::parse(&ours).unwrap(), Gguf::parse(&theirs).unwrap());
    let mut names: Vec<&str> = ours.tensors().map(|tensor| tensor.name()).collect();
    let mut their_names: Vec<&str> = theirs.tensors().map(|tensor| tensor.name()).collect();
    names.sort_unstable();
    their_names.sort_unstable();
    assert_eq!(names, their_names);
    let mut worst = 0.0f32;
    for name in names {
        let (a, b) = (ours.tensor(name).unwrap(), theirs.tensor(name).unwrap());
        assert_eq!((a.shape(), a.kind()), (b.shape(), Ok(QuantType::F32)), "{name}");
        for (a, b) in floats(&ours, name).iter().zip(floats(&theirs, name)) {
            worst = worst.max((a - b).abs() / b.abs());
        }
    }
    println!("largest relative difference {worst:e}");
    assert!(worst <= 1e-4, "{worst}");
    for key in ["imatrix.chunk_count", "imatrix.chunk_size"] {
        let number = |gguf: &Gguf<'_>| gguf.get(key).unwrap().as_u32().unwrap();
        assert_eq!(number(&ours), number(&theirs), "{key}");
    }
}

/// Each expert has sums of its own, over the tokens that went through it; where all go through all, they are
/// those of the network that everybody goes through.
#[test]
fn experts_have_sums_of_their_own() {
    const EXPERTS: usize = 6;
    let folder = folder("importance_experts");
    let text = folder.join("text.txt");
    fs::write(&text, "abc abd bad cab dab ".repeat(40)).unwrap();
    let measured = |used: u32, name: &str| {
        let (model, output) = (folder.join(format!("{name}.gguf")), folder.join(name));
        let key = ("qwen2moe.expert_used_count", mote_formats::gguf::Value::U32(used));
        fs::write(&model, edited(&fixture("models/qwen2moe.gguf"), &[key], |_| ())).unwrap();
        let [model, output, text] = [&model, &output, &text].map(|path| path.to_str().unwrap());
        let options = ["-f", text, "-o", output, "-c", "32", "--json", "--force"];
        let report = mote(&[&["importance", "-m", model], &options[..]].concat()).json();
        (fs::read(output).unwrap(), report["tokens"].as_u64().unwrap() as f32)
    };
    let (some, tokens) = measured(2, "some");
    let some = Gguf::parse(&some).unwrap();
    let (all, _) = measured(EXPERTS as u32, "all");
    let all = Gguf::parse(&all).unwrap();
    for layer in 0..2 {
        let name = |part: &str| format!("blk.{layer}.ffn_{part}");
        for (part, cols) in [("gate_exps", 32), ("up_exps", 32), ("down_exps", 24)] {
            let counts = floats(&some, &name(&format!("{part}.weight.counts")));
            assert_eq!(counts.iter().sum::<f32>(), 2.0 * tokens);
            let sums = some.tensor(&name(&format!("{part}.weight.in_sum2"))).unwrap();
            assert_eq!(sums.shape()[..2], [cols, EXPERTS as u64]);
            let counts = floats(&all, &name(&format!("{part}.weight.counts")));
            assert_eq!(counts, [tokens; EXPERTS]);
        }
        let shared = floats(&all, &name("up_shexp.weight.in_sum2"));
        let experts = floats(&all, &name("up_exps.weight.in_sum2"));
        assert!(experts.chunks_exact(32).all(|expert| expert == shared));
    }
}

#[test]
fn neither_threads_nor_batches_matter() {
    let folder = folder("importance_threads");
    let files = [&["-t", "1"], &["-t", "2"], &["--batch", "7"]].map(|options| {
        let output = folder.join("out.gguf");
        importance(output.to_str().unwrap(), &[&options[..], &["--force"]].concat());
        fs::read(output).unwrap()
    });
    assert!(files[0] == files[1] && files[0] == files[2]);
}

/// What was measured is what quantising takes, and it is not taken for a model.
#[test]
fn importance_is_for_quantising() {
    let folder = folder("importance_use");
    let (measured, output) = (folder.join("importance.gguf"), folder.join("out.gguf"));
    let (measured, output) = (measured.to_str().unwrap(), output.to_str().unwrap());
    importance(measured, &["--windows", "2"]);
    let (model, text) = (path("models/llama-f32.gguf"), path("quantize/text.txt"));
    let theirs = path("quantize/llama-f32-importance.gguf");
    for importance in [measured, &theirs] {
        let command = ["quantize", &model, "Q4_0", "-o", output, "--force", "--importance"];
        let report = mote(&[&command[..], &[importance, "--json"]].concat()).json();
        let important = |line: &&Value| line["important"] == true;
        assert_eq!(report["tensors"].as_array().unwrap().iter().filter(important).count(), 21);
    }
    let again = ["importance", "-m", &model, "-f", &text, "-c", "32", "-o", measured];
    assert_eq!(mote(&again).code(), 1);
    let no_model = ["importance", "-m", measured, "-f", &text, "-c", "32", "-o", "x.gguf"];
    assert_eq!(mote(&no_model).code(), 3);
    let short = ["importance", "-m", &model, "-f", &text, "-c", "2", "-o", "x.gguf"];
    assert_eq!(mote(&short).code(), 2);
}
