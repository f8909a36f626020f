//! KenLM's models of the same texts.

use std::collections::HashSet;

use mote_formats::Gguf;

use super::*;

/// KenLM computes in floats; seven digits are printed.
const TOLERANCE: f64 = 1e-5;

/// A model in ../shared/ngram, and our options.
const MODELS: [(&str, &str, &[&str]); 8] = [
    ("brown2k", "o2", &["-n", "2"]),
    ("brown2k", "o3", &["-n", "3"]),
    ("brown2k", "o3_interpolate_unigrams_0", &["-n", "3", "--interpolate-unigrams", "no"]),
    ("brown2k", "o3_prune_0_0_1", &["-n", "3", "--prune", "0,0,1"]),
    ("shake2000", "o4", &["-n", "4"]),
    ("shake2000", "o6_prune_0_0_1", &["-n", "6", "--prune", "0", "0", "1"]),
    ("bpe_shake", "o4_fb", &["-n", "4"]),
    ("bytes_brown", "o6_fb_prune_0_0_0_1_1_1", &["-n", "6", "--prune", "0,0,0,1,1,1"]),
];

fn folder(name: &str) -> Option<PathBuf> {
    Some(shared("ngram")?.join(name))
}

#[track_caller]
fn assert_equal(got: &Path, want: &Path) {
    let (got, want) = (arpa(got), arpa(want));
    let keys = |all: &HashMap<String, _>| all.keys().cloned().collect::<HashSet<_>>();
    let different: Vec<_> =
        keys(&got).symmetric_difference(&keys(&want)).take(5).cloned().collect();
    assert!(different.is_empty(), "in one of them alone: {different:?}");
    let near = |a: f64, b: f64| a == b || (a - b).abs() <= TOLERANCE;
    for (words, (p, backoff)) in &want {
        let (our_p, our_backoff) = got[words];
        assert!(near(our_p, *p), "p of {words}: {our_p} {p}");
        assert!(near(our_backoff, *backoff), "backoff of {words}: {our_backoff} {backoff}");
    }
}

#[test]
fn the_small_models_in_the_repository() {
    let folder = root().join("tests/fixtures/ngram/tiny");
    let options: [&[&str]; 2] = [&[], &["--interpolate-unigrams", "no"]];
    for (name, options) in ["lmplz.order3", "lmplz.order3.nounigraminterp"].iter().zip(options) {
        let path = place(&format!("{name}.arpa"));
        let input = tiny_text();
        let args = [&["-n", "3", "--arpa", text(&path), text(&input)], options].concat();
        train(&args, b"").report();
        assert_equal(&path, &folder.join(format!("{name}.arpa")));
    }
}

#[test]
fn n_grams_and_discounts() {
    for (text_name, name, options) in MODELS {
        let Some(folder) = folder(text_name) else { return };
        let path = place(&format!("{text_name}-{name}.arpa"));
        let input = folder.join("train.txt");
        let args = [&["--arpa", text(&path), text(&input)], options].concat();
        let report = train(&args, b"").report();
        assert_equal(&path, &folder.join(format!("{name}.arpa")));
        let facts = mote_tests::shared::json(&folder.join(format!("{name}.json")));
        for (k, order) in (1..).zip(report["orders"].as_array().unwrap()) {
            assert_eq!(order["ngrams"], facts["ngrams"][k.to_string()], "{text_name} {name} {k}");
            for i in 0..3 {
                let (got, want) = (&order["discounts"][i], &facts["discounts"][k.to_string()][i]);
                let (got, want) = (got.as_f64().unwrap(), want.as_f64().unwrap());
                assert!((got - want).abs() < 6e-6, "{text_name} {name} D{i}: {got} {want}");
            }
        }
    }
}

/// Word by word, as KenLM's `query`; and its perplexities.
#[test]
fn scores_of_another_text() {
    for (text_name, name, options) in MODELS {
        if text_name.starts_with("b") && !text_name.starts_with("brown") {
            continue; // Their words are ids, for whose model file a tokenizer is needed.
        }
        let Some(folder) = folder(text_name) else { return };
        let input = folder.join("train.txt");
        let (file, _) = model(&format!("{text_name}-{name}.gguf"), &input, options);
        let gguf = Gguf::parse(&file).unwrap();
        let model = Asked::new(&gguf);
        let sentences = std::fs::read_to_string(folder.join("test.txt")).unwrap();
        let got = sentences.lines().flat_map(|line| model.sentence(line));
        let table =
            std::fs::read_to_string(folder.join(format!("{name}.arpa.tokens.tsv"))).unwrap();
        let (mut sum, mut tokens) = (0.0, 0);
        for (got, line) in got.zip(table.lines().skip(1)) {
            let fields: Vec<&str> = line.split('\t').collect();
            assert_eq!(got.unknown, fields[3] == "1", "{line}");
            assert_eq!(got.matched.to_string(), fields[4], "{line}");
            let want: f64 = fields[5].parse().unwrap();
            assert!((got.log10 - want).abs() < 2e-5, "{line} {}", got.log10);
            sum += got.log10;
            tokens += 1;
        }
        assert_eq!(tokens, table.lines().count() - 1);
        let facts = mote_tests::shared::json(&folder.join(format!("{name}.json")));
        let want = facts["models"]["arpa"]["ppl_incl_oov"].as_f64().unwrap();
        let got = 10f64.powf(-sum / tokens as f64);
        assert!((got / want - 1.0).abs() < 1e-5, "{text_name} {name}: {got} {want}");
    }
}

#[test]
fn stupid_backoff_of_another_text() {
    for (text_name, order) in [("brown2k", 2), ("brown2k", 3), ("shake2000", 4)] {
        let Some(folder) = folder(text_name) else { return };
        let options = ["-n", &order.to_string(), "--smoothing", "stupid"];
        let name = format!("{text_name}-{order}-stupid.gguf");
        let (file, _) = model(&name, &folder.join("train.txt"), &options);
        let gguf = Gguf::parse(&file).unwrap();
        let model = Asked::new(&gguf);
        let sentences = std::fs::read_to_string(folder.join("test.txt")).unwrap();
        let got = sentences.lines().flat_map(|line| model.sentence(line));
        let table = folder.join(format!("o{order}.stupid.tokens.tsv"));
        let table = std::fs::read_to_string(table).unwrap();
        for (got, line) in got.zip(table.lines().skip(1)) {
            let want = line.rsplit('\t').next().unwrap();
            match want {
                "-inf" => assert!(got.log10 <= -99.0, "{line}"),
                _ => assert!((got.log10 - want.parse::<f64>().unwrap()).abs() < 2e-6, "{line}"),
            }
        }
    }
}
