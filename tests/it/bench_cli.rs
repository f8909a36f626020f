//! `mote bench` prints the figures that it promises. Whether they are good is for BENCHMARKS.md.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use mote_tests::shared::root;
use mote_tools::streams::{Streams, Terminal};
use serde_json::Value;

/// A whole model of 46 KiB.
const TINY: &str = "tests/fixtures/malformed/ok_baseline.gguf";

/// Exit code, output and errors of `mote bench` with the tiny model.
fn bench(arguments: &[&str]) -> (u8, String, String) {
    let model = root().join(TINY).into_os_string();
    let first = ["bench", "-m"].map(OsString::from);
    mote(first.into_iter().chain([model]).chain(arguments.iter().map(OsString::from)))
}

/// The same of `mote` with any arguments.
fn mote(arguments: impl IntoIterator<Item = OsString>) -> (u8, String, String) {
    let arguments = [OsString::from("mote")].into_iter().chain(arguments);
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
        assert!(result["busy"] == 0 && result["share_of_idle"].is_null());
    }
    assert!(results[0]["token_ms"].is_null());
    let latency = &results[1]["token_ms"];
    assert!(positive(&latency["median"]) <= positive(&latency["p99"]));
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
fn a_busy_machine_is_compared_with_an_idle_one() {
    let arguments = ["-p", "0", "-n", "4", "-r", "1", "-t", "1", "--busy", "1,2"];
    let (code, report) = bench_json(&arguments);
    assert_eq!(code, 0);
    let results = report["results"].as_array().unwrap();
    let busy: Vec<_> = results.iter().map(|result| result["busy"].as_u64().unwrap()).collect();
    assert_eq!(busy, [0, 1, 2]);
    for result in &results[1..] {
        positive(&result["share_of_idle"]);
        assert!(result["share_of_limit"].is_null());
    }
    let (_, output, _) = bench(&arguments);
    assert!(output.lines().last().unwrap().ends_with("% of idle, beside 2 busy"), "{output}");
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

#[test]
fn every_kernel_is_measured_at_three_sizes() {
    let filter = ["bench", "kernels", "--target", "scalar", "--kernel", "rope", "--json"];
    let (code, output, errors) = mote(filter.map(OsString::from));
    assert_eq!((code, errors.as_str()), (0, ""));
    let report: Value = serde_json::from_str(&output).unwrap();
    let kernels = report["kernels"].as_array().unwrap();
    // Two layouts.
    assert_eq!(kernels.len(), 2 * 3);
    for kernel in kernels {
        positive(&kernel["bytes_per_second"]);
        positive(&kernel["operations_per_second"]);
    }
}

/// The lists of targets and encodings are walked: whoever adds a member finds it here.
#[test]
fn every_kernel_runs_once() {
    let (code, output, _) = mote(["bench", "kernels", "--once"].map(OsString::from));
    assert_eq!(code, 0);
    for target in mote_kernels::arch::available() {
        for kind in mote_kernels::QuantType::ALL {
            for entry in ["gemv", "gemm"] {
                let start = format!("{} {entry}/{}", target.name(), kind.name());
                assert!(output.lines().any(|line| line.starts_with(&start)), "{start}");
            }
        }
    }
}

#[test]
fn the_machine_is_measured_in_seconds() {
    let start = Instant::now();
    let (code, output, errors) = mote(["bench", "machine", "--json"].map(OsString::from));
    assert_eq!((code, errors.as_str()), (0, ""));
    let report: Value = serde_json::from_str(&output).unwrap();
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    let rows = report["threads"].as_array().unwrap();
    assert_eq!(rows[0]["threads"], 1);
    for row in rows {
        let keys = ["read_bytes_per_second", "int8_multiply_adds_per_second"];
        keys.iter().for_each(|key| assert!(positive(&row[*key]) > 1e6, "{key}"));
        assert!(positive(&row["f32_multiply_adds_per_second"]) > 1e6);
        let several = row["threads"].as_u64().unwrap() > 1;
        assert_eq!(row["barrier_seconds"].is_object(), several);
    }
}
