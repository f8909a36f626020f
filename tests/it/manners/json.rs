//! Case 394: with `--json`, a failure is one object on the output, whatever failed.

use serde_json::Value;

use super::{leaves, strs};
use crate::cli::{Outcome, baseline, file, keys, mote};

/// The error of a command that failed.
fn error(outcome: &Outcome) -> Value {
    assert_ne!(outcome.code, 0, "{}", outcome.out);
    assert!(outcome.out.ends_with('\n') && outcome.out.lines().count() == 1, "{}", outcome.out);
    let report: Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(keys(&report), ["error"]);
    let error = &report["error"];
    assert_eq!(keys(error), ["code", "message", "offset"], "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(!message.is_empty());
    assert!(error["code"].is_string() && (error["offset"].is_null() || error["offset"].is_u64()));
    error.clone()
}

#[test]
fn case_394_wrong_arguments_of_every_command() {
    for (words, _) in leaves() {
        for wrong in ["--no-such-option", "--no\nsuch\u{1b}[2J\"option\\"] {
            let outcome = mote(&[&strs(&words)[..], &[wrong, "--json"]].concat());
            assert_eq!((error(&outcome)["code"].as_str(), outcome.code), (Some("usage"), 2));
        }
    }
    for words in [&["--json"][..], &["ngram", "--json"], &["--no-such-option", "--json"]] {
        assert_eq!(error(&mote(words))["code"], "usage", "{words:?}");
    }
}

#[test]
fn case_394_files_with_hostile_names() {
    let hostile = "no\"such\\\n\u{1b}[2J\u{7}\u{202e}é";
    let (model, _) = baseline();
    let text = file("case-394.txt", b"a b\n");
    for args in [
        &["run", "-m", hostile, "a"][..],
        &["run", "-m", &model, "-f", hostile],
        &["tokenize", "-m", hostile, "-p", "a"],
        &["score", "-m", &model, "-f", hostile],
        &["perplexity", "-m", &model, "-f", hostile],
        &["shannon", "-m", hostile, "-p", "a"],
        &["rescore", "-m", &model, "-f", hostile],
        &["inspect", hostile],
        &["bench", "-m", hostile],
        &["ngram", "train", hostile, "-o", "never"],
        &["ngram", "train", &text, "-o", &format!("{hostile}/never")],
        &["ngram", "convert", hostile, "-o", "never"],
        &["ngram", "bench", "-m", hostile, "-f", &text],
    ] {
        let outcome = mote(&[args, &["--json"]].concat());
        assert_eq!((error(&outcome)["code"].as_str(), outcome.code), (Some("io"), 1), "{args:?}");
        assert!(!outcome.out.contains('\u{202e}'), "{}", outcome.out);
        let people = mote(args);
        let drives = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!people.errors.contains(drives), "{args:?}: {:?}", people.errors);
    }
}

#[test]
fn case_394_results_are_one_object_too() {
    let (model, _) = baseline();
    let text = file("case-394-results.txt", super::prose(600).as_bytes());
    let lm = format!("{text}.gguf");
    let object = |args: &[&str]| {
        let outcome = mote(&[args, &["--json"]].concat());
        let report: Value = serde_json::from_str(outcome.text()).unwrap();
        assert!(report.is_object() && outcome.out.lines().count() == 1, "{args:?}");
    };
    object(&["ngram", "train", "-n", "2", &text, "-o", &lm, "--force"]);
    object(&["ngram", "bench", "-m", &lm, "-f", &text, "-r", "1"]);
    object(&["ngram", "convert", &lm, "-o", &format!("{lm}.arpa"), "--force"]);
    object(&["inspect", &lm]);
    object(&["bench", "-m", &model, "-p", "4", "-n", "2", "-r", "1", "-t", "1"]);
    object(&["bench", "kernels", "--kernel", "softmax"]);
    object(&["run", "-m", &model, "-n", "2", "--quiet", "a"]);
}

/// Nothing but errors is said with --quiet, and those are.
#[test]
fn quiet_leaves_results_and_errors() {
    let (model, _) = baseline();
    let run = ["run", "-m", &model, "-n", "2", "--temp", "0", "a"];
    let (loud, quiet) = (mote(&run), mote(&[&run[..], &["--quiet"]].concat()));
    assert!(loud.errors.contains("model") && quiet.errors.is_empty(), "{}", quiet.errors);
    assert_eq!(loud.text(), quiet.text());
    let noted = mote(&["-q", "score", "-m", &model, "-p", "a", "--threads", "100000"]);
    assert!(noted.errors.is_empty() && !noted.text().is_empty(), "{}", noted.errors);
    let failed = mote(&["-q", "inspect", "no such file"]);
    assert!(failed.code == 1 && failed.errors.starts_with("error: "), "{}", failed.errors);
    assert_eq!(mote(&[&run[..], &["-q", "-v"]].concat()).code, 2);
}
