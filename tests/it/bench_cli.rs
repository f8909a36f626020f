//! `mote bench` prints the figures that it promises. Whether they are good is for BENCHMARKS.md.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mote_formats::Gguf;
use mote_kernels::{QuantType, arch};
use mote_tests::shared::root;
use mote_tests::speak::Run;
use mote_tools::streams::{Streams, Terminal};
use mote_tools::synthetic::{Recipe, Shape, Types};
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
        let (latency, decodes) = (&result["token_ms"], result["test"].as_str().unwrap());
        assert_eq!(latency.is_object(), decodes.starts_with("tg"));
        if latency.is_object() {
            assert!(positive(&latency["median"]) <= positive(&latency["p99"]));
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
    assert_eq!((code, report["error"]["code"].as_str()), (1, Some("context")));
    let deep = ["-p", "0", "-n", "2", "-d", "6", "-r", "1", "-t", "1", "--ctx", "7"];
    let (code, report) = bench_json(&deep);
    assert_eq!((code, report["error"]["code"].as_str()), (1, Some("context")));
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

/// A synthetic model of the smallest shape.
fn tiny(types: Types, seed: u64) -> Vec<u8> {
    let mut file = Vec::new();
    Recipe { shape: Shape::Tiny, types, seed }.write(&mut file, |_| ()).unwrap();
    file
}

/// What `--type` promises of a tensor in a model of two layers: the second has more bits.
fn promised(types: Types, tensor: &str) -> QuantType {
    let is_any = |names: &[&str]| names.contains(&tensor);
    if tensor.contains("norm") {
        return QuantType::F32;
    }
    match types {
        Types::One(kind) => kind,
        _ if tensor == "token_embd.weight" => QuantType::Q6_K,
        Types::Small if is_any(&["blk.0.attn_v.weight", "blk.1.attn_v.weight"]) => QuantType::Q5_K,
        Types::Small => QuantType::Q4_K,
        Types::Medium(_) if is_any(&["blk.1.attn_v.weight", "blk.1.ffn_down.weight"]) => {
            QuantType::Q6_K
        }
        Types::Medium(kind) => kind,
    }
}

/// The list of encodings is walked: whoever adds a member finds it here.
#[test]
fn synthetic_models_have_the_promised_types_and_the_same_bits_on_every_target() {
    let ids: Vec<u32> = (0..24).map(|i| i * 37 % 512).collect();
    for (name, types) in Types::all() {
        let file = tiny(types, 0);
        let gguf = Gguf::parse(&file).unwrap();
        assert_eq!(gguf.tensors().count(), 2 * 9 + 2);
        for tensor in gguf.tensors() {
            let expected = promised(types, tensor.name());
            assert_eq!(tensor.kind(), Ok(expected), "{name}: {}", tensor.name());
        }
        let bits = |kernels| Run { kernels, ..Run::default() }.bits(&file, &ids, 16);
        let scalar = bits(arch::by_name("scalar").unwrap());
        // Neither vanished nor exploded.
        let logits = scalar.iter().map(|&bits| f64::from(f32::from_bits(bits)));
        let mean_square = logits.map(|x| x * x).sum::<f64>() / scalar.len() as f64;
        assert!((0.25..4.0).contains(&mean_square), "{name}: {mean_square}");
        for kernels in arch::available() {
            assert!(bits(kernels) == scalar, "{name}: {}", kernels.name());
        }
    }
}

/// Exit code and JSON of a short `mote bench --synthetic tiny`.
fn synthetic(arguments: &[&str]) -> (u8, Value) {
    let first = ["bench", "--synthetic", "tiny", "--json", "-p", "2", "-n", "1", "-r", "1"];
    let arguments = [&first[..], &["-t", "1"], arguments].concat();
    let (code, output, _) = mote(arguments.iter().map(OsString::from));
    (code, serde_json::from_str(&output).unwrap())
}

/// A folder of its own for a test, removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mote-bench-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_synthetic_model_is_kept_and_used_again() {
    let folder = Folder::new("kept");
    let path = folder.0.join("tiny.gguf");
    let file = path.to_str().unwrap();
    let (code, report) = synthetic(&["--type", "q8_0", "-o", file]);
    assert_eq!(code, 0, "{report}");
    assert_eq!(report["results"].as_array().unwrap().len(), 2);
    let written = fs::metadata(&path).unwrap().modified().unwrap();
    let first = fs::read(&path).unwrap();
    assert!(first == tiny(Types::One(QuantType::Q8_0), 0));
    assert!(first != tiny(Types::One(QuantType::Q8_0), 1));

    assert_eq!(synthetic(&["--type", "q8_0", "-o", file]).0, 0);
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), written);
    for other in [["--type", "q4_k_m"], ["--type", "q4_0"], ["--seed", "1"]] {
        let (code, report) = synthetic(&[&other[..], &["-o", file]].concat());
        assert_eq!((code, report["error"]["code"].as_str()), (2, Some("usage")));
    }
    assert!(fs::read(&path).unwrap() == first);
}

#[test]
fn what_is_no_synthetic_model_is_not_overwritten() {
    let folder = Folder::new("other");
    let path = folder.0.join("text");
    fs::write(&path, "no model").unwrap();
    let (code, report) = synthetic(&["-o", path.to_str().unwrap()]);
    assert_eq!((code, report["error"]["code"].as_str()), (2, Some("usage")));
    let sentence = report["error"]["message"].as_str().unwrap();
    assert!(sentence.ends_with("is not the synthetic model tiny q4_k_m, seed 0"), "{sentence}");
    assert_eq!(fs::read(&path).unwrap(), b"no model");
    let model = root().join(TINY);
    assert_eq!(synthetic(&["-o", model.to_str().unwrap()]).0, 2);
    let nowhere = folder.0.join("none/file");
    assert_eq!(synthetic(&["-o", nowhere.to_str().unwrap()]).0, 1);
}

#[test]
fn a_synthetic_model_without_a_name_is_removed() {
    assert_eq!(synthetic(&[]).0, 0);
    assert_eq!(synthetic(&["--ctx", "1"]).0, 1);
    let name = format!("mote-synthetic-{}-", std::process::id());
    for entry in fs::read_dir(std::env::temp_dir()).unwrap() {
        let left = entry.unwrap().file_name();
        assert!(!left.to_string_lossy().starts_with(&name), "{left:?}");
    }
}

#[test]
fn either_a_file_or_a_synthetic_model_is_measured() {
    for arguments in [
        &["bench", "--json"][..],
        &["bench", "--json", "-m", "x", "--synthetic", "tiny"],
        &["bench", "--json", "-m", "x", "-o", "y"],
        &["bench", "--json", "-m", "x", "--type", "q8_0"],
        &["bench", "--json", "--synthetic", "tiny", "--type", "q9"],
    ] {
        let (code, output, _) = mote(arguments.iter().map(OsString::from));
        assert_eq!(code, 2, "{arguments:?}: {output}");
    }
}
