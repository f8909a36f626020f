//! n-gram models in mote's file answer as KenLM answers from ARPA text.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use mote_formats::gguf::Value;
use mote_formats::ngram::{Index, Trie};
use mote_formats::{Gguf, Mapping};
use mote_kernels::Candidate;
use mote_runtime::ngram::{IndexState, State, distribution, score, score_by_index, top};
use mote_tests::shared::shared;

use crate::cli::mote;

/// KenLM prints seven digits, of float32 sums.
const LOG10: f32 = 1e-5;
/// Sums of ten thousand float32 probabilities.
const SUM: f64 = 1e-6;

/// A model of ../shared/ngram as a file of exact values, for one test.
fn converted(arpa: &Path, test: &str) -> Mapping {
    let name = arpa.file_stem().unwrap().to_str().unwrap();
    let parent = arpa.parent().and_then(Path::file_name).unwrap().to_str().unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let out = folder.join(format!("query-{test}-{parent}-{name}.gguf"));
    let _ = std::fs::remove_file(&out);
    let [from, to] = [arpa, &out].map(|path| path.to_str().unwrap());
    mote(&["ngram", "convert", from, "-o", to, "--value-bits", "32"]).text();
    Mapping::open(out).unwrap()
}

fn words<'a>(gguf: &Gguf<'a>) -> HashMap<&'a [u8], u32> {
    let Some(Value::Array(tokens)) = gguf.get("tokenizer.ggml.tokens") else { panic!("no words") };
    tokens.strings().unwrap().map(|word| word.as_bytes()).zip(0..).collect()
}

/// Every ARPA file that KenLM has answered for.
fn models() -> Vec<PathBuf> {
    let Some(folder) = shared("ngram") else { return Vec::new() };
    let mut models = Vec::new();
    for name in ["brown2k", "shake2000", "bpe_shake", "bytes_brown"] {
        for entry in std::fs::read_dir(folder.join(name)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "arpa") {
                models.push(path);
            }
        }
    }
    models.sort();
    assert_eq!(models.len(), 9);
    models
}

#[test]
fn scores_are_kenlms() {
    for arpa in models() {
        let file = converted(&arpa, "scores");
        let gguf = Gguf::parse(&file).unwrap();
        let (trie, ids) = (Trie::new(&gguf).unwrap(), words(&gguf));
        let expected = std::fs::read_to_string(arpa.with_extension("arpa.tokens.tsv")).unwrap();
        let mut state = State::EMPTY;
        let mut worst = 0.0_f32;
        for line in expected.lines().skip(1) {
            let fields: Vec<&str> = line.split('\t').collect();
            let [_, position, word, oov, matched, log10] = fields[..] else { panic!("{line}") };
            if position == "0" {
                state = score(&trie, &State::EMPTY, ids[b"<s>".as_slice()]).1;
            }
            let id = ids.get(word.as_bytes()).copied();
            assert_eq!(id.is_none(), oov == "1", "{line}");
            let (found, next) = score(&trie, &state, id.unwrap_or(ids[b"<unk>".as_slice()]));
            worst = worst.max((found.log10 - log10.parse::<f32>().unwrap()).abs());
            assert_eq!(found.matched.to_string(), matched, "{}: {line}", arpa.display());
            state = next;
        }
        assert!(worst <= LOG10, "{}: {worst}", arpa.display());
    }
}

/// Contexts of all kinds: none, known ones of every length, words that are not known, `</s>`.
fn states(trie: &Trie<'_>) -> Vec<State> {
    let (mut states, mut state, mut seed) = (vec![State::EMPTY], State::EMPTY, 5_u32);
    for i in 0..60 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let mut best = [Candidate::default(); 8];
        let n = top(trie, &state, &mut best);
        let word = match i % 20 {
            0 => 1,
            10 | 11 => 0,
            _ => best[(seed >> 16) as usize % n].id,
        };
        state = score(trie, &state, word).1;
        states.push(state);
    }
    states
}

/// Case 351 of the catalogue: contexts longer than the order, empty, of unknown words only.
#[test]
fn case_351_distributions_sum_to_one_and_are_the_scores() {
    for arpa in models() {
        let file = converted(&arpa, "sums");
        let gguf = Gguf::parse(&file).unwrap();
        let trie = Trie::new(&gguf).unwrap();
        let mut all = vec![0.0; trie.n_words()];
        for state in states(&trie) {
            distribution(&trie, &state, &mut all);
            let sum: f64 = all.iter().map(|&log10| 10_f64.powf(log10.into())).sum();
            assert!((sum - 1.0).abs() < SUM, "{}: {sum}", arpa.display());
            for (id, &log10) in (0..).zip(&all) {
                assert_eq!(score(&trie, &state, id).0.log10, log10, "word {id}");
            }
        }
    }
}

#[test]
fn the_top_is_the_top_of_the_distribution() {
    for arpa in models() {
        let file = converted(&arpa, "tops");
        let gguf = Gguf::parse(&file).unwrap();
        let trie = Trie::new(&gguf).unwrap();
        let mut all = vec![0.0; trie.n_words()];
        for (i, state) in states(&trie).into_iter().enumerate() {
            distribution(&trie, &state, &mut all);
            let mut sorted: Vec<u32> = (0..all.len() as u32).collect();
            let value = |id: u32| all[id as usize];
            sorted.sort_by(|&a, &b| value(b).total_cmp(&value(a)).then(a.cmp(&b)));
            // One, some, more than the file's list of probable words has, and all.
            let k = [1, 40, 5000, all.len() + 7][i % 4];
            let mut best = vec![Candidate::default(); k];
            let n = top(&trie, &state, &mut best);
            assert_eq!(n, k.min(all.len()));
            let ids: Vec<u32> = best[..n].iter().map(|candidate| candidate.id).collect();
            assert_eq!(ids, sorted[..n], "{}", arpa.display());
            assert!(best[..n].iter().all(|best| best.value == value(best.id)));
        }
    }
}

/// `mote ngram convert --index`, from text and from GGUF: the same file, and the trie's answers.
#[test]
fn the_index_answers_as_the_trie() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for (i, arpa) in models().iter().enumerate() {
        let bits = ["8", "32", "4"][i % 3];
        let [plain, indexed, again] =
            ["plain", "indexed", "again"].map(|name| folder.join(format!("index-{i}-{name}.gguf")));
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let convert = |from: &Path, to: &Path, options: &[&str]| {
            let (from, to) = (text(from), text(to));
            let command = ["ngram", "convert", &from, "-o", &to, "--force"];
            mote(&[&command, options].concat()).text();
        };
        convert(arpa, &plain, &["--value-bits", bits]);
        convert(arpa, &indexed, &["--value-bits", bits, "--index"]);
        convert(&plain, &again, &["--index"]);
        assert_eq!(std::fs::read(&indexed).unwrap(), std::fs::read(&again).unwrap());

        let file = Mapping::open(&indexed).unwrap();
        let gguf = Gguf::parse(&file).unwrap();
        let trie = Trie::new(&gguf).unwrap();
        trie.verify().unwrap();
        let index = Index::new(&trie).unwrap().unwrap();
        let (mut state, mut index_state, mut seed) = (State::EMPTY, IndexState::EMPTY, 9_u32);
        for step in 0..20_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let random = ((u64::from(seed) * trie.n_words() as u64) >> 32) as u32;
            let mut best = [Candidate::default(); 4];
            let n = top(&trie, &state, &mut best);
            let word = match step % 50 {
                0 => 1,
                17 => random,
                33 => u32::MAX,
                _ => best[(seed >> 16) as usize % n].id,
            };
            let (expected, next) = score(&trie, &state, word);
            let found = score_by_index(&index, &mut index_state, word);
            assert_eq!(found.log10.to_bits(), expected.log10.to_bits(), "{}", arpa.display());
            assert_eq!(found.matched, expected.matched);
            state = next;
        }
        [plain, indexed, again].iter().for_each(|path| std::fs::remove_file(path).unwrap());
    }
}
