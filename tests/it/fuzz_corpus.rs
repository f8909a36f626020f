//! What the fuzzer kept (tests/fuzz/corpus): the inputs that reach most, and those that once were wrong. Here
//! every compiler runs them. And the two readers of GGUF files, over all malformed ones.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use mote_tests::fuzz::{TARGETS, Target};
use mote_tests::second_reader::assert_same_verdict;
use mote_tests::shared::{root, shared};

use crate::gguf_malformed;

fn corpora() -> PathBuf {
    root().join("tests/fuzz/corpus")
}

/// The files of a folder by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_input_that_was_kept_is_replayed() {
    let mut failed = Vec::new();
    std::thread::scope(|scope| {
        // The slowest corpora last would leave one thread waiting.
        let replay = |(name, target): &(&str, Target)| replay(name, *target);
        let halves = [0, 1].map(|half| {
            scope.spawn(move || {
                TARGETS.iter().skip(half).step_by(2).flat_map(replay).collect::<Vec<_>>()
            })
        });
        failed.extend(halves.into_iter().flat_map(|half| half.join().unwrap()));
    });
    assert!(failed.is_empty(), "{} inputs:\n{}", failed.len(), failed.join("\n"));
}

/// The inputs of a target at which it panics.
fn replay(name: &str, target: Target) -> Vec<String> {
    let files = files(&corpora().join(name));
    assert!(files.len() > 5, "{name}: {} inputs", files.len());
    let mut failed = Vec::new();
    for path in files {
        let bytes = fs::read(&path).unwrap();
        if catch_unwind(|| target(&bytes)).is_err() {
            failed.push(path.display().to_string());
        }
    }
    failed
}

#[test]
fn every_corpus_has_a_target() {
    let names: BTreeSet<_> = TARGETS.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names.len(), TARGETS.len());
    let name = |path: PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let folders: BTreeSet<_> = files(&corpora()).into_iter().map(name).collect();
    assert_eq!(folders, names);
}

/// Whatever the corpora have, and each malformed file: one reader's verdict is the other's.
#[test]
fn two_readers_agree_on_malformed_files() {
    let mut accepted = Vec::new();
    for (id, bytes) in gguf_malformed::files() {
        if assert_same_verdict(&bytes) {
            accepted.push(id);
        }
    }
    assert!(accepted.len() > 50, "only {} accepted", accepted.len());
    let Some(folder) = shared("malformed") else { return };
    for path in files(&folder).iter().filter(|path| path.extension().is_some_and(|it| it == "gguf"))
    {
        assert_same_verdict(&fs::read(path).unwrap());
    }
}

#[test]
fn two_readers_agree_on_every_cut_and_every_changed_byte() {
    let whole = mote_tests::models::llama();
    let index = mote_formats::Gguf::parse(&whole).unwrap().index_bytes();
    let mut bytes = whole.clone();
    for at in 0..index {
        for new in [0, 1, 0x7f, 0x80, 0xff, whole[at] ^ 1, whole[at].wrapping_sub(1)] {
            bytes[at] = new;
            assert_same_verdict(&bytes);
        }
        bytes[at] = whole[at];
        assert!(!assert_same_verdict(&whole[..at]));
    }
}
