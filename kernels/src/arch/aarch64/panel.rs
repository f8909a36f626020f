//! Panels of a layout of their own, and their product with many tokens.
//!
//! ```text
//! codes:          [8 stripes of 4 rows][k / unit][4 rows of a unit, as the target arranges them]
//! scales, minima: [k / unit][32 rows]
//! ```
//!
//! Codes are signed bytes without bias. Units lie chain by chain (0, 4, 8, ... 1, 5, 9, ...), so
//! that a chain is read in a line and only one chain is in registers at a time.

use core::arch::aarch64::*;

use super::formats::{Codes, Facts, Format, GROUP, MAX_BYTES};
use super::gemv::{Dots, ROUND_BITS, floats};
use crate::activation::Activations;
use crate::arch::generic::chain_starts;
use crate::cast::Tile;
use crate::quant::IntegerFacts;
use crate::table::{PANEL_ROWS, Panel};

/// Rows in a stripe: those of a register of floats.
const ROWS: usize = 4;

/// Tokens of a tile.
const TOKENS: usize = 4;

/// Where activations of some tokens begin.
pub(super) type Starts = [*const i8; TOKENS];

/// How a target multiplies panels.
///
/// # Safety
/// Of every method: the CPU has the target's features.
pub(super) trait PanelDots: Dots {
    /// Writes 16 columns of four rows, from column `at` of a unit of `UNIT`.
    unsafe fn store<const UNIT: usize>(rows: [int8x16_t; ROWS], at: usize, unit: *mut i8);

    /// The exact sums of products of a unit of `S` stripes, `stripe` bytes apart, and some tokens.
    /// They begin with `FIRST`, where [`Dots::ROUND`] asks for it.
    /// `SMALL`: sums of half of a unit's products fit a word.
    unsafe fn unit<const S: usize, const UNIT: usize, const SMALL: bool, const FIRST: i32>(
        codes: *const i8,
        stripe: usize,
        x: &Starts,
        at: usize,
    ) -> [[int32x4_t; TOKENS]; S];
}

/// See [`crate::table::Unpack`]. Writes whole groups of `S` stripes; rows that are missing repeat
/// the last one.
///
/// # Safety
/// The CPU has the features of `D`; the promises of [`crate::table::Unpack`].
#[inline(always)]
pub(super) unsafe fn unpack<F: Format, D: PanelDots, const S: usize>(
    w: &[u8],
    panel: &mut Panel<'_>,
) {
    // The product has no code for minima of units of 16.
    const { assert!(Facts::<F>::UNIT == 32 || !Facts::<F>::FACTS.minimum) };
    let (k, rows) = (panel.k, panel.rows);
    let row_bytes = k / F::KIND.block_len() * F::KIND.block_bytes();
    let units = k / Facts::<F>::UNIT;
    // What the stores rely on.
    assert!(panel.codes.len() >= PANEL_ROWS * k && rows <= PANEL_ROWS);
    assert!(panel.scales.len().min(panel.minima.len()) >= PANEL_ROWS * units);
    for stripe in 0..rows.div_ceil(ROWS * S) * S {
        let mut stripe_rows = [&[][..]; ROWS];
        for (i, row) in stripe_rows.iter_mut().enumerate() {
            *row = &w[(stripe * ROWS + i).min(rows - 1) * row_bytes..][..row_bytes];
        }
        for at in (0..row_bytes).step_by(Facts::<F>::BYTES) {
            let mut copies = [[0u8; MAX_BYTES]; ROWS];
            let mut steps = [core::ptr::null(); ROWS];
            for ((step, row), copy) in steps.iter_mut().zip(stripe_rows).zip(&mut copies) {
                let rest = &row[at..];
                *step = rest.as_ptr();
                if rest.len() < Facts::<F>::BYTES {
                    copy[..rest.len()].copy_from_slice(rest);
                    *step = copy.as_ptr();
                }
            }
            let first = at / Facts::<F>::BYTES * Facts::<F>::STEP;
            // SAFETY: whole steps of four rows, and a panel of the size checked above.
            unsafe { unpack_step::<F, D>(&steps, stripe, first, panel) };
        }
    }
}

/// A step of four rows, whose first weights belong to column `first`.
#[inline(always)]
unsafe fn unpack_step<F: Format, D: PanelDots>(
    steps: &[*const u8; ROWS],
    stripe: usize,
    first: usize,
    panel: &mut Panel<'_>,
) {
    let (k, units) = (panel.k, panel.k / Facts::<F>::UNIT);
    let starts = chain_starts(units);
    // SAFETY: the caller's steps; a unit's place lies inside its stripe.
    unsafe {
        for group in 0..Facts::<F>::GROUPS {
            let mut codes = [F::codes(steps[0], group); ROWS];
            for r in 1..ROWS {
                codes[r] = F::codes(steps[r], group);
            }
            let first_unit = (first + group * GROUP) / Facts::<F>::UNIT;
            for u in 0..(GROUP / Facts::<F>::UNIT).min(units - first_unit.min(units)) {
                let unit = first_unit + u;
                let place = starts[unit % 4] + unit / 4;
                let to = panel.codes.as_mut_ptr().cast::<i8>();
                let to = to.add(ROWS * (stripe * k + place * Facts::<F>::UNIT));
                store_unit::<F, D>(&codes, u, to);
                let at = place * PANEL_ROWS + stripe * ROWS;
                for r in 0..ROWS {
                    let head = F::head(steps[r]);
                    let lanes = |x: float32x4_t| {
                        let mut lanes = [0.0; 4];
                        vst1q_f32(lanes.as_mut_ptr(), x);
                        lanes[u % 4]
                    };
                    panel.scales[at + r] = lanes(F::scales(&head, group)[u / 4]);
                    if Facts::<F>::FACTS.minimum {
                        panel.minima[at + r] = lanes(F::minima(&head, group));
                    }
                }
            }
        }
    }
}

/// Unit `u` of a group of four rows, without the bias.
#[inline(always)]
unsafe fn store_unit<F: Format, D: PanelDots>(codes: &[Codes; ROWS], u: usize, to: *mut i8) {
    let registers = Facts::<F>::UNIT / 16;
    for i in 0..registers {
        // SAFETY: the caller has the unit's place.
        unsafe {
            let bias = vdupq_n_s8(Facts::<F>::BIAS as i8);
            let mut rows = [bias; ROWS];
            for r in 0..ROWS {
                rows[r] = vsubq_s8(codes[r][u * registers + i], bias);
            }
            if registers == 2 {
                D::store::<32>(rows, 16 * i, to);
            } else {
                D::store::<16>(rows, 0, to);
            }
        }
    }
}

/// See [`crate::Kernels`]. `S` stripes go together.
///
/// # Safety
/// The CPU has the features of `D`; the panel was written by [`unpack`] with the same `D` and `S`.
#[inline(always)]
pub(super) unsafe fn gemm<D: PanelDots, const S: usize>(
    panel: &Panel<'_>,
    x: &Activations<'_>,
    out: &mut Tile<'_>,
) {
    let IntegerFacts { unit, bits, bias, minimum } = panel.facts;
    // What the loads rely on.
    assert!(panel.codes.len() >= PANEL_ROWS * panel.k && panel.rows <= PANEL_ROWS);
    assert!(panel.scales.len().min(panel.minima.len()) >= PANEL_ROWS * (panel.k / unit));
    assert_eq!((x.k, out.rows()), (panel.k, panel.rows));
    // -16..=15 in a unit of 32: 16 * 16 * 127 = 32512 fits a word; twice as much in one of 16.
    let small = bits <= 4 || bias > 0 && bias as usize * unit <= 512;
    let wide = x.low.is_some();
    // SAFETY: sizes checked above.
    unsafe {
        match (unit, minimum, small, wide) {
            (16, _, _, false) => all_tokens::<D, S, 16, false, true, false>(panel, x, out),
            (16, _, _, true) => all_tokens::<D, S, 16, false, true, true>(panel, x, out),
            (_, false, true, false) => all_tokens::<D, S, 32, false, true, false>(panel, x, out),
            (_, false, true, true) => all_tokens::<D, S, 32, false, true, true>(panel, x, out),
            (_, false, false, false) => all_tokens::<D, S, 32, false, false, false>(panel, x, out),
            (_, false, false, true) => all_tokens::<D, S, 32, false, false, true>(panel, x, out),
            (_, true, true, false) => all_tokens::<D, S, 32, true, true, false>(panel, x, out),
            (_, true, true, true) => all_tokens::<D, S, 32, true, true, true>(panel, x, out),
            (_, true, false, false) => all_tokens::<D, S, 32, true, false, false>(panel, x, out),
            (_, true, false, true) => all_tokens::<D, S, 32, true, false, true>(panel, x, out),
        }
    }
}

/// Four tokens after the other; in the last tile some may be done again.
#[inline(always)]
unsafe fn all_tokens<
    D: PanelDots,
    const S: usize,
    const UNIT: usize,
    const MINIMUM: bool,
    const SMALL: bool,
    const WIDE: bool,
>(
    panel: &Panel<'_>,
    x: &Activations<'_>,
    out: &mut Tile<'_>,
) {
    let mut done = 0;
    while done < x.tokens {
        let first = done.min(x.tokens.saturating_sub(TOKENS));
        let mut tokens = [0; TOKENS];
        for t in 0..TOKENS {
            tokens[t] = (first + t).min(x.tokens - 1);
        }
        for stripe in (0..panel.rows.div_ceil(ROWS)).step_by(S) {
            // SAFETY: the stripes and the tokens exist.
            let sums =
                unsafe { tile::<D, S, UNIT, MINIMUM, SMALL, WIDE>(panel, x, &tokens, stripe) };
            for (s, sums) in sums.iter().enumerate() {
                let row = (stripe + s) * ROWS;
                if row >= panel.rows {
                    break;
                }
                for (sums, &token) in sums.iter().zip(&tokens) {
                    let mut results = [0.0; ROWS];
                    // SAFETY: four floats.
                    unsafe { vst1q_f32(results.as_mut_ptr(), *sums) };
                    let rows = ROWS.min(panel.rows - row);
                    out.token(token)[row..row + rows].copy_from_slice(&results[..rows]);
                }
            }
        }
        done = first + TOKENS;
    }
}

/// The floats of a tile: a register of rows for every token and stripe.
type Sums<const S: usize> = [[float32x4_t; TOKENS]; S];

/// `S` stripes × four tokens.
#[inline(always)]
unsafe fn tile<
    D: PanelDots,
    const S: usize,
    const UNIT: usize,
    const MINIMUM: bool,
    const SMALL: bool,
    const WIDE: bool,
>(
    panel: &Panel<'_>,
    x: &Activations<'_>,
    tokens: &[usize; TOKENS],
    stripe: usize,
) -> Sums<S> {
    // SAFETY: every unit exists in the panel and in every token.
    unsafe {
        let starts = chain_starts(panel.k / UNIT);
        let codes = panel.codes.as_ptr().cast::<i8>().add(stripe * ROWS * panel.k);
        let mut high = [x.high.as_ptr(); TOKENS];
        let mut low = [x.low.unwrap_or(x.high).as_ptr(); TOKENS];
        let mut scales = [x.scales.as_ptr(); TOKENS];
        let mut scaled_sums = [x.scaled_sums.as_ptr(); TOKENS];
        for t in 0..TOKENS {
            high[t] = high[t].add(tokens[t] * x.stride);
            low[t] = low[t].add(tokens[t] * x.stride);
            scales[t] = scales[t].add(tokens[t] * x.stride / 32);
            scaled_sums[t] = scaled_sums[t].add(tokens[t] * x.stride / 32);
        }
        let mut chains = [[[vdupq_n_f32(0.0); TOKENS]; S]; 4];
        for chain in 0..4 {
            let mut sums = [[vdupq_n_f32(0.0); TOKENS]; S];
            for (i, place) in (starts[chain]..starts[chain + 1]).enumerate() {
                let column = (chain + 4 * i) * UNIT;
                let codes = codes.add(place * ROWS * UNIT);
                let stride = ROWS * panel.k;
                let mut dots = if WIDE {
                    D::unit::<S, UNIT, SMALL, 0>(codes, stride, &high, column)
                } else {
                    D::unit::<S, UNIT, SMALL, ROUND_BITS>(codes, stride, &high, column)
                };
                if WIDE {
                    let lows = D::unit::<S, UNIT, SMALL, 0>(codes, stride, &low, column);
                    for s in 0..S {
                        for t in 0..TOKENS {
                            dots[s][t] = vmlaq_n_s32(lows[s][t], dots[s][t], 255);
                        }
                    }
                }
                let at = place * PANEL_ROWS + stripe * ROWS;
                for s in 0..S {
                    let scale = vld1q_f32(panel.scales.as_ptr().add(at + s * ROWS));
                    for t in 0..TOKENS {
                        let scale = vmulq_n_f32(scale, *scales[t].add(column / 32));
                        sums[s][t] = vfmaq_f32(sums[s][t], floats::<D, WIDE>(dots[s][t]), scale);
                    }
                    if MINIMUM {
                        let minimum = vld1q_f32(panel.minima.as_ptr().add(at + s * ROWS));
                        for t in 0..TOKENS {
                            let factor = *scaled_sums[t].add(column / 32);
                            sums[s][t] = vfmaq_n_f32(sums[s][t], minimum, factor);
                        }
                    }
                }
            }
            chains[chain] = sums;
        }
        let [c0, c1, c2, c3] = chains;
        let mut results = c0;
        for s in 0..S {
            for t in 0..TOKENS {
                let (first, second) =
                    (vaddq_f32(c0[s][t], c1[s][t]), vaddq_f32(c2[s][t], c3[s][t]));
                results[s][t] = vaddq_f32(first, second);
            }
        }
        results
    }
}
