//! The fma instruction where the build may assume it, so that the scalar table is not slow there.
#![allow(unsafe_code)]

/// See [`crate::fma`].
#[inline(always)]
#[cfg(target_arch = "aarch64")]
pub(crate) fn fma(a: f32, b: f32, c: f32) -> f32 {
    use core::arch::aarch64::{vdup_n_f32, vfma_f32, vget_lane_f32};
    // SAFETY: every AArch64 CPU that runs this build has NEON.
    unsafe { vget_lane_f32::<0>(vfma_f32(vdup_n_f32(c), vdup_n_f32(a), vdup_n_f32(b))) }
}

/// See [`crate::fma`].
#[inline(always)]
#[cfg(all(target_arch = "x86_64", target_feature = "fma"))]
pub(crate) fn fma(a: f32, b: f32, c: f32) -> f32 {
    use core::arch::x86_64::{_mm_cvtss_f32, _mm_fmadd_ss, _mm_set_ss};
    // SAFETY: the build assumes FMA.
    unsafe { _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c))) }
}

#[cfg(not(any(
    target_arch = "aarch64",
    all(target_arch = "x86_64", target_feature = "fma")
)))]
pub(crate) use crate::fma::software as fma;
