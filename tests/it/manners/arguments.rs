//! What a command line may say.

use clap::{Arg, ArgAction, Command};

use super::{leaves, strs};
use crate::cli::{baseline, file, mote, mote_reading};

/// Options as they are typed.
fn options(command: &Command) -> impl Iterator<Item = (String, &Arg)> {
    let long = |arg: &Arg| arg.get_long().map(|long| format!("--{long}"));
    command.get_arguments().filter_map(move |arg| Some((long(arg)?, arg)))
}

/// Wrong arguments: exit code 2, nothing on the output, the option named.
fn refused(words: &[&str], named: &str) {
    let outcome = mote(words);
    assert_eq!(outcome.code, 2, "{words:?}: {} {}", outcome.out, outcome.errors);
    assert!(outcome.out.is_empty(), "{words:?}: {}", outcome.out);
    assert!(outcome.errors.contains(named), "{words:?}: {}", outcome.errors);
}

#[test]
fn case_381_no_arguments_and_unknown_ones() {
    for words in [&[][..], &["ngram"], &["ngram", "train", "--no-such-option"]] {
        refused(words, "Usage");
    }
    refused(&["no-such-command"], "no-such-command");
    for (words, _) in leaves() {
        let words = strs(&words);
        refused(&[&words[..], &["--no-such-option"]].concat(), "--no-such-option");
        refused(&[&words[..], &["-?"]].concat(), "-?");
    }
}

#[test]
fn case_381_options_without_values_and_twice() {
    let mut seen = 0;
    for (words, command) in leaves() {
        let words = strs(&words);
        for (option, arg) in options(&command) {
            let takes_value = arg.get_action().takes_values();
            if takes_value && arg.get_num_args().is_none_or(|n| n.min_values() > 0) {
                refused(&[&words[..], &[&option]].concat(), &option);
            }
            // With --json and --json-stream, the error is JSON.
            let is_json = ["--json", "--json-stream"].contains(&option.as_str());
            if matches!(arg.get_action(), ArgAction::SetTrue) && !is_json {
                refused(&[&words[..], &[&option, &option]].concat(), &option);
            }
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen} options");
    refused(&["run", "--seed", "1", "--seed", "2"], "--seed");
}

#[test]
fn case_381_two_hyphens_end_the_options() {
    let (model, _) = baseline();
    let ids = |words: &[&str]| {
        mote(&[&["tokenize", "-m", &model, "--json"], words].concat()).json()["ids"].clone()
    };
    let written = |words: &[&str]| {
        let args = [&["run", "-m", &model, "-n", "0", "--echo"], words].concat();
        mote(&args).text().to_owned()
    };
    assert_eq!(written(&["--", "--json"]), "--json");
    assert_eq!(written(&["--", "-n"]), "-n");
    assert_eq!(written(&["-p", "-n"]), "-n");
    assert_eq!(ids(&["-p", "--json"]), ids(&["--prompt=--json"]));
    refused(&["run", "-m", &model, "-n", "1", "--", "a", "b"], "b");
}

/// Of every option that takes a whole number.
#[test]
fn case_382_numbers_of_every_command() {
    let mut seen = 0;
    for (words, command) in leaves() {
        for (option, arg) in options(&command) {
            let names = arg.get_value_names().unwrap_or_default();
            // A list that may be followed by files takes any word.
            let is_list = arg.get_num_args().is_some_and(|n| n.max_values() > 1);
            if !names.iter().any(|name| name.as_str() == "N") || is_list {
                continue;
            }
            seen += 1;
            for number in ["-5", "99999999999999999999", "1e3", "0x10", "", "nan", "1,,2"] {
                let given = format!("{option}={number}");
                refused(&[&strs(&words)[..], &[&given]].concat(), &option);
            }
        }
    }
    assert!(seen > 10, "{seen} options");
}

#[test]
fn case_393_an_argument_of_a_megabyte() {
    let (model, _) = baseline();
    let long = "a ".repeat(1 << 19);
    let counted = mote(&["tokenize", "-m", &model, "--json", "-p", &long]).json();
    assert!(counted["ids"].as_array().unwrap().len() >= 1 << 19);
    let refused = mote(&["run", "-m", &model, "-c", "16", "-p", &long]);
    assert_eq!(refused.code, 1, "{}", refused.errors);
    let path = mote(&["inspect", &long]);
    assert_eq!(path.code, 1);
    assert!(path.errors.len() < long.len() + 200, "it is said once");
    refused_quietly(&["run", "-m", &model, "-n", &long]);
}

/// A wrong argument, however long.
fn refused_quietly(words: &[&str]) {
    assert_eq!(mote_reading(words, b"").code, 2);
}

/// A path is bytes, and what is said about it drives no terminal.
#[cfg(unix)]
#[test]
fn case_393_paths_that_are_not_text() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use mote_tools::streams::{Streams, Terminal};

    let run = |args: &[&OsString]| {
        let program = OsString::from("mote");
        let args = [&program].into_iter().chain(args.iter().copied()).cloned();
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let (input, terminal) = (&mut std::io::empty(), Terminal::default());
        let streams = &mut Streams { input, output: &mut output, errors: &mut errors, terminal };
        let code = mote_tools::run(args, streams);
        (code, output, errors)
    };
    let (model, _) = baseline();
    let folder = std::path::PathBuf::from(file("not-text-", b"")).with_file_name("not-text");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(OsString::from_vec(b"caf\xe9 \x1b[2J.gguf".to_vec())).into_os_string();
    std::fs::copy(&model, &path).unwrap();
    let inspect = OsString::from("inspect");
    let (code, output, _) = run(&[&inspect, &path]);
    assert_eq!(code, 0);
    assert!(!output.contains(&0x1b) && String::from_utf8(output).is_ok());
    std::fs::remove_file(&path).unwrap();
    let (code, _, errors) = run(&[&inspect, &path]);
    let errors = String::from_utf8(errors).unwrap();
    assert!(code == 1 && errors.contains("caf\\xe9 \\u{1b}[2J"), "{errors}");
    let (code, output, _) = run(&[&inspect, &path, &OsString::from("--json")]);
    assert_eq!(code, 1);
    let report: serde_json::Value = serde_json::from_slice(&output).unwrap();
    assert!(report["error"]["message"].as_str().unwrap().contains("caf\\xe9"));
}
