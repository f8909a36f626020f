//! See [`crate::Kernels::peak_integer`].

use core::arch::aarch64::*;
use core::hint::black_box;

use super::dots::smmla;

/// Sums that fill the registers, with the codes beside them.
const SUMS: usize = 16;

/// Products of two rows and two columns, eight bytes long.
#[target_feature(enable = "neon,i8mm")]
pub(super) fn peak_integer(rounds: usize) -> usize {
    let w = vdupq_n_s8(black_box(3));
    let x = vdupq_n_s8(black_box(-5));
    let mut sums = [vdupq_n_s32(0); SUMS];
    for _ in 0..rounds {
        // Read anew in each round, or the products would be computed once.
        let x = black_box(x);
        for sum in &mut sums {
            *sum = smmla(*sum, w, x);
        }
    }
    black_box(sums);
    rounds * SUMS * 32
}
