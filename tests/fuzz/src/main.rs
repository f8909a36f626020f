//! libFuzzer's loop around one target, which the variable `TARGET` names. See README.md.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use mote_tests::fuzz::{TARGETS, Target};

static TARGET: OnceLock<Target> = OnceLock::new();

fn named() -> Target {
    let name = std::env::var("TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(target, _)| *target == name);
    let names: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
    found.unwrap_or_else(|| panic!("TARGET is '{name}', not one of {}", names.join(", "))).1
}

fuzz_target!(|bytes: &[u8]| TARGET.get_or_init(named)(bytes));
