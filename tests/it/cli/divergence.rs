//! Perplexity beside a base.

use mote_kernels::QuantType;

use super::*;

fn text() -> String {
    let text = "hello a world and some more of it, or the other way round ".repeat(12);
    file("divergence.txt", text.as_bytes())
}

fn quantised(kind: QuantType) -> String {
    file(&format!("divergence_{}.gguf", kind.name()), &models::encoded(&models::llama(), kind))
}

/// The definition, from the logits that `mote score` prints.
#[test]
fn the_divergence_is_that_of_the_logits() {
    let ((base, _), model, text) = (baseline(), quantised(QuantType::Q4_0), text());
    let args = ["-f", &text, "-c", "32", "--windows", "2", "--json"];
    let versus = ["perplexity", "-m", &model, "--kl-base", &base];
    let report = mote(&[&versus[..], &args].concat()).json();
    let plain = mote(&[&["perplexity", "-m", &model], &args[..]].concat()).json();
    for key in ["nll", "perplexity", "tokens", "windows"] {
        let [a, b] = [&report, &plain].map(|report| report[key].as_f64().unwrap());
        assert!((a - b).abs() < 1e-5 * b.abs(), "{key}: {a} {b}");
    }
    let ids = mote(&["tokenize", "-m", &model, "-f", &text, "--json"]).json();
    let mut ids: Vec<u32> = serde_json::from_value(ids["ids"].clone()).unwrap();
    let (mut divergences, mut same) = (Vec::new(), 0);
    for window in ids.chunks_exact_mut(32).take(2) {
        window[0] = 1;
        let ids: Vec<String> = window.iter().map(u32::to_string).collect();
        let softmax = |path: &str| -> Vec<Vec<f64>> {
            let score = ["score", "-m", path, "--ids", &ids.join(","), "--logits", "--json"];
            let logits: Vec<Vec<f64>> =
                serde_json::from_value(mote(&score).json()["logits"].clone()).unwrap();
            let ln_p = |row: Vec<f64>| {
                let sum: f64 = row.iter().map(|logit| logit.exp()).sum();
                row.into_iter().map(|logit| logit - sum.ln()).collect()
            };
            logits.into_iter().map(ln_p).collect()
        };
        for (p, q) in softmax(&base)[16..31].iter().zip(&softmax(&model)[16..31]) {
            divergences.push(p.iter().zip(q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>());
            let top = |row: &[f64]| {
                (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]).then(b.cmp(&a)))
            };
            same += usize::from(top(p) == top(q));
        }
    }
    let n = divergences.len() as f64;
    let near = |value: &Value, expected: f64| {
        let value = value.as_f64().unwrap();
        assert!((value - expected).abs() < 1e-6, "{value} {expected}");
    };
    near(&report["versus"]["kl"]["mean"], divergences.iter().sum::<f64>() / n);
    near(
        &report["versus"]["kl_percentiles"]["100"],
        divergences.iter().fold(0.0, |a, b| a.max(*b)),
    );
    near(&report["versus"]["same_top"]["mean"], same as f64 / n);
}

#[test]
fn a_model_is_its_own_base() {
    let ((base, _), text) = (baseline(), text());
    let args = ["perplexity", "-m", &base, "--kl-base", &base, "-f", &text, "-c", "32", "--json"];
    let versus = mote(&args).json()["versus"].clone();
    assert_eq!((&versus["kl"]["mean"], &versus["same_top"]["mean"]), (&0.0.into(), &1.0.into()));
    assert_eq!(versus["perplexity_ratio"]["mean"], 1.0);
    let shown = mote(&args[..args.len() - 1]);
    assert!(shown.text().contains("KL divergence"), "{}", shown.out);
}

#[test]
fn a_table_has_a_line_for_each_model() {
    let ((base, _), text) = (baseline(), text());
    let [q4, q8] = [QuantType::Q4_0, QuantType::Q8_0].map(quantised);
    let args = ["perplexity", "-f", &text, "-c", "32", "--kl-base", &base, "--table", &q8, &q4];
    let report = mote(&[&args[..], &["--json"]].concat()).json();
    let kl = |i: usize| report["models"][i]["versus"]["kl"]["mean"].as_f64().unwrap();
    assert!(0.0 < kl(0) && kl(0) < kl(1), "{} {}", kl(0), kl(1));
    assert_eq!(report["models"][1]["model"], "divergence_q4_0.gguf");
    assert!(report["base"]["bits_per_weight"].as_f64().unwrap() > 31.0);
    let markdown = mote(&[&args[..], &["--markdown"]].concat());
    let rows: Vec<&str> = markdown.text().lines().take_while(|line| !line.is_empty()).collect();
    assert_eq!(rows.len(), 5, "{}", markdown.out);
    assert!(rows.iter().all(|row| row.matches('|').count() == 11), "{}", markdown.out);
    assert!(mote(&args).text().contains("(base)"));
    // In any company, the figures are the same.
    let alone = mote(&[
        "perplexity",
        "-f",
        &text,
        "-c",
        "32",
        "--kl-base",
        &base,
        "-m",
        &q4,
        "--json",
        "-t",
        "1",
    ]);
    assert_eq!(alone.json()["versus"], report["models"][1]["versus"]);
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let ((base, _), text) = (baseline(), text());
    let tokens = root().join("tests/fixtures/models/llama-f32.gguf");
    let other = tokens.to_str().unwrap();
    let outcome = mote(&["perplexity", "-m", other, "--kl-base", &base, "-f", &text, "-c", "32"]);
    assert_ne!(outcome.code, 0, "{}", outcome.out);
    assert!(outcome.errors.contains("vocabulary"), "{}", outcome.errors);
    for args in [
        &["--table", &base][..],
        &["-m", &base, "--kl-base", &base, "--mix", &base],
        &["-m", &base, "--markdown"],
        &[],
    ] {
        assert_eq!(mote(&[&["perplexity", "-f", &text][..], args].concat()).code, 2, "{args:?}");
    }
}
