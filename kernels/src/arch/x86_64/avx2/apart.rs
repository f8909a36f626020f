//! Encodings of 256 weights that [`Integer::unpack`] takes apart, block after block, because looking their
//! codes up is most of the work: what it writes is read as a chunk of [`Groups`] with codes of 8 bits. One body
//! for all of them, in units of 32 or of 16.

use core::arch::x86_64::*;

use super::gemv::{TOKENS, add_chunk, store};
use super::groups::{GROUP, Groups, Scales, load_halves};
use super::unpack::{ROWS, unpack_group};
use crate::QuantType;
use crate::activation::{Activations, Rows};
use crate::arch::apart::{Apart, apart};
use crate::cast::Tile;
use crate::quant::{Integer, Unpacked};
use crate::scalar::integer::unpack_block;
use crate::table::{PANEL_ROWS, Panel};

/// [`crate::scalar::integer::unpack_block`] in avx2's registers.
#[target_feature(enable = "avx2,fma,f16c")]
pub(in crate::arch::x86_64) fn take<E: Integer>(data: &[u8], out: &mut Unpacked) {
    unpack_block::<E>(data, out);
}

/// Chunks are [`Unpacked`], in units of 32 weights. Stricter than the trait: pointers are those of
/// [`Apart::rows`], so nothing outside of this file may use it.
struct Units32;

/// The same in units of 16.
struct Units16;

macro_rules! groups_of_unpacked {
    ($name:ident like $kind:ident, |$four:ident, $part:ident| $scales:expr) => {
        impl Groups for $name {
            /// Whose facts are those of all.
            const KIND: QuantType = QuantType::$kind;

            #[inline]
            #[target_feature(enable = "avx2,fma,f16c")]
            unsafe fn codes(chunk: *const u8, part: usize) -> [__m256i; 4] {
                let minus_128 = _mm256_set1_epi8(-128);
                // SAFETY: all inside the codes, which come first.
                let at = |i: usize| unsafe {
                    let codes = chunk.add(GROUP * part + i);
                    _mm256_xor_si256(load_halves(codes, codes.add(64)), minus_128)
                };
                [at(0), at(16), at(32), at(48)]
            }

            #[inline]
            #[target_feature(enable = "avx2,fma,f16c")]
            unsafe fn scales(a: *const u8, b: *const u8, $part: usize) -> Scales {
                // The lanes of four units from `at` on.
                // SAFETY: all inside the scales.
                let $four = |at: usize| unsafe {
                    let scales = |row: *const u8| {
                        _mm_loadu_ps(
                            (&raw const (*row.cast::<Unpacked>()).scales).cast::<f32>().add(at),
                        )
                    };
                    let (a, b) = (scales(a), scales(b));
                    _mm256_set_m128(_mm_unpackhi_ps(a, b), _mm_unpacklo_ps(a, b))
                };
                let zero = _mm256_setzero_ps();
                Scales { scales: $scales, minima: [zero, zero] }
            }
        }
    };
}

groups_of_unpacked!(Units32 like IQ2_XXS, |four, part| [four(4 * part), _mm256_setzero_ps()]);
groups_of_unpacked!(Units16 like IQ2_XS, |four, part| [four(8 * part), four(8 * part + 4)]);

/// See [`crate::table::Gemv`].
pub(in crate::arch::x86_64) unsafe fn gemv<E: Integer>(w: &[u8], x: &Rows<'_>, out: &mut Tile<'_>) {
    // SAFETY: what the caller promises of a `Gemv`.
    unsafe { products(E::UNIT, &const { apart::<E>(take::<E>) }, w, x, out) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn products(unit: usize, by: &Apart, w: &[u8], x: &Rows<'_>, out: &mut Tile<'_>) {
    let Some(x) = x.quantized else { return };
    match (unit, x.low.is_some()) {
        (32, false) => all_rows::<Units32, false>(by, w, &x, out),
        (32, true) => all_rows::<Units32, true>(by, w, &x, out),
        (_, false) => all_rows::<Units16, false>(by, w, &x, out),
        (_, true) => all_rows::<Units16, true>(by, w, &x, out),
    }
}

/// Two rows at a time.
#[target_feature(enable = "avx2,fma,f16c")]
fn all_rows<G: Groups, const WIDE: bool>(
    by: &Apart,
    w: &[u8],
    x: &Activations<'_>,
    out: &mut Tile<'_>,
) {
    let (last, blocks) = (out.rows() - 1, x.k / 256);
    let mut unpacked = [Unpacked::new(); 2];
    for first in (0..=last).step_by(2) {
        let mut chains = [_mm256_setzero_ps(); TOKENS];
        for block in 0..blocks {
            let keep = _mm256_setzero_ps(); // of a chunk of one block nothing else
            // SAFETY: two chunks; the activations are as long as the rows.
            unsafe {
                let chunks = by.rows(w, (first, last), (block, blocks), &mut unpacked);
                add_chunk::<G, TOKENS, WIDE>(chunks, x, 256 * block, keep, &mut chains);
            }
        }
        store(&chains[..x.tokens], first, 0, out);
    }
}

/// See [`crate::table::Unpack`].
pub(in crate::arch::x86_64) unsafe fn unpack<E: Integer>(w: &[u8], panel: &mut Panel<'_>) {
    // SAFETY: what the caller promises of an `Unpack`.
    unsafe { panel_of(E::UNIT, &const { apart::<E>(take::<E>) }, w, panel) }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn panel_of(unit: usize, by: &Apart, w: &[u8], panel: &mut Panel<'_>) {
    match unit {
        32 => all_groups::<Units32>(by, w, panel),
        _ => all_groups::<Units16>(by, w, panel),
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn all_groups<G: Groups>(by: &Apart, w: &[u8], panel: &mut Panel<'_>) {
    // What the stores rely on.
    assert!(panel.codes.len() >= PANEL_ROWS * panel.k && panel.rows <= PANEL_ROWS);
    assert!(panel.scales.len() >= PANEL_ROWS * panel.k / G::UNIT);
    let blocks = panel.k / 256;
    let mut unpacked = [Unpacked::new(); ROWS];
    for first in (0..panel.rows).step_by(ROWS) {
        for block in 0..blocks {
            // SAFETY: the features are enabled here.
            let chunks =
                unsafe { by.rows(w, (first, panel.rows - 1), (block, blocks), &mut unpacked) };
            for part in 0..2 {
                // SAFETY: all are chunks.
                unsafe {
                    unpack_group::<G>(&chunks, part, first, 256 * block + part * GROUP, panel);
                }
            }
        }
    }
}
