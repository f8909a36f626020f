//! The entries of the integer encodings.

use core::arch::asm;
use core::arch::x86_64::*;
use core::hint::black_box;

use super::gemm::gemm;
use crate::Kernels;
use crate::arch::x86_64::avx2::groups::{
    Codes, Groups, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0,
};
use crate::arch::x86_64::avx2::groups_low::{IQ4_NL, IQ4_XS, MXFP4, Q2_K, Q3_K, TQ2_0};
use crate::arch::x86_64::avx2::{apart, unpack};
use crate::quant::{Integer, kind, with_apart};
use crate::table::{PANEL_ROWS, Panel};

/// `table`, which is avx2's, with this target's products.
pub(super) const fn with_integers(table: Kernels) -> Kernels {
    let table = with::<Q4_K>(with::<Q4_1>(with::<Q4_0>(table)));
    let table = with::<Q5_K>(with::<Q5_1>(with::<Q5_0>(table)));
    let table = with::<Q8_0>(with::<Q6_K>(table));
    let table = with::<Q3_K>(with::<Q2_K>(with::<IQ4_NL>(table)));
    let table = with::<TQ2_0>(with::<MXFP4>(with::<IQ4_XS>(table)));
    let table = with_apart!(with_unpacked, table);
    Kernels { gemm, peak_integer, ..table }
}

const fn with<E: Groups>(table: Kernels) -> Kernels {
    table.with_unpack(E::KIND, unpack::<E>)
}

const fn with_unpacked<E: Integer>(table: Kernels) -> Kernels {
    table.with_unpack(kind::<E>(), unpack_apart::<E>)
}

/// avx2's panel, in which signed codes become unsigned ones with a bias of 128.
#[target_feature(enable = "avx2,fma,f16c")]
fn unpack<E: Groups>(w: &[u8], panel: &mut Panel<'_>) {
    unpack::unpack::<E>(w, panel);
    if matches!(E::CODES, Codes::Signed) {
        without_signs(panel);
    }
}

/// The same.
unsafe fn unpack_apart<E: Integer>(w: &[u8], panel: &mut Panel<'_>) {
    // SAFETY: the same promise.
    unsafe {
        apart::unpack::<E>(w, panel);
        without_signs(panel);
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn without_signs(panel: &mut Panel<'_>) {
    panel.codes[..PANEL_ROWS * panel.k].iter_mut().for_each(|code| *code ^= 0x80);
}

/// Sums that fill the registers, with the codes beside them.
const SUMS: usize = 12;

/// See [`crate::Kernels::peak_integer`].
///
/// # Safety
/// The CPU has AVX-VNNI.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn peak_integer(rounds: usize) -> usize {
    let w = _mm256_set1_epi8(black_box(3));
    let x = [_mm256_set1_epi8(black_box(-5)); SUMS];
    let mut sums = [_mm256_setzero_si256(); SUMS];
    for _ in 0..rounds {
        // Read anew in each round, or the products would be computed once.
        for (sum, x) in sums.iter_mut().zip(black_box(&x)) {
            // SAFETY: arithmetic on registers, which the CPU has.
            unsafe {
                asm!("{{vex}} vpdpbusd {0}, {1}, {2}", inout(ymm_reg) *sum, in(ymm_reg) w,
                    in(ymm_reg) *x, options(pure, nomem, nostack, preserves_flags));
            }
        }
    }
    black_box(sums);
    rounds * SUMS * 32
}
