//! Every table in `arch::available()` gives the scalar table's bits. The lists of encodings and of
//! targets are walked, never named, so a new member is tested on the day it is added.

mod attend;
mod inputs;
mod matmul;
mod vectors;

use mote_kernels::{Kernels, arch};
use mote_tests::guard::Guarded;

/// The definition: always the last table.
fn scalar() -> &'static Kernels {
    arch::available().last().expect("a scalar table")
}

/// `MOTE_REQUIRE=avx2,avx512` turns "this CPU cannot run it" into a failure, so that a target that
/// was not tested does not look like one that passed.
#[test]
fn required_targets_are_available() {
    let available: Vec<_> = arch::available().map(Kernels::name).collect();
    let required = std::env::var("MOTE_REQUIRE").unwrap_or_default();
    for name in required.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        assert!(available.contains(&name), "{name} is required; available: {available:?}");
    }
    for name in arch::names().filter(|name| !available.contains(name)) {
        println!("not tested, because this CPU cannot run it: {name}");
    }
}

/// The other tests here mean nothing if the guard lets reads through.
#[test]
fn guards_guard() {
    for gap in 0..65 {
        let guarded = Guarded::with_gap(&[1u8, 2, 3], gap);
        assert_eq!(guarded.as_slice(), [1, 2, 3]);
        assert_eq!(guarded.is_guarded(), cfg!(target_os = "linux"));
    }
}
