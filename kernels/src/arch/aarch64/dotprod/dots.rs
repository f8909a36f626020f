//! Products of bytes by `sdot`: sixteen at once, added up in fours.

use core::arch::aarch64::*;
use core::arch::asm;

use crate::arch::aarch64::formats::{Codes, Facts, Format};
use crate::arch::aarch64::gemv::Dots;
use crate::arch::aarch64::panel::PanelDots;

/// Multiplies with `sdot`.
pub(super) struct Sdot;

impl Dots for Sdot {
    const ROUND: bool = true;

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn sums<F: Format, const FIRST: i32>(c: &Codes, x: &Codes) -> [int32x4_t; 2] {
        if Facts::<F>::UNIT == 16 {
            let first = [
                unit::<FIRST>(c[0], x[0]),
                unit::<FIRST>(c[1], x[1]),
                unit::<FIRST>(c[2], x[2]),
                unit::<FIRST>(c[3], x[3]),
            ];
            let second = [
                unit::<FIRST>(c[4], x[4]),
                unit::<FIRST>(c[5], x[5]),
                unit::<FIRST>(c[6], x[6]),
                unit::<FIRST>(c[7], x[7]),
            ];
            return [lanes(first), lanes(second)];
        }
        let units = [
            sdot(unit::<FIRST>(c[0], x[0]), c[1], x[1]),
            sdot(unit::<FIRST>(c[2], x[2]), c[3], x[3]),
            sdot(unit::<FIRST>(c[4], x[4]), c[5], x[5]),
            sdot(unit::<FIRST>(c[6], x[6]), c[7], x[7]),
        ];
        [lanes(units), vdupq_n_s32(0)]
    }
}

/// The sum of each unit in its lane.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn lanes([a, b, c, d]: [int32x4_t; 4]) -> int32x4_t {
    vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d))
}

/// 16 products of a unit, four for each lane, and `FIRST` once. That is loaded, as loads are free here
/// and copies of a register are not.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn unit<const FIRST: i32>(a: int8x16_t, b: int8x16_t) -> int32x4_t {
    let sums;
    // SAFETY: reads one value.
    unsafe {
        asm!("ldr {0:s}, [{1}]", "sdot {0:v}.4s, {2:v}.16b, {3:v}.16b", out(vreg) sums,
            in(reg) const { &FIRST }, in(vreg) a, in(vreg) b,
            options(pure, readonly, nostack, preserves_flags));
    }
    sums
}

/// `sums` and the products, four for each lane. (The intrinsic is not stable.)
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(super) fn sdot(mut sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: registers only.
    unsafe {
        asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) sums, in(vreg) a, in(vreg) b,
            options(pure, nomem, nostack, preserves_flags));
    }
    sums
}

/// `sums` and the products with lane `LANE` of `b`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot_lane<const LANE: usize>(mut sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: registers only.
    unsafe {
        asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.4b[{lane}]", inout(vreg) sums, in(vreg) a,
            in(vreg) b, lane = const LANE, options(pure, nomem, nostack, preserves_flags));
    }
    sums
}

impl PanelDots for Sdot {
    const ROUND: bool = <Self as Dots>::ROUND;

    /// Four columns of four rows after the other.
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn store<const UNIT: usize>(rows: [int8x16_t; 4], at: usize, unit: *mut i8) {
        let [a, b, c, d] = rows;
        let row = |x| vreinterpretq_s32_s8(x);
        // SAFETY: the caller has room for a unit of four rows.
        unsafe { vst4q_s32(unit.add(4 * at).cast(), int32x4x4_t(row(a), row(b), row(c), row(d))) };
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn start<const FIRST: i32>() -> int32x4_t {
        load::<FIRST>()
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn unit<const S: usize, const T: usize, const UNIT: usize, const SMALL: bool>(
        codes: *const i8,
        stripe: usize,
        x: &[*const i8; T],
        at: usize,
        sums: &mut [[int32x4_t; T]; S],
    ) {
        for i in 0..UNIT / 16 {
            // SAFETY: the caller's unit.
            unsafe {
                let mut tokens = [vdupq_n_s8(0); T];
                for t in 0..T {
                    tokens[t] = vld1q_s8(x[t].add(at + 16 * i));
                }
                let codes = codes.add(64 * i);
                columns::<S, T, 0>(codes, stripe, &tokens, sums);
                columns::<S, T, 1>(codes.add(16), stripe, &tokens, sums);
                columns::<S, T, 2>(codes.add(32), stripe, &tokens, sums);
                columns::<S, T, 3>(codes.add(48), stripe, &tokens, sums);
            }
        }
    }
}

/// Four times `FIRST`, loaded for the same reason as in [`unit`]. (Not `pure`: copies of another
/// register would not be free.)
#[inline]
#[target_feature(enable = "neon")]
pub(in crate::arch::aarch64) fn load<const FIRST: i32>() -> int32x4_t {
    let sums;
    // SAFETY: reads four values.
    unsafe {
        asm!("ldr {0:q}, [{1}]", out(vreg) sums, in(reg) const { &[FIRST; 4] },
            options(readonly, nostack, preserves_flags));
    }
    sums
}

/// Four columns, those of lane `LANE`.
///
/// # Safety
/// The codes of every stripe are readable.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn columns<const S: usize, const T: usize, const LANE: usize>(
    codes: *const i8,
    stripe: usize,
    x: &[int8x16_t; T],
    sums: &mut [[int32x4_t; T]; S],
) {
    for (s, sums) in sums.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        let codes = unsafe { vld1q_s8(codes.add(s * stripe)) };
        for (sum, &x) in sums.iter_mut().zip(x) {
            *sum = sdot_lane::<LANE>(*sum, codes, x);
        }
    }
}
