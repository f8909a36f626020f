//! The avx2 target.
#![allow(unsafe_code)]

pub(super) mod apart;
pub(super) mod chains;
mod dots;
mod float;
pub(super) mod gemm;
mod gemv;
pub(super) mod groups;
pub(super) mod groups_low;
mod integer;
mod lanes;
mod peak;
mod quantize;
mod segment;
pub(super) mod unpack;

use crate::Kernels;

/// What avxvnni begins with, too.
pub(super) const TABLE: Kernels =
    integer::with_integers(float::with_floats(Kernels { name: "avx2", ..Kernels::SCALAR }));

/// The table, if this CPU has the features that its entries enable.
pub fn kernels() -> Option<&'static Kernels> {
    static STATIC: Kernels = TABLE;
    detected().then_some(&STATIC)
}

/// Whether this CPU has these features.
#[cfg(feature = "std")]
pub(super) fn detected() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("f16c")
}

/// Whether this CPU has these features.
#[cfg(not(feature = "std"))]
pub(super) fn detected() -> bool {
    cfg!(all(target_feature = "avx2", target_feature = "fma", target_feature = "f16c"))
}
