//! `mote bench` prints the figures that it promises. Whether they are good is for BENCHMARKS.md.

use std::ffi::OsString;

use mote_tests::shared::root;
use mote_tools::streams::{Streams, Terminal};
use serde_json::Value;

/// A whole model of 46 KiB.
const TINY: &str = "tests/fixtures/malformed/ok_baseline.gguf";

/// Exit code, output and errors of `mote bench` with the tiny model.
fn bench(arguments: &[&str]) -> (u8, String, String) {
    let model = root().join(TINY).into_os_string();
    let first = ["mote", "bench", "-m"].map(OsString::from);
    let arguments = first.into_iter().chain([model]).chain(arguments.iter().map(OsString::from));
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut streams = Streams {
        input: &mut std::io::empty(),
        output: &mut output,
        errors: &mut errors,
        terminal: Terminal::default(),
    };
    let code = mote_tools::run(arguments, &mut streams);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (code, text(output), text(errors))
}

fn bench_json(arguments: &[&str]) -> (u8, Value) {
    let (code, output, errors) = bench(&[arguments, &["--json"]].concat());
    assert_eq!(errors, "");
    (code, serde_json::from_str(&output).unwrap())
}

#[track_caller]
fn positive(value: &Value) -> f64 {
    let number = value.as_f64().unwrap();
    assert!(number > 0.0 && number.is_finite(), "{number}");
    number
}

#[test]
fn json_has_the_documented_keys() {
    let (code, report) = bench_json(&["-p", "8,0,2", "-n", "4", "-d", "0,3", "-r", "3", "-t", "1"]);
    assert_eq!(code, 0);
    let results = report["results"].as_array().unwrap();
    let tests: Vec<_> = results.iter().map(|result| result["test"].as_str().unwrap()).collect();
    assert_eq!(tests, ["pp8", "pp2", "tg4", "tg4@d3"]);
    for result in results {
        assert_eq!(result["threads"], 1);
        let rate = &result["tokens_per_second"];
        let [min, median, max] = ["min", "median", "max"].map(|key| positive(&rate[key]));
        assert!(min <= median && median <= max);
        positive(&result["share_of_limit"]);
        let decodes = result["test"].as_str().unwrap().starts_with("tg");
        assert_eq!(result["token_ms"].is_object(), decodes);
        if decodes {
            assert!(
                positive(&result["token_ms"]["median"]) <= positive(&result["token_ms"]["p99"])
            );
        }
    }
    assert!(positive(&report["load_ms"]) < positive(&report["first_token_ms"]));
    if cfg!(target_os = "linux") {
        positive(&report["peak_rss_bytes"]);
    }
    let memory = &report["memory"];
    let bytes = |key: &str| memory[key].as_u64().unwrap();
    assert_eq!(bytes("file_bytes"), std::fs::metadata(root().join(TINY)).unwrap().len());
    assert_eq!(bytes("allowed_bytes"), bytes("file_bytes") + bytes("plan_bytes") + 15_000_000);
    let limits = &report["limits"];
    // One layer of 32 values, 2 of 4 heads for keys, 64 in the network: 4-byte weights.
    let macs = 32 * (32 + 16 + 16 + 32 + 3 * 64);
    assert_eq!(limits["prefill_multiply_adds_per_token"], macs);
    let (head, norms) = (32 * 32, 2 * 32);
    assert_eq!(limits["decode_bytes_per_token"], 4 * (macs + head + norms));
    for limit in limits["measured"].as_array().unwrap() {
        positive(&limit["read_bytes_per_second"]);
        positive(&limit["multiply_adds_per_second"]);
    }
}

#[test]
fn the_table_has_a_line_for_each_test() {
    let (code, output, errors) = bench(&["-p", "0", "-n", "4", "-r", "1", "-t", "1,1"]);
    assert_eq!(code, 0);
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines.len(), 2, "{output}");
    assert!(lines[0].starts_with("test ") && lines[1].starts_with("tg4 "), "{output}");
    assert!(errors.contains("load ") && errors.contains("limit "), "{errors}");
}

#[test]
fn a_test_that_does_not_fit_is_refused() {
    let (code, report) = bench_json(&["-p", "8", "-n", "0", "-r", "1", "-t", "1", "--ctx", "7"]);
    assert_eq!((code, report["error"]["code"].as_str()), (5, Some("context")));
    let deep = ["-p", "0", "-n", "2", "-d", "6", "-r", "1", "-t", "1", "--ctx", "7"];
    let (code, report) = bench_json(&deep);
    assert_eq!((code, report["error"]["code"].as_str()), (5, Some("context")));
    let (code, report) = bench_json(&["-p", "1000000000"]);
    assert_eq!((code, report["error"]["code"].as_str()), (2, Some("usage")));
    let (code, report) = bench_json(&["-r", "0"]);
    assert_eq!((code, report["error"]["code"].as_str()), (2, Some("usage")));
}
