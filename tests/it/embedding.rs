//! Texts as vectors: those that Hugging Face's libraries give, the same bits everywhere; and an encoder,
//! which gives nothing else, says so to whoever wants text of it.

use std::path::PathBuf;

use mote_formats::gguf::{Gguf, Value};
use mote_kernels::{QuantType, arch};
use mote_runtime::{Model, Pooling, SessionError, normalize};
use mote_tests::checkpoint::{Tensor, file_of, tensors};
use mote_tests::models::{OwnedTensor, edited, encoded, fixture};
use mote_tests::shared::{json, root, shared};
use mote_tests::speak::Run;
use serde_json::Value as Json;

use crate::cli::{mote, mote_reading};
use crate::convert::convert;

/// Distance to a reference in float32 or better.
const FLOAT: f32 = 1e-4;

const POOLINGS: [(&str, Pooling); 3] =
    [("mean", Pooling::Mean), ("first", Pooling::First), ("last", Pooling::Last)];

/// The model of tests/fixtures/bert, removed in the end.
struct Converted(PathBuf);

impl Converted {
    fn new(name: &str) -> Converted {
        Converted::of(&root().join("tests/fixtures/bert"), name)
    }

    fn of(checkpoint: &std::path::Path, name: &str) -> Converted {
        let file = format!("mote-embedding-{}-{name}.gguf", std::process::id());
        let file = Converted(std::env::temp_dir().join(file));
        let done = convert(&[checkpoint.to_str().unwrap(), "-o", file.arg(), "--force"]);
        assert_eq!(done.code, 0, "{}", done.report);
        file
    }

    fn arg(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.0).unwrap()
    }
}

impl Drop for Converted {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn floats(value: &Json) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

fn ids(value: &Json) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn embed(run: &Run, file: &[u8], ids: &[u32], pooling: Pooling) -> Vec<f32> {
    run.session(file, ids.len().max(8), |session| {
        let mut out = vec![f32::NAN; session.model().config().n_embd];
        assert!(session.embed(ids, pooling, &mut out, |_| true).unwrap());
        out
    })
}

fn bits(vector: &[f32]) -> Vec<u32> {
    vector.iter().map(|x| x.to_bits()).collect()
}

/// From a checkpoint to vectors, beside the definition in float64.
#[test]
fn a_converted_encoder_gives_the_vectors_of_the_definition() {
    let file = Converted::new("definition");
    let bytes = file.bytes();
    compare_with_expected("bert", &bytes);
    for row in json(&root().join("tests/fixtures/bert/expected.json")).as_array().unwrap() {
        let text = row["text"].as_str().unwrap();
        // The pooling of modules.json, length 1.
        let report = mote(&["embed", "-m", file.arg(), "--json", "--", text]).json();
        assert_eq!((&report["pooling"], &report["normalized"]), (&"mean".into(), &true.into()));
        assert_eq!(report["embeddings"][0]["tokens"], row["ids"].as_array().unwrap().len());
        let mut mean = floats(&row["mean"]);
        normalize(&mut mean);
        assert!(distance(&floats(&report["embeddings"][0]["embedding"]), &mean) < FLOAT);
    }
}

/// What expected.json of a fixture says of its texts' ids.
fn compare_with_expected(fixture: &str, file: &[u8]) {
    let expected = root().join("tests/fixtures").join(fixture).join("expected.json");
    for row in json(&expected).as_array().unwrap() {
        for (name, pooling) in POOLINGS {
            let found = embed(&Run::default(), file, &ids(&row["ids"]), pooling);
            assert!(distance(&found, &floats(&row[name])) < FLOAT, "{} {name}", row["text"]);
        }
    }
}

/// Windows to both sides, a first layer without its norm, a byte-level vocabulary; by the configurations of
/// both versions of transformers.
#[test]
fn a_modern_encoder_gives_the_vectors_of_its_definition() {
    let folder = Folder::of("modern-bert", "modern");
    let file = Converted::of(&folder.0, "modern");
    compare_with_expected("modern-bert", &file.bytes());
    for row in json(&root().join("tests/fixtures/modern-bert/expected.json")).as_array().unwrap() {
        let text = row["text"].as_str().unwrap();
        let report = mote(&["embed", "-m", file.arg(), "--json", "--raw", "--", text]).json();
        let found = &report["embeddings"][0];
        assert_eq!(found["tokens"], row["ids"].as_array().unwrap().len(), "{text:?}");
        assert!(distance(&floats(&found["embedding"]), &floats(&row["mean"])) < FLOAT, "{text:?}");
    }
    let legacy = std::fs::read(root().join("tests/fixtures/modern-bert/config.legacy.json"));
    std::fs::write(folder.0.join("config.json"), legacy.unwrap()).unwrap();
    assert!(Converted::of(&folder.0, "modern-legacy").bytes() == file.bytes());
    // llama.cpp's converter writes the epsilon under the name of the other norm's.
    let rms = ("modern-bert.attention.layer_norm_rms_epsilon", Value::F32(1e-5));
    let mut theirs = edited(&file.bytes(), &[rms], |_| ());
    let name = b"attention.layer_norm_epsilon";
    let at = theirs.windows(name.len()).position(|window| window == name).unwrap();
    theirs[at] = b'?';
    compare_with_expected("modern-bert", &theirs);
    // What predicted masked words is left out.
    folder.edit("config.json", |config| {
        config["architectures"] = serde_json::json!(["ModernBertForMaskedLM"]);
    });
    folder.edit_tensors(|tensors| {
        let vector = tensors.iter().find(|tensor| tensor.name == "final_norm.weight").unwrap();
        let vector = vector.clone();
        tensors.iter_mut().for_each(|tensor| tensor.name = format!("model.{}", tensor.name));
        for name in ["head.norm.weight", "decoder.bias"] {
            tensors.push(Tensor { name: name.into(), ..vector.clone() });
        }
    });
    assert!(Converted::of(&folder.0, "modern-masked").bytes() == file.bytes());
    folder.edit_tensors(|tensors| tensors.retain(|tensor| tensor.name.starts_with("model.")));
    // Biases of zero change nothing, and have a place each.
    folder.edit_tensors(|tensors| {
        let zero = |tensor: &Tensor| {
            let name = tensor.name.strip_suffix(".weight").filter(|name| !name.contains("tok_"))?;
            let mut bias = Tensor { name: format!("{name}.bias"), ..tensor.clone() };
            bias.shape.truncate(1);
            bias.data = vec![0; bias.shape[0] as usize * 2];
            Some(bias)
        };
        tensors.extend(tensors.iter().filter_map(zero).collect::<Vec<_>>());
    });
    let biased = Converted::of(&folder.0, "modern-biased").bytes();
    assert_eq!(Gguf::parse(&biased).unwrap().n_tensors(), 26 + 25);
    compare_with_expected("modern-bert", &biased);
}

/// Any layers may have a window: those that are wider than the text are none.
#[test]
fn windows_of_a_modern_encoder_are_where_the_list_says() {
    let vector = |name: &str, kinds: [&str; 4], window: u64| {
        let folder = Folder::of("modern-bert", name);
        folder.edit("config.json", |config| {
            let kinds = kinds.map(|kind| format!("{kind}_attention"));
            config["layer_types"] = serde_json::json!(kinds);
            config["local_attention"] = window.into();
            let full = config["rope_parameters"]["full_attention"].clone();
            config["rope_parameters"]["sliding_attention"] = full;
        });
        let file = Converted::of(&folder.0, name).bytes();
        let text: Vec<u32> = (0..40).collect();
        bits(&embed(&Run::default(), &file, &text, Pooling::Mean))
    };
    const S: &str = "sliding";
    const F: &str = "full";
    let all = vector("all", [F; 4], 10);
    assert_eq!(vector("wide", [S; 4], 80), all);
    assert_eq!(vector("some", [S, F, F, S], 80), all);
    let narrow = [[S; 4], [S, F, F, F], [F, F, F, S], [F, S, S, F], [F, S, F, F]];
    let narrow = narrow.map(|kinds| vector("narrow", kinds, 10));
    for (i, found) in narrow.iter().enumerate() {
        assert!(*found != all && !narrow[..i].contains(found), "{i}");
    }
}

/// What is not computed is refused by name, and what is missing too.
#[test]
fn modern_encoders_that_cannot_be_are_refused() {
    let refused = |name: &str, change: &dyn Fn(&mut Json)| {
        let folder = Folder::of("modern-bert", name);
        folder.edit("config.json", change);
        let output = folder.0.join("refused.gguf");
        let done = convert(&[folder.0.to_str().unwrap(), "-o", output.to_str().unwrap()]);
        assert_ne!(done.code, 0, "{name}");
        done.report["error"]["message"].as_str().unwrap().to_string()
    };
    for (name, key, value) in [
        ("activation", "hidden_activation", "relu6".into()),
        ("pattern", "layer_types", vec!["chunked_attention"; 4].into()),
        ("window", "local_attention", 1.into()),
        ("architectures", "architectures", serde_json::json!(["ModernBertForTokenClassification"])),
    ] {
        let what = if name == "architectures" { "ForTokenClassification" } else { key };
        let error = refused(name, &|config| config[key] = value.clone());
        assert!(error.contains(what), "{error}");
    }
    let yarn = refused("yarn", &|config| {
        config["rope_parameters"]["sliding_attention"]["rope_type"] = "yarn".into();
        config["rope_parameters"]["sliding_attention"]["factor"] = 2.0.into();
    });
    assert!(yarn.contains("rope_parameters"), "{yarn}");
    let file = Converted::of(&root().join("tests/fixtures/modern-bert"), "modern-refused").bytes();
    let load = |file: &[u8]| {
        let gguf = Gguf::parse(file).unwrap();
        let mut tables = vec![0; Model::bytes_needed(&gguf).map_err(|e| e.to_string())?];
        Model::new(&gguf, &mut tables).map(drop).map_err(|e| e.to_string())
    };
    for (key, value) in [
        ("attention.causal", Value::Bool(true)),
        ("attention.sliding_window", Value::U32(1)),
        ("hidden_activation", Value::from("relu")),
    ] {
        let key = format!("modern-bert.{key}");
        let error = load(&edited(&file, &[(&key, value)], |_| ())).unwrap_err();
        assert!(error.contains(key.strip_prefix("modern-bert.").unwrap()), "{error}");
    }
    // The first layer has no norm, the others have one.
    let error = load(&edited(&file, &[], |tensors| {
        tensors.retain(|tensor| tensor.name != "blk.1.attn_norm.weight");
    }));
    assert!(error.unwrap_err().contains("attn_norm.weight"));
    let error = load(&edited(&file, &[], |tensors| {
        let norm = tensors.iter().find(|tensor| tensor.name == "blk.1.attn_norm.weight").unwrap();
        let first = OwnedTensor { name: "blk.0.attn_norm.weight".into(), ..norm.clone() };
        tensors.push(first);
    }));
    assert!(error.unwrap_err().contains("attn_norm.weight"));
}

/// The reference that transformers made, through mote's conversion and llama.cpp's.
#[test]
fn vectors_are_those_of_hugging_face() {
    let Some(folder) = shared("reference") else { return };
    let converted = Converted::of(&folder.join("models/bert"), "reference");
    let reference = json(&folder.join("models/bert/ref.json"));
    let theirs = std::fs::read(folder.join("gguf/bert-f32.gguf")).unwrap();
    let mut worst = 0.0f32;
    for bytes in [converted.bytes(), theirs] {
        worst = worst.max(distance_to(&reference, &bytes));
    }
    println!("{worst:.2e}");
    assert!(worst < FLOAT, "{worst}");
}

/// The largest difference to a reference's states and vectors.
fn distance_to(reference: &Json, file: &[u8]) -> f32 {
    let mut worst = 0.0f32;
    for (length, prompt) in reference["prompts"].as_object().unwrap() {
        let prompt = ids(prompt);
        let mut compare = |found: &[f32], want: &Json| {
            worst = worst.max(distance(found, &floats(want)));
        };
        for (name, pooling) in [("mean", Pooling::Mean), ("cls", Pooling::First)] {
            let found = embed(&Run::default(), file, &prompt, pooling);
            compare(&found, &reference[format!("{name}_{length}")]);
        }
        let all = &reference[format!("tokens_{length}")];
        let some = &reference[format!("tokens_{length}_last8")];
        let wanted = all.as_array().or(some.as_array()).unwrap();
        let from = prompt.len() - wanted.len();
        Run::default().session(file, prompt.len(), |session| {
            let visit = |i: usize, state: &[f32]| {
                if i >= from {
                    compare(state, &wanted[i - from]);
                }
            };
            assert!(session.states(&prompt, |_| true, visit).unwrap());
        });
    }
    worst
}

/// For every kernel table, number of threads and batch, whatever was embedded before.
#[test]
fn vectors_are_the_same_bits_everywhere() {
    let encoder = Converted::new("bits").bytes();
    let modern = root().join("tests/fixtures/modern-bert");
    let modern = Converted::of(&modern, "modern-bits").bytes();
    let mut files: Vec<(&str, Vec<u8>)> = vec![
        ("f16", encoder.clone()),
        ("q8_0", encoded(&encoder, QuantType::Q8_0)),
        ("q4_0", encoded(&encoder, QuantType::Q4_0)),
        ("a decoder", fixture("models/qwen3.gguf")),
        ("a modern encoder", modern.clone()),
        ("one in q4_0", encoded(&modern, QuantType::Q4_0)),
    ];
    if let Some(folder) = shared("reference/gguf") {
        files.push(("reference", std::fs::read(folder.join("bert-f32.gguf")).unwrap()));
    }
    for (name, file) in &files {
        let len = if *name == "reference" { 200 } else { 37 };
        let text: Vec<u32> = (0..len).map(|i| (i * 37 + i * i * 11) % 29 + 3).collect();
        let scalar = Run { kernels: arch::by_name("scalar").unwrap(), ..Run::default() };
        for (_, pooling) in POOLINGS {
            let expected = bits(&embed(&scalar, file, &text, pooling));
            for kernels in arch::available() {
                for (threads, batch) in [(1, 64), (2, 1), (3, 7), (2, 512)] {
                    let run = Run { kernels, threads, batch, ..Run::default() };
                    let found = bits(&embed(&run, file, &text, pooling));
                    assert!(found == expected, "{name} {run:?}");
                }
            }
        }
        Run::default().session(file, len as usize, |session| {
            let mut out = vec![0.0; session.model().config().n_embd];
            let mut of = |text: &[u32]| {
                session.embed(text, Pooling::Mean, &mut out, |_| true).unwrap();
                bits(&out)
            };
            let first = of(&text);
            assert_ne!(of(&text[..9]), first);
            assert_eq!(of(&text), first);
        });
    }
}

/// All of a text is seen from all of it, and texts end where the learned positions do.
#[test]
fn an_encoder_sees_what_comes() {
    let file = Converted::new("sees").bytes();
    let first = |text: &[u32]| embed(&Run::default(), &file, text, Pooling::First);
    assert_ne!(bits(&first(&[2, 20, 30, 3])), bits(&first(&[2, 20, 31, 3])));
    Run::default().session(&file, 40, |session| {
        let mut out = [0.0; 32];
        assert!(session.embed(&[5; 40], Pooling::Mean, &mut out, |_| true).unwrap());
        let too_long = session.embed(&[5; 41], Pooling::Mean, &mut out, |_| true);
        assert_eq!(too_long, Err(SessionError::ContextFull { needed: 41, capacity: 40 }));
        let error = session.embed(&[9999], Pooling::Mean, &mut out, |_| true);
        assert_eq!(error, Err(SessionError::Token(9999)));
        assert_eq!(session.embed(&[], Pooling::Mean, &mut out, |_| true), Err(SessionError::Empty));
        let error = session.embed(&[5], Pooling::Mean, &mut out[1..], |_| true);
        assert!(matches!(error, Err(SessionError::Option(_))));
        assert!(!session.embed(&[5], Pooling::Mean, &mut out, |_| false).unwrap());
    });
}

#[test]
fn an_encoder_writes_no_text() {
    let file = Converted::new("text");
    Run::default().session(&file.bytes(), 9, |session| {
        assert_eq!(session.feed(&[2, 5, 3]), Err(SessionError::Encoder));
        assert_eq!(session.score(&[2, 5, 3], |_, _| ()), Err(SessionError::Encoder));
        assert!(session.logits().is_none());
    });
    let m = file.arg();
    for args in [
        &["run", "-m", m, "a"][..],
        &["score", "-m", m, "-p", "a"],
        &["score", "-m", m, "-p", "a", "--bits"],
        &["perplexity", "-m", m, "-f", m],
        &["shannon", "-m", m, "-p", "a"],
        &["chat", "-m", m],
        &["bench", "-m", m, "-p", "8"],
    ] {
        let refused = mote_reading(args, b"a\n");
        assert_eq!(refused.code(), 3, "{args:?}: {} {}", refused.out(), refused.errors());
        assert!(refused.errors().contains("mote embed"), "{args:?}: {}", refused.errors());
    }
}

/// What makes an encoder one must be there, and nothing of it may be wrong.
#[test]
fn encoders_that_cannot_be_are_refused() {
    let file = Converted::new("refused").bytes();
    let load = |file: &[u8]| {
        let gguf = Gguf::parse(file).unwrap();
        let mut tables = vec![0; Model::bytes_needed(&gguf).map_err(|e| e.to_string())?];
        Model::new(&gguf, &mut tables).map(drop).map_err(|e| e.to_string())
    };
    let key = |key: &str, value| load(&edited(&file, &[(key, value)], |_| ())).unwrap_err();
    assert!(key("bert.attention.causal", Value::Bool(true)).contains("attention.causal"));
    // A decoder's weights may be an encoder's, but for windows.
    let ahead = |name: &str| {
        let key = format!("{name}.attention.causal");
        edited(&fixture(&format!("models/{name}.gguf")), &[(&key, Value::Bool(false))], |_| ())
    };
    assert!(load(&ahead("gemma3")).unwrap_err().contains("attention.causal"));
    let first = |file: &[u8], text: &[u32]| embed(&Run::default(), file, text, Pooling::First);
    let (qwen3, decoder) = (ahead("qwen3"), fixture("models/qwen3.gguf"));
    assert_ne!(first(&qwen3, &[3, 4, 5]), first(&qwen3, &[3, 4, 6]));
    assert_eq!(first(&decoder, &[3, 4, 5]), first(&decoder, &[3, 4, 6]));
    assert!(key("bert.pooling_type", Value::U32(4)).contains("pooling_type"));
    assert!(key("bert.pooling_type", Value::from("mean")).contains("pooling_type"));
    for name in ["blk.1.layer_output_norm.bias", "token_embd_norm.weight", "blk.0.attn_q.weight"] {
        let error = load(&edited(&file, &[], |tensors| tensors.retain(|it| it.name != name)));
        let (_, rest) = name.rsplit_once("1.").unwrap_or(("", name));
        let rest = rest.strip_prefix("blk.0.").unwrap_or(rest);
        assert!(error.unwrap_err().contains(rest), "{name}");
    }
    let narrow = edited(&file, &[], |tensors| {
        let types = tensors.iter_mut().find(|tensor| tensor.name == "token_types.weight");
        let types = types.unwrap();
        types.dims[0] /= 2;
        types.data.truncate(types.data.len() / 2);
    });
    assert!(load(&narrow).unwrap_err().contains("token_types"));
    // One kind of segments, or none, is as good as two.
    let without = edited(&file, &[], |tensors| {
        tensors.retain(|tensor| tensor.name != "token_types.weight");
    });
    load(&without).unwrap();
}

#[test]
fn texts_come_from_arguments_files_and_lines() {
    let file = Converted::new("inputs");
    let m = file.arg();
    let line = |text: &str| mote(&["embed", "-m", m, text]).text().to_string();
    let (cat, mat) = (line("the cat"), line("the mat"));
    assert_eq!(cat.split_whitespace().count(), 32);
    assert_eq!(mote(&["embed", "-m", m, "the cat", "the mat"]).text(), format!("{cat}{mat}"));
    assert_eq!(mote_reading(&["embed", "-m", m], b"the cat").text(), cat);
    let folder = std::env::temp_dir().join(format!("mote-embed-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).unwrap();
        folder.join(name).to_str().unwrap().to_string()
    };
    let (one, two) = (path("one", "the cat"), path("two", "the mat"));
    let args = ["embed", "-m", m, "-f", &one, "-f", &two];
    assert_eq!(mote(&args).text(), format!("{cat}{mat}"));
    let long = "a ".repeat(50);
    let lines = format!(
        "{{\"text\": \"the cat\", \"id\": 7}}\n\n{{\"text\": \"{long}\"}}\nno JSON\n{{\"text\": \"the mat\"}}\n"
    );
    let lines = path("lines", &lines);
    let done = mote(&["embed", "-m", m, "--batch-file", &lines]);
    assert_eq!(done.code(), 1);
    let rows: Vec<Json> =
        done.out().lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    let shown = |row: &Json| {
        let numbers = floats(&row["embedding"]);
        numbers.iter().map(f32::to_string).collect::<Vec<_>>().join(" ") + "\n"
    };
    assert_eq!((&rows[0]["id"], &rows[0]["line"], shown(&rows[0])), (&7.into(), &1.into(), cat));
    assert_eq!((&rows[1]["line"], &rows[1]["error"]["code"]), (&3.into(), &"context".into()));
    assert_eq!((&rows[2]["line"], &rows[2]["error"]["code"]), (&4.into(), &"usage".into()));
    assert_eq!((&rows[3]["line"], shown(&rows[3])), (&5.into(), mat));
    // Cut, the text has its first tokens and its end.
    let cut = mote(&["embed", "-m", m, "--truncate", "--json", &long]).json();
    assert_eq!(cut["embeddings"][0]["tokens"], 40);
    let short = mote(&["embed", "-m", m, "--truncate", "-c", "5", "--pooling", "cls", &long]);
    assert_eq!(short.text(), mote(&["embed", "-m", m, "--pooling", "first", "a a a"]).text());
    assert_eq!(mote(&["embed", "-m", m, &long]).code(), 1);
    let raw = mote(&["embed", "-m", m, "--raw", "--json", "the cat"]).json();
    let mut raw_vector = floats(&raw["embeddings"][0]["embedding"]);
    let length = raw_vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    assert!(length > 1.5, "{length}");
    normalize(&mut raw_vector);
    assert_eq!(shown(&serde_json::json!({ "embedding": raw_vector })), line("the cat"));
    std::fs::remove_dir_all(&folder).unwrap();
}

/// The fixture's checkpoint, changed; removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        Folder::of("bert", name)
    }

    fn of(fixture: &str, name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("mote-bert-{}-{name}", std::process::id()));
        std::fs::create_dir_all(folder.join("1_Pooling")).unwrap();
        let source = root().join("tests/fixtures").join(fixture);
        for file in [
            "config.json",
            "model.safetensors",
            "modules.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "1_Pooling/config.json",
        ] {
            if let Ok(bytes) = std::fs::read(source.join(file)) {
                std::fs::write(folder.join(file), bytes).unwrap();
            }
        }
        Folder(folder)
    }

    fn edit(&self, file: &str, change: impl FnOnce(&mut Json)) {
        let mut value = json(&self.0.join(file));
        change(&mut value);
        std::fs::write(self.0.join(file), value.to_string()).unwrap();
    }

    fn edit_weights(&self, change: impl FnMut(&mut Tensor)) {
        self.edit_tensors(|all| {
            all.iter_mut().for_each(change);
            all.retain(|tensor| !tensor.name.is_empty());
        });
    }

    fn edit_tensors(&self, change: impl FnOnce(&mut Vec<Tensor>)) {
        let path = self.0.join("model.safetensors");
        let mut all = tensors(&std::fs::read(&path).unwrap());
        change(&mut all);
        std::fs::write(path, file_of(&all)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The same encoder as other classes call its parts, and where their positions begin.
#[test]
fn checkpoints_of_other_classes_become_the_same_encoder() {
    let text = [2, 20, 30, 41, 3];
    let vector = |file: &[u8]| bits(&embed(&Run::default(), file, &text, Pooling::Mean));
    let plain = Converted::new("classes").bytes();
    let expected = vector(&plain);
    let roberta = Folder::new("roberta");
    roberta.edit("config.json", |config| {
        config["architectures"] = serde_json::json!(["RobertaForMaskedLM"]);
        config["model_type"] = "roberta".into();
        config["max_position_embeddings"] = 42.into();
        config["pad_token_id"] = 1.into();
    });
    roberta.edit_weights(|tensor| {
        if tensor.name == "embeddings.position_embeddings.weight" {
            let row = tensor.data.len() / 40;
            tensor.shape[0] = 42;
            tensor.data = [vec![0; 2 * row], tensor.data.clone()].concat();
        }
        tensor.name = format!("roberta.{}", tensor.name);
    });
    assert_eq!(vector(&Converted::of(&roberta.0, "roberta").bytes()), expected);
    let old = Folder::new("old");
    old.edit_weights(|tensor| {
        let name = tensor.name.replace("LayerNorm.weight", "LayerNorm.gamma");
        tensor.name = format!("bert.{}", name.replace("LayerNorm.bias", "LayerNorm.beta"));
    });
    assert_eq!(vector(&Converted::of(&old.0, "old").bytes()), expected);
    let untyped = edited(&plain, &[], |tensors| {
        tensors.retain(|tensor| tensor.name != "token_types.weight");
    });
    let distilled = Folder::new("distilled");
    distilled.edit("config.json", |config| {
        *config = serde_json::json!({
            "architectures": ["DistilBertModel"], "model_type": "distilbert", "activation": "gelu",
            "dim": 32, "hidden_dim": 48, "n_heads": 2, "n_layers": 2,
            "max_position_embeddings": 40, "vocab_size": config["vocab_size"],
        });
    });
    distilled.edit_weights(|tensor| {
        let mut name = tensor.name.replace("encoder.layer", "transformer.layer");
        for (from, to) in [
            ("attention.self.query", "attention.q_lin"),
            ("attention.self.key", "attention.k_lin"),
            ("attention.self.value", "attention.v_lin"),
            ("attention.output.dense", "attention.out_lin"),
            ("attention.output.LayerNorm", "sa_layer_norm"),
            ("intermediate.dense", "ffn.lin1"),
            ("output.dense", "ffn.lin2"),
            ("output.LayerNorm", "output_layer_norm"),
        ] {
            name = name.replace(from, to);
        }
        let is_none = name.starts_with("pooler") || name.contains("token_type");
        tensor.name = if is_none { String::new() } else { name };
    });
    let distilled = Converted::of(&distilled.0, "distilled").bytes();
    assert_eq!(vector(&distilled), vector(&untyped));
}

/// What a GGUF file has no place for is refused, not forgotten.
#[test]
fn other_ways_to_one_vector_are_refused() {
    let refused = |name: &str, change: &dyn Fn(&Folder)| {
        let folder = Folder::new(name);
        change(&folder);
        let output = folder.0.join("refused.gguf");
        let done = convert(&[folder.0.to_str().unwrap(), "-o", output.to_str().unwrap()]);
        assert_eq!(done.code, 3, "{name}: {}", done.report);
        done.report["error"]["message"].as_str().unwrap().to_string()
    };
    let dense = refused("dense", &|folder| {
        folder.edit("modules.json", |modules| {
            modules[2]["type"] = "sentence_transformers.models.Dense".into();
        });
    });
    assert!(dense.contains("Dense"), "{dense}");
    let most = refused("max", &|folder| {
        folder
            .edit("1_Pooling/config.json", |modes| modes["pooling_mode_max_tokens"] = true.into());
    });
    assert!(most.contains("max_tokens"), "{most}");
    let positions = refused("relative", &|folder| {
        folder.edit("config.json", |config| {
            config["position_embedding_type"] = "relative_key".into();
        });
    });
    assert!(positions.contains("position_embedding_type"), "{positions}");
}
