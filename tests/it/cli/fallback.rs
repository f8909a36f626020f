//! n-gram models in the commands, and `mote run --fallback`.

use mote_formats::Gguf;
use mote_tests::models::{fixture, llama};
use mote_tests::ngrams::ngram;

use super::*;

/// A token whose embedding is NaN in [`poisoned`].
const POISON: u32 = 700;

fn text(len: u32) -> Vec<u32> {
    (0..len).map(|i| (i * 37 + i * i * 11) % 290 + 3).collect()
}

fn model() -> Vec<u8> {
    fixture("models/llama-f32.gguf")
}

/// An n-gram model of its vocabulary.
fn n_grams(name: &str) -> String {
    file(name, &ngram(&model(), &text(500), 3))
}

fn poisoned() -> Vec<u8> {
    let mut file = model();
    let gguf = Gguf::parse(&file).unwrap();
    let tensor = gguf.tensors().find(|tensor| tensor.name() == "token_embd.weight").unwrap();
    let row = tensor.dims()[0] as usize * 4;
    let start = tensor.data().as_ptr() as usize - file.as_ptr() as usize + POISON as usize * row;
    file[start..start + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    file
}

const IDS: &str = "40,62,106,172,260";

/// What these models and options write, and what they say of it.
fn run(args: &[&str]) -> Value {
    let common = ["run", "--ids", IDS, "-n", "12", "--temp", "0", "--ignore-eos", "--json"];
    mote(&[&common, args].concat()).json()
}

#[test]
fn an_n_gram_model_writes_and_is_scored() {
    let lm = n_grams("commands-lm.gguf");
    let written = run(&["-m", &lm]);
    assert_eq!(written["ids"].as_array().unwrap().len(), 12);
    assert_eq!(written["degraded"], Value::Null);
    let ids = format!("{IDS},{}", joined(&written["ids"]));
    let scored = mote(&["score", "-m", &lm, "--ids", &ids, "--json"]).json();
    let hashed = mote(&["score", "-m", &lm, "--ids", &ids, "--json", "--hash"]).json();
    assert!(hashed["hash"].is_string());
    let (direct, by_logits) = (&scored["logprobs"], &hashed["logprobs"]);
    for (a, b) in direct.as_array().unwrap().iter().zip(by_logits.as_array().unwrap()) {
        assert!((a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-5, "{a} {b}");
    }
    let prose = file("commands-lm.txt", "a b c d e f g h ".repeat(40).as_bytes());
    let perplexity = mote(&["perplexity", "-m", &lm, "-f", &prose, "-c", "64", "--json"]).json();
    let perplexity = perplexity["perplexity"].as_f64().unwrap();
    assert!(perplexity > 1.0 && perplexity.is_finite());
    let facts = mote(&["inspect", &lm, "--json"]).json();
    assert_eq!(facts["n_grams"].as_array().unwrap().len(), 3);
    assert_eq!(facts["why_not"], Value::Null);
    assert!(mote(&["inspect", &lm]).text().contains("order 3"));
    assert!(!mote(&["tokenize", "-m", &lm, "-p", "a text"]).text().is_empty());
    let benched = mote(&["bench", "-m", &lm]);
    assert_eq!(benched.code, 3, "what it measures are Transformers: {}", benched.errors);
}

#[test]
fn a_fallback_writes_where_the_model_is_not_there() {
    let lm = n_grams("instead-lm.gguf");
    let expected = run(&["-m", &lm]);
    let whole = file("instead-whole.gguf", &model());
    let cut = file("instead-cut.gguf", &model()[..90_000]);
    let none = file("instead-none.gguf", b"not a model");
    for (path, extra, reason) in [
        ("no-such-file.gguf", &[][..], "missing"),
        (&*cut, &[], "damaged"),
        (&*none, &[], "damaged"),
        (&*whole, &["--ram", "20K"], "memory"),
        (&*whole, &["--deadline", "0"], "deadline"),
    ] {
        let written = run(&[&["-m", path, "--fallback", &lm], extra].concat());
        assert_eq!(written["ids"], expected["ids"], "{reason}");
        assert_eq!(written["degraded"]["reason"], reason);
        assert_eq!(written["degraded"]["tokens"], 12);
    }
    let shown = mote(&["run", "-m", &cut, "--fallback", &lm, "--ids", IDS, "-n", "3"]);
    assert_eq!(shown.code, 0);
    assert!(shown.errors.contains("instead-cut.gguf") && shown.errors.contains("degraded"));
    let alone = run(&["-m", &whole]);
    for extra in [&[][..], &["--deadline", "100000"]] {
        let written = run(&[&["-m", &whole, "--fallback", &lm], extra].concat());
        assert_eq!((&written["ids"], &written["degraded"]), (&alone["ids"], &Value::Null));
    }
}

#[test]
fn a_fallback_writes_where_logits_are_not_finite() {
    let lm = n_grams("nan-lm.gguf");
    let model = file("nan-model.gguf", &poisoned());
    let ids = format!("{IDS},{POISON}");
    let args = ["run", "-m", &model, "--ids", &ids, "-n", "4", "--temp", "0", "--json"];
    let refused = mote(&args);
    assert_eq!(refused.code, 1);
    let written = mote(&[&args[..], &["--fallback", &lm, "--ignore-eos"]].concat()).json();
    assert_eq!(written["degraded"]["reason"], "not_finite");
    assert_eq!(written["degraded"]["tokens"], 4);
}

#[test]
fn the_switch_is_timed() {
    let lm = n_grams("timed-lm.gguf");
    let model = file("timed-model.gguf", &model());
    let args =
        ["bench", "fallback", "-m", &model, "--fallback", &lm, "-n", "20", "-t", "1", "--json"];
    let report = mote(&args).json();
    let n = |key: &str| report[key].as_u64().unwrap();
    assert!((1..=20).contains(&n("strikes")));
    assert_eq!((n("valid"), n("n_vocab")), (n("strikes"), 800));
    let [switch, overrun] =
        ["switch_ms", "overrun_ms"].map(|key| report[key]["p99"].as_f64().unwrap());
    assert!(0.0 < switch && switch <= overrun, "{switch} {overrun}");
}

#[test]
fn fallbacks_that_cannot_be_are_refused() {
    let lm = n_grams("refused-lm.gguf");
    let model = file("refused-model.gguf", &model());
    let other = file("refused-other.gguf", &ngram(&llama(), &[3, 4, 5, 6, 3, 4], 2));
    let fails = |args: &[&str]| {
        let outcome = mote(&[&["run", "--ids", IDS, "-n", "2"], args].concat());
        assert!(!outcome.errors.is_empty() && outcome.out.is_empty(), "{args:?}");
        outcome.code
    };
    assert_eq!(fails(&["-m", &model, "--deadline", "5"]), 2);
    assert_eq!(fails(&["-m", &model, "--fallback", &lm, "--deadline", "-5"]), 2);
    assert_eq!(fails(&["-m", &model, "--fallback", &lm, "--deadline", "nan"]), 2);
    assert_eq!(fails(&["-m", &model, "--fallback", &other]), 2);
    assert_eq!(fails(&["-m", &model, "--fallback", "no-such-lm.gguf"]), 1);
    assert_eq!(fails(&["-m", "no-such-file.gguf", "--fallback", "no-such-lm.gguf"]), 1);
    assert_eq!(fails(&["-m", "no-such-file.gguf"]), 1);
}
