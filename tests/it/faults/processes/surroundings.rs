//! Surroundings with next to nothing in them: nothing can be written, and there is no /tmp, /proc or /sys.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{Job, MOTE, folder, inputs, readers, writers};

const NOTHING: &[(&str, &str)] =
    &[("FAULT_HIDDEN", "/proc/:/sys/:"), ("TMPDIR", "/no/such/folder"), ("HOME", "")];

#[test]
fn case_430_without_proc_and_sys() {
    for job in writers().into_iter().chain(readers()) {
        let place = folder(&format!("faults-nothing-{}", job.name));
        let usual = job.run(&place.join("usual"), &[]);
        let ended = job.run(&place.join("nothing"), NOTHING);
        ended.check(&usual, job.name);
        assert_eq!(ended.code, 0, "{}: {}", job.name, ended.errors);
        // As many threads as it finds out.
        let ended = job.on_threads("64").run(&place.join("threads"), NOTHING);
        ended.check(&usual, job.name);
        assert_eq!(ended.code, 0, "{}: {}", job.name, ended.errors);
    }
}

#[test]
fn case_430_where_nothing_can_be_written() {
    let nothing = [NOTHING, &[("FAULT_READ_ONLY", "1")]].concat();
    for job in writers().into_iter().chain(readers()) {
        let place = folder(&format!("faults-read-only-{}", job.name));
        let usual = job.run(&place.join("usual"), &[]);
        let ended = job.run(&place.join("nothing"), &nothing);
        ended.check(&usual, job.name);
        assert_eq!(ended.code, i32::from(job.writes()), "{}: {}", job.name, ended.errors);
        assert!(ended.files.is_empty(), "{}", job.name);
    }
}

/// Copies the program and the libraries that it is linked with below `root`.
fn furnish(root: &Path) {
    let linked = Command::new("ldd").arg(MOTE).output().unwrap().stdout;
    let linked = String::from_utf8(linked).unwrap();
    let libraries = linked.split_whitespace().filter(|word| word.starts_with('/'));
    for path in libraries.map(PathBuf::from) {
        let place = root.join(path.strip_prefix("/").unwrap());
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(path, place).unwrap();
    }
    // Linked where it can be: debug information is large.
    if fs::hard_link(MOTE, root.join("mote")).is_err() {
        fs::copy(MOTE, root.join("mote")).unwrap();
    }
    fs::copy(&inputs().model, root.join("model.gguf")).unwrap();
}

/// `chroot` is for the superuser; others are the superuser of a namespace of their own, where the system lets
/// them. Where it lets nobody, the tests above show the same without it.
fn inside(root: &Path, args: &[&str]) -> Option<Output> {
    let with = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(root).arg("/mote").args(args);
        command.env_clear().output().ok().filter(|it| it.status.code().is_some_and(|it| it < 125))
    };
    with(&["/usr/sbin/chroot"]).or_else(|| with(&["/usr/bin/unshare", "-r", "chroot"]))
}

#[test]
fn case_430_in_an_empty_root() {
    let root = folder("faults-root");
    furnish(&root);
    let run = ["run", "-m", "/model.gguf", "-n", "3", "--temp", "0", "hello"];
    let Some(ended) = inside(&root, &run) else {
        println!("this system lets nobody change the root");
        return;
    };
    let errors = String::from_utf8_lossy(&ended.stderr).into_owned();
    let job = Job::new("root", &["run", "-m", &inputs().model, "-n", "3", "--temp", "0", "hello"]);
    let usual = job.run(&folder("faults-root-usual"), &[]);
    assert!(ended.status.success() && ended.stdout == usual.out, "{errors}");
    for args in [&["inspect", "/model.gguf"][..], &["verify", "/model.gguf"], &["--version"]] {
        let ended = inside(&root, args).unwrap();
        assert!(ended.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ended.stderr));
    }
    let written = inside(&root, &["quantize", "/model.gguf", "Q8_0", "-o", "/small.gguf"]).unwrap();
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    assert!(root.join("small.gguf").exists());
}
