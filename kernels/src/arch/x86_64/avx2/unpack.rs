//! Rows into a panel for `gemm`.
//!
//! ```text
//! codes:          [2][k / 4][16 rows][4]   one vector is four columns of eight rows
//! scales, minima: [k / unit][32 rows]
//! ```
//!
//! Codes are as [`Groups`] gives them: unsigned with their bias, or signed.

use core::arch::x86_64::*;

use super::gemm::check_promises;
use super::groups::{GROUP, Groups, MAX_CHUNK_BYTES, Scales, load_halves};
use crate::arch::x86_64::ahead::next_panel;
use crate::table::{PANEL_ROWS, Panel};

/// Rows that are transposed together.
const ROWS: usize = 8;

/// See [`crate::table::Unpack`].
#[target_feature(enable = "avx2,fma,f16c")]
pub(in crate::arch::x86_64) fn unpack<E: Groups>(w: &[u8], panel: &mut Panel<'_>) {
    const {
        assert!(E::CHUNK_BYTES <= MAX_CHUNK_BYTES);
        check_promises(E::KIND.integer());
    }
    let row_bytes = panel.k / E::BLOCK_LEN * E::BLOCK_BYTES;
    // What `store_codes` and `store_scales` rely on.
    assert!(panel.codes.len() >= PANEL_ROWS * panel.k && panel.rows <= PANEL_ROWS);
    assert!(panel.scales.len().min(panel.minima.len()) >= PANEL_ROWS * panel.k / E::UNIT);
    for first in (0..panel.rows).step_by(ROWS) {
        // Rows that are missing repeat the last one.
        let mut rows = [&[][..]; ROWS];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = &w[(first + i).min(panel.rows - 1) * row_bytes..][..row_bytes];
        }
        let mut tail = [[0; MAX_CHUNK_BYTES]; ROWS];
        for at in (0..row_bytes).step_by(E::CHUNK_BYTES) {
            let rest = row_bytes - at;
            let mut chunks = [core::ptr::null(); ROWS];
            for ((chunk, row), tail) in chunks.iter_mut().zip(rows).zip(&mut tail) {
                *chunk = if rest >= E::CHUNK_BYTES {
                    row[at..].as_ptr()
                } else {
                    tail[..rest].copy_from_slice(&row[at..]);
                    tail.as_ptr()
                };
            }
            let step = rest.min(E::CHUNK_BYTES);
            next_panel(w, at * panel.rows + first * step, ROWS * step);
            let k = at / E::CHUNK_BYTES * E::PARTS * GROUP;
            for part in 0..E::PARTS {
                // SAFETY: all have a whole chunk.
                unsafe { unpack_group::<E>(&chunks, part, first, k + part * GROUP, panel) };
            }
        }
    }
}

/// Eight rows of a group into rows `first..` and columns `k..` of the panel.
///
/// # Safety
/// Each of `chunks` starts a whole readable chunk.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn unpack_group<E: Groups>(
    chunks: &[*const u8; ROWS],
    part: usize,
    first: usize,
    k: usize,
    panel: &mut Panel<'_>,
) {
    let mut codes = [[_mm256_setzero_si256(); 4]; ROWS];
    for (codes, chunk) in codes.iter_mut().zip(chunks) {
        // SAFETY: the caller's promise.
        *codes = unsafe { E::codes(*chunk, part) };
    }
    for quarter in 0..4.min((panel.k - k) / 32) {
        store_codes(&codes, quarter, first, k + 32 * quarter, panel);
    }
    for pair in 0..ROWS / 2 {
        // SAFETY: the caller's promise.
        let scales = unsafe { E::scales(chunks[2 * pair], chunks[2 * pair + 1], part) };
        store_scales::<E>(&scales, first + 2 * pair, k, panel);
    }
}

/// Transposes 32 columns: one quarter of the group, in halves of 16 (see `groups`). Not inlined: it
/// would be there four times in every encoding.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
fn store_codes(
    codes: &[[__m256i; 4]; ROWS],
    quarter: usize,
    first: usize,
    k: usize,
    panel: &mut Panel<'_>,
) {
    let rows = codes.each_ref().map(|row| row.as_ptr().cast::<u8>());
    for half in 0..2 {
        let at = (quarter % 2 * 2 + half) * 32 + quarter / 2 * 16;
        // SAFETY: halves of vectors.
        let (a, b, c, d) = unsafe {
            (
                load_halves(rows[0].add(at), rows[4].add(at)),
                load_halves(rows[1].add(at), rows[5].add(at)),
                load_halves(rows[2].add(at), rows[6].add(at)),
                load_halves(rows[3].add(at), rows[7].add(at)),
            )
        };
        let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
        let (ab2, cd2) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
        let columns = [
            _mm256_unpacklo_epi64(ab, cd),
            _mm256_unpackhi_epi64(ab, cd),
            _mm256_unpacklo_epi64(ab2, cd2),
            _mm256_unpackhi_epi64(ab2, cd2),
        ];
        for (i, codes) in columns.into_iter().enumerate() {
            let column = (k + 16 * half) / 4 + i;
            let at = first / 16 * 16 * panel.k + column * 64 + first % 16 * 4;
            let out = &mut panel.codes[at..at + 32];
            // SAFETY: 32 bytes.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), codes) };
        }
    }
}

/// Scatters the scales of rows `first` and `first + 1` for the units of the group at column `k`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn store_scales<E: Groups>(scales: &Scales, first: usize, k: usize, panel: &mut Panel<'_>) {
    for step in 0..GROUP / E::UNIT / 4 {
        let unit = k / E::UNIT + 4 * step;
        let units = 4.min(panel.k / E::UNIT - unit);
        let places = unit * PANEL_ROWS + first..;
        store_lanes(scales.scales[step], units, &mut panel.scales[places.clone()]);
        if E::MINIMUM {
            store_lanes(scales.minima[step], units, &mut panel.minima[places]);
        }
    }
}

/// Two lanes for each of the first `units` units of a panel. Not inlined: it would be there eight
/// times in every encoding.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
fn store_lanes(vector: __m256, units: usize, to: &mut [f32]) {
    let mut lanes = [0.0; 8];
    // SAFETY: eight floats.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), vector) };
    for (pair, to) in lanes.as_chunks::<2>().0.iter().take(units).zip(to.chunks_mut(PANEL_ROWS)) {
        to[..2].copy_from_slice(pair);
    }
}
