//! `mote run` with many prompts, with log-probabilities, and as a stream of JSON.

use super::*;

#[test]
fn each_line_of_a_batch_is_a_run_of_its_own() {
    let (model, _) = baseline();
    let lines = [
        r#"{"prompt": "hello", "id": "first"}"#,
        r#"{"prompt": "hello there", "n": 3, "id": [2]}"#,
        "",
        r#"{"prompt": "hello", "seed": 5, "temp": 1.5}"#,
        r#"{"prompt": "hello", "temp": -1}"#,
        "not JSON",
        r#"{"prompt": "hello", "top_k": 1}"#,
        r#"{"prompt": "", "stop": ["e", "x"]}"#,
        r#"{"prompt": "hello", "n": 0}"#,
    ];
    let path = file("batch.jsonl", lines.join("\n").as_bytes());
    let common = ["run", "-m", &model, "-n", "9", "--ignore-eos"];
    let outcome = mote(&[&common[..], &["--batch-file", &path]].concat());
    assert_eq!(outcome.code, 1);
    assert!(outcome.errors.contains("3 of 8 lines failed"), "{}", outcome.errors);
    let results: Vec<Value> =
        outcome.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let numbers: Vec<u64> = results.iter().map(|it| it["line"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 4, 5, 6, 7, 8, 9]);
    for (result, more) in [
        (&results[0], &["hello"][..]),
        (&results[1], &["hello there", "-n", "3"]),
        (&results[2], &["hello", "--seed", "5", "--temp", "1.5"]),
        (&results[6], &["-p", "", "--stop", "e", "--stop", "x"]),
        (&results[7], &["hello", "-n", "0"]),
    ] {
        // Options are not given twice.
        let n: &[&str] = if more.contains(&"-n") { &[] } else { &["-n", "9"] };
        let args = ["run", "-m", &model, "--ignore-eos", "--json"];
        let alone = mote(&[&args[..], n, more].concat()).json();
        for key in ["ids", "text", "stop", "prompt_tokens"] {
            assert_eq!(result[key], alone[key], "{key}: {result}");
        }
    }
    assert_eq!((&results[0]["id"], &results[1]["id"][0]), (&"first".into(), &2.into()));
    assert!(results[2]["reused_tokens"].as_u64().unwrap() > 3);
    for (result, code) in [(&results[3], "usage"), (&results[4], "usage"), (&results[5], "usage")] {
        assert_eq!(result["error"]["code"], code);
    }
    assert!(results[5]["error"]["message"].as_str().unwrap().contains("top_k"));
    let good = file("batch-good.jsonl", lines[0].as_bytes());
    assert_eq!(mote(&[&common[..], &["--batch-file", &good]].concat()).code, 0);
    assert_eq!(mote(&[&common[..], &["--batch-file", "no such file"]].concat()).code, 1);
    assert_eq!(mote(&[&common[..], &["--batch-file", &good, "-p", "x"]].concat()).code, 2);
}

#[test]
fn a_long_line_of_a_batch_fails_alone() {
    let (model, _) = baseline();
    let long = "a ".repeat(300);
    let lines = format!("{{\"prompt\": \"{long}\"}}\n{{\"prompt\": \"hello\"}}\n");
    let path = file("batch-long.jsonl", lines.as_bytes());
    let outcome = mote(&["run", "-m", &model, "-n", "2", "--batch-file", &path]);
    let results: Vec<Value> =
        outcome.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((outcome.code, &results[0]["error"]["code"]), (1, &"context".into()));
    assert!(results[1]["text"].is_string());
}

#[test]
fn logprobs_are_those_of_score() {
    let (model, known) = baseline();
    let ids = joined(&known["prompt_ids"]);
    let common = ["run", "-m", &model, "--ids", &ids, "-n", "8", "--ignore-eos", "--kv", "f32"];
    for temperature in ["0", "1.3"] {
        let args = [&common[..], &["--logprobs", "3", "--temp", temperature, "--json"]].concat();
        let report = mote(&args).json();
        let all = format!("{ids},{}", joined(&report["ids"]));
        let scored = mote(&["score", "-m", &model, "--ids", &all, "--json"]).json();
        let scored = scored["logprobs"].as_array().unwrap();
        let tokens = report["logprobs"].as_array().unwrap();
        assert_eq!(tokens.len(), 8);
        for (token, expected) in tokens.iter().zip(&scored[scored.len() - 8..]) {
            let logprob = token["logprob"].as_f64().unwrap();
            assert!((logprob - expected.as_f64().unwrap()).abs() < 1e-4, "{token} {expected}");
            let top: Vec<f64> = token["top"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it["logprob"].as_f64().unwrap())
                .collect();
            assert!(top.len() == 3 && top[0] >= top[1] && top[1] >= top[2]);
            if temperature == "0" {
                assert_eq!(token["id"], token["top"][0]["id"]);
            }
        }
        let without = mote(&[&common[..], &["--temp", temperature, "--json"]].concat()).json();
        assert_eq!((&without["ids"], &without["logprobs"]), (&report["ids"], &Value::Null));
    }
    let table = mote(&[&common[..], &["--logprobs", "1"]].concat());
    assert!(table.text().contains("log p") && table.text().lines().count() >= 9);
    assert_eq!(mote(&[&common[..], &["--logprobs", "101"]].concat()).code, 2);
}

#[test]
fn a_stream_of_json_ends_with_the_report() {
    let (model, _) = baseline();
    let args = ["run", "-m", &model, "hello", "--ignore-eos", "-n", "20"];
    let report = mote(&[&args[..], &["--json"]].concat()).json();
    let stream = mote(&[&args[..], &["--json-stream"]].concat());
    let mut objects: Vec<Value> =
        stream.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = objects.pop().unwrap();
    assert_eq!((&last["text"], &last["ids"]), (&report["text"], &report["ids"]));
    let pieces: String = objects.iter().map(|it| it["text"].as_str().unwrap()).collect();
    assert_eq!(pieces, report["text"].as_str().unwrap());
    assert!(objects.len() > 5);
    let failed = mote(&["run", "-m", "no such file", "x", "--json-stream"]);
    let failed: Value = serde_json::from_str(&failed.out).unwrap();
    assert_eq!(failed["error"]["code"], "io");
}

#[test]
fn ctrl_c_ends_the_text_and_not_its_report() {
    let (model, _) = baseline();
    let args = ["run", "-m", &model, "hello", "--ignore-eos", "-n", "100"];
    let run = |more: &[&str], questions| {
        mote_tools::interrupt::after(Some(questions));
        let outcome = mote(&[&args[..], more].concat());
        mote_tools::interrupt::after(None);
        assert_eq!(outcome.code, 130, "{}", outcome.errors);
        outcome
    };
    let whole = mote(&args).text().to_string();
    let people = run(&[], 20);
    assert!(!people.out.is_empty() && people.out.len() < whole.len());
    assert!(whole.starts_with(&people.out));
    assert!(people.errors.contains("stop      interrupted"), "{}", people.errors);
    assert!(people.errors.contains("decode"));
    let programs: Value = serde_json::from_str(&run(&["--json"], 20).out).unwrap();
    assert_eq!(programs["stop"], "interrupted");
    assert_eq!(serde_json::from_str::<Value>(&run(&["--json"], 0).out).unwrap()["text"], "");
}
