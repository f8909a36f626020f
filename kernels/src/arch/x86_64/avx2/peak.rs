//! See [`crate::Kernels::peak_integer`].

use core::arch::x86_64::*;
use core::hint::black_box;

/// Sums that fill the registers, with the codes beside them.
const SUMS: usize = 12;

/// Pairs of products, summed as i16.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn peak_integer(rounds: usize) -> usize {
    let w = _mm256_set1_epi8(black_box(3));
    let x = [_mm256_set1_epi8(black_box(-5)); SUMS];
    let mut sums = [_mm256_setzero_si256(); SUMS];
    for _ in 0..rounds {
        // Read anew in each round, or the products would be computed once.
        for (sum, &x) in sums.iter_mut().zip(black_box(&x)) {
            *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(w, x));
        }
    }
    black_box(sums);
    rounds * SUMS * 32
}
