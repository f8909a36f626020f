//! `mote bench --compare` with programs that answer as a llama-bench does, badly, or not at all.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mote_tests::shared::root;
use mote_tools::streams::{Streams, Terminal};
use serde_json::Value;

/// A whole model of 46 KiB.
const TINY: &str = "tests/fixtures/malformed/ok_baseline.gguf";

/// Answers as llama.cpp's: 10 tokens a second in prefill, 20 in decoding, 30 at a depth. The first
/// sample is the one that does not count, and a library prints between the lines.
const LLAMA: &str = r#"#!/bin/sh
[ "$1" = --help ] && { echo "  -d, --n-depth <n>"; exit; }
prompt=0 gen=0 depth=0 threads=0 speed=20
while [ $# -gt 0 ]; do
    case $1 in
        -p) prompt=$2 ;; -n) gen=$2 ;; -d) depth=$2 ;; -t) threads=$2 ;;
    esac
    shift
done
[ "$prompt" = 0 ] || speed=10
[ "$depth" = 0 ] || speed=30
echo "["
echo "===== {Repacked} 7 tensors"
printf '{"n_prompt": %s, "n_gen": %s, "n_depth": %s, "n_threads": %s,\n' $prompt $gen $depth $threads
printf ' "build_commit": "abc", "avg_ts": 1.0, "samples_ts": [ 1.5, %s ]\n}\n]\n' $speed
"#;

/// A test's own folder with programs in it.
struct Programs(PathBuf);

impl Programs {
    fn new(test: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
        fs::create_dir_all(&folder).unwrap();
        Programs(folder)
    }

    /// Writes a script; `NAME=PATH` of it.
    fn add(&self, name: &str, script: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        format!("{name}={}", path.display())
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

/// Exit code, output and errors of `mote bench` with the tiny model.
fn bench(arguments: &[&str]) -> (u8, String, String) {
    let model = root().join(TINY);
    let mote = ["--mote", env!("CARGO_BIN_EXE_mote-for-tests")];
    let short = ["-r", "2", "-t", "1"];
    let first = ["mote", "bench", "-m", model.to_str().unwrap()];
    let all = [first.as_slice(), &mote, &short, arguments].concat();
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut streams = Streams {
        input: &mut std::io::empty(),
        output: &mut output,
        errors: &mut errors,
        terminal: Terminal::default(),
    };
    let code = mote_tools::run(all.into_iter().map(OsString::from), &mut streams);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (code, text(output), text(errors))
}

fn speed(result: &Value, program: usize) -> Option<f64> {
    result["speeds"][program]["tokens_per_second"]["median"].as_f64()
}

#[test]
fn the_ratio_is_to_the_best_that_counts() {
    let programs = Programs::new("compare_ratio");
    let (fast, slow) =
        (programs.add("fast", LLAMA), programs.add("slow", &LLAMA.replace("speed=20", "speed=2")));
    let beside = programs.add("beside", &LLAMA.replace("speed=20", "speed=9000")) + ",-rtr,1";
    let (json, svg) = (programs.file("out.json"), programs.file("out.svg"));
    let (code, table, errors) = bench(&[
        "-p",
        "4",
        "-n",
        "2",
        "-d",
        "0,3",
        "--compare",
        &slow,
        "--compare",
        &fast,
        "--beside",
        &beside,
        "--json-file",
        &json,
        "--svg",
        &svg,
    ]);
    assert_eq!(code, 0, "{errors}");
    assert!(!errors.contains("note:"), "{errors}");
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows.len(), 2 + 3, "{table}");
    let header: Vec<&str> =
        rows[0].split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect();
    let columns =
        ["model", "test", "threads", "mote", "slow", "fast", "ratio", "of limit", "beside"];
    assert_eq!(header, columns);

    let report: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!(report["rounds"], 2);
    assert_eq!(report["programs"][2]["build"], "abc");
    assert_eq!(report["programs"][3]["flags"], serde_json::json!(["-rtr", "1"]));
    assert_eq!(report["failures"], serde_json::json!([]));
    let results = report["results"].as_array().unwrap();
    let tests: Vec<_> = results.iter().map(|result| result["test"].as_str().unwrap()).collect();
    assert_eq!(tests, ["pp4", "tg2", "tg2@d3"]);
    for (result, expected) in results.iter().zip([10.0, 20.0, 30.0]) {
        assert_eq!(speed(result, 2), Some(expected));
        assert_eq!(result["speeds"][2]["samples"].as_array().unwrap().len(), 2);
        let ratio = result["ratio"].as_f64().unwrap();
        let mote = speed(result, 0).unwrap();
        let best = speed(result, 1).unwrap().max(expected);
        assert!((ratio - mote / best).abs() < 1e-9 * ratio);
        let limit = result["limit_tokens_per_second"].as_f64().unwrap();
        assert!((result["share_of_limit"].as_f64().unwrap() - mote / limit).abs() < 1e-9);
    }
    assert_eq!(results[1]["best_peer"], "fast");
    let picture = fs::read_to_string(&svg).unwrap();
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    assert!(picture.contains("mote beside slow, fast, beside") && !picture.contains("NaN"));
    assert!(left_over(&programs.0).is_empty());
}

/// Half-written files.
fn left_over(folder: &Path) -> Vec<OsString> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".part")).collect()
}

#[test]
fn a_program_that_fails_leaves_its_cells_empty() {
    let programs = Programs::new("compare_failures");
    let help = "[ \"$1\" = --help ] && exit\n";
    let script = |body: &str| format!("#!/bin/sh\n{help}{body}");
    let peers = [
        programs.add("dies", &script("echo some >&2\necho 'last words' >&2\nexit 7\n")),
        programs.add("babbles", &script("echo '[ { \"n_prompt\": 4 } ]'\n")),
        programs.add("hangs", &script("exec sleep 60\n")),
        programs.add("kills itself", &script("kill -9 $$\n")),
        programs.add("works", LLAMA),
    ];
    let mut arguments = vec!["-p", "4", "-n", "0", "--json", "--timeout", "2"];
    arguments.extend(peers.iter().flat_map(|peer| ["--compare", peer]));
    let (code, output, errors) = bench(&arguments);
    assert_eq!(code, 0, "{errors}");
    let report: Value = serde_json::from_str(&output).unwrap();
    let result = &report["results"][0];
    let speeds: Vec<_> = (1..6).map(|program| speed(result, program)).collect();
    assert_eq!(speeds, [None, None, None, None, Some(10.0)]);
    assert_eq!(result["best_peer"], "works");
    let failures = report["failures"].as_array().unwrap();
    let mut reasons: Vec<_> =
        failures.iter().map(|failed| failed["reason"].as_str().unwrap()).collect();
    reasons.sort_unstable();
    // Once each, though there were two rounds.
    assert_eq!(reasons.len(), 4, "{reasons:?}");
    assert_eq!(reasons[0], "exit status: 7: some | last words");
    assert_eq!(reasons[1], "printed no result of this test");
    assert!(reasons[2].starts_with("signal: 9"), "{reasons:?}");
    assert_eq!(reasons[3], "stopped after 2 seconds");
    assert_eq!(errors.matches("note:").count(), 4, "{errors}");
}

#[test]
fn what_cannot_fill_a_context_is_not_asked_to() {
    let programs = Programs::new("compare_depth");
    // ik_llama.cpp's dialect: the prompt's length is that of the depth.
    let prompt = LLAMA
        .replace("-d, --n-depth <n>", "-gp <pp,tg>")
        .replace("-d) depth=$2", "-gp) prompt=${2%,*} gen=${2#*,}");
    let (prompt, neither) =
        (programs.add("prompt", &prompt), programs.add("neither", &LLAMA.replace("--n-depth", "")));
    let (code, output, errors) = bench(&[
        "-p",
        "0",
        "-n",
        "2",
        "-d",
        "3",
        "--json",
        "--compare",
        &prompt,
        "--compare",
        &neither,
    ]);
    assert_eq!(code, 0, "{errors}");
    let report: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(speed(&report["results"][0], 1), Some(10.0));
    assert_eq!(speed(&report["results"][0], 2), None);
    assert_eq!(report["failures"][0]["reason"], "cannot decode at a depth");
}

#[test]
fn mistakes_are_told_before_anything_runs() {
    let programs = Programs::new("compare_mistakes");
    let code = |arguments: &[&str]| bench(arguments).0;
    assert_eq!(code(&["--compare", "llama-bench"]), 2);
    assert_eq!(code(&["--compare", "mote=x"]), 2);
    assert_eq!(code(&["--compare", &format!("gone={}", programs.file("gone"))]), 1);
    let twice = programs.add("twice", LLAMA);
    assert_eq!(code(&["--compare", &twice, "--beside", &twice]), 2);
    assert_eq!(code(&["-m", &programs.file("no.gguf")]), 1);
    // The table is printed, though the file cannot be written.
    let (code, output, errors) =
        bench(&["-p", "4", "--json-file", &programs.file("no/folder.json")]);
    assert_eq!(code, 1);
    assert!(output.contains("| pp4 ") && errors.contains("folder.json"), "{output}{errors}");
}
