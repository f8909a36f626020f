//! No memory for the binary: allocation by allocation, and by the size of its address space.

use std::fs;
use std::process::Command;

use super::{
    Ended, Job, MOTE, NO_SIGNAL_STACK, OUTPUT, folder, for_each, inputs, readers, writers,
};

/// As a shell sees a process that aborted. Rust's standard library does that where a small allocation fails.
const ABORTED: i32 = 134;

/// How a job may end that gets no memory: as ever, by a sentence, or by the abort of which `mote --help` tells.
fn check(usual: &Ended, ended: &Ended, what: &str) {
    if ended.code != ABORTED {
        ended.check(usual, what);
        assert!(ended.left().is_empty(), "{what}: {:?} is left", ended.left());
        return;
    }
    let errors = &ended.errors;
    // The second comes of glibc, where a thread has no room for what it must do at its end.
    let no_destructor = "failed to register TLS destructor: out of memory";
    let sentences = ["memory allocation of ", no_destructor, NO_SIGNAL_STACK];
    assert!(sentences.iter().any(|sentence| errors.contains(sentence)), "{what}: {errors}");
    ended.check_files(usual, what);
    let is_part = |name: &&str| name.starts_with(".mote-") && name.ends_with(".part");
    assert!(ended.left().iter().all(is_part), "{what}: {:?} is left", ended.left());
}

/// Most allocations are made by the parser of arguments, which comes first, and are much alike.
fn chosen(allocations: usize) -> Vec<usize> {
    let spread = allocations.div_ceil(60).max(1);
    let last = allocations.saturating_sub(100);
    (0..40).chain((40..last).step_by(spread)).chain(last..allocations).collect()
}

#[test]
fn case_419_allocations_of_the_binary() {
    for job in writers().into_iter().chain(readers()) {
        let place = folder(&format!("faults-memory-{}", job.name));
        let usual = job.run(&place.join("usual"), &[]);
        assert_eq!(usual.code, 0, "{}", usual.errors);
        let allocations = usual.log.iter().find_map(|line| line.strip_suffix(" allocations"));
        let allocations = allocations.unwrap().parse().unwrap();
        for_each(&chosen(allocations), |call| {
            let inside = place.join(call.to_string());
            let ended = job.run(&inside, &[("FAULT_MEMORY", &call.to_string())]);
            check(&usual, &ended, &format!("{}: allocation {call}", job.name));
            let _ = fs::remove_dir_all(inside);
        });
        // The next one finds nothing in its way.
        assert!(job.run(&place.join("usual"), &[]).output() == usual.output(), "{}", job.name);
    }
}

/// The job within so many KiB of address space.
fn within(job: &Job, folder: &std::path::Path, kib: usize) -> Ended {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).unwrap();
    let script = "ulimit -v $1; shift; exec \"$0\" \"$@\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, MOTE]).arg(kib.to_string()).args(&job.args);
    shell.current_dir(folder).env("TMPDIR", folder).env("RUST_BACKTRACE", "0");
    Ended::of(&shell.output().unwrap(), folder, &folder.with_extension("log"))
}

/// Of what a command needs at least, once it has been loaded and has begun.
#[test]
fn case_419_address_spaces_that_are_too_small() {
    let train = ["ngram", "train", "-n", "3", &inputs().text, "-t", "1", "-o", OUTPUT];
    for job in writers().into_iter().chain(readers()).chain([Job::new("train-3", &train)]) {
        let place = folder(&format!("faults-space-{}", job.name));
        let usual = job.run(&place.join("usual"), &[]);
        let version = Job::new("version", &["--version"]);
        let least = |job: &Job| {
            let (mut too_little, mut enough) = (1 << 12, 1 << 21);
            while enough - too_little > 128 {
                let kib = (too_little + enough) / 2;
                match within(job, &place.join("least"), kib).code {
                    0 => enough = kib,
                    _ => too_little = kib,
                }
            }
            enough
        };
        let (loaded, needed) = (least(&version), least(&job));
        // Forty from what lets the program begin to half as much again as it needs.
        let values: Vec<usize> =
            (0..40).map(|i| loaded + (needed * 3 / 2 - loaded) * i / 39).collect();
        for_each(&values, |&kib| {
            let inside = place.join(kib.to_string());
            let ended = within(&job, &inside, kib);
            let what = format!("{}: {kib} of {needed} KiB", job.name);
            check(&usual, &ended, &what);
            // The system's libraries take what they please, a little less or more.
            assert!(kib < needed + 1024 || ended.code == 0, "{what}: {}", ended.errors);
            let _ = fs::remove_dir_all(inside);
        });
    }
}
