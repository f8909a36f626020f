//! SIGKILL at any moment: what stands under a name is whole, and the next start does not mind.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mote_tests::random::Random;

use super::{Job, MOTE, OUTPUT, folder, for_each, writers};

/// All of them together.
const KILLS: usize = 1000;

fn started(job: &Job, folder: &Path) -> Command {
    let mut command = Command::new(MOTE);
    command.args(&job.args).current_dir(folder).env("TMPDIR", folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Kills it after `wait`. Whether it was still at work.
fn killed(job: &Job, folder: &Path, wait: Duration) -> bool {
    let mut child = started(job, folder).spawn().unwrap();
    std::thread::sleep(wait);
    let _ = child.kill();
    !child.wait().unwrap().success()
}

#[test]
fn case_327_429_killed_at_a_thousand_moments() {
    let writers = writers();
    let each = KILLS.div_ceil(writers.len());
    let jobs: Vec<(usize, &Job)> = writers.iter().enumerate().collect();
    for_each(&jobs, |&(seed, job)| {
        let inside = folder(&format!("faults-kills-{}", job.name));
        let output = inside.join(OUTPUT);
        let mut took = Duration::MAX;
        for _ in 0..5 {
            let _ = fs::remove_file(&output);
            let start = Instant::now();
            assert!(started(job, &inside).status().unwrap().success(), "{}", job.name);
            took = took.min(start.elapsed());
        }
        let whole = fs::read(&output).unwrap();
        let (mut random, mut at_work) = (Random::new(seed as u64), 0);
        for kill in 0..each {
            // What an earlier one left is in nobody's way; some find the file and fail, or replace it.
            if kill % 2 == 0 {
                let _ = fs::remove_file(&output);
            }
            let moment = took.mul_f64(random.below(1000) as f64 / 900.0);
            at_work += usize::from(killed(job, &inside, moment));
            if let Ok(bytes) = fs::read(&output) {
                assert!(bytes == whole, "{}: half a file after {moment:?}", job.name);
            }
        }
        assert!(at_work > each / 4, "{}: {at_work} of {each} were at work", job.name);
        let _ = fs::remove_file(&output);
        assert!(started(job, &inside).status().unwrap().success(), "{}: the next start", job.name);
        assert!(fs::read(&output).unwrap() == whole);
        // Of a run that was killed one file may be left, as mote --help says, and of others nothing.
        let names = fs::read_dir(&inside).unwrap().map(|it| it.unwrap().file_name());
        let left: Vec<_> = names.filter(|name| name.to_str() != Some(OUTPUT)).collect();
        assert!(left.len() <= at_work, "{}: {} are left", job.name, left.len());
        let is_known = |name: &str| name.starts_with(".mote-") && !name.ends_with(OUTPUT);
        assert!(left.iter().all(|name| name.to_str().is_some_and(is_known)), "{left:?}");
    });
}
