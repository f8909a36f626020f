//! The dotprod target: ARMv8.2 with dot products of bytes, from the Cortex-A55 and A75 on. What is
//! no product of bytes is as in the neon target.
#![allow(unsafe_code)]

pub(super) mod dots;
mod integer;
mod peak;

use super::neon;
use crate::Kernels;
use peak::peak_integer;

/// A constant, because the table of `i8mm` begins with it.
pub(super) const TABLE: Kernels = {
    let table = Kernels { name: "dotprod", peak_integer, ..neon::TABLE };
    integer::with_panels(integer::with_gemvs(table))
};

static DOTPROD: Kernels = TABLE;

/// The table, if this CPU has the features that its entries enable.
pub fn kernels() -> Option<&'static Kernels> {
    detected().then_some(&DOTPROD)
}

#[cfg(feature = "std")]
fn detected() -> bool {
    std::arch::is_aarch64_feature_detected!("neon")
        && std::arch::is_aarch64_feature_detected!("dotprod")
}

#[cfg(not(feature = "std"))]
fn detected() -> bool {
    cfg!(all(target_feature = "neon", target_feature = "dotprod"))
}
