//! score, perplexity and inspect.

use super::*;

#[test]
fn score_gives_the_reference_logits() {
    let (model, known) = baseline();
    let ids = joined(&known["prompt_ids"]);
    let args = ["score", "-m", &model, "--json", "--logits", "--hash"];
    let report = mote(&[&args[..], &["--ids", &ids]].concat()).json();
    let wanted = [
        "activations",
        "bits_per_byte",
        "bits_per_token",
        "hash",
        "ids",
        "kv",
        "logits",
        "logprobs",
        "nll",
        "perplexity",
    ];
    assert_eq!(keys(&report), wanted);
    assert_eq!(report["ids"], known["prompt_ids"]);
    let n = known["prompt_ids"].as_array().unwrap().len();
    let rows: Vec<Vec<f64>> = serde_json::from_value(report["logits"].clone()).unwrap();
    let wanted: Vec<f64> = serde_json::from_value(known["logits_after_prompt"].clone()).unwrap();
    assert_eq!((rows.len(), rows[0].len()), (n, wanted.len()));
    for (got, wanted) in rows[n - 1].iter().zip(&wanted) {
        assert!((got - wanted).abs() < 1e-5, "{got} {wanted}");
    }
    let logprobs: Vec<f64> = serde_json::from_value(report["logprobs"].clone()).unwrap();
    assert_eq!(logprobs.len(), n - 1);
    let next = known["prompt_ids"][1].as_u64().unwrap() as usize;
    let exponentials: f64 = rows[0].iter().map(|v| v.exp()).sum();
    assert!((logprobs[0] - (rows[0][next] - exponentials.ln())).abs() < 1e-6);
    let number = |key: &str| report[key].as_f64().unwrap();
    let nll = -logprobs.iter().sum::<f64>();
    assert!((number("nll") - nll).abs() < 1e-9);
    assert!((number("perplexity") - (nll / (n - 1) as f64).exp()).abs() < 1e-9);
    let bits = nll / std::f64::consts::LN_2;
    assert!((number("bits_per_token") - bits / (n - 1) as f64).abs() < 1e-9);
    // The text of all but BOS, without the blank that the tokenizer put before it.
    let bytes = known["prompt"].as_str().unwrap().len() as f64;
    assert!((number("bits_per_byte") - bits / bytes).abs() < 1e-9);
    let prompt = known["prompt"].as_str().unwrap();
    assert_eq!(mote(&[&args[..], &["-p", prompt]].concat()).json(), report);
    let people = mote(&["score", "-m", &model, "-p", prompt, "--hash"]);
    let hash = report["hash"].as_str().unwrap();
    assert!(people.text().contains(&format!("{hash} (8-bit activations, f32 cache)")));
}

/// The second architecture, on a clone without the large sets.
#[test]
fn gemma3_gives_the_reference_logprobs() {
    let known = json(&root().join("tests/fixtures/models/gemma3.json"));
    let path = file("gemma3.gguf", &models::fixture("models/gemma3.gguf"));
    let ids = joined(&known["prompt_ids"]);
    let report = mote(&["score", "-m", &path, "--ids", &ids, "--json"]).json();
    let got: Vec<f64> = serde_json::from_value(report["logprobs"].clone()).unwrap();
    let wanted: Vec<f64> = serde_json::from_value(known["logprobs"].clone()).unwrap();
    assert_eq!(got.len(), wanted.len());
    for (got, wanted) in got.iter().zip(&wanted) {
        assert!((got - wanted).abs() < 1e-4, "{got} {wanted}");
    }
    let args =
        ["run", "-m", &path, "--ids", &ids, "--temp", "0", "-n", "8", "--ignore-eos", "--json"];
    assert_eq!(mote(&args).json()["ids"], known["greedy_ids"]);
}

/// Every window is a text of its own that begins with BOS; its second half counts.
#[test]
fn perplexity_is_that_of_the_windows() {
    let (model, _) = baseline();
    let text = "hello a world and some more of it ".repeat(8);
    let path = file("perplexity.txt", text.as_bytes());
    let args = ["perplexity", "-m", &model, "-f", &path, "-c", "32", "--json"];
    let report = mote(&args).json();
    assert_eq!(keys(&report), ["activations", "kv", "nll", "perplexity", "tokens", "windows"]);
    let ids = mote(&["tokenize", "-m", &model, "-f", &path, "--json"]).json();
    let mut ids: Vec<u32> = serde_json::from_value(ids["ids"].clone()).unwrap();
    let (mut nll, mut tokens) = (0.0, 0);
    for window in ids.chunks_exact_mut(32) {
        window[0] = 1;
        let ids: Vec<String> = window.iter().map(u32::to_string).collect();
        let score = mote(&["score", "-m", &model, "--ids", &ids.join(","), "--json"]).json();
        let logprobs: Vec<f64> = serde_json::from_value(score["logprobs"].clone()).unwrap();
        nll -= logprobs[16..].iter().sum::<f64>();
        tokens += logprobs[16..].len();
    }
    assert_eq!(report["windows"], ids.len() / 32);
    assert_eq!(report["tokens"], tokens);
    let perplexity = report["perplexity"].as_f64().unwrap();
    assert!((perplexity - (nll / tokens as f64).exp()).abs() < 1e-9);
    assert!(mote(&args[..args.len() - 1]).text().starts_with("perplexity "));
    let long = mote(&["perplexity", "-m", &model, "-f", &path, "-c", "100000"]);
    assert_eq!(long.code, 1, "{}", long.errors);
}

#[test]
fn inspect_shows_every_file_and_drives_no_terminal() {
    let (model, _) = baseline();
    let report = mote(&["inspect", &model, "--json"]).json();
    let wanted = [
        "alignment",
        "architecture",
        "bytes",
        "encodings",
        "metadata",
        "name",
        "parameters",
        "session",
        "tensors",
        "version",
        "why_not",
    ];
    assert_eq!(keys(&report), wanted);
    assert_eq!(report["parameters"], 11360);
    assert_eq!(report["encodings"]["f32"]["tensors"], 12);
    assert!(report["session"]["total_bytes"].as_u64().unwrap() > 0);
    let tensor = &report["tensors"][1];
    assert_eq!(tensor["name"], "blk.0.attn_norm.weight");
    assert_eq!((&tensor["bytes"], &tensor["offset"]), (&Value::from(128), &Value::from(6336)));
    assert!(mote(&["inspect", &model]).text().contains("blk.0.ffn_down.weight"));
    let hostile = "\x1b[2J\x07 \u{202e}";
    let changed = [("general.architecture", "unheard-of"), ("general.name", hostile)];
    let path = file("inspect.gguf", &models::with_strings(&models::llama(), &changed));
    let shown = mote(&["inspect", &path]);
    assert!(shown.text().contains("unheard-of"));
    assert!(shown.text().contains("not a model that runs"));
    assert!(!shown.text().contains(['\x1b', '\x07', '\u{202e}']), "{}", shown.out);
    let report = mote(&["inspect", &path, "--json"]).json();
    assert!(report["session"].is_null() && report["why_not"].is_string());
}
