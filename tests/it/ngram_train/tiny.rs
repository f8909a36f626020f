//! Eight sentences, of which everything is known as exact fractions.

use mote_formats::Gguf;
use mote_tests::shared::{json, root};
use serde_json::Value;

use super::*;

/// Floats have 24 bits.
const ROUNDING: f64 = 3e-7;

fn expected(order: usize) -> Value {
    json(&root().join(format!("tests/fixtures/ngram/tiny/expected.order{order}.json")))
}

fn fraction(text: &Value) -> f64 {
    let text = text.as_str().unwrap();
    let (above, below) = text.split_once('/').unwrap_or((text, "1"));
    above.parse::<f64>().unwrap() / below.parse::<f64>().unwrap()
}

/// The names of smoothings in the expectations, and their options.
const SMOOTHINGS: [(&str, &[&str]); 3] = [
    ("mkn", &["--smoothing", "mkn"]),
    ("kn", &["--smoothing", "kn"]),
    ("mkn_no_unigram_interp", &["--interpolate-unigrams", "no"]),
];

#[test]
fn counts_discounts_and_values_are_the_fractions() {
    for order in 1..=3 {
        let expected = expected(order);
        for (name, options) in SMOOTHINGS {
            let want = &expected["models"][name];
            let path = place(&format!("tiny-{order}-{name}.arpa"));
            let n = order.to_string();
            let input = tiny_text();
            let args = [&["-n", &n, "--arpa", text(&path), text(&input)], options].concat();
            let report = train(&args, b"").report();
            for (k, it) in (1..).zip(report["orders"].as_array().unwrap()) {
                let tallies = &want["count_of_counts(adjusted)"][k.to_string()];
                for i in 1..=4 {
                    assert_eq!(it["counts_of_counts"][i - 1], tallies[format!("n{i}")]);
                    if i < 4 {
                        let got = it["discounts"][i - 1].as_f64().unwrap();
                        let want = fraction(&want["discounts"][k.to_string()][i - 1]);
                        assert!((got - want).abs() < 1e-12, "{name} D{i} of {k}: {got} {want}");
                    }
                }
            }
            let got = arpa(&path);
            let probabilities = want["prob"].as_object().unwrap();
            assert_eq!(got.len(), probabilities.len() + 1, "and <s>");
            for (words, value) in probabilities {
                let log10 = fraction(&value[0]).log10();
                let same = got[words].0 == log10 || (got[words].0 - log10).abs() < ROUNDING;
                assert!(same, "order {order} {name}, p of {words}: {} {log10}", got[words].0);
            }
            for (words, value) in want["backoff"].as_object().unwrap() {
                let log10 = fraction(&value[0]).log10();
                let difference = (got[words].1 - log10).abs();
                assert!(difference < ROUNDING, "order {order} {name}, backoff of {words}");
            }
        }
    }
}

#[test]
fn sentences_have_the_probabilities_of_the_fractions() {
    for order in 1..=3 {
        let expected = expected(order);
        for (name, options) in SMOOTHINGS {
            let n = order.to_string();
            let options = [&["-n", &n], options].concat();
            let (file, _) = model(&format!("tiny-{order}-{name}.gguf"), &tiny_text(), &options);
            let gguf = Gguf::parse(&file).unwrap();
            let model = Asked::new(&gguf);
            for sentence in expected["models"][name]["test"].as_array().unwrap() {
                let sentence = sentence.as_array().unwrap();
                let words = sentence.iter().map(|word| word[0].as_str().unwrap());
                for (got, want) in model.score(words).iter().zip(sentence) {
                    let log10 = fraction(&want[1]).log10();
                    let same = log10.is_infinite() && got.log10 <= -99.0;
                    assert!(same || (got.log10 - log10).abs() < 1e-6, "{order} {name} {want}");
                    assert_eq!(got.matched as u64, want[3].as_u64().unwrap(), "{order} {want}");
                }
            }
        }
    }
}

#[test]
fn stupid_backoff_is_exact() {
    for order in 1..=3 {
        let expected = expected(order);
        let options = ["-n", &order.to_string(), "--smoothing", "stupid"];
        let (file, _) = model(&format!("tiny-{order}-stupid.gguf"), &tiny_text(), &options);
        let gguf = Gguf::parse(&file).unwrap();
        let model = Asked::new(&gguf);
        for sentence in expected["stupid_backoff"]["test"].as_array().unwrap() {
            let sentence = sentence.as_array().unwrap();
            let words = sentence.iter().map(|word| word[0].as_str().unwrap());
            for (got, want) in model.score(words).iter().zip(sentence) {
                let log10 = fraction(&want[1]).log10();
                let same = log10.is_infinite() && got.log10 <= -99.0;
                assert!(same || (got.log10 - log10).abs() < 1e-6, "{order} {want} {}", got.log10);
            }
        }
    }
}

/// Whatever smoothing leaves out or makes up, it is a distribution.
#[test]
fn every_context_sums_to_1() {
    let options: [&[&str]; 6] = [
        &["-n", "3"],
        &["-n", "3", "--prune", "0,0,1"],
        &["-n", "4", "--prune", "0", "1", "--smoothing", "kn"],
        &["-n", "2", "--interpolate-unigrams", "no"],
        &["-n", "1"],
        &["-n", "3", "--stream"],
    ];
    for (i, options) in options.into_iter().enumerate() {
        let (file, _) = model(&format!("tiny-sum-{i}.gguf"), &tiny_text(), options);
        let gguf = Gguf::parse(&file).unwrap();
        let model = Asked::new(&gguf);
        let contexts: [&[&str]; 7] = [
            &[],
            &["the"],
            &["a", "dog"],
            &["the", "cheese"],
            &["the", "cat", "saw", "the"],
            &["elephant", "the"],
            &["fell", "fell"],
        ];
        for context in contexts {
            let sum = model.sum_after(context);
            assert!((sum - 1.0).abs() < 2e-6, "{options:?}, after {context:?}: {sum}");
        }
    }
}
