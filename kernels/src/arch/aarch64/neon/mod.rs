//! The neon target: every 64-bit ARM CPU.
#![allow(unsafe_code)]

mod dots;
mod float;
mod integer;
pub(super) mod lanes;
mod panel;
mod peak;
mod units;

use super::quantize::quantize;
use crate::Kernels;
use peak::peak_integer;

/// A constant, because the other targets' tables begin with it.
pub(super) const TABLE: Kernels = {
    let table = Kernels { name: "neon", quantize, peak_integer, ..Kernels::SCALAR };
    integer::with_panels(integer::with_gemvs(float::with_floats(table)))
};

static NEON: Kernels = TABLE;

/// The table, if this CPU has the features that its entries enable.
pub fn kernels() -> Option<&'static Kernels> {
    detected().then_some(&NEON)
}

#[cfg(feature = "std")]
fn detected() -> bool {
    std::arch::is_aarch64_feature_detected!("neon")
}

#[cfg(not(feature = "std"))]
fn detected() -> bool {
    cfg!(target_feature = "neon")
}
