//! What only a process of its own shows: closed streams, signals, full disks, calls that are cut short.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use super::{checkpoint, prose};
use crate::cli::{baseline, file, folder, text};

const MOTE: &str = env!("CARGO_BIN_EXE_mote-for-tests");

/// A command of the shell with the program as `$0` and arguments as `$1` and so on.
fn shell(script: &str, args: &[&str]) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", script, MOTE]).args(args);
    shell
}

fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (exit_code(status), text(stdout), text(stderr))
}

/// As a shell sees it.
fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap()
}

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

/// Commands that write a file, but for its name, with their inputs.
fn writers(name: &str, words: usize) -> Vec<Vec<String>> {
    let words_of = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
    let prose = file(&format!("{name}.txt"), prose(words).as_bytes());
    let arpa = format!("{prose}.arpa");
    let train = ["ngram", "train", "-n", "3", &prose, "--force", "-t", "2"];
    let made = Command::new(MOTE).args(train).args(["--arpa", &arpa]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    vec![
        words_of(&[&train[..], &["--memory", "1M", "--output"]].concat()),
        words_of(&[&train[..], &["--arpa"]].concat()),
        words_of(&["ngram", "convert", &arpa, "--force", "--output"]),
        words_of(&["convert", &checkpoint(), "--force", "--output"]),
    ]
}

fn strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

#[test]
fn case_383_pipes_are_no_models() {
    let fifo = folder("case-383-fifo").join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for path in [text(&fifo), "/dev/stdin", "/dev/null", "/dev/tty"] {
        for args in [&["inspect", path][..], &["run", "-n", "1", "a", "-m", path]] {
            let (code, out, errors) =
                run(shell("exec timeout 20 \"$0\" \"$@\" < /dev/null", args).stdin(Stdio::piped()));
            assert_eq!(
                (code, errors.lines().count(), out.as_str()),
                (1, 1, ""),
                "{args:?}: {errors}"
            );
        }
    }
    let (model, _) = baseline();
    let (code, _, errors) = run(&mut shell("cat \"$1\" | \"$0\" inspect /dev/stdin", &[&model]));
    assert_eq!((code, errors.lines().count()), (1, 1), "{errors}");
}

#[test]
fn case_385_outputs_that_take_nothing() {
    let (model, _) = baseline();
    let commands = [
        &["run", "-m", &model, "-n", "400", "-c", "500", "--ignore-eos", "hello"][..],
        &["inspect", &model],
        &["score", "-m", &model, "-p", "hello", "--json"],
        &["--help"],
        &["completions", "bash"],
        &["man"],
    ];
    for args in commands {
        let (code, _, errors) = run(&mut shell("exec \"$0\" \"$@\" > /dev/full", args));
        assert_eq!(code, 1, "{args:?}: {errors}");
        assert!(!errors.contains("panic"), "{errors}");
        // Ten bytes are read, then the pipe is closed. More than it holds are written, or nobody sees.
        let script = "{ \"$0\" \"$@\"; echo $? >&2; } | head -c 10 > /dev/null";
        let (_, _, errors) = run(&mut shell(script, args));
        let code = errors.lines().last().unwrap();
        assert!(code == "141" || code == "0", "{args:?}: {errors}");
        assert!(!errors.contains("panic") && !errors.contains("error"), "{errors}");
        // The standard library opens the null device in the place of what is closed.
        let (code, _, errors) = run(&mut shell("exec \"$0\" \"$@\" >&-", args));
        assert!(code == 0 && !errors.contains("panic"), "{args:?}: {code} {errors}");
        let (code, _, _) = run(&mut shell("exec \"$0\" \"$@\" 2>&-", args));
        assert_eq!(code, 0, "errors that nobody reads are none");
    }
    let (code, ..) = run(&mut shell("exec \"$0\" inspect nothing 2>/dev/full", &[]));
    assert_eq!(code, 1);
}

/// Certain to be noticed: the reader is gone before anything is written.
#[test]
fn case_385_a_pipe_without_a_reader() {
    let (model, _) = baseline();
    let script = "{ sleep 0.3; \"$0\" \"$@\"; echo $? >&2; } | true";
    for args in [&["inspect", &model][..], &["run", "-m", &model, "-n", "2", "a"], &["--version"]] {
        let (_, _, errors) = run(&mut shell(script, args));
        assert_eq!(errors.lines().last(), Some("141"), "{args:?}: {errors}");
        assert!(!errors.contains("panic") && !errors.contains("error"), "{errors}");
    }
}

#[test]
fn case_386_bare_surroundings() {
    let (model, _) = baseline();
    let inside = folder("case-386");
    let lm = inside.join("lm.gguf");
    let prose = file("case-386.txt", prose(300).as_bytes());
    let train = ["ngram", "train", "-n", "2", &prose, "--force", "-o", text(&lm)];
    let score = ["score", "-m", &model, "-p", "hello", "--hash", "--json"];
    let (_, usual, _) = run(Command::new(MOTE).args(score));
    for script in [
        "exec \"$0\" \"$@\" <&-",
        "HOME= TMPDIR=/no/such/folder exec \"$0\" \"$@\"",
        "cd / && exec \"$0\" \"$@\"",
    ] {
        for empty in [true, false] {
            let mut command = shell(script, &score);
            if empty {
                command.env_clear();
            } else {
                command.envs([("LC_ALL", "C"), ("LANG", "xx_XX.nothing"), ("TERM", "dumb")]);
            }
            let (code, out, errors) = run(&mut command);
            assert_eq!((code, out.as_str()), (0, usual.as_str()), "{script}: {errors}");
            let mut command = shell(script, &train);
            if empty {
                command.env_clear();
            }
            let (code, _, errors) = run(&mut command);
            assert_eq!(code, 0, "{script}: {errors}");
        }
    }
    assert_eq!(count(&inside), 1);
}

#[test]
fn the_environment_speaks_where_options_do_not() {
    let (model, _) = baseline();
    let with = |args: &[&str]| {
        let mut command = Command::new(MOTE);
        command.args(args).env("MOTE_MODEL", &model);
        command
    };
    let (code, ids, errors) = run(&mut with(&["tokenize", "-p", "hello", "--json"]));
    assert_eq!(code, 0, "{errors}");
    let (_, asked, _) =
        run(Command::new(MOTE).args(["tokenize", "-m", &model, "-p", "hello", "--json"]));
    assert_eq!(ids, asked);
    let (code, ..) = run(&mut with(&["tokenize", "-p", "hello", "-m", "no such model"]));
    assert_eq!(code, 1, "an option wins");
    let (code, _, errors) = run(with(&["score", "-p", "a"]).env("MOTE_THREADS", "none"));
    assert!(code == 2 && errors.contains("--threads"), "{errors}");
}

/// Nothing stands between this process and the signal.
fn signalled() -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=INT,TERM,HUP", MOTE]);
    command
}

/// Starts it, sends the signal after `wait`, and gives its exit code, as a shell sees it.
fn stopped(args: &[&str], signal: &str, wait: Duration) -> i32 {
    let mut command = signalled();
    let mut child = command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(wait);
    let pid = child.id().to_string();
    let _ = Command::new("kill").args([signal, &pid]).stderr(Stdio::null()).status();
    exit_code(child.wait().unwrap())
}

#[test]
fn case_390_interrupted_at_a_hundred_moments() {
    for (n, args) in writers("case-390-signals", 60_000).into_iter().enumerate() {
        let inside = folder(&format!("case-390-{n}"));
        let output = inside.join("output");
        let args = [&strs(&args)[..], &[text(&output)]].concat();
        let start = Instant::now();
        assert!(signalled().args(&args).output().unwrap().status.success());
        let whole = (start.elapsed(), fs::read(&output).unwrap());
        let mut interrupted = 0;
        for moment in 0..25 {
            fs::remove_file(&output).unwrap_or_default();
            let code = stopped(&args, "-INT", whole.0 * moment / 25);
            match code {
                0 => assert!(fs::read(&output).unwrap() == whole.1),
                130 => {
                    interrupted += 1;
                    // It had begun: between its name and the end nothing more is asked.
                    if output.exists() {
                        assert!(fs::read(&output).unwrap() == whole.1, "moment {moment}");
                        fs::remove_file(&output).unwrap();
                    }
                    assert_eq!(count(&inside), 0, "moment {moment}");
                }
                other => panic!("{args:?}: moment {moment}: exit code {other}"),
            }
        }
        assert!(interrupted > 0, "{args:?} takes {:?}", whole.0);
    }
}

#[test]
fn case_390_a_writing_model_and_other_signals() {
    let (model, _) = baseline();
    for signal in ["-INT", "-TERM", "-HUP"] {
        // It waits for its input.
        let mut child = signalled()
            .args(["run", "-m", &model])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pid = child.id().to_string();
        // Until it has begun: what starts it may ignore the signal.
        let status = loop {
            std::thread::sleep(Duration::from_millis(200));
            let _ = Command::new("kill").args([signal, &pid]).stderr(Stdio::null()).status();
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
        };
        let code = exit_code(status);
        // Before anybody listens, the signal itself ends it.
        let number = 128 + if signal == "-TERM" { 15 } else { 1 };
        assert!(code == 130 || code == number, "{signal}: {code}");
    }
}

/// Started by nohup, a process outlives its terminal.
#[test]
fn case_390_signals_that_are_ignored_stay_so() {
    let (model, _) = baseline();
    let script = "trap '' HUP; { sleep 0.8; echo hello; } | \"$0\" run -n 2 -m \"$1\" & \
                  pid=$!; sleep 0.4; kill -HUP $pid; wait $pid";
    let (code, out, errors) = run(&mut shell(script, &[&model]));
    assert!(code == 0 && !out.is_empty(), "{code} {errors}");
}

#[test]
fn case_391_a_disk_that_is_full() {
    for (n, args) in writers("case-391", 20_000).into_iter().enumerate() {
        let inside = folder(&format!("case-391-{n}"));
        let output = inside.join("output");
        let mut args = strs(&args);
        args.push(text(&output));
        let (code, _, errors) = run(Command::new(MOTE).args(&args).env("TMPDIR", &inside));
        assert_eq!(code, 0, "{errors}");
        let len = fs::metadata(&output).unwrap().len();
        assert!(len > 8 * 512, "{len} bytes");
        fs::remove_file(&output).unwrap();
        for k in 0..50 {
            // Of 512 bytes each.
            let blocks = (len * k / 50 / 512).to_string();
            let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
            let (code, _, errors) = run(shell(&script, &args).env("TMPDIR", &inside));
            assert_eq!(code, 1, "{blocks} blocks: {errors}");
            assert!(errors.lines().last().unwrap().starts_with("error: "), "{errors}");
            assert_eq!(count(&inside), 0, "{blocks} blocks of {len} bytes");
        }
    }
}

#[test]
fn case_392_calls_that_are_cut_short() {
    let inside = folder("case-392");
    let library = inside.join("interposed.so");
    let source = mote_tests::shared::root().join("tests/support/interposed.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(source)
        .arg("-ldl")
        .output();
    let built = built.expect("a C compiler");
    assert!(built.status.success(), "{built:?}");
    let (model, _) = baseline();
    let short = |command: &mut Command| {
        let Output { status, stdout, stderr } =
            command.env("LD_PRELOAD", &library).output().unwrap();
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        stdout
    };
    for args in writers("case-392", 4000) {
        let outputs = ["whole", "short"].map(|name| inside.join(name));
        let command = |output: &Path| {
            let mut command = Command::new(MOTE);
            command.args(&args).arg(output);
            command
        };
        assert!(command(&outputs[0]).output().unwrap().status.success());
        short(&mut command(&outputs[1]));
        let [whole, short] = outputs.map(|path| fs::read(path).unwrap());
        assert!(!whole.is_empty() && whole == short, "{args:?}");
    }
    let text = file("case-392-prompt.txt", "hello world ".repeat(8).as_bytes());
    for args in [
        &["score", "-m", &model, "-f", &text, "--hash"][..],
        &["run", "-m", &model, "-f", &text, "-n", "20"],
        &["inspect", &model, "--json"],
        &["completions", "zsh"],
    ] {
        let whole = Command::new(MOTE).args(args).output().unwrap().stdout;
        assert!(!whole.is_empty() && short(Command::new(MOTE).args(args)) == whole, "{args:?}");
    }
    // Standard input, too.
    let mut child = Command::new(MOTE)
        .args(["tokenize", "-m", &model])
        .env("LD_PRELOAD", &library)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&fs::read(&text).unwrap()).unwrap();
    let mut ids = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut ids).unwrap();
    assert!(child.wait().unwrap().success());
    let whole = Command::new(MOTE).args(["tokenize", "-m", &model, "-f", &text]).output().unwrap();
    assert_eq!(ids, whole.stdout);
}

/// Address space for the program, its libraries and threads, and 100 MB.
#[test]
fn case_388_inspecting_takes_little_memory() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("case-388-memory.gguf");
    for (id, bytes) in crate::gguf_malformed::files() {
        fs::write(&path, bytes).unwrap();
        let script = "ulimit -v 153600; exec \"$0\" inspect \"$1\"";
        let (code, _, errors) = run(&mut shell(script, &[text(&path)]));
        assert!([0, 1, 3, 4].contains(&code), "{id}: {code} {errors}");
    }
}

/// Completions and manual pages, as far as their readers are installed.
#[test]
fn shells_and_man_take_what_is_made_for_them() {
    let inside = folder("scripts");
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "-n")] {
        let script = inside.join(shell);
        let (code, made, _) = run(Command::new(MOTE).args(["completions", shell]));
        assert_eq!(code, 0);
        fs::write(&script, made).unwrap();
        match Command::new(shell).arg(check).arg(&script).output() {
            Ok(output) => assert!(output.status.success(), "{output:?}"),
            Err(_) => println!("{shell} is not installed"),
        }
    }
    // bash completes a command, an option, and its values.
    let complete = |words: &[&str]| {
        let script = "source \"$1\"; shift; COMP_WORDS=(mote \"$@\"); COMP_CWORD=$#; \
                      _mote mote \"${COMP_WORDS[$#]}\" \"${COMP_WORDS[$#-1]}\"; echo \"${COMPREPLY[@]}\"";
        let mut bash = Command::new("bash");
        bash.args(["-c", script, "bash", text(&inside.join("bash"))]).args(words);
        run(&mut bash).1
    };
    assert_eq!(complete(&["ins"]).trim(), "inspect");
    assert_eq!(complete(&["run", "--top-"]).trim(), "--top-k --top-p");
    assert_eq!(complete(&["run", "--kv", "f"]).trim(), "f32 f16");
    let pages = inside.join("pages");
    assert_eq!(run(Command::new(MOTE).args(["man", "--output", text(&pages)])).0, 0);
    for page in fs::read_dir(&pages).unwrap() {
        let page = page.unwrap().path();
        match Command::new("groff").args(["-man", "-Tutf8", "-ww"]).arg(&page).output() {
            Ok(output) => {
                assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
            }
            Err(_) => println!("groff is not installed"),
        }
    }
}
