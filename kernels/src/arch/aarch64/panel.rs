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
use super::gemv::{ROUND_BITS, floats};
use crate::activation::Activations;
use crate::arch::generic::chain_starts;
use crate::cast::Tile;
use crate::quant::IntegerFacts;
use crate::table::{PANEL_ROWS, Panel};

/// Rows in a stripe: those of a register of floats.
const ROWS: usize = 4;

/// How a target multiplies panels.
///
/// # Safety
/// Of every method: the CPU has the target's features.
pub(super) trait PanelDots {
    /// As in [`super::gemv::Dots`].
    const ROUND: bool;

    /// Writes 16 columns of four rows, from column `at` of a unit of `UNIT`.
    unsafe fn store<const UNIT: usize>(rows: [int8x16_t; ROWS], at: usize, unit: *mut i8);

    /// Four times `FIRST`, as what sums begin with.
    unsafe fn start<const FIRST: i32>() -> int32x4_t;

    /// Adds the products of a unit of `S` stripes, `stripe` bytes apart, and `T` tokens, exactly.
    /// `SMALL`: sums of half of a unit's products fit a word.
    unsafe fn unit<const S: usize, const T: usize, const UNIT: usize, const SMALL: bool>(
        codes: *const i8,
        stripe: usize,
        x: &[*const i8; T],
        at: usize,
        sums: &mut [[int32x4_t; T]; S],
    );

    /// Sums of [`PanelDots::unit`] with four rows of one token in each register.
    #[inline(always)]
    unsafe fn by_token<const S: usize, const T: usize>(_: &mut [[int32x4_t; T]; S]) {}

    /// Adds the units of a chain.
    #[inline(always)]
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
    ) where
        Self: Sized,
    {
        // SAFETY: the caller's promises.
        unsafe { add_units::<Self, S, T, UNIT, MINIMUM, SMALL, WIDE>(panel, x, at, sums) }
    }
}

/// Units of a chain of `S` stripes from `stripe` on: they lie at `first..end`, and the activations of
/// the first one begin at `column`.
#[derive(Clone, Copy)]
pub(super) struct Units {
    pub stripe: usize,
    pub first: usize,
    pub end: usize,
    pub column: usize,
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
pub(super) unsafe fn unpack_step<F: Format, D: PanelDots>(
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

/// See [`crate::Kernels`]. `S` stripes and `T` tokens go together.
///
/// # Safety
/// The CPU has the features of `D`; the panel was written by [`unpack`] with the same `D` and `S`.
#[inline(always)]
pub(super) unsafe fn gemm<D: PanelDots, const S: usize, const T: usize>(
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
            (16, _, true, false) => all_tokens::<D, S, T, 16, false, true, false>(panel, x, out),
            (16, _, true, true) => all_tokens::<D, S, T, 16, false, true, true>(panel, x, out),
            (16, _, false, false) => all_tokens::<D, S, T, 16, false, false, false>(panel, x, out),
            (16, _, false, true) => all_tokens::<D, S, T, 16, false, false, true>(panel, x, out),
            (_, false, true, false) => all_tokens::<D, S, T, 32, false, true, false>(panel, x, out),
            (_, false, true, true) => all_tokens::<D, S, T, 32, false, true, true>(panel, x, out),
            (_, false, false, false) => {
                all_tokens::<D, S, T, 32, false, false, false>(panel, x, out)
            }
            (_, false, false, true) => all_tokens::<D, S, T, 32, false, false, true>(panel, x, out),
            (_, true, true, false) => all_tokens::<D, S, T, 32, true, true, false>(panel, x, out),
            (_, true, true, true) => all_tokens::<D, S, T, 32, true, true, true>(panel, x, out),
            (_, true, false, false) => all_tokens::<D, S, T, 32, true, false, false>(panel, x, out),
            (_, true, false, true) => all_tokens::<D, S, T, 32, true, false, true>(panel, x, out),
        }
    }
}

/// `T` tokens after the other; in the last tile some may be done again.
#[inline(always)]
unsafe fn all_tokens<
    D: PanelDots,
    const S: usize,
    const T: usize,
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
        let first = done.min(x.tokens.saturating_sub(T));
        let mut tokens = [0; T];
        for t in 0..T {
            tokens[t] = (first + t).min(x.tokens - 1);
        }
        for stripe in (0..panel.rows.div_ceil(ROWS)).step_by(S) {
            // SAFETY: the stripes and the tokens exist.
            let sums =
                unsafe { tile::<D, S, T, UNIT, MINIMUM, SMALL, WIDE>(panel, x, &tokens, stripe) };
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
        done = first + T;
    }
}

/// The floats of a tile: a register of rows for every token and stripe.
pub(super) type Sums<const S: usize, const T: usize> = [[float32x4_t; T]; S];

/// `S` stripes × `T` tokens.
#[inline(always)]
unsafe fn tile<
    D: PanelDots,
    const S: usize,
    const T: usize,
    const UNIT: usize,
    const MINIMUM: bool,
    const SMALL: bool,
    const WIDE: bool,
>(
    panel: &Panel<'_>,
    x: &Activations<'_>,
    tokens: &[usize; T],
    stripe: usize,
) -> Sums<S, T> {
    // SAFETY: every unit exists in the panel and in every token.
    unsafe {
        let starts = chain_starts(panel.k / UNIT);
        let x = Tokens::new(x, tokens);
        let mut chains = [[[vdupq_n_f32(0.0); T]; S]; 4];
        for chain in 0..4 {
            let (first, end) = (starts[chain], starts[chain + 1]);
            let at = Units { stripe, first, end, column: chain * UNIT };
            // A copy, because compilers keep what they index in memory.
            let mut sums = chains[chain];
            D::add_chain::<S, T, UNIT, MINIMUM, SMALL, WIDE>(panel, &x, at, &mut sums);
            chains[chain] = sums;
        }
        let [c0, c1, c2, c3] = chains;
        let mut results = c0;
        for s in 0..S {
            for t in 0..T {
                let (first, second) =
                    (vaddq_f32(c0[s][t], c1[s][t]), vaddq_f32(c2[s][t], c3[s][t]));
                results[s][t] = vaddq_f32(first, second);
            }
        }
        results
    }
}

/// Where the activations of some tokens begin.
pub(super) struct Tokens<const T: usize> {
    pub high: [*const i8; T],
    pub low: [*const i8; T],
    pub scales: [*const f32; T],
    pub scaled_sums: [*const f32; T],
}

impl<const T: usize> Tokens<T> {
    /// Those of the tokens of these numbers.
    #[inline(always)]
    unsafe fn new(x: &Activations<'_>, tokens: &[usize; T]) -> Self {
        let mut places = Tokens {
            high: [x.high.as_ptr(); T],
            low: [x.low.unwrap_or(x.high).as_ptr(); T],
            scales: [x.scales.as_ptr(); T],
            scaled_sums: [x.scaled_sums.as_ptr(); T],
        };
        for t in 0..T {
            // SAFETY: the caller's tokens exist.
            unsafe {
                places.high[t] = places.high[t].add(tokens[t] * x.stride);
                places.low[t] = places.low[t].add(tokens[t] * x.stride);
                places.scales[t] = places.scales[t].add(tokens[t] * x.stride / 32);
                places.scaled_sums[t] = places.scaled_sums[t].add(tokens[t] * x.stride / 32);
            }
        }
        places
    }
}

/// See [`PanelDots::add_chain`].
#[inline(always)]
pub(super) unsafe fn add_units<
    D: PanelDots,
    const S: usize,
    const T: usize,
    const UNIT: usize,
    const MINIMUM: bool,
    const SMALL: bool,
    const WIDE: bool,
>(
    panel: &Panel<'_>,
    x: &Tokens<T>,
    Units { stripe, first, end, column }: Units,
    sums: &mut Sums<S, T>,
) {
    let round = D::ROUND && !WIDE;
    for (i, place) in (first..end).enumerate() {
        let column = column + 4 * i * UNIT;
        let at = place * PANEL_ROWS + stripe * ROWS;
        // SAFETY: the caller's units exist in the panel and in every token.
        unsafe {
            let dots = dots::<D, S, T, UNIT, SMALL, WIDE>(panel, x, (stripe, place), column);
            for s in 0..S {
                let scale = vld1q_f32(panel.scales.as_ptr().add(at + s * ROWS));
                for t in 0..T {
                    let scale = vmulq_n_f32(scale, *x.scales[t].add(column / 32));
                    sums[s][t] = vfmaq_f32(sums[s][t], floats(dots[s][t], round), scale);
                }
                if MINIMUM {
                    let minimum = vld1q_f32(panel.minima.as_ptr().add(at + s * ROWS));
                    for t in 0..T {
                        let factor = *x.scaled_sums[t].add(column / 32);
                        sums[s][t] = vfmaq_n_f32(sums[s][t], minimum, factor);
                    }
                }
            }
        }
    }
}

/// The exact sums of `S` stripes' units at `place`, whose activations begin at `column`.
#[inline(always)]
unsafe fn dots<
    D: PanelDots,
    const S: usize,
    const T: usize,
    const UNIT: usize,
    const SMALL: bool,
    const WIDE: bool,
>(
    panel: &Panel<'_>,
    x: &Tokens<T>,
    (stripe, place): (usize, usize),
    column: usize,
) -> [[int32x4_t; T]; S] {
    // SAFETY: the caller's units exist.
    unsafe {
        let codes = panel.codes.as_ptr().cast::<i8>();
        let codes = codes.add(ROWS * (stripe * panel.k + place * UNIT));
        let stride = ROWS * panel.k;
        let mut dots = [[vdupq_n_s32(0); T]; S];
        for dot in dots.as_flattened_mut() {
            *dot = if D::ROUND && !WIDE { D::start::<ROUND_BITS>() } else { D::start::<0>() };
        }
        D::unit::<S, T, UNIT, SMALL>(codes, stride, &x.high, column, &mut dots);
        if WIDE {
            // The sums of the low plane begin with 255 times those of the high one.
            for dot in dots.as_flattened_mut() {
                *dot = vsubq_s32(vshlq_n_s32::<8>(*dot), *dot);
            }
            D::unit::<S, T, UNIT, SMALL>(codes, stride, &x.low, column, &mut dots);
        }
        D::by_token(&mut dots);
        dots
    }
}
