//! Panels whose rows need no sums across lanes but those of pairs.
//!
//! A register has the columns of four rows in pairs, each row's in lanes of its own. Every column has
//! to meet every row, so a token's columns are taken in four orders: as they are, with neighbouring
//! pairs exchanged, with neighbouring fours, and with both. That costs three instructions for all
//! stripes, where sums across lanes would cost three for each.

use core::arch::aarch64::*;

use super::dots::{Pairs, add_two, two};
use super::units;
use crate::arch::aarch64::gemv::Dots;
use crate::arch::aarch64::panel::{PanelDots, Sums, Tokens, Units, add_units};
use crate::table::Panel;

impl PanelDots for Pairs {
    const ROUND: bool = <Self as Dots>::ROUND;

    /// Register `v` of four has pair `p ^ v` of the columns of row `p % 4` at place `p`.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn store<const UNIT: usize>(rows: [int8x16_t; 4], at: usize, unit: *mut i8) {
        const FIRST: u64 = 0x0000_ffff_0000_ffff;
        const FIRST_TWO: u64 = 0x0000_0000_ffff_ffff;
        let select = |mask: u64, a: int8x16_t, b: int8x16_t| {
            vbslq_s8(vreinterpretq_u8_u64(vdupq_n_u64(mask)), a, b)
        };
        let [a, b, c, d] = rows;
        let (ab, ba) = (select(FIRST, a, b), select(FIRST, b, a));
        let (cd, dc) = (select(FIRST, c, d), select(FIRST, d, c));
        let mixed = [
            orders(select(FIRST_TWO, ab, cd))[0],
            orders(select(FIRST_TWO, ba, dc))[1],
            orders(select(FIRST_TWO, cd, ab))[2],
            orders(select(FIRST_TWO, dc, ba))[3],
        ];
        for (v, mixed) in mixed.into_iter().enumerate() {
            // SAFETY: the caller has room for a unit of four rows.
            unsafe { vst1q_s8(unit.add(4 * at + 16 * v), mixed) };
        }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn start<const FIRST: i32>() -> int32x4_t {
        vdupq_n_s32(FIRST)
    }

    // Without the feature, which every CPU of this architecture has: else it is not always inlined.
    #[inline(always)]
    unsafe fn unit<const S: usize, const T: usize, const UNIT: usize, const SMALL: bool>(
        codes: *const i8,
        stripe: usize,
        x: &[*const i8; T],
        at: usize,
        sums: &mut [[int32x4_t; T]; S],
    ) {
        // SAFETY: the caller's unit.
        unsafe {
            let mut words = [[vdupq_n_s16(0); T]; S];
            for i in 0..UNIT / 16 {
                let mut tokens = [[vdupq_n_s8(0); 4]; T];
                for t in 0..T {
                    tokens[t] = orders(vld1q_s8(x[t].add(at + 16 * i)));
                }
                for s in 0..S {
                    for v in 0..4 {
                        let codes = vld1q_s8(codes.add(s * stripe + 64 * i + 16 * v));
                        for t in 0..T {
                            if SMALL {
                                words[s][t] = if (i, v) == (0, 0) {
                                    two(codes, tokens[t][v])
                                } else {
                                    add_two(words[s][t], codes, tokens[t][v])
                                };
                            } else {
                                sums[s][t] = vpadalq_s16(sums[s][t], two(codes, tokens[t][v]));
                            }
                        }
                    }
                }
            }
            if SMALL {
                for s in 0..S {
                    for t in 0..T {
                        sums[s][t] = vpadalq_s16(sums[s][t], words[s][t]);
                    }
                }
            }
        }
    }

    /// The loop that most models spend their time in is scheduled by hand.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn add_chain<
        const S: usize,
        const T: usize,
        const UNIT: usize,
        const MINIMUM: bool,
        const SMALL: bool,
        const WIDE: bool,
    >(
        panel: &Panel<'_>,
        x: &Tokens<T>,
        at: Units,
        sums: &mut Sums<S, T>,
    ) {
        // SAFETY: the caller's promises.
        unsafe {
            if (S, T, UNIT, SMALL, WIDE) != (2, 2, 32, true, false) {
                return add_units::<Self, S, T, UNIT, MINIMUM, SMALL, WIDE>(panel, x, at, sums);
            }
            let results = units::add::<T, MINIMUM>(panel, x, at);
            for (sum, result) in sums.as_flattened_mut().iter_mut().zip(results) {
                *sum = result;
            }
        }
    }
}

/// Pairs of bytes in the orders `p`, `p ^ 1`, `p ^ 2` and `p ^ 3`.
#[inline]
#[target_feature(enable = "neon")]
fn orders(x: int8x16_t) -> [int8x16_t; 4] {
    let pairs = vreinterpretq_s16_s8(x);
    [
        x,
        vreinterpretq_s8_s16(vrev32q_s16(pairs)),
        vreinterpretq_s8_s32(vrev64q_s32(vreinterpretq_s32_s8(x))),
        vreinterpretq_s8_s16(vrev64q_s16(pairs)),
    ]
}
