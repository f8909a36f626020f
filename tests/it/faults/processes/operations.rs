//! Each operation on files in turn fails, in each way in which it can.

use std::fs;

use super::{Ended, Job, folder, for_each, inputs, readers, writers};

const EPERM: i32 = 1;
const EINTR: i32 = 4;
const EIO: i32 = 5;
const ENOMEM: i32 = 12;
const EACCES: i32 = 13;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;
/// No failure: half of the bytes are moved.
const HALF: i32 = 0;

/// The ways in which an operation is made to fail.
fn ways(operation: &str) -> &'static [i32] {
    match operation {
        "read" | "pread64" => &[EIO, EINTR, HALF],
        "write" | "writev" | "pwrite64" => &[EIO, ENOSPC, EINTR, HALF],
        "open" | "open64" | "openat64" => &[EIO, EACCES, EMFILE, EINTR],
        "mmap" | "mmap64" | "mprotect" => &[ENOMEM, EPERM, EACCES],
        "madvise" | "mlock" => &[ENOMEM, EACCES],
        "fsync" | "fsync of a folder" | "close" => &[EIO, ENOSPC, EINTR],
        "linkat" | "rename" => &[EIO, EPERM, ENOSPC],
        _ => &[EIO, EACCES],
    }
}

/// Whether it is about memory and its pages.
fn is_map(operation: &str) -> bool {
    ["mmap", "mmap64", "mprotect", "madvise", "mlock"].contains(&operation)
}

fn is_file(operation: &str) -> bool {
    !is_map(operation)
}

/// Lets every operation fail for which `wanted` holds, in folders of that name. Returns how many runs that were.
fn each_fails(name: &str, job: &Job, wanted: fn(&str) -> bool) -> usize {
    let place = folder(&format!("faults-{name}-{}", job.name));
    let usual = job.run(&place.join("usual"), &[]);
    assert_eq!(usual.code, 0, "{}", usual.errors);
    assert_eq!(usual.files.len(), usize::from(job.writes()), "{}", job.name);
    let operations = usual.log.iter().filter(|line| !line.contains("allocations"));
    let cases: Vec<(usize, i32)> = operations
        .enumerate()
        .filter(|(_, operation)| wanted(operation))
        .flat_map(|(call, operation)| ways(operation).iter().map(move |&way| (call, way)))
        .collect();
    for_each(&cases, |&(call, way)| {
        let inside = place.join(format!("{call}-{way}"));
        let (call, way_text) = (call.to_string(), way.to_string());
        let ended = job.run(&inside, &[("FAULT_CALL", &call), ("FAULT_ERROR", &way_text)]);
        let failed = ended.failed().unwrap_or("nothing").to_owned();
        let what = format!("{}: {failed} (operation {call}) fails by {way}", job.name);
        check(job, &usual, &ended, (&failed, way), &what);
        let _ = fs::remove_dir_all(inside);
    });
    cases.len()
}

fn check(job: &Job, usual: &Ended, ended: &Ended, (failed, way): (&str, i32), what: &str) {
    ended.check(usual, what);
    let matters = match failed {
        "read" | "write" => way == EIO && job.writes() && ended.output().is_none(),
        "fsync" => way != EINTR,
        _ => false,
    };
    assert!(!matters || ended.code != 0, "{what}: and nobody noticed");
    let calls_again = [EINTR, HALF].contains(&way) && ["read", "write", "open64"].contains(&failed);
    assert!(!calls_again || ended.code == 0, "{what}: {}", ended.errors);
    // A name that cannot be taken away is the one thing that may stay, beside the whole file.
    let left = ended.left();
    assert!(left.is_empty() || failed == "unlink", "{what}: {left:?} is left");
}

/// No input changes, whatever fails.
fn with_inputs(work: impl FnOnce()) {
    let model = &inputs().model;
    let all = [model, &inputs().text, &inputs().arpa, &inputs().n_grams, &inputs().session];
    let read = || all.map(|path| fs::read(path).unwrap());
    let before = read();
    work();
    assert!(read() == before);
}

#[test]
fn case_416_operations_of_commands_that_write() {
    with_inputs(|| {
        let runs: usize = writers().iter().map(|job| each_fails("writing", job, is_file)).sum();
        assert!(runs > 500, "{runs}");
    });
}

#[test]
fn case_416_operations_of_commands_that_read() {
    with_inputs(|| {
        let runs: usize = readers().iter().map(|job| each_fails("reading", job, is_file)).sum();
        assert!(runs > 100, "{runs}");
    });
}

#[test]
fn case_420_maps_that_are_refused() {
    with_inputs(|| {
        let jobs = writers().into_iter().chain(readers());
        let runs: usize = jobs.map(|job| each_fails("mapping", &job, is_map)).sum();
        assert!(runs > 50, "{runs}");
    });
}
