//! Products of bytes, widened to words and added up in pairs.

use core::arch::aarch64::*;

use crate::arch::aarch64::formats::{Codes, Facts, Format};
use crate::arch::aarch64::gemv::Dots;
use crate::arch::aarch64::panel::PanelDots;

/// Multiplies with `smull` and `smlal`.
pub(super) struct Pairs;

impl Dots for Pairs {
    const ROUND: bool = false;

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn sums<F: Format>(codes: &Codes, x: &Codes, start: &[i32; 8]) -> [int32x4_t; 2] {
        let mut sums = group::<F>(codes, x);
        if Facts::<F>::BIAS != 0 {
            // SAFETY: four of eight values.
            let start = |i: usize| unsafe { vld1q_s32(start[4 * i..].as_ptr()) };
            sums = [vaddq_s32(sums[0], start(0)), vaddq_s32(sums[1], start(1))];
        }
        sums
    }
}

/// See [`Dots::sums`].
#[inline]
#[target_feature(enable = "neon")]
fn group<F: Format>(codes: &Codes, x: &Codes) -> [int32x4_t; 2] {
    let zero = vdupq_n_s32(0);
    match (Facts::<F>::UNIT, Facts::<F>::FACTS.bits) {
        (16, _) => [quarter_units(codes, x, 0), quarter_units(codes, x, 4)],
        (_, 8) => {
            let [a, b] = [wide_unit(codes, x, 0), wide_unit(codes, x, 2)];
            let [c, d] = [wide_unit(codes, x, 4), wide_unit(codes, x, 6)];
            [vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d)), zero]
        }
        (_, bits) => {
            // Eight sums of eight products, at most 8 * 31 * 127 = 31496.
            let first = vpaddq_s16(unit(codes, x, 0), unit(codes, x, 2));
            let second = vpaddq_s16(unit(codes, x, 4), unit(codes, x, 6));
            if bits == 4 {
                // 16 * 15 * 127 = 30480 still fits a word.
                return [vpaddlq_s16(vpaddq_s16(first, second)), zero];
            }
            [vpaddq_s32(vpaddlq_s16(first), vpaddlq_s16(second)), zero]
        }
    }
}

/// Eight sums of two products. Both bytes of a pair at their largest, 2 * 128 * 127, fit a word.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn two(codes: int8x16_t, x: int8x16_t) -> int16x8_t {
    vmlal_high_s8(vmull_s8(vget_low_s8(codes), vget_low_s8(x)), codes, x)
}

/// Eight sums of four products: 4 * 63 * 127 = 32004.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn four(a: int8x16_t, xa: int8x16_t, b: int8x16_t, xb: int8x16_t) -> int16x8_t {
    vmlal_high_s8(vmlal_s8(two(a, xa), vget_low_s8(b), vget_low_s8(xb)), b, xb)
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
    // Words of four products: 4 * 63 * 127 = 32004.
    let pair = |at: usize| vpaddq_s16(two(codes[at], x[at]), two(codes[at + 1], x[at + 1]));
    vpaddq_s32(vpaddlq_s16(pair(at)), vpaddlq_s16(pair(at + 2)))
}

impl PanelDots for Pairs {
    const ROUND: bool = <Self as Dots>::ROUND;

    /// One row after the other.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn store<const UNIT: usize>(rows: [int8x16_t; 4], at: usize, unit: *mut i8) {
        for (r, row) in rows.into_iter().enumerate() {
            // SAFETY: the caller has room for a unit of four rows.
            unsafe { vst1q_s8(unit.add(r * UNIT + at), row) };
        }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn start<const FIRST: i32>() -> int32x4_t {
        vdupq_n_s32(FIRST)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn unit<const S: usize, const T: usize, const UNIT: usize, const SMALL: bool>(
        codes: *const i8,
        stripe: usize,
        x: &[*const i8; T],
        at: usize,
        sums: &mut [[int32x4_t; T]; S],
    ) {
        for (s, sums) in sums.iter_mut().enumerate() {
            for (sum, x) in sums.iter_mut().zip(x) {
                // SAFETY: the caller's unit.
                unsafe {
                    let codes = codes.add(s * stripe);
                    *sum = add_four_rows::<UNIT, SMALL>(*sum, codes, x.add(at));
                }
            }
        }
    }
}

/// `sums` and those of a unit of four rows and one token.
///
/// # Safety
/// Both are readable.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn add_four_rows<const UNIT: usize, const SMALL: bool>(
    sums: int32x4_t,
    codes: *const i8,
    x: *const i8,
) -> int32x4_t {
    // SAFETY: the caller's units.
    unsafe {
        let code = |r: usize, i: usize| vld1q_s8(codes.add(r * UNIT + 16 * i));
        let x = [vld1q_s8(x), vld1q_s8(x.add(UNIT - 16))];
        if !SMALL {
            let row =
                |r: usize| vpadalq_s16(vpaddlq_s16(two(code(r, 0), x[0])), two(code(r, 1), x[1]));
            let four = vpaddq_s32(vpaddq_s32(row(0), row(1)), vpaddq_s32(row(2), row(3)));
            return vaddq_s32(sums, four);
        }
        let row = |r: usize| match UNIT {
            16 => two(code(r, 0), x[0]),
            _ => four(code(r, 0), x[0], code(r, 1), x[1]),
        };
        let (first, second) = (vpaddq_s16(row(0), row(1)), vpaddq_s16(row(2), row(3)));
        vpadalq_s16(sums, vpaddq_s16(first, second))
    }
}
