//! The programs that are compared: how each is asked to run a test, and how its answer is read.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use super::super::measure::Test;
use super::super::report::Limit;
use super::process;
use super::table::Program;

use crate::source;

/// What is measured: a test with a model on some threads.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The model's file.
    pub model: &'a Path,
    /// The test.
    pub test: Test,
    /// The number of threads.
    pub threads: usize,
}

/// What one process found out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Its speed.
    pub tokens_per_second: f64,
    /// What the machine can do, if it measured that, too.
    pub limit: Option<Limit>,
    /// Which version or kernel table it is.
    pub build: Option<String>,
}

/// A llama-bench, as the command line names it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// What the table calls it.
    pub name: String,
    path: PathBuf,
    flags: Vec<String>,
}

impl FromStr for Peer {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, rest) = text.split_once('=').ok_or("it is not NAME=PATH")?;
        let mut words = rest.split(',').map(str::to_owned);
        let path = words.next().filter(|path| !path.is_empty()).ok_or("the path is missing")?;
        if name.is_empty() || name == super::MOTE || name.contains('|') {
            return Err("the name is empty, mote's own, or has a '|'");
        }
        if name.contains(char::is_control) {
            return Err("the name has control characters");
        }
        Ok(Peer { name: name.to_owned(), path: path.into(), flags: words.collect() })
    }
}

/// How a llama-bench fills the context before it decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filling {
    /// `-d DEPTH` (llama.cpp).
    Depth,
    /// `-gp DEPTH,TOKENS` (ik_llama.cpp).
    Prompt,
    /// Not at all.
    Never,
}

impl Peer {
    /// For the report.
    pub fn describe(&self, counts: bool) -> Program {
        let Peer { name, path, flags } = self.clone();
        Program { name, path, flags, counts, build: None }
    }

    /// Which dialect it speaks, or why it cannot be started.
    pub fn filling(&self, timeout: Duration) -> Result<Filling, String> {
        let help = process::help(&mut Command::new(&self.path), timeout)?;
        Ok(match help {
            help if help.contains("--n-depth") => Filling::Depth,
            help if help.contains("-gp <") => Filling::Prompt,
            _ => Filling::Never,
        })
    }

    /// Runs a test twice in a process; the second time counts. (A llama-bench warms up by itself,
    /// but ik_llama.cpp with one token only.)
    pub fn run(
        &self,
        run: &Run<'_>,
        filling: Filling,
        timeout: Duration,
    ) -> Result<Sample, String> {
        let mut command = Command::new(&self.path);
        command.arg("-m").arg(run.model);
        command.args(["-t", &run.threads.to_string(), "-r", "2", "-o", "json"]);
        command.args(test_arguments(run.test, filling).ok_or("cannot decode at a depth")?);
        let output = process::run(command.args(&self.flags), timeout)?;
        let expected = Expected { test: run.test, threads: run.threads, filling };
        answer(&output, &expected)
    }
}

fn test_arguments(test: Test, filling: Filling) -> Option<Vec<String>> {
    let words = |prefill: usize, decode: usize| {
        vec!["-p".to_owned(), prefill.to_string(), "-n".to_owned(), decode.to_string()]
    };
    let with = |mut words: Vec<String>, more: [String; 2]| {
        words.extend(more);
        Some(words)
    };
    match (test, filling) {
        (Test::Prefill(n), _) => Some(words(n, 0)),
        (Test::Decode { tokens, depth: 0 }, _) => Some(words(0, tokens)),
        (Test::Decode { tokens, depth }, Filling::Depth) => {
            with(words(0, tokens), ["-d".to_owned(), depth.to_string()])
        }
        (Test::Decode { tokens, depth }, Filling::Prompt) => {
            with(words(0, 0), ["-gp".to_owned(), format!("{depth},{tokens}")])
        }
        (Test::Decode { .. }, Filling::Never) => None,
    }
}

/// Which of a llama-bench's results is asked for.
#[derive(Clone, Copy, Debug)]
struct Expected {
    test: Test,
    threads: usize,
    filling: Filling,
}

/// What is of interest of a llama-bench's result. Keys that only one of them has are optional.
#[derive(Debug, Deserialize)]
struct Entry {
    n_prompt: usize,
    n_gen: usize,
    n_depth: Option<usize>,
    n_threads: usize,
    avg_ts: f64,
    #[serde(default)]
    samples_ts: Vec<f64>,
    build_commit: Option<String>,
}

impl Expected {
    fn is(&self, entry: &Entry) -> bool {
        let (n_prompt, n_gen, n_depth) = match (self.test, self.filling) {
            (Test::Prefill(n), _) => (n, 0, 0),
            (Test::Decode { tokens, depth }, Filling::Prompt) => (depth, tokens, 0),
            (Test::Decode { tokens, depth }, _) => (0, tokens, depth),
        };
        (entry.n_prompt, entry.n_gen) == (n_prompt, n_gen)
            && entry.n_depth.unwrap_or(0) == n_depth
            && entry.n_threads == self.threads
    }
}

/// Finds the result in what a llama-bench printed. Libraries print between its lines (ik_llama.cpp
/// about repacking, after the opening bracket), so every line that opens an object is tried.
fn answer(output: &str, expected: &Expected) -> Result<Sample, String> {
    let mut entries = output.match_indices('{').filter_map(|(at, _)| {
        let mut values = serde_json::Deserializer::from_str(output.get(at..)?).into_iter::<Entry>();
        values.next()?.ok()
    });
    let entry = entries.find(|entry| expected.is(entry));
    let entry = entry.ok_or("printed no result of this test")?;
    let tokens_per_second = entry.samples_ts.last().copied().unwrap_or(entry.avg_ts);
    if !(tokens_per_second.is_normal() && tokens_per_second > 0.0) {
        return Err(format!("printed {tokens_per_second} tokens per second"));
    }
    Ok(Sample { tokens_per_second, limit: None, build: entry.build_commit })
}

/// mote itself, in a process of its own as the others.
#[derive(Clone, Debug)]
pub struct Mote {
    /// The binary.
    pub path: PathBuf,
    /// Options of the computation.
    pub arguments: Vec<String>,
}

/// What is of interest of `mote bench --json`.
#[derive(Debug, Deserialize)]
struct Report {
    target: String,
    results: Vec<Measured>,
    limits: Limits,
}

#[derive(Debug, Deserialize)]
struct Measured {
    tokens_per_second: Spread,
}

#[derive(Debug, Deserialize)]
struct Spread {
    median: f64,
}

#[derive(Debug, Deserialize)]
struct Limits {
    measured: Vec<Limit>,
}

impl Mote {
    /// Runs a test twice in a process; the second time counts.
    pub fn run(&self, run: &Run<'_>, timeout: Duration) -> Result<Sample, String> {
        let Run { model, test, threads } = *run;
        let (prefill, decode) = match test {
            Test::Prefill(n) => (n, 0),
            Test::Decode { tokens, .. } => (0, tokens),
        };
        let mut command = Command::new(&self.path);
        command.args(["bench", "--json", "-r", "1", "-m"]).arg(model).args(&self.arguments);
        // Only where it is wanted: a mote from before depths can be measured, too.
        let depth = (test.depth() > 0).then_some(("-d", test.depth()));
        let numbers = [("-p", prefill), ("-n", decode), ("-t", threads)];
        for (option, n) in numbers.into_iter().chain(depth) {
            command.args([option, &n.to_string()]);
        }
        if source::copies() {
            command.arg("--copy");
        }
        let output = process::run(&mut command, timeout)?;
        let wrong = |error: serde_json::Error| format!("printed something else: {error}");
        let report: Report = serde_json::from_str(&output).map_err(wrong)?;
        let result = report.results.first().ok_or("printed no result")?;
        Ok(Sample {
            tokens_per_second: result.tokens_per_second.median,
            limit: report.limits.measured.first().copied(),
            build: Some(report.target),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What llama.cpp prints, shortened.
    const LLAMA: &str = r#"[
  {
    "build_commit": "0c1e570",
    "model_filename": "m.gguf",
    "tensor_buft_overrides": "none",
    "n_threads": 2, "n_prompt": 0, "n_gen": 8, "n_depth": 32,
    "avg_ns": 1, "avg_ts": 15.000000, "stddev_ts": 5.000000,
    "samples_ns": [ 2, 1 ],
    "samples_ts": [ 10.0, 20.5 ]
  }
]
"#;

    /// What ik_llama.cpp prints, shortened.
    const IK: &str = r#"[
============ Repacked 211 tensors {
  {
    "build_commit": "8337e4c", "n_threads": 1, "n_prompt": 32, "n_gen": 8,
    "avg_ts": 15.000000, "test": "tg8@pp32"
,
    "samples_ts": [ 10, 30 ]
  }
]
"#;

    #[test]
    fn both_dialects_are_read() {
        let test = Test::Decode { tokens: 8, depth: 32 };
        let expected = Expected { test, threads: 2, filling: Filling::Depth };
        let sample = answer(LLAMA, &expected).unwrap();
        assert_eq!((sample.tokens_per_second, sample.build.as_deref()), (20.5, Some("0c1e570")));
        let other = Expected { threads: 1, ..expected };
        assert_eq!(answer(LLAMA, &other).unwrap_err(), "printed no result of this test");
        let expected = Expected { test, threads: 1, filling: Filling::Prompt };
        assert_eq!(answer(IK, &expected).unwrap().tokens_per_second, 30.0);
        for garbage in ["", "{", "[{}]", "\u{0}{\"n_prompt\": 1e999}"] {
            assert!(answer(garbage, &expected).is_err(), "{garbage}");
        }
        let zero = IK.replace("[ 10, 30 ]", "[ 0 ]");
        assert_eq!(answer(&zero, &expected).unwrap_err(), "printed 0 tokens per second");
    }

    #[test]
    fn a_peer_is_a_name_a_path_and_flags() {
        let peer: Peer = "ik -rtr 1=bin/llama-bench,-rtr,1".parse().unwrap();
        assert_eq!(
            (peer.name.as_str(), peer.path.to_str()),
            ("ik -rtr 1", Some("bin/llama-bench"))
        );
        assert_eq!(peer.flags, ["-rtr", "1"]);
        for wrong in ["llama-bench", "=x", "x=", "a|b=x", "mote=x", "a\n=x", "x=,-rtr"] {
            assert!(wrong.parse::<Peer>().is_err(), "{wrong}");
        }
    }
}
