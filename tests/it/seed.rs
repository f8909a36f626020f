//! Language models from before Transformers: how far they see, what a checkpoint of theirs is, and what is refused.
//! (Their answers: reference.rs; states: save.rs, speculation.rs.)

use mote_formats::gguf::{Gguf, Value};
use mote_runtime::Model;
use mote_tests::checkpoint::{Checkpoint, Tensor, file_of, fixture as tokenizer};
use mote_tests::models::{edited, fixture};
use mote_tests::speak::Run;
use serde_json::{Value as Json, json};

use crate::cli::mote;
use crate::convert::convert;

const LSTM: &[(&str, &str)] = &[
    ("token_embd.weight", "embedding.weight"),
    ("output.weight", "output.weight"),
    ("output.bias", "output.bias"),
    ("blk.0.cell_in.weight", "lstm.weight_ih_l0"),
    ("blk.0.cell_back.weight", "lstm.weight_hh_l0"),
    ("blk.0.cell_in.bias", "lstm.bias_ih_l0"),
    ("blk.0.cell_back.bias", "lstm.bias_hh_l0"),
    ("blk.1.cell_in.weight", "lstm.weight_ih_l1"),
    ("blk.1.cell_back.weight", "lstm.weight_hh_l1"),
    ("blk.1.cell_in.bias", "lstm.bias_ih_l1"),
    ("blk.1.cell_back.bias", "lstm.bias_hh_l1"),
];

const NPLM: &[(&str, &str)] = &[
    ("token_embd.weight", "embedding.weight"),
    ("blk.0.window.weight", "hidden.weight"),
    ("blk.0.window.bias", "hidden.bias"),
    ("output.weight", "output.weight"),
    ("output.bias", "output.bias"),
];

fn model(name: &str) -> Vec<u8> {
    fixture(&format!("models/{name}.gguf"))
}

/// The checkpoint that a model was converted from.
fn checkpoint(test: &str, name: &str) -> Checkpoint {
    let (names, mut config) = match name {
        "lstm" => (LSTM, json!({ "embedding_size": 64, "hidden_size": 32, "num_layers": 2 })),
        _ => (NPLM, json!({ "embedding_size": 32, "window": 3, "hidden_size": 32 })),
    };
    config["model_type"] = name.into();
    config["vocab_size"] = 32.into();
    if name == "nplm" {
        config["direct_connections"] = true.into();
    }
    let file = model(name);
    let gguf = Gguf::parse(&file).unwrap();
    assert_eq!(gguf.n_tensors(), names.len());
    let tensors = names.iter().map(|(from, to)| {
        let tensor = gguf.tensor(from).unwrap();
        let dtype = if tensor.dims().len() > 1 { "F16" } else { "F32" };
        let shape = tensor.dims().iter().rev().copied().collect();
        Tensor { name: (*to).into(), dtype: dtype.into(), shape, data: tensor.data().to_vec() }
    });
    let checkpoint = Checkpoint::empty(test);
    checkpoint.write("model.safetensors", file_of(&tensors.collect::<Vec<_>>()));
    checkpoint.write("config.json", config.to_string());
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        checkpoint.write(file, std::fs::read(tokenizer().join(file)).unwrap());
    }
    checkpoint
}

/// The exit code and the report of a conversion into the checkpoint's own folder.
fn converted(checkpoint: &Checkpoint) -> (u8, Json) {
    let output = checkpoint.path("model.gguf");
    let output = output.to_str().unwrap();
    let done = convert(&[checkpoint.arg(), "-o", output, "--force"]);
    (done.code, done.report)
}

#[test]
fn checkpoints_of_torch_modules_become_models() {
    for name in ["lstm", "nplm"] {
        let checkpoint = checkpoint(&format!("seed-{name}"), name);
        assert_eq!(converted(&checkpoint).0, 0);
        let (ours, theirs) = (std::fs::read(checkpoint.path("model.gguf")).unwrap(), model(name));
        let (ours, theirs) = (Gguf::parse(&ours).unwrap(), Gguf::parse(&theirs).unwrap());
        for tensor in theirs.tensors() {
            let found = ours.tensor(tensor.name()).unwrap();
            assert!(found.data() == tensor.data(), "{name}: {}", tensor.name());
        }
        for (key, value) in theirs.metadata().filter(|(key, _)| key.starts_with(name)) {
            assert_eq!(ours.get(key), Some(value), "{key}");
        }
    }
}

#[test]
fn checkpoints_that_cannot_be_are_refused() {
    let refused = |name: &str, change: Json| {
        let checkpoint = checkpoint("seed-refused", name);
        checkpoint.configure(&change);
        let (code, report) = converted(&checkpoint);
        assert_ne!(code, 0, "{name} {change}");
        report["error"]["message"].as_str().unwrap().to_string()
    };
    for (name, change, word) in [
        ("lstm", json!({ "hidden_size": 48 }), "by config.json it has"),
        ("lstm", json!({ "hidden_size": 1u64 << 40 }), "hidden_size"),
        ("lstm", json!({ "num_layers": 1 }), "_l1\""),
        ("lstm", json!({ "num_layers": 3 }), "lstm.2.weight_ih"),
        ("lstm", json!({ "tie_word_embeddings": true }), "tie_word_embeddings"),
        ("lstm", json!({ "embedding_size": null }), "embedding_size"),
        ("nplm", json!({ "direct_connections": false }), "output.weight"),
        ("nplm", json!({ "window": 2 }), "by config.json it has"),
        ("nplm", json!({ "window": 1000 }), "window"),
        ("nplm", json!({ "tie_word_embeddings": true }), "tie_word_embeddings"),
    ] {
        let sentence = refused(name, change);
        assert!(sentence.contains(word), "{word}: {sentence}");
    }
    // A second direction, or a projection of what cells show.
    for more in ["lstm.weight_ih_l0_reverse", "lstm.weight_hr_l0"] {
        let checkpoint = checkpoint("seed-more", "lstm");
        checkpoint.change_tensors(|tensors| {
            tensors.push(Tensor { name: more.into(), ..tensors[3].clone() });
        });
        let (code, report) = converted(&checkpoint);
        assert!(code == 3 && report.to_string().contains(more), "{report}");
    }
}

/// One sees so many tokens and no more, the other all of them.
#[test]
fn a_window_ends_and_cells_remember() {
    let last = |name: &str, ids: &[u32]| {
        Run::default().session(&model(name), 9, |session| {
            session.feed(ids).unwrap();
            session.logits().unwrap().to_vec()
        })
    };
    for (name, seen) in [("nplm", 3), ("nplm-indirect", 2), ("lstm", 5), ("lstm-tied", 5)] {
        for place in 0..5 {
            let mut other = [4, 5, 6, 7, 8];
            other[place] += 5;
            let same = last(name, &other) == last(name, &[4, 5, 6, 7, 8]);
            assert_eq!(same, place + seen < 5, "{name} {place}");
        }
    }
    // Before the first token there is nothing: not the same as any token.
    assert_ne!(last("nplm", &[7, 8]), last("nplm", &[0, 7, 8]));
}

#[test]
fn models_that_cannot_be_are_refused() {
    let load = |file: &[u8]| {
        let gguf = Gguf::parse(file).unwrap();
        let mut tables = vec![0; Model::bytes_needed(&gguf).map_err(|e| e.to_string())?];
        Model::new(&gguf, &mut tables).map(drop).map_err(|e| e.to_string())
    };
    for (name, key, value, word) in [
        ("lstm", "hidden_length", 1 << 17, "hidden_length"),
        ("lstm", "hidden_length", 64, "cell_back"),
        ("lstm", "embedding_length", 32, "token_embd"),
        ("lstm", "block_count", 3, "'cell_in.weight' of layer 2"),
        ("nplm", "hidden_length", (1 << 17) + 1, "hidden_length"),
        ("nplm", "hidden_length", 1 << 17, "window_length"),
        ("nplm", "window_length", 65, "window_length"),
        ("nplm", "window_length", 4, "window.weight"),
        ("nplm", "block_count", 2, "block_count"),
    ] {
        let full = format!("{name}.{key}");
        let error = load(&edited(&model(name), &[(&full, Value::U32(value))], |_| ()));
        let error = error.unwrap_err();
        assert!(error.contains(word), "{full} {value}: {error}");
    }
    let direct = ("nplm.direct_connections", Value::Bool(false));
    let error = load(&edited(&model("nplm"), &[direct], |_| ())).unwrap_err();
    assert!(error.contains("output.weight"), "{error}");
    // The embedding is no head where it is of another width.
    for name in ["lstm", "nplm", "lstm-tied"] {
        let headless = edited(&model(name), &[], |tensors| {
            tensors.retain(|tensor| tensor.name != "output.weight");
        });
        assert_eq!(load(&headless).is_ok(), name == "lstm-tied");
    }
    for (name, tensor) in [("lstm", "cell_back.weight"), ("nplm", "window.weight")] {
        let without = edited(&model(name), &[], |tensors| {
            tensors.retain(|it| it.name != format!("blk.0.{tensor}"));
        });
        assert!(load(&without).is_err(), "{name}");
    }
    // Biases need not be there.
    for name in ["lstm", "nplm"] {
        let without = edited(&model(name), &[], |tensors| {
            tensors.retain(|tensor| !tensor.name.ends_with("bias"));
        });
        load(&without).unwrap();
    }
}

/// Columns of all their matrices are weighed, and quantised by it they answer as before, nearly.
#[test]
fn importance_and_quantisation_know_their_matrices() {
    let folder = Checkpoint::empty("seed-importance");
    let path = |name: &str| folder.path(name).to_str().unwrap().to_string();
    folder.write("text", "the cat sat on the mat, and the dog did not. ".repeat(60));
    for (name, matrices) in [("lstm", 5), ("nplm", 2)] {
        folder.write("model.gguf", model(name));
        let args = ["-m", &path("model.gguf"), "-f", &path("text"), "-o", &path("importance")];
        let args = [&["importance", "--json", "--head", "--force"], &args[..]].concat();
        assert_eq!(mote(&args).json()["matrices"], matrices, "{name}");
        let importance = path("importance");
        let args = ["quantize", &path("model.gguf"), "q8_0", "-o", &path("small.gguf")];
        let args = [&args[..], &["--importance", &importance, "--force", "--json"]].concat();
        assert_eq!(mote(&args).code(), 0, "{name}");
        let small = std::fs::read(folder.path("small.gguf")).unwrap();
        let ids = [1, 9, 4, 20, 7, 7, 30];
        let exact = Run::default().logprobs(&model(name), &ids);
        for (a, b) in exact.iter().zip(Run::default().logprobs(&small, &ids)) {
            assert!((a - b).abs() < 0.1, "{name}: {a} {b}");
        }
    }
}
