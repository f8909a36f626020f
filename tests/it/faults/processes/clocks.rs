//! The clock of the day leaps by a year, to and fro: nothing that mote measures hangs on it.

use std::process::Command;

use serde_json::Value;

use super::{Ended, Job, folder, inputs, library, readers, writers};

const YEAR: &str = "31557600";

#[test]
fn case_422_results_stay_the_same() {
    for job in writers().into_iter().chain(readers()) {
        let place = folder(&format!("faults-clocks-{}", job.name));
        let usual = job.run(&place.join("usual"), &[]);
        for leap in [YEAR, "-31557600"] {
            let ended = job.run(&place.join("leaping"), &[("FAULT_CLOCK", leap)]);
            ended.check(&usual, job.name);
            assert_eq!(ended.code, 0, "{}", ended.errors);
        }
    }
}

#[test]
fn case_422_deadlines_hold() {
    let inputs = inputs();
    let place = folder("faults-deadlines");
    let written = |deadline: &str, leap: &str| -> (Value, Value) {
        let args = ["run", "-m", &inputs.model, "--fallback", &inputs.spare, "--json", "-t", "1"];
        let more = ["-n", "8", "--temp", "0", "--ignore-eos", "--deadline", deadline, "hello"];
        let job = Job::new("deadline", &[&args[..], &more].concat());
        let ended: Ended = job.run(&place.join("run"), &[("FAULT_CLOCK", leap)]);
        assert_eq!(ended.code, 0, "{}", ended.errors);
        let report: Value = serde_json::from_slice(&ended.out).unwrap();
        (report["ids"].clone(), report["degraded"].clone())
    };
    let (in_time, late) = (written("100000", "0"), written("0", "0"));
    assert_eq!(in_time.1, Value::Null);
    assert_eq!(late.1["reason"], "deadline");
    for leap in [YEAR, "-31557600"] {
        assert_eq!(written("100000", leap), in_time, "{leap}");
        assert_eq!(written("0", leap), late, "{leap}");
    }
}

/// The clock does leap.
#[test]
fn case_422_another_program_sees_the_leap() {
    let year = |leap: &str| -> i64 {
        let mut date = Command::new("date");
        date.arg("+%s").env("LD_PRELOAD", library()).env("FAULT_CLOCK", leap);
        String::from_utf8(date.output().unwrap().stdout).unwrap().trim().parse().unwrap()
    };
    assert!((year(YEAR) - year("0") - 31_557_600).abs() < 100);
}
