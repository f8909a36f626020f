//! Products of bytes, widened to words and added up in pairs.

use core::arch::aarch64::*;
use core::arch::asm;

use crate::arch::aarch64::formats::{Codes, Facts, Format};
use crate::arch::aarch64::gemv::Dots;

/// Multiplies with `smull` and `smlal`.
pub(super) struct Pairs;

impl Dots for Pairs {
    const ROUND: bool = false;

    #[inline(always)]
    unsafe fn sums<F: Format, const FIRST: i32>(codes: &Codes, x: &Codes) -> [int32x4_t; 2] {
        // SAFETY: the caller's CPU has NEON.
        unsafe { group::<F>(codes, x) }
    }
}

/// See [`Dots::sums`]. Without the feature, which every CPU of this architecture has: else it is not
/// always inlined.
#[inline(always)]
unsafe fn group<F: Format>(codes: &Codes, x: &Codes) -> [int32x4_t; 2] {
    // SAFETY: the caller's CPU has NEON.
    unsafe {
        let zero = vdupq_n_s32(0);
        match (Facts::<F>::UNIT, Facts::<F>::FACTS.bits) {
            (16, _) => [quarter_units(codes, x, 0), quarter_units(codes, x, 4)],
            (_, 8) => {
                let [a, b] = [wide_unit(codes, x, 0), wide_unit(codes, x, 2)];
                let [c, d] = [wide_unit(codes, x, 4), wide_unit(codes, x, 6)];
                [vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d)), zero]
            }
            _ => {
                // Codes of -16..=15. Sums of 16 products, at most 16 * 16 * 127 = 32512, fit a word.
                let first = vpaddq_s16(unit(codes, x, 0), unit(codes, x, 2));
                let second = vpaddq_s16(unit(codes, x, 4), unit(codes, x, 6));
                [vpaddlq_s16(vpaddq_s16(first, second)), zero]
            }
        }
    }
}

/// Eight sums of two products. Both bytes of a pair at their largest, 2 * 128 * 127, fit a word.
/// (By hand, because compilers may widen `x` apart, for all rows, and then it fills the registers.)
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn two(codes: int8x16_t, x: int8x16_t) -> int16x8_t {
    let sums;
    // SAFETY: registers only.
    unsafe {
        asm!("smull {0:v}.8h, {1:v}.8b, {2:v}.8b", "smlal2 {0:v}.8h, {1:v}.16b, {2:v}.16b",
            out(vreg) sums, in(vreg) codes, in(vreg) x,
            options(pure, nomem, nostack, preserves_flags));
    }
    sums
}

/// `sums`, and two products more in each.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn add_two(mut sums: int16x8_t, codes: int8x16_t, x: int8x16_t) -> int16x8_t {
    // SAFETY: registers only.
    unsafe {
        asm!("smlal {0:v}.8h, {1:v}.8b, {2:v}.8b", "smlal2 {0:v}.8h, {1:v}.16b, {2:v}.16b",
            inout(vreg) sums, in(vreg) codes, in(vreg) x,
            options(pure, nomem, nostack, preserves_flags));
    }
    sums
}

/// Eight sums of four products: 4 * 63 * 127 = 32004.
#[inline]
#[target_feature(enable = "neon")]
fn four(a: int8x16_t, xa: int8x16_t, b: int8x16_t, xb: int8x16_t) -> int16x8_t {
    add_two(two(a, xa), b, xb)
}

/// A unit of 32, whose codes begin with register `at`.
#[inline]
#[target_feature(enable = "neon")]
fn unit(codes: &Codes, x: &Codes, at: usize) -> int16x8_t {
    four(codes[at], x[at], codes[at + 1], x[at + 1])
}

/// The same with codes of 8 bits.
#[inline]
#[target_feature(enable = "neon")]
fn wide_unit(codes: &Codes, x: &Codes, at: usize) -> int32x4_t {
    vpadalq_s16(vpaddlq_s16(two(codes[at], x[at])), two(codes[at + 1], x[at + 1]))
}

/// Four units of 16.
#[inline]
#[target_feature(enable = "neon")]
fn quarter_units(codes: &Codes, x: &Codes, at: usize) -> int32x4_t {
    // Words of four products: 4 * 63 * 127 = 32004. (Codes of 8 bits in such units are points of grids, below
    // 64, too.)
    let pair = |at: usize| vpaddq_s16(two(codes[at], x[at]), two(codes[at + 1], x[at + 1]));
    vpaddq_s32(vpaddlq_s16(pair(at)), vpaddlq_s16(pair(at + 2)))
}
