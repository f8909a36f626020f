//! Files that are read and written.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use mote_tools::streams::{Streams, Terminal};

use super::{checkpoint, prose};
use crate::cli::{baseline, file, folder, mote, mote_reading, text};

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Exit code 1, one line, which is an error.
fn fails(args: &[&str]) {
    let outcome = mote(args);
    assert_eq!(outcome.code, 1, "{args:?}: {}", outcome.errors);
    let mut lines = outcome.errors.lines().filter(|line| !line.starts_with("note: "));
    assert!(lines.next().is_some_and(|line| line.starts_with("error: ")), "{}", outcome.errors);
    assert_eq!((lines.next(), outcome.out.as_str()), (None, ""), "{args:?}");
}

#[test]
fn case_383_models_that_cannot_be_opened() {
    let inside = folder("case-383");
    let (missing, closed) = (inside.join("missing.gguf"), inside.join("closed.gguf"));
    fs::copy(baseline().0, &closed).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    }
    let mut paths = vec![text(&missing), text(&inside), "-"];
    // The superuser may read everything.
    if fs::File::open(&closed).is_err() {
        paths.push(text(&closed));
    }
    for path in paths {
        for args in
            [&["inspect", path][..], &["run", "-m", path, "a"], &["score", "-m", path, "-p", "a"]]
        {
            fails(args);
        }
    }
}

#[test]
fn case_384_prompts_from_files() {
    let (model, _) = baseline();
    let run = |name: &str, bytes: &[u8]| {
        let path = file(name, bytes);
        mote(&["run", "-m", &model, "-n", "1", "-f", &path]).code
    };
    assert_eq!(run("case-384-empty", b""), 0, "the model begins a text");
    assert_eq!(run("case-384-bytes", b"a\xff\xfe\xc0\x80 b"), 0);
    assert_eq!(run("case-384-nul", b"a\0b"), 0);
    // Longer than any text, of which nothing is read.
    let large = file("case-384-large", b"");
    fs::OpenOptions::new().write(true).open(&large).unwrap().set_len((1 << 30) + 1).unwrap();
    let start = Instant::now();
    fails(&["run", "-m", &model, "-n", "1", "-f", &large]);
    fails(&["perplexity", "-m", &model, "-f", &large]);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    fs::remove_file(large).unwrap();
    assert_eq!(mote_reading(&["run", "-m", &model, "-n", "1"], b"").code, 0);
}

#[test]
fn case_384_a_terminal_that_is_closed_at_once() {
    let (model, _) = baseline();
    for (args, wanted) in [(&["run", "-m", &model][..], 2), (&["score", "-m", &model], 2)] {
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let terminal = Terminal { input: true, ..Terminal::default() };
        let input = &mut std::io::empty();
        let streams = &mut Streams { input, output: &mut output, errors: &mut errors, terminal };
        let args = ["mote"].iter().chain(args).map(std::ffi::OsString::from);
        assert_eq!(mote_tools::run(args, streams), wanted);
        assert!(output.is_empty());
    }
}

#[test]
fn case_388_every_malformed_file_is_inspected() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("case-388.gguf");
    let mut seen = 0;
    for (id, bytes) in crate::gguf_malformed::files() {
        fs::write(&path, bytes).unwrap();
        let start = Instant::now();
        let outcome = mote(&["inspect", text(&path)]);
        assert!([0, 1, 3, 4].contains(&outcome.code), "{id}: {} {}", outcome.code, outcome.errors);
        assert!(start.elapsed() < Duration::from_secs(1), "{id}: {:?}", start.elapsed());
        let shown = outcome.out + &outcome.errors;
        let drives = |c: char| c.is_control() && c != '\n';
        assert!(!shown.contains(drives), "{id}: {shown:?}");
        seen += 1;
    }
    assert!(seen >= 181, "{seen}");
}

/// Commands that write a file: what they are called with, and the option that names it.
fn writers(inside: &Path) -> Vec<(Vec<String>, &'static str)> {
    let words = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
    let prose = file("case-389.txt", prose(400).as_bytes());
    let arpa = inside.join("input.arpa");
    let made = mote(&["ngram", "train", "-n", "2", &prose, "--arpa", text(&arpa)]);
    assert_eq!(made.code, 0, "{}", made.errors);
    vec![
        (words(&["ngram", "train", "-n", "2", &prose]), "--output"),
        (words(&["ngram", "train", "-n", "2", &prose]), "--arpa"),
        (words(&["ngram", "convert", text(&arpa)]), "--output"),
        (words(&["convert", &checkpoint()]), "--output"),
    ]
}

#[test]
fn case_389_outputs_that_must_not_be_written() {
    let inside = folder("case-389");
    let there = inside.join("there");
    fs::write(&there, "somebody's").unwrap();
    let writers = writers(&inside);
    let before = names(&inside);
    for (args, option) in writers {
        let to = |path: &Path| {
            let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
            args.extend([option, text(path)]);
            fails(&args);
        };
        to(&there);
        to(&inside.join("input.arpa"));
        to(&inside.join("no/such/folder"));
        // Whoever may write everywhere cannot write into what is no folder.
        to(&there.join("file"));
        to(&inside);
        #[cfg(target_os = "linux")]
        to(Path::new("/proc/mote"));
    }
    assert_eq!(names(&inside), before);
    assert_eq!(fs::read(&there).unwrap(), b"somebody's");
}

/// The input as the output: with --force, it is replaced when all of it was read.
#[test]
fn case_389_the_input_is_replaced_whole_or_not_at_all() {
    let inside = folder("case-389-input");
    let (arpa, model) = (inside.join("lm.arpa"), inside.join("lm.gguf"));
    let prose = file("case-389-input.txt", prose(400).as_bytes());
    let args = ["ngram", "train", "-n", "2", &prose, "--arpa", text(&arpa), "-o", text(&model)];
    assert_eq!(mote(&args).code, 0);
    let other = inside.join("other.gguf");
    mote(&["ngram", "convert", text(&arpa), "-o", text(&other)]).text();
    mote(&["ngram", "convert", text(&arpa), "-o", text(&arpa), "--force"]).text();
    assert_eq!(fs::read(&arpa).unwrap(), fs::read(&other).unwrap());
    mote(&["ngram", "convert", text(&model), "-o", text(&model), "--force"]).text();
    assert!(fs::read(&model).unwrap().starts_with(b"\\data\\"));
}

#[test]
fn case_395_two_runs_with_one_output() {
    let inside = folder("case-395");
    for (n, (args, option)) in writers(&inside).into_iter().enumerate() {
        let alone = inside.join(format!("alone-{n}"));
        let run = |path: &Path| {
            let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
            args.extend([option, text(path)]);
            mote(&args).code
        };
        assert_eq!(run(&alone), 0);
        for round in 0..10 {
            let path = inside.join(format!("both-{n}-{round}"));
            let mut codes = std::thread::scope(|scope| {
                let other = scope.spawn(|| run(&path));
                [run(&path), other.join().unwrap()]
            });
            codes.sort();
            assert_eq!(codes, [0, 1], "one wins, the other fails");
            assert_eq!(fs::read(&path).unwrap(), fs::read(&alone).unwrap());
        }
    }
    assert!(!names(&inside).iter().any(|name| name.starts_with('.')), "{:?}", names(&inside));
}

/// What a file is that is no GGUF, and who takes it.
#[test]
fn files_of_other_formats_are_recognised() {
    let folder = mote_tests::shared::root().join("tests/fixtures");
    let path = |name: &str| text(&folder.join(name)).to_owned();
    for (path, wanted) in [
        (path("checkpoint/model.safetensors"), "mote convert"),
        (path("checkpoint/tokenizer.json"), "mote convert"),
        (path("ngram/tiny/lmplz.order3.arpa"), "mote ngram convert"),
        (file("other-format.zip", b"PK\x03\x04aaaaaaaaaaaaaaaaaaaaaaa"), "zip"),
        (file("other-format.bin", b"\x80\x02}q\0aaaaaaaaaaaaaaaaaaaaaa"), "pickle"),
        (file("other-format.gz", b"\x1f\x8b\x08\0aaaaaaaaaaaaaaaaaaaaa"), "gzip"),
        (file("other-format.html", b"<!DOCTYPE html><html></html>"), "web page"),
        (file("other-format.lfs", b"version https://git-lfs.example/spec/v1\n"), "LFS pointer"),
        (file("other-format.ggml", b"tjgg\x03\0\0\0aaaaaaaaaaaaaaaaaaaa"), "predecessors"),
        (file("other-format.txt", b"Once upon a time there was a file"), "not a GGUF file"),
    ] {
        for args in [&["inspect", &path][..], &["run", "-m", &path, "a"]] {
            let outcome = mote(args);
            assert_eq!(outcome.code, 4, "{args:?}: {}", outcome.errors);
            assert!(outcome.errors.contains(wanted), "{args:?}: {}", outcome.errors);
        }
    }
    let checkpoint = mote(&["run", "-m", &path("checkpoint"), "a"]);
    assert!(checkpoint.code == 1 && checkpoint.errors.contains("mote convert"));
    let changed = [("general.architecture", "unheard-of")];
    let model = mote_tests::models::llama();
    let unknown = file("other-kind.gguf", &mote_tests::models::with_strings(&model, &changed));
    let outcome = mote(&["run", "-m", &unknown, "a"]);
    assert_eq!(outcome.code, 3);
    for architecture in mote_runtime::arch::ARCHITECTURES {
        assert!(outcome.errors.contains(architecture.name), "{}", outcome.errors);
    }
}
