//! Panels of encodings that [`Integer::unpack`] takes apart, block after block. (Products of raw rows are
//! those of avx2: what takes time is the same.)

use core::arch::x86_64::*;

use super::gemv::{Format, Four};
use super::unpack::four_rows;
use crate::QuantType;
use crate::arch::apart::{Apart, apart};
use crate::arch::x86_64::avx2::apart::take;
use crate::quant::{Integer, Unpacked};
use crate::table::Panel;

/// Rows are [`Unpacked`], in units of so many weights, 32 or 16. Stricter than the trait: pointers are those
/// of [`Apart::rows`], so nothing outside of this file may use it.
struct Units<const UNIT: usize>;

impl<const UNIT: usize> Format for Units<UNIT> {
    /// Whose facts are those of all.
    const KIND: QuantType = if UNIT == 32 { QuantType::IQ2_XXS } else { QuantType::IQ2_XS };
    type Step = Four;

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn open<const WHOLE: bool>(rows: Four, _: usize) -> Four {
        rows
    }

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn codes(rows: &Four, row: usize, group: usize) -> [__m512i; 2] {
        // SAFETY: the caller's group is inside the codes, which come first.
        let at =
            |i: usize| unsafe { _mm512_loadu_si512(rows.0[row].add(4 * UNIT * group + i).cast()) };
        if UNIT == 16 {
            return [at(0), _mm512_setzero_si512()];
        }
        let (a, b) = (at(0), at(64));
        [_mm512_shuffle_i64x2::<0b10_00_10_00>(a, b), _mm512_shuffle_i64x2::<0b11_01_11_01>(a, b)]
    }

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn factors(rows: &Four, group: usize) -> (__m512, __m512) {
        // SAFETY: the caller's group has four units.
        let four = |row: usize| unsafe {
            let scales = (&raw const (*rows.0[row].cast::<Unpacked>()).scales).cast::<f32>();
            _mm_loadu_ps(scales.add(4 * group))
        };
        let rows = _mm512_castps128_ps512(four(0));
        let rows = _mm512_insertf32x4::<1>(rows, four(1));
        let rows = _mm512_insertf32x4::<2>(rows, four(2));
        let rows = _mm512_insertf32x4::<3>(rows, four(3));
        let lanes = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        let scales = _mm512_permutexvar_ps(lanes, rows);
        (scales, scales)
    }
}

/// See [`crate::table::Unpack`].
pub(super) unsafe fn unpack<E: Integer>(w: &[u8], panel: &mut Panel<'_>) {
    // SAFETY: what the caller promises of an `Unpack`.
    unsafe {
        match E::UNIT {
            32 => all_groups::<Units<32>>(&const { apart::<E>(take::<E>) }, w, panel),
            _ => all_groups::<Units<16>>(&const { apart::<E>(take::<E>) }, w, panel),
        }
    }
}

#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn all_groups<F: Format<Step = Four>>(by: &Apart, w: &[u8], panel: &mut Panel<'_>) {
    let blocks = panel.k / 256;
    let mut unpacked = [Unpacked::new(); 4];
    for first in (0..panel.rows).step_by(4) {
        for block in 0..blocks {
            // SAFETY: all are whole steps; the panel has room for 32 rows.
            unsafe {
                let rows = by.rows(w, (first, panel.rows - 1), (block, blocks), &mut unpacked);
                four_rows::<F>(&Four(rows), 256 * block, first, panel);
            }
        }
    }
}
