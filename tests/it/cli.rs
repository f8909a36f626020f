//! The binary `mote`, in this process: arguments and streams in, results, JSON keys and exit codes
//! out.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use mote_kernels::arch;
use mote_tests::models;
use mote_tests::shared::{json, root};
use mote_tools::streams::{Streams, Terminal};
use serde_json::Value;

mod batch;
mod constrained;
mod divergence;
mod errors;
mod fallback;
mod files;
mod golden;
mod numbers;
mod pictures;
mod sessions;
mod text;
mod textbook;
mod verbose;

/// What a command left behind.
pub(crate) struct Outcome {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) errors: String,
}

impl Outcome {
    /// The result as JSON, of a command that went well.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{} {}", self.out, self.errors);
        serde_json::from_str(&self.out).unwrap()
    }

    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    pub(crate) fn out(&self) -> &str {
        &self.out
    }

    pub(crate) fn errors(&self) -> &str {
        &self.errors
    }

    pub(crate) fn text(&self) -> &str {
        assert_eq!(self.code, 0, "{} {}", self.out, self.errors);
        &self.out
    }
}

pub(crate) fn mote(args: &[&str]) -> Outcome {
    mote_reading(args, b"")
}

pub(crate) fn mote_reading(args: &[&str], mut input: &[u8]) -> Outcome {
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let code = mote_writing(args, &mut input, &mut out, &mut errors);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Outcome { code, out: text(out), errors: text(errors) }
}

pub(crate) fn mote_writing(
    args: &[&str],
    input: &mut dyn io::Read,
    output: &mut dyn Write,
    errors: &mut dyn Write,
) -> u8 {
    let args = ["mote"].iter().chain(args).map(OsString::from);
    let terminal = Terminal::default();
    mote_tools::run(args, &mut Streams { input, output, errors, terminal })
}

/// A file for one test. The name is the test's own, or its bytes are always the same: whoever reads
/// it meanwhile finds all of it.
pub(crate) fn file(name: &str, bytes: &[u8]) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let begun = path.with_file_name(format!("{name}.{:?}", std::thread::current().id()));
    std::fs::write(&begun, bytes).unwrap();
    std::fs::rename(&begun, &path).unwrap();
    path.into_os_string().into_string().unwrap()
}

/// The tiny llama, and what is known about it.
pub(crate) fn baseline() -> (String, Value) {
    let folder = root().join("tests/fixtures/malformed");
    let manifest = json(&folder.join("manifest.json"));
    let path = folder.join("ok_baseline.gguf").into_os_string().into_string().unwrap();
    (path, manifest["baseline"].clone())
}

/// In the order of the alphabet: whether serde_json keeps another depends on the crates around it.
pub(crate) fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

fn joined(ids: &Value) -> String {
    let ids: Vec<String> = ids.as_array().unwrap().iter().map(Value::to_string).collect();
    ids.join(",")
}

/// An empty folder for one test.
pub(crate) fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
