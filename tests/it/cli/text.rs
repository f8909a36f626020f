//! run and tokenize.

use mote_tests::ngrams::ngram;

use super::*;

#[test]
fn run_continues_the_reference_prompt() {
    let (model, known) = baseline();
    let prompt = known["prompt"].as_str().unwrap();
    let common = ["run", "-m", &model, "--temp", "0", "-n", "8", "--ignore-eos", "--json"];
    let by_text = mote(&[&common[..], &["-p", prompt]].concat()).json();
    assert_eq!(by_text["ids"], known["greedy_ids"]);
    assert_eq!(by_text["prompt_tokens"], known["prompt_ids"].as_array().unwrap().len());
    assert_eq!(by_text["stop"], "length");
    let expected = ["ids", "prompt_tokens", "speculation", "stop", "text", "timings"];
    assert_eq!(keys(&by_text), expected);
    let speculation = ["accepted", "drafted", "drafted_passes", "plain_passes"];
    assert_eq!(keys(&by_text["speculation"]), speculation);
    let timings = [
        "decode_ms",
        "decode_tokens_per_second",
        "first_token_ms",
        "load_ms",
        "prompt_ms",
        "prompt_tokens_per_second",
    ];
    assert_eq!(keys(&by_text["timings"]), timings);
    let ids = joined(&known["prompt_ids"]);
    let by_ids = mote(&[&common[..], &["--ids", &ids]].concat()).json();
    assert_eq!((&by_ids["ids"], &by_ids["text"]), (&by_text["ids"], &by_text["text"]));
    let path = file("run_ids", ids.replace(',', "\n").as_bytes());
    assert_eq!(mote(&[&common[..], &["--ids-file", &path]].concat()).json()["ids"], by_ids["ids"]);
    let path = file("run_prompt", prompt.as_bytes());
    assert_eq!(mote(&[&common[..], &["-f", &path]].concat()).json()["ids"], by_ids["ids"]);
    assert_eq!(mote_reading(&common, prompt.as_bytes()).json()["ids"], by_ids["ids"]);
    let positional = mote(&["run", prompt, "-m", &model, "--temp", "0", "-n8", "--ignore-eos"]);
    assert_eq!(positional.text(), by_text["text"].as_str().unwrap());
    for label in ["model", "memory", "load", "prompt", "decode", "stop"] {
        assert!(positional.errors.contains(label), "{label}: {}", positional.errors);
    }
}

#[test]
fn a_seed_is_a_text() {
    let (model, _) = baseline();
    let text = |seed: &str, more: &[&str]| {
        let args = ["run", "-m", &model, "hello", "--ignore-eos", "--seed", seed];
        mote(&[&args[..], more].concat()).text().to_string()
    };
    let first = text("1", &[]);
    assert!(first.len() > 20, "{first}");
    assert_eq!(first, text("1", &["--threads", "1", "--batch", "1", "--target", "scalar"]));
    assert_ne!(first, text("2", &[]));
    assert!(text("1", &["--temp", "inf", "--top-k", "0"]).len() > 20);
    assert_eq!(text("1", &["--echo"]), format!("hello{first}"));
}

#[test]
fn drafts_and_mixtures() {
    let (model, _) = baseline();
    let (bytes, text) = (std::fs::read(&model).unwrap(), (0..400).map(|i| 3 + i * i % 23));
    let text: Vec<u32> = text.collect();
    let ngrams = file("text_ngrams.gguf", &ngram(&bytes, &text, 3));
    let run = |more: &[&str]| {
        let args = ["run", "-m", &model, "hello hello hello", "--ignore-eos", "-n", "90", "--json"];
        mote(&[&args[..], more].concat()).json()
    };
    for temperature in ["0", "0.9"] {
        for mix in [&[][..], &["--mix", &ngrams], &["--mix", &ngrams, "--mix-kind", "log-linear"]] {
            let text = |how| run(&[&["--temp", temperature, "--speculate", how], mix].concat());
            let plain = text("off");
            assert!(plain["speculation"].is_null());
            for how in ["lookup", &ngrams] {
                let drafted = text(how);
                assert_eq!(drafted["ids"], plain["ids"], "{how}");
                let passes = |key: &str| drafted["speculation"][key].as_u64().unwrap();
                let fed = passes("accepted") + passes("drafted_passes") + passes("plain_passes");
                assert_eq!(fed, 89, "the last token is not fed");
            }
        }
    }
    let perplexity = |more: &[&str]| {
        let path = file("text_mix", "hello world ".repeat(40).as_bytes());
        let args = ["perplexity", "-m", &model, "-f", &path, "-c", "30", "--json"];
        mote(&[&args[..], more].concat()).json()
    };
    let curve = perplexity(&["--mix", &ngrams, "--tune"]);
    let [best, weight] = ["perplexity", "weight"].map(|key| curve[key].as_f64().unwrap());
    assert!((0.0..=1.0).contains(&weight));
    for point in curve["curve"].as_array().unwrap() {
        let weight = point["weight"].to_string();
        let alone = perplexity(&["--mix", &ngrams, "--mix-weight", &weight]);
        let [here, there] = [&alone, point].map(|report| report["perplexity"].as_f64().unwrap());
        assert!((here / there - 1.0).abs() < 1e-4, "{weight}: {here}, {there}");
        assert!(here >= best * 0.999);
    }
    let (code, errors) = (|args: &[&str]| mote(args).code, 2);
    assert_eq!(code(&["run", "-m", &model, "x", "--speculate", &model]), errors);
    assert_eq!(code(&["run", "-m", &model, "x", "--speculate", ""]), errors);
    assert_eq!(code(&["run", "-m", &model, "x", "--mix-weight", "0.5"]), errors);
    assert_eq!(code(&["run", "-m", &model, "x", "--mix", &ngrams, "--mix-weight", "2"]), errors);
    assert_eq!(code(&["perplexity", "-m", &model, "-f", &model, "--tune"]), errors);
}

/// The text ends before the stop string, nothing of it is seen, and what only looked like its
/// beginning is not lost.
#[test]
fn stop_strings_end_the_text() {
    let (model, _) = baseline();
    let args = ["run", "-m", &model, "hello", "--temp", "1.5", "--ignore-eos", "-n", "100"];
    let whole = mote(&args).text().to_string();
    for (at, len) in [(3, 1), (10, 2), (20, 3), (40, 5), (60, 2)] {
        let stop = &whole[at..at + len];
        let stopped = mote(&[&args[..], &["--stop", stop, "--stop", "#none"]].concat());
        assert_eq!(stopped.text(), &whole[..whole.find(stop).unwrap()], "{stop:?}");
        assert!(stopped.errors.contains("stop      stop"), "{}", stopped.errors);
    }
    let begun = format!("{}#", &whole[whole.len() - 3..]);
    assert_eq!(mote(&[&args[..], &["--stop", &begun]].concat()).text(), whole);
}

#[test]
fn the_text_ends_where_the_model_or_the_context_ends_it() {
    let (model, known) = baseline();
    let ids = joined(&known["prompt_ids"]);
    let n_prompt = known["prompt_ids"].as_array().unwrap().len();
    let run = |more: &[&str]| {
        let args = ["run", "-m", &model, "--ids", &ids, "--json", "--temp", "2"];
        mote(&[&args[..], more].concat())
    };
    let full = run(&["--ctx", "20", "--ignore-eos"]).json();
    assert_eq!(full["ids"].as_array().unwrap().len(), 20 - n_prompt);
    assert_eq!(full["stop"], "length");
    let none = run(&["-n", "0"]).json();
    assert_eq!((&none["text"], &none["stop"]), (&Value::from(""), &Value::from("length")));
    let trained = run(&["-n", "1000", "--ignore-eos"]).json();
    assert_eq!(trained["ids"].as_array().unwrap().len(), 128 - n_prompt);
    let mut ended = 0;
    for seed in 0..20 {
        let report = run(&["-n", "100", "--top-k", "0", "--seed", &seed.to_string()]).json();
        let ids = report["ids"].as_array().unwrap();
        let eos = ids.iter().position(|id| *id == 2);
        assert_eq!(report["stop"] == "eos", eos.is_some(), "{report}");
        assert!(eos.is_none_or(|at| at + 1 == ids.len()), "{report}");
        assert!(!report["text"].as_str().unwrap().contains("</s>"));
        ended += usize::from(eos.is_some());
    }
    assert!(ended > 0);
    let short = run(&["--ctx", "5", "--json"]);
    assert_eq!(short.code, 2, "given twice");
    let args = ["run", "-m", &model, "--ids", &ids, "--ctx", "5"];
    let short = mote(&args);
    assert_eq!(short.code, 1);
    assert!(short.errors.contains("14 tokens") && short.errors.contains("room for 5"));
}

/// A budget that is too small for the whole context ends the text earlier; one that is too small for
/// the prompt is refused with the numbers.
#[test]
fn a_budget_is_kept() {
    let (model, known) = baseline();
    let ids = joined(&known["prompt_ids"]);
    let args = ["run", "-m", &model, "--ids", &ids, "-n", "8", "--temp", "0", "--json"];
    let run = |ram| mote(&[&args[..], &["--ram", ram]].concat());
    let free = mote(&args).json();
    assert_eq!(run("1G").json()["text"], free["text"]);
    let tight = run("60k").json();
    let (tight, free) = (tight["text"].as_str().unwrap(), free["text"].as_str().unwrap());
    assert!(tight.len() < free.len() && free.starts_with(tight), "{tight} {free}");
    let none = run("1000");
    assert_eq!(none.code, 5, "{}", none.errors);
    assert!(none.out.contains("the budget is 1000"), "{}", none.out);
    assert_eq!(run("1x").code, 2);
}

#[test]
fn tokenize_gives_the_reference_ids() {
    let (model, known) = baseline();
    let prompt = known["prompt"].as_str().unwrap();
    let report = mote(&["tokenize", "-m", &model, "-p", prompt, "--json"]).json();
    assert_eq!(report["ids"], known["prompt_ids"]);
    assert_eq!(keys(&report), ["ids"]);
    let vocabulary = file("vocabulary.gguf", &models::vocabulary(&models::llama()));
    let args = ["tokenize", "-m", &vocabulary, "--json"];
    assert_eq!(mote_reading(&args, prompt.as_bytes()).json()["ids"], known["prompt_ids"]);
    let bare = mote(&["tokenize", "-m", &model, "--no-bos", "--json", "-p", prompt]).json();
    assert_eq!(bare["ids"].as_array().unwrap()[..], known["prompt_ids"].as_array().unwrap()[1..]);
    let special = mote(&["tokenize", "-m", &model, "--special", "--json", "-p", "</s>"]).json();
    assert!(special["ids"].as_array().unwrap().contains(&Value::from(2)));
    let lines = mote(&["tokenize", "-m", &model, "-p", "a"]);
    assert_eq!(lines.text(), "1\t<s>\n5\t▁a\n");
    // Any bytes: what is no text has the unknown token.
    assert_eq!(mote_reading(&args, b"a\0\xff\x1b").code, 0);
}

/// A file of rules that nobody knows gets GPT-2's, and the user is told; `--pre` takes others.
#[test]
fn unknown_rules_are_told_and_replaced() {
    let mut builder = mote_formats::gguf::Builder::new();
    builder.set("tokenizer.ggml.model", "gpt2").unwrap();
    builder.set("tokenizer.ggml.pre", "of-tomorrow").unwrap();
    builder.set_strings("tokenizer.ggml.tokens", &["1", "2", "12"]).unwrap();
    builder.set_strings("tokenizer.ggml.merges", &["1 2"]).unwrap();
    let bytes = builder.write_index(Vec::new()).unwrap().finish().unwrap();
    let vocabulary = file("of-tomorrow.gguf", &bytes);
    let args = ["tokenize", "-m", &vocabulary, "--json", "-p", "12"];
    let guessed = mote(&args);
    assert_eq!(guessed.json()["ids"], serde_json::json!([2]));
    assert!(guessed.errors.contains("gpt-2") && guessed.errors.contains("--pre"));
    let told = mote(&[&args[..], &["--pre", "smollm"]].concat());
    assert_eq!(told.json()["ids"], serde_json::json!([0, 1]));
    assert_eq!(told.errors, "");
    let wrong = mote(&["tokenize", "-m", &vocabulary, "-p", "12", "--pre", "of-yesterday"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.errors.contains("of-yesterday") && wrong.errors.contains("llama-bpe"));
    let (model, _) = baseline();
    for command in ["tokenize", "score", "run"] {
        let wrong = mote(&[command, "-m", &model, "-p", "a", "--pre", "smollm"]);
        assert_eq!((wrong.code, wrong.out.as_str()), (2, ""), "{command}");
    }
}
