//! Ctrl-C at every place where long work asks for it: exit code 130, and no file is left.

use std::fs;
use std::path::{Path, PathBuf};

use mote_tools::interrupt;

use super::{checkpoint, fixture_path, prose};
use crate::cli::{baseline, file, mote};

/// Interrupts the command at its first question, at later ones more and more apart, and lets it end at
/// last. Nothing is in the folder before.
fn interrupted(args: &[&str], folder: &Path) {
    let (mut questions, mut times) = (0, 0);
    loop {
        interrupt::after(Some(questions));
        let outcome = mote(args);
        interrupt::after(None);
        if outcome.code == 0 {
            assert!(times > 0, "{args:?} never asks");
            return;
        }
        assert_eq!((outcome.code, outcome.out.as_str()), (130, ""), "{args:?}: {}", outcome.errors);
        assert!(outcome.errors.ends_with("error: interrupted\n"), "{}", outcome.errors);
        let left: Vec<PathBuf> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{args:?} after {questions} questions: {left:?}");
        questions += 1 + questions / 4;
        times += 1;
    }
}

fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn case_390_models_of_n_grams() {
    let inside = folder("case-390");
    let text = file("case-390.txt", prose(20_000).as_bytes());
    let place = |name: &str| inside.join(name).to_str().unwrap().to_owned();
    // Little memory: with temporary files, and with one thread, whose questions are counted.
    let means = ["--memory", "1M", "-t", "1", "--temp-dir", inside.to_str().unwrap()];
    let (model, arpa) = (place("lm.gguf"), place("lm.arpa.gz"));
    let train = ["ngram", "train", "-n", "3", &text, "-o", &model, "--arpa", &arpa];
    interrupted(&[&train[..], &means].concat(), &inside);
    let kept = [
        file("case-390.gguf", &fs::read(&model).unwrap()),
        file("case-390.arpa.gz", &fs::read(&arpa).unwrap()),
    ];
    for input in &kept {
        let inside = folder("case-390-converted");
        let output = inside.join("converted").to_str().unwrap().to_owned();
        interrupted(&["ngram", "convert", input, "-o", &output], &inside);
    }
}

#[test]
fn case_390_a_checkpoint() {
    let inside = folder("case-390-checkpoint");
    let output = inside.join("model.gguf").to_str().unwrap().to_owned();
    interrupted(&["convert", &checkpoint(), "-o", &output, "-t", "1"], &inside);
}

#[test]
fn case_390_a_smaller_file() {
    let model = fixture_path("models/llama-f32.gguf");
    let inside = folder("case-390-quantize");
    let output = inside.join("small.gguf").to_str().unwrap().to_owned();
    interrupted(&["quantize", &model, "-o", &output, "Q8_0", "-t", "1"], &inside);
}

#[test]
fn case_390_importance() {
    let (model, text) = (fixture_path("models/llama-f32.gguf"), fixture_path("quantize/text.txt"));
    let inside = folder("case-390-importance");
    let output = inside.join("importance.gguf").to_str().unwrap().to_owned();
    let command = ["importance", "-m", &model, "-f", &text, "-o", &output];
    interrupted(&[&command[..], &["-c", "32", "--windows", "3", "-t", "1"]].concat(), &inside);
}

#[test]
fn comparing_is_interrupted() {
    let model = fixture_path("models/llama-f32.gguf");
    let inside = folder("interrupted-comparisons");
    interrupted(&["verify", &model], &inside);
    interrupted(&["diff", &model, &model], &inside);
}

#[test]
fn scoring_is_interrupted() {
    let (model, _) = baseline();
    let inside = folder("interrupted-scores");
    let text = "hello world ".repeat(8);
    let lines = file("interrupted.txt", text.as_bytes());
    let lists = file("interrupted.tsv", b"one\thello\t-1\none\tworld\t-2\n");
    for args in [
        &["score", "-m", &model, "-p", &text][..],
        &["score", "-m", &model, "-p", &text, "--hash"],
        &["score", "-m", &model, "-p", &text, "--bits"],
        &["score", "-m", &model, "--compare", "hello", "world"],
        &["perplexity", "-m", &model, "-f", &lines, "-c", "16"],
        &["shannon", "-m", &model, "-p", &text],
        &["rescore", "-m", &model, "-f", &lists],
        &["bench", "-m", &model, "-p", "8", "-n", "4", "-r", "1", "-t", "1"],
    ] {
        interrupted(args, &inside);
    }
}

#[test]
fn a_synthetic_model_is_interrupted() {
    let inside = folder("interrupted-synthetic");
    let output = inside.join("tiny.gguf").to_str().unwrap().to_owned();
    let more = ["-p", "4", "-n", "0", "-r", "1", "-t", "1"];
    interrupt::after(Some(1));
    let args = ["bench", "--synthetic", "tiny", "-o", &output];
    let outcome = mote(&[&args[..], &more].concat());
    interrupt::after(None);
    assert_eq!(outcome.code, 130, "{}", outcome.errors);
    assert_eq!(fs::read_dir(&inside).unwrap().count(), 0);
}
