//! The avx2 target.
#![allow(unsafe_code)]

mod dots;
mod float;
mod gemm;
mod gemv;
mod groups;
mod integer;
mod lanes;
mod peak;
mod quantize;
mod segment;
mod unpack;

use crate::Kernels;

static TABLE: Kernels =
    integer::with_integers(float::with_floats(Kernels { name: "avx2", ..Kernels::SCALAR }));

/// The table, if this CPU has the features that its entries enable.
pub fn kernels() -> Option<&'static Kernels> {
    detected().then_some(&TABLE)
}

#[cfg(feature = "std")]
fn detected() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("f16c")
}

#[cfg(not(feature = "std"))]
fn detected() -> bool {
    cfg!(all(target_feature = "avx2", target_feature = "fma", target_feature = "f16c"))
}
