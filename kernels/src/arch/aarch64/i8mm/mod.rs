//! The i8mm target: ARMv8.6 with products of small matrices of bytes, from the Neoverse V1 and the
//! Cortex-A710 on. What is no product with many tokens is as in the dotprod target: raw rows would
//! have to be put in pairs first, which costs what `smmla` saves.
#![allow(unsafe_code)]

mod dots;
mod integer;
mod peak;

use super::dotprod;
use crate::Kernels;
use peak::peak_integer;

static I8MM: Kernels =
    integer::with_panels(Kernels { name: "i8mm", peak_integer, ..dotprod::TABLE });

/// The table, if this CPU has the features that its entries enable.
pub fn kernels() -> Option<&'static Kernels> {
    detected().then_some(&I8MM)
}

#[cfg(feature = "std")]
fn detected() -> bool {
    std::arch::is_aarch64_feature_detected!("neon")
        && std::arch::is_aarch64_feature_detected!("dotprod")
        && std::arch::is_aarch64_feature_detected!("i8mm")
}

#[cfg(not(feature = "std"))]
fn detected() -> bool {
    cfg!(all(target_feature = "neon", target_feature = "dotprod", target_feature = "i8mm"))
}
