//! ARPA text becomes GGUF and comes back; what the models say is what the text's definition says.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use mote_formats::Gguf;
use mote_formats::ngram::Trie;
use mote_runtime::ngram::{State, distribution, score};
use mote_tests::models::fixture;
use mote_tests::ngram::{Definition, Words, convert};
use mote_tests::shared::{root, shared};
use mote_tools::streams::{Streams, Terminal};
use serde_json::Value;

const TOLERANCE: f32 = 1e-5;

/// Runs `mote` with these arguments: exit code, output, errors.
fn mote(args: &[&str]) -> (u8, String, String) {
    let args = ["mote"].iter().chain(args).map(OsString::from);
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let terminal = Terminal::default();
    let streams =
        &mut Streams { input: &mut &b""[..], output: &mut out, errors: &mut errors, terminal };
    let code = mote_tools::run(args, streams);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (code, text(out), text(errors))
}

/// A file in the tests' folder, not there yet.
fn place(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_file(&path);
    path.into_os_string().into_string().unwrap()
}

fn converted(args: &[&str]) -> Value {
    let args: Vec<&str> = ["ngram", "convert", "--json"].iter().chain(args).copied().collect();
    let (code, out, errors) = mote(&args);
    assert_eq!(code, 0, "{args:?}: {out} {errors}");
    serde_json::from_str(&out).unwrap()
}

/// The n-grams of a text: bits of probability and backoff by words.
fn n_grams(text: &[u8]) -> BTreeMap<Vec<String>, (u32, u32)> {
    let bits = |x: f32| (x + 0.0).to_bits();
    let n_grams = Definition::new(text).n_grams.into_iter();
    n_grams.map(|(words, (p, b))| (words, (bits(p), bits(b)))).collect()
}

fn tiny() -> String {
    root()
        .join("tests/fixtures/ngram/tiny/lmplz.order3.arpa")
        .into_os_string()
        .into_string()
        .unwrap()
}

#[test]
fn there_and_back_without_loss() {
    let (file, text, packed) = (place("back.gguf"), place("back.arpa"), place("back.arpa.gz"));
    let report = converted(&[&tiny(), "-o", &file, "--value-bits", "32"]);
    assert_eq!(report["counts"], serde_json::json!([13, 24, 30]));
    assert_eq!((&report["inserted"], &report["value_bits"]), (&0.into(), &32.into()));
    assert_eq!(report["bytes"], fs::metadata(&file).unwrap().len());
    let report = converted(&[&file, "-o", &text]);
    assert_eq!(report["counts"], serde_json::json!([13, 24, 30]));
    assert!(report["value_bits"].is_null());
    let bytes = fs::read(&text).unwrap();
    assert_eq!(n_grams(&bytes), n_grams(&fixture("ngram/tiny/lmplz.order3.arpa")));
    assert!(bytes.starts_with(b"\\data\\\nngram 1=13\n") && bytes.ends_with(b"\n\n\\end\\\n"));
    // Packed, it is smaller, and makes the same file.
    converted(&[&file, "-o", &packed]);
    assert!(fs::metadata(&packed).unwrap().len() < bytes.len() as u64);
    let again = place("back-again.gguf");
    converted(&[&packed, "-o", &again, "--value-bits", "32"]);
    assert!(fs::read(&again).unwrap() == fs::read(&file).unwrap());
    let (_, report, _) = mote(&["inspect", "--json", &file]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["ngram"]["counts"], serde_json::json!([13, 24, 30]));
    assert_eq!(report["ngram"]["value_bits"], 32);
    let (_, shown, _) = mote(&["inspect", &file]);
    assert!(shown.contains("n-gram model: order 3, arpa, exact values"), "{shown}");
}

#[test]
fn an_output_that_exists_is_kept() {
    let file = place("kept.gguf");
    fs::write(&file, "old").unwrap();
    let (code, _, errors) = mote(&["ngram", "convert", &tiny(), "-o", &file]);
    assert_eq!(code, 1);
    assert!(errors.contains("--force"), "{errors}");
    assert_eq!(fs::read(&file).unwrap(), b"old");
    // A text that is wrong leaves it, too.
    let wrong = place("wrong.arpa");
    fs::write(&wrong, "\\data\\\nngram 1=1\n").unwrap();
    let (code, _, errors) = mote(&["ngram", "convert", "--force", &wrong, "-o", &file]);
    assert_eq!(code, 4);
    assert!(errors.contains("wrong.arpa: line 2: "), "{errors}");
    assert_eq!(fs::read(&file).unwrap(), b"old");
    converted(&["--force", &tiny(), "-o", &file]);
    assert!(Gguf::parse(&fs::read(&file).unwrap()).is_ok());
    let (code, _, _) = mote(&["ngram", "convert", &place("nothing"), "-o", &place("none")]);
    assert_eq!(code, 1);
    for options in [["--units", "ids"], ["--value-bits", "9"], ["--tokenizer", &file]] {
        let args = ["ngram", "convert", &tiny(), "-o", &place("none"), options[0], options[1]];
        assert_ne!(mote(&args).0, 0, "{options:?}");
    }
}

/// What lmplz writes for a probability of 0 is taken when it is asked for.
#[test]
fn minus_infinity() {
    let text = String::from_utf8(fixture("ngram/tiny/lmplz.order3.arpa")).unwrap();
    let file = place("inf.arpa");
    fs::write(&file, text.replace("-1.2552725\tsaw", "-inf\tsaw")).unwrap();
    assert_eq!(mote(&["ngram", "convert", &file, "-o", &place("inf.gguf")]).0, 4);
    let report = converted(&[&file, "-o", &place("inf.gguf"), "--accept-inf"]);
    assert_eq!(report["notes"][0], "values beyond -99 or 99, set to these: 1");
}

/// n-grams are taken away at random: what is left says the same in either form, although the file has
/// to fill holes.
#[test]
fn holes_change_nothing() {
    let text = String::from_utf8(fixture("ngram/tiny/lmplz.order3.arpa")).unwrap();
    let all: Vec<&str> = text.split('\n').collect();
    let of_order = |line: &str, order: usize| {
        line.starts_with('-') && line.split('\t').nth(1).unwrap().split(' ').count() == order
    };
    let sentences =
        ["the mouse ate the cheese", "a dog saw the crumb", "fell the cat ate a zebra a"];
    let mut inserted = 0;
    for seed in 0..150_u32 {
        let keeps = |i: usize, line: &str| {
            let random = (i as u32 * 2 + 1).wrapping_mul(seed * 8 + 5).wrapping_mul(0x9E37_79B1);
            let share = if of_order(line, 2) { seed % 4 } else { 1 };
            !of_order(line, 2) && !of_order(line, 3) || (random >> 20) % 4 >= share
        };
        let kept = all.iter().enumerate().filter(|(i, line)| keeps(*i, line));
        let kept: Vec<&str> = kept.map(|(_, line)| *line).collect();
        let count = |order| kept.iter().filter(|line| of_order(line, order)).count();
        let counts = [("ngram 2=24", count(2)), ("ngram 3=30", count(3))];
        let text = counts.iter().fold(kept.join("\n"), |text, (old, new)| {
            text.replace(old, &format!("{}={new}", old.split_once('=').unwrap().0))
        });
        let file = convert(text.as_bytes()).unwrap();
        let gguf = Gguf::parse(&file).unwrap();
        let model = Words::new(&gguf);
        inserted += model.trie.n_grams(2) - count(2);
        let definition = Definition::new(text.as_bytes());
        for sentence in sentences {
            let words: Vec<&str> = sentence.split(' ').chain(["</s>"]).collect();
            let scores = model.scores(&words);
            let words: Vec<&str> = ["<s>"].into_iter().chain(words).collect();
            for (i, found) in scores.into_iter().enumerate() {
                let wanted = definition.score(&words[i.saturating_sub(1)..i + 2]);
                assert!(
                    (found - wanted).abs() < TOLERANCE,
                    "{seed}: {sentence} {i}: {found} {wanted}"
                );
            }
        }
    }
    assert!(inserted > 500, "{inserted}");
}

/// A context that is longer than a hole: everything inside is filled, as deep as it goes.
#[test]
fn a_long_n_gram_alone() {
    let text = "\\data\\\nngram 1=8\nngram 2=0\nngram 3=0\nngram 4=0\nngram 5=1\n\n\\1-grams:\n\
        -1\t<unk>\n-99\t<s>\n-1\t</s>\n-1\ta\t-0.5\n-1\tb\t-0.25\n-1\tc\n-1\td\n-1\te\n\n\
        \\5-grams:\n-0.125\ta b c d e\n\n\\end\\\n";
    let file = convert(text.as_bytes()).unwrap();
    let gguf = Gguf::parse(&file).unwrap();
    let model = Words::new(&gguf);
    let counts: Vec<usize> = (1..=5).map(|n| model.trie.n_grams(n)).collect();
    assert_eq!(counts, [8, 4, 3, 2, 1]);
    assert_eq!(model.scores(&["a", "b", "c", "d", "e"]), [-1.0, -1.5, -1.25, -1.0, -0.125]);
    assert_eq!(model.scores(&["b", "c", "d", "e", "a"]), [-1.0, -1.25, -1.0, -1.0, -1.0]);
}

#[test]
fn eight_bits_are_near() {
    let file = place("eight.gguf");
    converted(&[&tiny(), "-o", &file]);
    let bytes = fs::read(&file).unwrap();
    let exact = convert(&fixture("ngram/tiny/lmplz.order3.arpa")).unwrap();
    let (coded, exact) = (Gguf::parse(&bytes).unwrap(), Gguf::parse(&exact).unwrap());
    let sentence = ["the", "dog", "saw", "the", "mouse", "</s>"];
    let pairs = [coded, exact].map(|gguf| Words::new(&gguf).scores(&sentence));
    for (a, b) in pairs[0].iter().zip(&pairs[1]) {
        assert!((a - b).abs() < 0.01, "{a} {b}");
    }
}

/// The markers' rows and those of the words that are spoken of.
const NUMBERS: &str = "\\data\\\nngram 1=6\nngram 2=4\n\n\\1-grams:\n-0.9\t<unk>\n0\t<s>\t-0.3\n\
    -0.8\t</s>\n-0.5\t65\t-0.2\n-0.6\t66\t-0.1\n-0.7\t0\n\n\\2-grams:\n-0.25\t<s> 65\n-0.2\t65 66\n\
    -0.3\t66 </s>\n-0.4\t66 0\n\n\\end\\\n";

#[test]
fn bytes_have_their_places() {
    let (text, file, back) = (place("bytes.arpa"), place("bytes.gguf"), place("bytes-back.arpa"));
    fs::write(&text, NUMBERS).unwrap();
    let report = converted(&[&text, "-o", &file, "--units", "bytes", "--value-bits", "32"]);
    assert_eq!(report["counts"], serde_json::json!([259, 4]));
    let bytes = fs::read(&file).unwrap();
    let gguf = Gguf::parse(&bytes).unwrap();
    let trie = Trie::new(&gguf).unwrap();
    let start = score(&trie, &State::EMPTY, 1).1;
    let (first, state) = score(&trie, &start, 3 + 65);
    assert_eq!((first.log10, first.matched), (-0.25, 2));
    assert_eq!(score(&trie, &state, 3 + 66).0.log10, -0.2);
    // The rest share what the unknown word had.
    let shared = score(&trie, &State::EMPTY, 3 + 200).0.log10;
    assert!((shared + 0.9 + 253_f32.log10()).abs() < TOLERANCE, "{shared}");
    let given = [0.9_f64, 0.8, 0.5, 0.6, 0.7].map(|p| 10_f64.powf(-p)).iter().sum();
    sums_to(&trie, &State::EMPTY, given);
    converted(&[&file, "-o", &back]);
    same_numbers(&back, NUMBERS);
    // What is no byte.
    fs::write(&text, NUMBERS.replace("66", "256")).unwrap();
    let (code, _, errors) =
        mote(&["ngram", "convert", &text, "-o", &place("x"), "--units", "bytes"]);
    assert!(code == 4 && errors.contains("the word '256' is not a byte"), "{errors}");
}

/// All probabilities.
fn sums_to(trie: &Trie<'_>, state: &State, wanted: f64) {
    let mut all = vec![0.0; trie.n_words()];
    distribution(trie, state, &mut all);
    let sum: f64 = all.iter().map(|&log10| 10_f64.powf(log10.into())).sum();
    assert!((sum - wanted).abs() < 1e-6, "{sum} {wanted}");
}

/// The n-grams of a text that came back are those of the first; `<unk>` came from its parts.
fn same_numbers(back: &str, first: &str) {
    let back = Definition::new(&fs::read(back).unwrap()).n_grams;
    let first = Definition::new(first.as_bytes()).n_grams;
    assert_eq!(back.keys().collect::<HashSet<_>>(), first.keys().collect::<HashSet<_>>());
    for (words, (p, b)) in first {
        let found = back[&words];
        let same = if words == ["<unk>"] { (found.0 - p).abs() < 1e-6 } else { found.0 == p };
        assert!(same && found.1 == b, "{words:?}: {found:?}, not {p} {b}");
    }
}

#[test]
fn token_ids_have_the_vocabulary_of_their_model() {
    let tokenizer = root().join("tests/fixtures/tokenizer/bpe_smollm.gguf");
    let vocabulary = fs::read(&tokenizer).unwrap();
    let tokenizer = tokenizer.to_str().unwrap();
    let (text, file, back) = (place("ids.arpa"), place("ids.gguf"), place("ids-back.arpa"));
    fs::write(&text, NUMBERS).unwrap();
    let report = converted(&[&text, "-o", &file, "--tokenizer", tokenizer, "--value-bits", "32"]);
    let bytes = fs::read(&file).unwrap();
    let (gguf, from) = (Gguf::parse(&bytes).unwrap(), Gguf::parse(&vocabulary).unwrap());
    let trie = Trie::new(&gguf).unwrap();
    let special = |key: &str| from.get(key).unwrap().as_u32().unwrap();
    let bos = special("tokenizer.ggml.bos_token_id");
    let eos = special("tokenizer.ggml.eos_token_id");
    for (key, value) in from.metadata().filter(|(key, _)| key.starts_with("tokenizer.")) {
        let copy = gguf.get(key).unwrap_or_else(|| panic!("{key}"));
        match (copy.as_array(), value.as_array()) {
            (Some(copy), Some(array)) => assert!(copy.bytes() == array.bytes(), "{key}"),
            _ => assert_eq!(format!("{copy:?}"), format!("{value:?}"), "{key}"),
        }
    }
    let n = from.get("tokenizer.ggml.tokens").unwrap().as_array().unwrap().len();
    assert_eq!((trie.n_words(), &report["counts"]), (n, &serde_json::json!([n, 4])));
    let start = score(&trie, &State::EMPTY, bos).1;
    let (first, state) = score(&trie, &start, 65);
    assert_eq!(first.log10, -0.25);
    let state = score(&trie, &state, 66).1;
    assert_eq!((score(&trie, &state, eos).0.log10, score(&trie, &state, 0).0.log10), (-0.3, -0.4));
    converted(&[&file, "-o", &back]);
    // Whether 0 is a token of its own depends on the vocabulary.
    if bos != 0 && eos != 0 {
        same_numbers(&back, NUMBERS);
    }
}

#[test]
fn every_arpa_file_of_the_shared_set_comes_back_and_scores_as_kenlm() {
    let Some(folder) = shared("ngram") else { return };
    let mut seen = 0;
    for set in ["tiny", "brown2k", "shake2000", "bpe_shake", "bytes_brown"] {
        for entry in fs::read_dir(folder.join(set)).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read(&path).unwrap();
            let infinite = text.windows(5).any(|piece| piece == b"\n-inf");
            if path.extension().is_none_or(|extension| extension != "arpa") || infinite {
                continue;
            }
            seen += 1;
            let file = convert(&text).unwrap();
            let gguf = Gguf::parse(&file).unwrap();
            comes_back(&path, &file, &text);
            let tokens = PathBuf::from(format!("{}.tokens.tsv", path.display()));
            if tokens.exists() {
                scores_as_kenlm(&Words::new(&gguf), &fs::read_to_string(tokens).unwrap());
            }
        }
    }
    assert!(seen >= 12, "{seen}");
}

fn comes_back(path: &Path, file: &[u8], text: &[u8]) {
    let (from, back) = (place("shared.gguf"), place("shared.arpa"));
    fs::write(&from, file).unwrap();
    converted(&[&from, "-o", &back]);
    assert!(n_grams(&fs::read(back).unwrap()) == n_grams(text), "{}", path.display());
}

/// Line, position, word, whether it is unknown, matched words, log10 p.
fn scores_as_kenlm(model: &Words<'_>, table: &str) {
    let mut state = State::EMPTY;
    let mut words = 0;
    for row in table.lines().skip(1) {
        let [_, position, word, _, matched, log10] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{row}");
        };
        if position == "0" {
            state = model.state(["<s>"]);
        }
        let (found, next) = score(&model.trie, &state, model.id(word));
        let wanted: f32 = log10.parse().unwrap();
        assert!((found.log10 - wanted).abs() <= TOLERANCE, "{row}: {}", found.log10);
        assert_eq!(found.matched, matched.parse::<usize>().unwrap(), "{row}");
        state = next;
        words += 1;
    }
    assert!(words > 1000);
}
