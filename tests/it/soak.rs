//! A process that runs for long stays as it is. (An hour of it: BENCHMARKS.md.)

use std::process::Command;

/// Sessions of one model speak in turns in eight threads, are ended, saved and restored.
#[test]
fn case_428_memory_stays_flat_in_a_process_of_its_own() {
    let soak = Command::new(env!("CARGO_BIN_EXE_mote-soak")).arg("4").output().unwrap();
    let said = String::from_utf8_lossy(&soak.stdout).into_owned();
    assert!(soak.status.success(), "{said}{}", String::from_utf8_lossy(&soak.stderr));
    assert!(said.contains("times saved and restored"), "{said}");
}
