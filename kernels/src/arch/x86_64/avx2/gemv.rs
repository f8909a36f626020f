//! A few tokens times raw rows. Rows go in pairs, one chain of each in the lanes of a vector in
//! turns (see `groups`). One token meets two pairs at once, which share its activations; several
//! tokens share the codes of one pair.

use core::arch::x86_64::*;
use core::ops::Range;

use super::dots::{Group, add_units, pair_sums};
use super::groups::{Codes, GROUP, Groups, MAX_CHUNK_BYTES};
use crate::activation::Activations;
use crate::arch::x86_64::ahead::ahead;
use crate::cast::Tile;

/// Most tokens that share the decoded weights.
pub(super) const TOKENS: usize = 8;

/// See [`crate::table::Gemv`].
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn gemv<E: Groups>(w: &[u8], x: &crate::Rows<'_>, out: &mut Tile<'_>) {
    const { assert!(E::CHUNK_BYTES <= MAX_CHUNK_BYTES) };
    let Some(x) = x.quantized else { return };
    let wide = x.low.is_some();
    // Codes that are put together from two places leave no registers for a second pair.
    match (x.tokens, E::CODES, wide) {
        (1, Codes::Four | Codes::Signed, false) => all_rows::<E, 2, 1, false>(w, &x, out),
        // 16-bit activations of several tokens, too: a sixth slower than a form of their own.
        (_, Codes::Four | Codes::Signed, true) => all_rows::<E, 2, 1, true>(w, &x, out),
        (1, _, false) => all_rows::<E, 1, 1, false>(w, &x, out),
        (_, _, true) => all_rows::<E, 1, 1, true>(w, &x, out),
        (_, _, false) => all_rows::<E, 1, TOKENS, false>(w, &x, out),
    }
}

/// All rows, `PAIRS` of rows and up to `T` tokens at a time, in one plane or two.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn all_rows<E: Groups, const PAIRS: usize, const T: usize, const WIDE: bool>(
    w: &[u8],
    x: &Activations<'_>,
    out: &mut Tile<'_>,
) {
    let row_bytes = x.k / E::BLOCK_LEN * E::BLOCK_BYTES;
    let mut spare = [[0; MAX_CHUNK_BYTES]; 4];
    let last = out.rows() - 1;
    for first in (0..=last).step_by(2 * PAIRS) {
        // Rows that are missing repeat the last one.
        let at = |pair: usize, odd: usize| (first + 2 * pair + odd).min(last) * row_bytes;
        let rows = core::array::from_fn(|pair| [&w[at(pair, 0)..], &w[at(pair, 1)..]]);
        let mut set = Set::<PAIRS> { rows, row_bytes, spare: &mut spare };
        for token in (0..x.tokens).step_by(T) {
            let tokens = T.min(x.tokens - token);
            let chains = set.chains::<E, T, WIDE>(&x.part(token, tokens));
            for (pair, chains) in chains.iter().enumerate() {
                store(&chains[..tokens], first + 2 * pair, token, out);
            }
        }
    }
}

/// Writes the results of the rows `at` and `at + 1`, as far as they exist, for consecutive tokens.
/// Not inlined: it would be there in every form of every encoding.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn store(chains: &[__m256], at: usize, token: usize, out: &mut Tile<'_>) {
    for (t, chains) in chains.iter().enumerate() {
        let sums = sum_of_chains(*chains);
        for (out, sum) in out.token(token + t).iter_mut().skip(at).zip(sums) {
            *out = sum;
        }
    }
}

/// Room for copies of the last chunks of four rows.
type Spare = [[u8; MAX_CHUNK_BYTES]; 4];

/// Rows that are taken together.
struct Set<'a, const PAIRS: usize> {
    /// From the start of each row to the end of the matrix.
    rows: [[&'a [u8]; 2]; PAIRS],
    row_bytes: usize,
    spare: &'a mut Spare,
}

impl<const PAIRS: usize> Set<'_, PAIRS> {
    /// The chains of all rows times up to `T` tokens.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn chains<E: Groups, const T: usize, const WIDE: bool>(
        &mut self,
        x: &Activations<'_>,
    ) -> [[__m256; T]; PAIRS] {
        let mut chains = [[_mm256_setzero_ps(); T]; PAIRS];
        let rows = 2 * PAIRS;
        for at in (0..self.row_bytes).step_by(E::CHUNK_BYTES) {
            let blocks = (self.row_bytes - at) / E::BLOCK_BYTES;
            let chunks = self.chunks(at, E::CHUNK_BYTES);
            ahead(self.rows[0][0].as_ptr().wrapping_add(rows * at), rows * E::CHUNK_BYTES);
            let k = at / E::CHUNK_BYTES * E::PARTS * GROUP;
            let keep = first_blocks::<E>(blocks);
            for (chunks, chains) in chunks.iter().zip(&mut chains) {
                // SAFETY: both have a whole chunk; rows of activations are padded to whole groups.
                unsafe { add_chunk::<E, T, WIDE>(*chunks, x, k, keep, chains) };
            }
        }
        chains
    }

    /// The chunks that begin `at` bytes after the start of each row. What stands behind a row's end
    /// is the next row or anything else.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn chunks(&mut self, at: usize, bytes: usize) -> [[*const u8; 2]; PAIRS] {
        // No row has less behind it than the last one.
        if at + bytes > self.rows[PAIRS - 1][1].len() {
            return copies(&self.rows, at..self.row_bytes, self.spare);
        }
        let mut chunks = [[core::ptr::null(); 2]; PAIRS];
        for (chunks, rows) in chunks.iter_mut().zip(&self.rows) {
            for (chunk, row) in chunks.iter_mut().zip(rows) {
                *chunk = row.as_ptr().wrapping_add(at);
            }
        }
        chunks
    }
}

/// Copies of the last bytes of rows, with room for a whole chunk each.
#[cold]
#[inline(never)]
fn copies<const PAIRS: usize>(
    rows: &[[&[u8]; 2]; PAIRS],
    bytes: Range<usize>,
    spare: &mut Spare,
) -> [[*const u8; 2]; PAIRS] {
    let mut chunks = [[core::ptr::null(); 2]; PAIRS];
    let chunks_and_rows = chunks.as_flattened_mut().iter_mut().zip(rows.as_flattened());
    for ((chunk, row), spare) in chunks_and_rows.zip(spare) {
        spare[..bytes.len()].copy_from_slice(&row[bytes.clone()]);
        *chunk = spare.as_ptr();
    }
    chunks
}

/// Ones in the lanes of the first `blocks` blocks of a chunk: the scales of others do not belong to
/// the row. (Their activations are zero, but a scale may be infinite.)
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn first_blocks<E: Groups>(blocks: usize) -> __m256 {
    const ONES: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    let skip = if E::CHUNK_BLOCKS == 4 { 8 - 2 * blocks.min(4) } else { 0 };
    // SAFETY: eight of sixteen values.
    unsafe { _mm256_loadu_ps(ONES[skip..][..8].as_ptr().cast()) }
}

/// Adds a chunk of two rows, whose weights begin at column `k`, to the chains of every token. The
/// scales outside of `keep` count as zero.
///
/// # Safety
/// The chunks are readable, and rows of `x` have `PARTS * GROUP` values from `k` on.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn add_chunk<E: Groups, const T: usize, const WIDE: bool>(
    [a, b]: [*const u8; 2],
    x: &Activations<'_>,
    k: usize,
    keep: __m256,
    chains: &mut [__m256; T],
) {
    for part in 0..E::PARTS {
        // SAFETY: the caller's promise.
        let (codes, mut scales) =
            unsafe { ([E::codes(a, part), E::codes(b, part)], E::scales(a, b, part)) };
        if E::CHUNK_BLOCKS > 1 {
            scales.scales[0] = _mm256_and_ps(scales.scales[0], keep);
            scales.minima[0] = _mm256_and_ps(scales.minima[0], keep);
        }
        let tokens = if T == 1 { 1 } else { x.tokens };
        for (token, chain) in chains.iter_mut().enumerate().take(tokens) {
            // SAFETY: the caller's promise.
            unsafe {
                let x = Group::at(x, token, k + part * GROUP);
                let sums = pair_sums::<E, WIDE>(&codes, &x);
                add_units::<E>(sums, &scales, &x, chain);
            }
        }
    }
}

/// `(c0 + c1) + (c2 + c3)` of both rows.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn sum_of_chains(chains: __m256) -> [f32; 2] {
    let (low, high) = (_mm256_castps256_ps128(chains), _mm256_extractf128_ps::<1>(chains));
    let pair = |x: __m128| _mm_add_ps(x, _mm_movehl_ps(x, x));
    let sums = _mm_add_ps(pair(low), pair(high));
    [_mm_cvtss_f32(sums), _mm_cvtss_f32(_mm_movehdup_ps(sums))]
}
