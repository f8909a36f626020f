//! Exit codes, and what is said about failures.

use super::*;

/// Fails with this exit code, in one line; with --json, as one object with this word.
fn fails(args: &[&str], code: u8, word: &str) -> Value {
    let people = mote(args);
    assert_eq!(people.code, code, "{args:?}: {}", people.errors);
    assert!(people.errors.contains("error: "), "{args:?}: {}", people.errors);
    assert!(people.out.is_empty(), "{args:?}: {}", people.out);
    let programs = mote(&[args, &["--json"]].concat());
    assert_eq!(programs.code, code, "{args:?}: {}", programs.out);
    let report: Value = serde_json::from_str(&programs.out).unwrap();
    assert_eq!(keys(&report), ["error"]);
    assert_eq!(report["error"]["code"], word, "{args:?}: {report}");
    assert!(!report["error"]["message"].as_str().unwrap().is_empty());
    report["error"].clone()
}

#[test]
fn every_failure_has_its_code() {
    let (model, _) = baseline();
    let m = model.as_str();
    for path in ["no such file.gguf", "-", env!("CARGO_TARGET_TMPDIR")] {
        fails(&["inspect", path], 1, "io");
        fails(&["score", "-m", path, "-p", "a"], 1, "io");
    }
    fails(&["run", "-m", m, "-f", "no such file"], 1, "io");
    let damaged = file("damaged.gguf", &models::llama()[..3000]);
    for args in [&["inspect", &damaged][..], &["tokenize", "-m", &damaged, "-p", "a"]] {
        let error = fails(args, 4, "format");
        assert!(error["offset"].as_u64().unwrap() <= 3000, "{error}");
    }
    fails(&["inspect", &file("text.gguf", b"just a text")], 4, "format");
    let changed = [("general.architecture", "unheard-of")];
    let unknown = file("unknown.gguf", &models::with_strings(&models::llama(), &changed));
    let error = fails(&["run", "-m", &unknown, "a"], 3, "model");
    assert!(error["offset"].is_u64() && error["message"].as_str().unwrap().contains("unheard-of"));
    let vocabulary = file("only_vocabulary.gguf", &models::vocabulary(&models::llama()));
    fails(&["score", "-m", &vocabulary, "-p", "a"], 3, "model");
    fails(&["score", "-m", m, "--ids", "1,32"], 1, "text");
    fails(&["score", "-m", m, "--ids", ""], 1, "text");
    fails(&["run", "-m", m, "--ids", "4294967295"], 1, "text");
    fails(&["score", "-m", m, "--ids", "1,2,3", "--ctx", "2"], 1, "context");
    fails(&["run", "-m", m, "--ids", "1,2,3", "--ctx", "2"], 1, "context");
}

#[test]
fn models_lists_what_is_supported() {
    let report = mote(&["models", "--json"]).json();
    let names = |key: &str| -> Vec<String> {
        let name = |it: &Value| it.get("name").unwrap_or(it).as_str().unwrap().to_string();
        report[key].as_array().unwrap().iter().map(name).collect()
    };
    let architectures = mote_runtime::arch::ARCHITECTURES.iter().map(|it| it.name);
    assert!(architectures.eq(names("architectures")));
    assert!(mote_kernels::QuantType::ALL.iter().map(|kind| kind.name()).eq(names("encodings")));
    assert!(names("pre_tokenizers").contains(&"llama-bpe".to_string()));
    let outcome = mote(&["models"]);
    let text = outcome.text();
    let all = ["architectures", "encodings", "pre_tokenizers"].map(names).concat();
    assert!(all.iter().all(|name| text.contains(name.as_str())), "{text}");
    assert!(text.lines().all(|line| line.len() <= 100), "{text}");
}

#[test]
fn what_is_missing_is_named_and_the_nearest_that_is_not() {
    let message = |name: &str, bytes: &[u8]| {
        let error = fails(&["run", "-m", &file(name, bytes), "a"], 3, "model");
        error["message"].as_str().unwrap().to_string()
    };
    let changed = [("general.architecture", "llama4")];
    let said =
        message("other_architecture.gguf", &models::with_strings(&models::llama(), &changed));
    assert!(said.contains("'llama4'; the nearest that mote runs is llama (all: llama, "), "{said}");
}

#[test]
fn case_382_numbers_and_choices_that_cannot_be_are_named() {
    let (model, _) = baseline();
    let m = model.as_str();
    let run = |more: &[&'static str]| {
        let args = [&["run", "-m", m, "-p", "a"], more].concat();
        fails(&args, 2, "usage")["message"].as_str().unwrap().to_string()
    };
    for value in ["-5", "99999999999999999999", "1e3", "0x10", ""] {
        let message = run(&["-n", value]);
        assert!(message.contains("--tokens"), "{message}");
    }
    for (option, value) in [
        ("--temp", "nan"),
        ("--temp", "-1"),
        ("--top-p", "2"),
        ("--min-p", "nan"),
        ("--top-k", "-1"),
        ("--repetition-penalty", "0"),
        ("--frequency-penalty", "inf"),
        ("--threads", "0"),
        ("--batch", "0"),
        ("--ctx", "0"),
        ("--kv", "f64"),
        ("--activations", "4"),
        ("--target", "z80"),
        ("--stop", ""),
        ("--seed", "-1"),
    ] {
        assert!(run(&[option, value]).contains(option), "{option}");
    }
    assert!(run(&["--no-such-option"]).contains("--no-such-option"));
    assert!(run(&["--seed"]).contains("--seed"));
    assert!(run(&["--seed", "1", "--seed", "2"]).contains("--seed"));
    run(&["--ids", "1"]);
    fails(&["score", "-m", m, "--ids", "one"], 2, "usage");
    fails(&["score", "-p", "a"], 2, "usage");
    fails(&["perplexity", "-m", m, "-f", m, "-c", "2"], 2, "usage");
    fails(&["no-such-command"], 2, "usage");
    assert_eq!(mote(&[]).code, 2);
    for args in [&["--help"][..], &["run", "--help"], &["--version"]] {
        assert!(mote(args).text().contains("mote"), "{args:?}");
    }
}

/// Takes some bytes, then fails.
struct Narrow {
    left: usize,
    kind: io::ErrorKind,
}

impl Write for Narrow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(self.left);
        self.left -= n;
        if n == 0 && !bytes.is_empty() { Err(self.kind.into()) } else { Ok(n) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_output_that_fails_ends_the_command() {
    let (model, _) = baseline();
    let commands = [
        &["run", "-m", &model, "hello", "--ignore-eos"][..],
        &["run", "-m", &model, "hello", "--json"],
        &["inspect", &model],
        &["score", "-m", &model, "-p", "hello"],
        &["tokenize", "-m", &model, "-p", "hello", "--json"],
        &["--help"],
    ];
    for args in commands {
        for left in [0, 10] {
            let mut errors = Vec::new();
            let write = |kind, errors: &mut Vec<u8>| {
                mote_writing(args, &mut io::empty(), &mut Narrow { left, kind }, errors)
            };
            assert_eq!(write(io::ErrorKind::BrokenPipe, &mut errors), 141, "{args:?}");
            assert!(!String::from_utf8(errors.clone()).unwrap().contains("error"), "{args:?}");
            assert_eq!(write(io::ErrorKind::StorageFull, &mut errors), 1, "{args:?}");
        }
    }
}

#[test]
fn more_threads_than_cpus_are_reduced() {
    let (model, _) = baseline();
    let outcome = mote(&["score", "-m", &model, "-p", "a", "--threads", "100000"]);
    assert!(outcome.text().contains("perplexity") && outcome.errors.contains("note: "));
}

#[test]
fn nothing_typed_is_awaited() {
    let (model, _) = baseline();
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let args = ["mote", "run", "-m", &model].map(OsString::from);
    let terminal = Terminal { input: true, ..Terminal::default() };
    let mut streams =
        Streams { input: &mut io::empty(), output: &mut out, errors: &mut errors, terminal };
    assert_eq!(mote_tools::run(args, &mut streams), 2);
}

/// What a terminal would obey is shown to it, and goes to files as it is.
#[test]
fn a_text_drives_no_terminal() {
    let (model, _) = baseline();
    for output in [false, true] {
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let args = ["mote", "run", "-m", &model, "-n", "0", "--echo", "a\x1b[2J\n"];
        let terminal = Terminal { output, ..Terminal::default() };
        let mut streams =
            Streams { input: &mut io::empty(), output: &mut out, errors: &mut errors, terminal };
        assert_eq!(mote_tools::run(args.map(OsString::from), &mut streams), 0);
        let shown: &[u8] = if output { b"a\\u{1b}[2J\n" } else { b"a\x1b[2J\n" };
        assert_eq!(out, shown);
    }
}
