//! The binary among faults: tests/support/faulty.c stands between it and the system.

mod clocks;
mod kills;
mod memory;
mod operations;
mod surroundings;
mod threads;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use mote_tests::ngrams::ngram;

use crate::cli::{baseline, file, folder, mote, text};
use crate::manners::{checkpoint, prose};

const MOTE: &str = env!("CARGO_BIN_EXE_mote-for-tests");

/// What a job's file is called, if it writes one.
const OUTPUT: &str = "output";

/// What Rust's standard library says where a thread has no second stack.
const NO_SIGNAL_STACK: &str = "failed to allocate an alternative stack";

/// A command that is run among faults, in a folder of its own.
struct Job {
    name: &'static str,
    args: Vec<String>,
}

impl Job {
    fn new(name: &'static str, args: &[&str]) -> Job {
        Job { name, args: args.iter().map(|arg| (*arg).to_owned()).collect() }
    }

    fn writes(&self) -> bool {
        self.args.last().is_some_and(|last| last == OUTPUT)
    }

    /// The same with other numbers of threads.
    fn on_threads(&self, threads: &str) -> Job {
        let place = self.args.iter().position(|arg| arg == "-t");
        let mut args = self.args.clone();
        if let Some(place) = place {
            args[place + 1] = threads.to_owned();
        }
        Job { name: self.name, args }
    }

    /// Runs it in an empty folder, among `faults`: names and values of faulty.c's variables.
    fn run(&self, folder: &Path, faults: &[(&str, &str)]) -> Ended {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).unwrap();
        let log = folder.with_extension("log");
        let _ = fs::remove_file(&log);
        let mut command = Command::new(MOTE);
        command.args(&self.args).current_dir(folder).env("TMPDIR", folder).stdin(Stdio::null());
        command.env("LD_PRELOAD", library()).env("FAULT_LOG", &log).envs(faults.iter().copied());
        Ended::of(&command.env("RUST_BACKTRACE", "0").output().unwrap(), folder, &log)
    }
}

/// What a job left behind.
struct Ended {
    /// As a shell sees it.
    code: i32,
    out: Vec<u8>,
    errors: String,
    files: BTreeMap<String, Vec<u8>>,
    /// See FAULT_LOG.
    log: Vec<String>,
}

impl Ended {
    fn of(output: &Output, folder: &Path, log: &Path) -> Ended {
        let status = output.status;
        let files = fs::read_dir(folder).unwrap().map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(path).unwrap())
        });
        let log = fs::read_to_string(log).unwrap_or_default();
        Ended {
            code: status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap(),
            out: output.stdout.clone(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
            files: files.collect(),
            log: log.lines().map(str::to_owned).collect(),
        }
    }

    /// What faulty.c let fail, if it came to that.
    fn failed(&self) -> Option<&str> {
        self.log.iter().find_map(|line| line.strip_prefix("failed: "))
    }

    /// Either it did what it `usual`ly does, or it failed with one sentence; and whatever happened, its file is
    /// there whole or not at all. `what` tells which fault it was.
    fn check(&self, usual: &Ended, what: &str) {
        let errors = &self.errors;
        match self.code {
            0 => {
                // Who writes a file says how long that took.
                let is_same = self.out == usual.out || usual.output().is_some();
                // It says in its result that there is no memory to look at the model with.
                let out = String::from_utf8_lossy(&self.out);
                let says_so = what.starts_with("inspect:") && out.contains("cannot get");
                assert!(is_same || says_so, "{what}: another result: {out}");
                assert!(self.output() == usual.output(), "{what}: another file");
            }
            // A file that cannot be read is not for that a damaged one.
            1 | 5 => {
                let sentences = errors.lines().filter(|line| line.starts_with("error: "));
                assert_eq!(sentences.count(), 1, "{what}: {errors}");
                // But for a thread of Rust's standard library that has no stack to handle signals on.
                let is_no_stack = errors.contains(NO_SIGNAL_STACK);
                assert!(is_no_stack || !errors.contains("panicked"), "{what}: {errors}");
            }
            code => panic!("{what}: exit code {code}: {errors}"),
        }
        self.check_files(usual, what);
    }

    fn check_files(&self, usual: &Ended, what: &str) {
        let output = self.output();
        assert!(output.is_none() || output == usual.output(), "{what}: half a file");
    }

    fn output(&self) -> Option<&Vec<u8>> {
        self.files.get(OUTPUT)
    }

    /// Files that nobody asked for.
    fn left(&self) -> Vec<&str> {
        self.files.keys().map(String::as_str).filter(|name| *name != OUTPUT).collect()
    }
}

/// faulty.c, built once.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faulty.so");
        let source = mote_tests::shared::root().join("tests/support/faulty.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library);
        let built = compiler.arg(source).arg("-ldl").output().expect("a C compiler");
        assert!(built.status.success(), "{built:?}");
        library
    })
}

/// What the jobs read, made once.
struct Inputs {
    model: String,
    text: String,
    arpa: String,
    n_grams: String,
    /// Of the model's vocabulary.
    spare: String,
    session: String,
}

fn inputs() -> &'static Inputs {
    static INPUTS: OnceLock<Inputs> = OnceLock::new();
    INPUTS.get_or_init(|| {
        let inside = folder("faults-inputs");
        let place = |name: &str| text(&inside.join(name)).to_owned();
        let (model, _) = baseline();
        let ids: Vec<u32> = (0..300).map(|i| 3 + i * i % 29).collect();
        let inputs = Inputs {
            text: file("faults.txt", prose(300).as_bytes()),
            arpa: place("n-grams.arpa"),
            n_grams: place("n-grams.gguf"),
            spare: file("faults-spare.gguf", &ngram(&fs::read(&model).unwrap(), &ids, 3)),
            session: place("session"),
            model,
        };
        let Inputs { model, text, arpa, n_grams, session, .. } = &inputs;
        mote(&["ngram", "train", "-n", "2", text, "-o", n_grams, "--arpa", arpa]).text();
        mote(&["run", "-m", model, "-n", "3", "hello", "--save-session", session]).text();
        inputs
    })
}

/// Commands that write a file.
fn writers() -> Vec<Job> {
    let Inputs { model, text, arpa, n_grams, .. } = inputs();
    vec![
        Job::new("convert", &["convert", &checkpoint(), "-t", "1", "-o", OUTPUT]),
        Job::new("quantize", &["quantize", model, "Q8_0", "-t", "1", "-o", OUTPUT]),
        Job::new("train", &["ngram", "train", "-n", "2", text, "-t", "1", "-o", OUTPUT]),
        Job::new("to-arpa", &["ngram", "convert", n_grams, "-o", OUTPUT]),
        Job::new("from-arpa", &["ngram", "convert", arpa, "--force", "-o", OUTPUT]),
        Job::new(
            "save",
            &["run", "-m", model, "-n", "3", "-t", "1", "hello", "--save-session", OUTPUT],
        ),
    ]
}

/// Commands that write to the standard output alone.
fn readers() -> Vec<Job> {
    let Inputs { model, session, text, .. } = inputs();
    vec![
        Job::new("load", &["run", "-m", model, "-n", "3", "-t", "1", "--load-session", session]),
        Job::new("copy", &["run", "--copy", "-m", model, "-n", "3", "-t", "1", "hello"]),
        Job::new("tokenize", &["tokenize", "-m", model, "-f", text]),
        Job::new("verify", &["verify", model]),
        Job::new("inspect", &["inspect", model]),
    ]
}

/// Does `work` on all items, on as many threads as there are CPUs, up to four.
fn for_each<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item);
                }
            });
        }
    });
}
