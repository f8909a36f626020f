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

/// See [`crate::fma`].
// Microcontrollers with a floating-point unit (Cortex-M4F, M7, M33, ...) have the instruction. The
// larger ARM CPUs without an operating system, told by their 64-bit atomics, may lack it.
#[inline(always)]
#[cfg(all(
    target_arch = "arm",
    target_os = "none",
    target_abi = "eabihf",
    not(target_has_atomic = "64")
))]
pub(crate) fn fma(a: f32, b: f32, c: f32) -> f32 {
    // A function of its own: rustc offers these CPUs' float registers to no inline assembly.
    #[unsafe(naked)]
    extern "C" fn fused(_a: f32, _b: f32, _c: f32) -> f32 {
        core::arch::naked_asm!(
            ".fpu fpv4-sp-d16", // the least that a Cortex-M with floats has
            "vfma.f32 s2, s0, s1",
            "vmov.f32 s0, s2",
            "bx lr"
        )
    }
    fused(a, b, c)
}

#[cfg(not(any(
    target_arch = "aarch64",
    all(target_arch = "x86_64", target_feature = "fma"),
    all(
        target_arch = "arm",
        target_os = "none",
        target_abi = "eabihf",
        not(target_has_atomic = "64")
    )
)))]
pub(crate) use crate::fma::software as fma;
