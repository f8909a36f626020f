//! The avx512 target.
#![allow(unsafe_code)]

mod apart;
mod float;
mod gemm;
mod gemv;
mod gemv_blocks;
mod gemv_low;
mod gemv_super;
mod integer;
mod lanes;
mod peak;
mod quantize;
mod unpack;

use crate::Kernels;

static TABLE: Kernels =
    integer::with_integers(float::with_floats(Kernels { name: "avx512", ..Kernels::SCALAR }));

/// The table, if this CPU has the features that its entries enable.
pub fn kernels() -> Option<&'static Kernels> {
    detected().then_some(&TABLE)
}

/// Every feature that the entries enable. A CPU with fewer of them falls to avx2.
#[cfg(feature = "std")]
fn detected() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx2")
        && has!("fma")
        && has!("f16c")
        && has!("avx512f")
        && has!("avx512bw")
        && has!("avx512dq")
        && has!("avx512vl")
        && has!("avx512vnni")
        && has!("avx512vbmi")
}

#[cfg(not(feature = "std"))]
fn detected() -> bool {
    cfg!(all(
        target_feature = "avx512f",
        target_feature = "avx512bw",
        target_feature = "avx512dq",
        target_feature = "avx512vl",
        target_feature = "avx512vnni",
        target_feature = "avx512vbmi"
    ))
}
