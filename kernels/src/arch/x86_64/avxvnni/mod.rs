//! The avxvnni target: avx2, with an instruction for four products of bytes and their sum (Intel's
//! CPUs without AVX-512, since 2021). It replaces the product with panels alone: a few tokens wait for
//! memory, where the instruction saves 5 to 10 % of the arithmetic and costs 90 KB of code.
#![allow(unsafe_code)]

mod gemm;
mod integer;

use super::avx2;
use crate::Kernels;

static TABLE: Kernels = integer::with_integers(Kernels { name: "avxvnni", ..avx2::TABLE });

/// The table, if this CPU has the features that its entries enable.
pub fn kernels() -> Option<&'static Kernels> {
    (avx2::detected() && detected()).then_some(&TABLE)
}

#[cfg(feature = "std")]
fn detected() -> bool {
    std::arch::is_x86_feature_detected!("avxvnni")
}

#[cfg(not(feature = "std"))]
fn detected() -> bool {
    cfg!(target_feature = "avxvnni")
}
