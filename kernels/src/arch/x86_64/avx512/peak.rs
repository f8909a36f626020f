//! See [`crate::Kernels::peak_integer`].

use core::arch::x86_64::*;
use core::hint::black_box;

/// Sums that fill most of the registers, with the codes beside them.
const SUMS: usize = 24;

/// Four products for each i32.
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn peak_integer(rounds: usize) -> usize {
    let w = _mm512_set1_epi8(black_box(3));
    let x = [_mm512_set1_epi8(black_box(-5)); SUMS];
    let mut sums = [_mm512_setzero_si512(); SUMS];
    for _ in 0..rounds {
        // Read anew in each round, as products of another layout would be.
        for (sum, &x) in sums.iter_mut().zip(black_box(&x)) {
            *sum = _mm512_dpbusd_epi32(*sum, w, x);
        }
    }
    black_box(sums);
    rounds * SUMS * 64
}
