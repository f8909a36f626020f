//! Products of bytes by `smmla`: two rows of eight times two tokens.

use core::arch::aarch64::*;
use core::arch::asm;

use crate::arch::aarch64::dotprod::dots::load;
use crate::arch::aarch64::panel::PanelDots;

/// Multiplies with `smmla`.
pub(super) struct Smmla;

/// `sums` and the products of two rows of eight bytes with two others: that of row `i` of `a` and
/// row `j` of `b` in lane `2 i + j`. (The intrinsic is not stable.)
#[inline]
#[target_feature(enable = "neon,i8mm")]
pub(super) fn smmla(mut sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: registers only.
    unsafe {
        asm!("smmla {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) sums, in(vreg) a, in(vreg) b,
            options(pure, nomem, nostack, preserves_flags));
    }
    sums
}

impl PanelDots for Smmla {
    const ROUND: bool = true;

    /// Eight columns of two rows after the other.
    #[inline]
    #[target_feature(enable = "neon,i8mm")]
    unsafe fn store<const UNIT: usize>(rows: [int8x16_t; 4], at: usize, unit: *mut i8) {
        let [a, b, c, d] = rows.map(|row| vreinterpretq_s64_s8(row));
        let columns = [[vzip1q_s64(a, b), vzip1q_s64(c, d)], [vzip2q_s64(a, b), vzip2q_s64(c, d)]];
        for (i, &pair) in columns.as_flattened().iter().enumerate() {
            // SAFETY: the caller has room for a unit of four rows.
            unsafe { vst1q_s8(unit.add(4 * at + 16 * i), vreinterpretq_s8_s64(pair)) };
        }
    }

    #[inline]
    #[target_feature(enable = "neon,i8mm")]
    unsafe fn start<const FIRST: i32>() -> int32x4_t {
        load::<FIRST>()
    }

    /// Registers `2 q` and `2 q + 1` of a stripe have the first and the second two rows of tokens
    /// `2 q` and `2 q + 1`: lane `2 t + r`.
    #[inline]
    #[target_feature(enable = "neon,i8mm")]
    unsafe fn unit<const S: usize, const T: usize, const UNIT: usize, const SMALL: bool>(
        codes: *const i8,
        stripe: usize,
        x: &[*const i8; T],
        at: usize,
        sums: &mut [[int32x4_t; T]; S],
    ) {
        const { assert!(T.is_multiple_of(2)) };
        for i in 0..UNIT / 16 {
            // SAFETY: the caller's unit.
            unsafe {
                let mut tokens = [[vdupq_n_s8(0); T]; 2];
                for q in 0..T / 2 {
                    let token = |t: usize| vreinterpretq_s64_s8(vld1q_s8(x[t].add(at + 16 * i)));
                    let (a, b) = (token(2 * q), token(2 * q + 1));
                    tokens[0][q] = vreinterpretq_s8_s64(vzip1q_s64(a, b));
                    tokens[1][q] = vreinterpretq_s8_s64(vzip2q_s64(a, b));
                }
                for (half, tokens) in tokens.iter().enumerate() {
                    let codes = codes.add(64 * i + 32 * half);
                    for (s, sums) in sums.iter_mut().enumerate() {
                        let codes = codes.add(s * stripe);
                        let rows = [vld1q_s8(codes), vld1q_s8(codes.add(16))];
                        for (r, sum) in sums.iter_mut().enumerate() {
                            *sum = smmla(*sum, tokens[r / 2], rows[r % 2]);
                        }
                    }
                }
            }
        }
    }

    #[inline]
    #[target_feature(enable = "neon,i8mm")]
    unsafe fn by_token<const S: usize, const T: usize>(sums: &mut [[int32x4_t; T]; S]) {
        for pair in sums.as_flattened_mut().as_chunks_mut::<2>().0 {
            let [a, b] = pair.map(|rows| vreinterpretq_s64_s32(rows));
            *pair = [vzip1q_s64(a, b), vzip2q_s64(a, b)].map(|token| vreinterpretq_s32_s64(token));
        }
    }
}
