//! Encodings of 256 weights that [`Integer::unpack`] takes apart, block after block, because looking their
//! codes up is most of the work: what it writes is read as a [`Format`] with codes of 8 bits. One body for all
//! of them, in units of 32 or of 16.

use core::arch::aarch64::*;

use super::formats::{Codes, Factors, Format, GROUP, load, signed};
use super::gemv::{Dots, add_step, results};
use super::panel::{PanelDots, unpack_step};
use crate::activation::{Activations, Rows};
use crate::arch::apart::Apart;
use crate::cast::Tile;
use crate::quant::{QuantType, Unpacked};
use crate::table::{PANEL_ROWS, Panel};

/// Rows are [`Unpacked`], in units of so many weights, 32 or 16. Stricter than the trait: pointers are those
/// of [`Apart::rows`], so nothing outside of this file may use it.
struct Units<const UNIT: usize>;

impl<const UNIT: usize> Format for Units<UNIT> {
    /// Whose facts are those of all.
    const KIND: QuantType = if UNIT == 32 { QuantType::IQ2_XXS } else { QuantType::IQ2_XS };
    type Head = *const f32;

    #[inline(always)]
    unsafe fn head(from: *const u8) -> Self::Head {
        // SAFETY: the caller's block.
        unsafe { (&raw const (*from.cast::<Unpacked>()).scales).cast() }
    }

    #[inline(always)]
    unsafe fn codes(from: *const u8, group: usize) -> Codes {
        // SAFETY: the caller's group; codes come first.
        unsafe {
            let mut codes = [vdupq_n_s8(0); 8];
            for (i, codes) in codes.iter_mut().enumerate() {
                let above = load(from.add(GROUP * group + 16 * i));
                *codes = signed(veorq_u8(above, vdupq_n_u8(128)));
            }
            codes
        }
    }

    #[inline(always)]
    unsafe fn scales(head: &Self::Head, group: usize) -> Factors {
        // SAFETY: the caller's head and group.
        unsafe {
            if UNIT == 32 {
                return [vld1q_f32(head.add(4 * group)); 2];
            }
            [vld1q_f32(head.add(8 * group)), vld1q_f32(head.add(8 * group + 4))]
        }
    }
}

/// See [`crate::table::Gemv`].
///
/// # Safety
/// As for [`super::gemv::gemv`].
#[inline(always)]
pub(super) unsafe fn gemv<D: Dots>(
    unit: usize,
    by: &Apart,
    w: &[u8],
    x: &Rows<'_>,
    out: &mut Tile<'_>,
) {
    let Some(x) = x.quantized else { return };
    let mut t = 0;
    while t < x.tokens {
        // SAFETY: the caller's promises.
        unsafe {
            t += match (unit, x.tokens - t, x.low.is_some()) {
                (32, 1, false) => all_rows::<Units<32>, D, 4, 1, false>(by, w, &x, t, out),
                (32, 1, true) => all_rows::<Units<32>, D, 4, 1, true>(by, w, &x, t, out),
                (32, _, false) => all_rows::<Units<32>, D, 2, 2, false>(by, w, &x, t, out),
                (32, _, true) => all_rows::<Units<32>, D, 2, 2, true>(by, w, &x, t, out),
                (_, 1, false) => all_rows::<Units<16>, D, 4, 1, false>(by, w, &x, t, out),
                (_, 1, true) => all_rows::<Units<16>, D, 4, 1, true>(by, w, &x, t, out),
                (_, _, false) => all_rows::<Units<16>, D, 2, 2, false>(by, w, &x, t, out),
                (_, _, true) => all_rows::<Units<16>, D, 2, 2, true>(by, w, &x, t, out),
            };
        }
    }
}

/// Every row × `T` tokens from token `t`. Returns `T`.
#[inline(always)]
unsafe fn all_rows<F: Format, D: Dots, const R: usize, const T: usize, const WIDE: bool>(
    by: &Apart,
    w: &[u8],
    x: &Activations<'_>,
    t: usize,
    out: &mut Tile<'_>,
) -> usize {
    let (last, blocks) = (out.rows() - 1, x.k / 256);
    let mut tokens = [t; T];
    for i in 0..T {
        tokens[i] += i;
    }
    let mut unpacked = [Unpacked::new(); R];
    for first in (0..=last).step_by(R) {
        // SAFETY: whole blocks; the activations are as long as the rows.
        let sums = unsafe {
            let mut chains = [[vdupq_n_f32(0.0); T]; R];
            for block in 0..blocks {
                let rows = by.rows(w, (first, last), (block, blocks), &mut unpacked);
                add_step::<F, D, R, T, WIDE>(rows, x, tokens, 256 * block, &mut chains);
            }
            results(&chains)
        };
        for i in 0..T {
            let out = &mut out.token(tokens[i])[first..];
            for (r, out) in out.iter_mut().enumerate().take(R) {
                *out = sums[r * T + i];
            }
        }
    }
    T
}

/// See [`crate::table::Unpack`].
///
/// # Safety
/// As for [`super::panel::unpack`].
#[inline(always)]
pub(super) unsafe fn unpack<D: PanelDots, const S: usize>(
    unit: usize,
    by: &Apart,
    w: &[u8],
    panel: &mut Panel<'_>,
) {
    // SAFETY: the caller's promises.
    unsafe {
        match unit {
            32 => all_steps::<Units<32>, D, S>(by, w, panel),
            _ => all_steps::<Units<16>, D, S>(by, w, panel),
        }
    }
}

#[inline(always)]
unsafe fn all_steps<F: Format, D: PanelDots, const S: usize>(
    by: &Apart,
    w: &[u8],
    panel: &mut Panel<'_>,
) {
    const ROWS: usize = 4;
    // What the stores rely on.
    assert!(panel.codes.len() >= PANEL_ROWS * panel.k && panel.rows <= PANEL_ROWS);
    assert!(panel.scales.len() >= 2 * panel.k);
    let (last, blocks) = (panel.rows - 1, panel.k / 256);
    let mut unpacked = [Unpacked::new(); ROWS];
    for stripe in 0..panel.rows.div_ceil(ROWS * S) * S {
        for block in 0..blocks {
            // SAFETY: whole steps of four rows, and a panel of the size checked above.
            unsafe {
                let steps = by.rows(w, (ROWS * stripe, last), (block, blocks), &mut unpacked);
                unpack_step::<F, D>(&steps, stripe, 256 * block, panel);
            }
        }
    }
}
