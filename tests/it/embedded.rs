//! The model that is built in: it writes where no model is named, its files are as large as they may
//! be, and its two parts have one vocabulary.

use std::fs;

use mote_tests::shared::root;

use crate::cli::{keys, mote};

const PROMPT: &str = "Once upon a time";

#[test]
fn a_text_needs_no_file() {
    let plain = mote(&["run", PROMPT, "-n", "40"]);
    let words = plain.text().split_whitespace().count();
    assert!((15..60).contains(&words), "{}", plain.text());
    // Mostly what people write with.
    let is_plain = |c: char| c.is_ascii_alphabetic() || " ,.;:!?'\"-\n".contains(c);
    let share = plain.text().chars().filter(|&c| is_plain(c)).count();
    assert!(share * 100 > plain.text().chars().count() * 95, "{}", plain.text());
    // Who writes, and how to get a better one.
    assert!(plain.errors().contains("mote pull smollm2-135m"), "{}", plain.errors());
    assert_eq!(mote(&["run", PROMPT, "-n", "40"]).text(), plain.text());
}

/// The default is the model mixed with the n-gram model; named, it writes alone.
#[test]
fn the_default_is_a_mixture_of_both() {
    let args = ["run", PROMPT, "-n", "30", "--json"];
    let default = mote(&args).json();
    let mixed = ["-m", "tiny", "--mix", "tiny-ngram", "--mix-weight", "0.8"];
    assert_eq!(mote(&[&args[..], &mixed].concat()).json()["ids"], default["ids"]);
    let alone = mote(&[&args[..], &mixed[..2]].concat());
    assert!(!alone.errors().contains("mote pull"), "{}", alone.errors());
    assert_ne!(alone.json()["ids"], default["ids"]);
}

#[test]
fn both_files_are_small_and_have_one_vocabulary() {
    let size = |name: &str| fs::metadata(root().join("models/tiny").join(name)).unwrap().len();
    assert!(size("tiny.gguf") <= 2_000_000);
    assert!(size("tiny.ngram.gguf") <= 500_000);
    let ids = |model| mote(&["tokenize", "-m", model, "-p", "She said, \"No.\"", "--json"]).json();
    assert_eq!(ids("tiny"), ids("tiny-ngram"));
}

#[test]
fn commands_take_its_names() {
    let tiny = mote(&["inspect", "tiny", "--json"]).json();
    assert!(keys(&tiny).contains(&"architecture"), "{tiny}");
    // It stands in for a model that is not there, as its n-gram model does for it.
    let absent =
        ["run", PROMPT, "-m", "absent.gguf", "--fallback", "tiny-ngram", "-n", "5", "--json"];
    assert_eq!(mote(&absent).json()["degraded"]["reason"], "missing");
    let drafted = ["run", PROMPT, "-m", "tiny", "--speculate", "tiny-ngram", "-n", "40"];
    assert_eq!(mote(&drafted).text(), mote(&["run", PROMPT, "-m", "tiny", "-n", "40"]).text());
}

/// A file of that name is meant before the name; a path is never a name.
#[test]
fn a_path_is_no_name() {
    let outcome = mote(&["inspect", "./tiny"]);
    assert_eq!(outcome.code(), 1, "{}", outcome.errors());
}
