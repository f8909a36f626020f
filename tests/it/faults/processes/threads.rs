//! Threads that cannot be made: fewer do the same, or there is a sentence.

use super::{Job, OUTPUT, folder, for_each, inputs, readers, writers};

/// With an earlier fault than this, no command is the same any more.
const MOST: usize = 7;

fn jobs() -> Vec<Job> {
    let inputs = inputs();
    let (model, text) = (&inputs.model, &inputs.text);
    let more = [
        // Sorting and merging have threads of their own.
        Job::new(
            "train-1M",
            &["ngram", "train", "-n", "3", text, "-t", "2", "--memory", "1M", "-o", OUTPUT],
        ),
        Job::new("score", &["score", "-m", model, "-p", "hello world", "--hash", "-t", "2"]),
        // A grammar is compiled on a large stack.
        Job::new(
            "regex",
            &["run", "-m", model, "-n", "3", "-t", "2", "--regex", "[a-z]+", "hello"],
        ),
    ];
    let usual = writers().into_iter().chain(readers()).map(|job| job.on_threads("2"));
    usual.chain(more).collect()
}

#[test]
fn case_421_threads_that_cannot_be_made() {
    for job in jobs() {
        let place = folder(&format!("faults-threads-{}", job.name));
        let usual = job.run(&place.join("usual"), &[]);
        assert_eq!(usual.code, 0, "{}: {}", job.name, usual.errors);
        let counts: Vec<usize> = (0..MOST).collect();
        for_each(&counts, |&count| {
            let ended =
                job.run(&place.join(count.to_string()), &[("FAULT_THREADS", &count.to_string())]);
            let what = format!("{}: {count} threads", job.name);
            ended.check(&usual, &what);
            assert!(ended.left().is_empty(), "{what}: {:?} is left", ended.left());
            // Who could not be interrupted does not begin, unless that is what was asked for (nohup).
            let is_deaf = ended.errors.contains("cannot listen for Ctrl-C");
            assert_eq!(is_deaf, count == 0 && !signals_are_ignored(), "{what}: {}", ended.errors);
            // Models compute on one thread, too; who sorts needs some.
            let needs_more = ["train", "train-1M", "regex"].contains(&job.name);
            assert!(count == 0 || needs_more || ended.code == 0, "{what}: {}", ended.errors);
        });
    }
}

/// Whether this process, and so those that it starts, ignore a signal that mote would listen for.
fn signals_are_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    let mask = u64::from_str_radix(mask.trim(), 16).unwrap();
    // SIGHUP, SIGINT and SIGTERM.
    [1, 2, 15].iter().any(|signal| mask >> (signal - 1) & 1 == 1)
}
