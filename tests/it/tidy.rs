//! The project's own rules, as DESIGN has them: where unsafe code may stand, which crate may know
//! which, who may name an architecture, how long a file may get, what a library must not do.
//!
//! Rules about code look at code only: [`source::code`] blanks comments, and string literals where asked.

mod source;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use source::{Strings, code, has_word, numbered, starts_a_path, without_unit_tests};

/// Where unsafe code may stand; everywhere else the workspace denies it. A `/` at the end: the
/// whole folder.
const UNSAFE_ADDRESSES: &[&str] = &[
    "kernels/src/table.rs",
    "kernels/src/cast.rs",
    "kernels/src/arch/",
    "formats/src/mmap.rs",
    "formats/src/guard.rs",
    "runtime/src/executor.rs",
    "runtime/src/threads.rs",
    "runtime/capi/src/",
    "tests/support/",
    "runtime/examples/",
];

/// Which of the workspace's crates each member may depend on. Nobody may depend on the tests.
const ARROWS: &[(&str, &[&str])] = &[
    ("kernels", &[]),
    ("formats", &["mote-kernels"]),
    ("runtime", &["mote-kernels", "mote-formats"]),
    ("runtime/capi", &["mote-kernels", "mote-formats", "mote-runtime"]),
    ("tools", &["mote-kernels", "mote-formats", "mote-runtime"]),
    ("tests", &["mote-kernels", "mote-formats", "mote-runtime", "mote-capi", "mote-tools"]),
];

/// The crates that print nothing and work without std.
const LIBRARIES: &[&str] = &["kernels/src/", "formats/src/", "runtime/src/"];

/// The tokenizer's files share names with architectures: GGUF calls SentencePiece "llama".
const MAY_NAME_ARCHITECTURES: &[&str] = &[
    "runtime/src/arch/",
    "runtime/src/tokenizer/",
    "formats/src/hf/tokenizer/",
    "tools/src/convert/arch/",
    // Checkpoints of a program that knows one architecture.
    "tools/src/convert/llama2c.rs",
];

/// Of the tools, what must not name them either: checkpoints of a new one are a file and two lines.
const CONVERTER: &str = "tools/src/convert/";

const MAX_LINES: usize = 800;

// Written in two pieces, so that this file does not break its own rules.
const UNFINISHED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME")];
const MACHINE_PATHS: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/tm", "p/w"), concat!("/ro", "ot/")];

#[test]
fn unsafe_code_stands_only_at_its_addresses() {
    check(|file, broken| {
        if !file.is_rust() || file.is_under(UNSAFE_ADDRESSES) {
            return;
        }
        for (number, line) in numbered(&code(&file.text, Strings::Blank)) {
            let allows = ["allow", "expect", "warn"].iter().any(|level| has_word(line, level))
                && has_word(line, "unsafe_code");
            if allows || has_word(line, "unsafe") {
                broken(number, "unsafe code outside the listed addresses");
            }
        }
    });
}

#[test]
fn dependencies_point_one_way() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest.lines().find(|line| line.starts_with("members")).unwrap();
    for member in members.split('"').skip(1).step_by(2) {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == member) else {
            panic!("{member} has no entry in ARROWS: which crates may it know?");
        };
        let manifest = fs::read_to_string(root().join(member).join("Cargo.toml")).unwrap();
        for dependency in own_dependencies(&manifest) {
            assert!(allowed.contains(&dependency), "{member} must not depend on {dependency}");
        }
    }
}

/// Terminals are cut at a hundred columns where they are wider: what is longer would leave stumps. What is one
/// word, such as a checksum, may be longer.
#[test]
fn help_texts_fit_their_width() {
    check(|file, report| {
        if !(file.is_rust() && file.name.starts_with("tools/src/")) {
            return;
        }
        let mut in_help = false;
        for (number, line) in numbered(&file.text) {
            in_help |= line.contains("after_help = \"\\");
            let is_long = line.chars().count() > 100 && line.split(' ').all(|word| word.len() < 60);
            if in_help && is_long {
                report(number, "longer than 100 characters");
            }
            in_help &= !line.ends_with("\")]");
        }
    });
}

/// A second architecture is one file plus two lines only as long as nobody else knows its name.
#[test]
fn architectures_are_named_only_in_their_folder() {
    let names: Vec<String> = fs::read_dir(root().join("runtime/src/arch"))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| name != "mod")
        .collect();
    check(|file, broken| {
        let must_not = file.is_library_code() || file.is_under(&[CONVERTER]);
        if !must_not || file.is_under(MAY_NAME_ARCHITECTURES) {
            return;
        }
        for (number, line) in numbered(without_unit_tests(&code(&file.text, Strings::Keep))) {
            // A program's name, not an architecture's.
            let line = line.replace("llama.cpp", "");
            for name in names.iter().filter(|name| has_word(&line, name)) {
                broken(number, &format!("names the architecture {name}"));
            }
        }
    });
}

#[test]
fn files_stay_short() {
    check(|file, broken| {
        let lines = file.text.lines().count();
        if file.is_source() && lines > MAX_LINES {
            broken(lines, "longer than 800 lines");
        }
    });
}

#[test]
fn libraries_print_nothing() {
    check(|file, broken| {
        if !file.is_library_code() {
            return;
        }
        for (number, line) in numbered(without_unit_tests(&code(&file.text, Strings::Blank))) {
            let printers = ["print!", "println!", "eprint!", "eprintln!", "dbg!"];
            if printers.iter().any(|printer| has_word(line, printer)) {
                broken(number, "a library that prints");
            }
        }
    });
}

/// A library does what its caller says. What the tools read, `mote --help` lists.
#[test]
fn libraries_read_no_environment_and_help_lists_what_the_tools_read() {
    let help = mote_tools::command().render_help().to_string();
    check(|file, broken| {
        let is_tool = file.name.starts_with("tools/src/");
        if !(file.is_library_code() || file.name.starts_with("runtime/capi/src/") || is_tool) {
            return;
        }
        for (number, line) in numbered(without_unit_tests(&code(&file.text, Strings::Keep))) {
            let readers = ["env::var", "env::var_os", "env::vars", "env::vars_os"];
            let reads = readers.iter().any(|reader| has_word(line, reader));
            if reads && !is_tool {
                broken(number, "a library that reads the environment");
            }
            let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            let is_name = |word: &&str| {
                let is_upper = word.len() > 3 && !word.contains(|c: char| c.is_ascii_lowercase());
                is_upper && (word.starts_with("MOTE_") || (reads && line.contains('"')))
            };
            for name in words.filter(is_name).filter(|_| is_tool) {
                if !help.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|it| it == name) {
                    broken(number, &format!("{name} is not listed by tools/src/environment.rs"));
                }
            }
        }
    });
}

/// Builds for bare targets find a `std` that crept in; an `alloc` they would link.
#[test]
fn the_heap_is_behind_a_feature() {
    check(|file, broken| {
        if !file.is_rust() || !file.is_under(LIBRARIES) {
            return;
        }
        let text = code(&file.text, Strings::Keep);
        if file.name.ends_with("src/lib.rs") && !text.contains("\n#![no_std]") {
            broken(1, "not no_std");
        }
        let mut previous = "";
        for (number, line) in numbered(&text).filter(|(_, line)| !line.trim().is_empty()) {
            if line.contains("extern crate") && !previous.trim().starts_with("#[cfg(") {
                broken(number, "an extern crate without a feature");
            }
            if has_word(line, "extern crate alloc") && file.name.starts_with("kernels/") {
                broken(number, "the kernels know no heap");
            }
            previous = line;
        }
    });
}

#[test]
fn nothing_is_left_undone() {
    check(|file, broken| {
        if file.is_under(&["tests/fixtures/"]) {
            return;
        }
        for (number, line) in numbered(&file.text) {
            if UNFINISHED.iter().any(|word| has_word(line, word)) {
                broken(number, "left undone");
            }
        }
    });
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    check(|file, broken| {
        for (number, line) in numbered(&file.text) {
            if MACHINE_PATHS.iter().any(|path| starts_a_path(line, path)) {
                broken(number, "a path of somebody's machine");
            }
        }
    });
}

#[test]
fn every_fixture_has_its_origin() {
    let mut broken = Vec::new();
    for path in project_files() {
        let Some(rest) = path.strip_prefix("tests/fixtures/") else { continue };
        let folder = rest.split_once('/').map_or("", |(folder, _)| folder);
        let readme = Path::new("tests/fixtures").join(folder).join("README.md");
        let text = fs::read_to_string(root().join(&readme)).unwrap_or_default().to_lowercase();
        if !text.contains("origin") {
            broken.push(format!("{path}: {} does not tell its origin", readme.display()));
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

// ---- The project's files

struct File {
    /// From the workspace root, with forward slashes.
    name: String,
    text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        self.name.ends_with(".rs")
    }

    fn is_source(&self) -> bool {
        let extension = Path::new(&self.name).extension().and_then(|e| e.to_str());
        matches!(extension, Some("rs" | "sh" | "c" | "h" | "hpp" | "cpp" | "py"))
    }

    /// Unit tests in files of their own do not count.
    fn is_library_code(&self) -> bool {
        self.is_rust()
            && self.is_under(LIBRARIES)
            && !self.name.contains("/tests/")
            && !self.name.ends_with("/tests.rs")
    }

    fn is_under(&self, places: &[&str]) -> bool {
        places.iter().any(|place| match place.ends_with('/') {
            true => self.name.starts_with(place),
            false => self.name == *place,
        })
    }
}

/// Runs a rule over every text file; fails with all the places where it is broken.
fn check(rule: impl Fn(&File, &mut dyn FnMut(usize, &str))) {
    let mut broken = Vec::new();
    let mut seen = 0;
    for name in project_files() {
        // Binary fixtures are not text; a file deleted but not yet committed is not there.
        let Ok(text) = fs::read_to_string(root().join(&name)) else { continue };
        let file = File { name, text };
        seen += 1;
        let mut report = |line, what: &str| broken.push(format!("{}:{line}: {what}", file.name));
        rule(&file, &mut report);
    }
    assert!(seen > 10, "only {seen} files found: is {} the project?", root().display());
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What git tracks, so that somebody's notes beside it break no rule; without git, all files.
fn project_files() -> Vec<String> {
    let listing = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    if let Ok(output) = listing
        && output.status.success()
        && !output.stdout.is_empty()
    {
        let names = String::from_utf8(output.stdout).unwrap();
        return names.split_terminator('\0').map(str::to_owned).collect();
    }
    let mut files = Vec::new();
    walk(&root(), &mut files);
    files
}

fn walk(folder: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if path.is_dir() {
            if name != ".git" && name != ".venv" && name != "target" && name != "models" {
                walk(&path, files);
            }
        } else {
            let relative = path.strip_prefix(root()).unwrap().to_str().unwrap();
            files.push(relative.replace('\\', "/"));
        }
    }
}

/// The names of the workspace's crates in all the dependency tables of a manifest.
fn own_dependencies(manifest: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut in_dependencies = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            in_dependencies = section.ends_with("dependencies");
            // [dependencies.NAME]
            if let Some((_, name)) = section.split_once("dependencies.") {
                found.push(name);
            }
        } else if in_dependencies && !line.starts_with('#') {
            found.extend(line.split(['.', '=', ' ']).next());
        }
    }
    found.retain(|name| name.starts_with("mote-"));
    found
}
