//! Panels of 32 integer rows × any number of tokens.
//!
//! A panel is two halves of 16 rows. In a half, four consecutive codes of all 16 rows lie side by
//! side in 64 bytes, and the scales (and minima) of one unit of all 16 rows in 16 floats; all in
//! the order of the columns. So a register of codes meets four activations broadcast, and the
//! rows' sums grow in its lanes without any adding up across lanes.

use core::arch::x86_64::*;
use core::mem::MaybeUninit;

use crate::activation::Activations;
use crate::cast::Tile;
use crate::table::Panel;

/// Rows in half a panel: floats in a register.
pub(super) const HALF: usize = 16;

/// Units that one pass over the chains takes: their local copies stay in the nearest cache.
const SEGMENT: usize = 64;

/// See [`crate::scalar::integer::gemm`].
///
/// # Safety
/// The caller's panel was written by [`super::unpack::unpack`] for the same columns.
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) unsafe fn gemm(panel: &Panel<'_>, x: &Activations<'_>, out: &mut Tile<'_>) {
    // SAFETY: the same promise.
    unsafe {
        match (panel.facts.unit, panel.facts.minimum) {
            (32, false) => all_tokens::<32, false>(panel, x, out),
            (32, true) => all_tokens::<32, true>(panel, x, out),
            (_, false) => all_tokens::<16, false>(panel, x, out),
            (_, true) => all_tokens::<16, true>(panel, x, out),
        }
    }
}

/// Six tokens at a time, or four where that leaves less undone: their sums and dots fill the
/// registers. 16-bit activations have twice the dots, so that four tokens do.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn all_tokens<const UNIT: usize, const MINIMUM: bool>(
    panel: &Panel<'_>,
    x: &Activations<'_>,
    out: &mut Tile<'_>,
) {
    let mut local = Local::new();
    let mut first = 0;
    while first < x.tokens {
        let four = x.low.is_some() || matches!(x.tokens - first, 1..=4 | 7 | 8);
        // SAFETY: the same promise; the tokens exist.
        unsafe {
            match (four, x.low.is_some()) {
                (false, _) => tile::<6, UNIT, MINIMUM, false>(panel, x, first, &mut local, out),
                (true, false) => tile::<4, UNIT, MINIMUM, false>(panel, x, first, &mut local, out),
                (true, true) => tile::<4, UNIT, MINIMUM, true>(panel, x, first, &mut local, out),
            }
        }
        first += if four { 4 } else { 6 };
    }
}

/// What belongs to a segment's units, for each token of a tile.
struct Local {
    /// What the bias adds to the dots of every row.
    starts: [[i32; SEGMENT]; 6],
    scales: [[f32; SEGMENT]; 6],
    scaled_sums: [[f32; SEGMENT]; 6],
}

impl Local {
    #[inline]
    fn new() -> Self {
        Local {
            starts: [[0; SEGMENT]; 6],
            scales: [[0.0; SEGMENT]; 6],
            scaled_sums: [[0.0; SEGMENT]; 6],
        }
    }

    /// Copies units `first..first + count` of one token, which begins at value `offset`.
    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    fn fill<const UNIT: usize>(
        &mut self,
        t: usize,
        x: &Activations<'_>,
        offset: usize,
        (first, count): (usize, usize),
        bias: i32,
    ) {
        let at = offset + first * UNIT;
        let sums = &x.sums[at / 16..][..count * UNIT / 16];
        // SEGMENT is even, so that with units of 16 it begins with a whole block of activations.
        let blocks = (count * UNIT).div_ceil(32);
        let scales = &x.scales[at / 32..][..blocks];
        let scaled_sums = &x.scaled_sums[at / 32..][..blocks];
        let starts = &mut self.starts[t][..count];
        if UNIT == 32 {
            for (start, pair) in starts.iter_mut().zip(sums.as_chunks::<2>().0) {
                *start = -bias * (pair[0] + pair[1]);
            }
            self.scales[t].iter_mut().zip(scales).for_each(|(local, &scale)| *local = scale);
            self.scaled_sums[t].iter_mut().zip(scaled_sums).for_each(|(local, &sum)| *local = sum);
        } else {
            starts.iter_mut().zip(sums).for_each(|(start, sum)| *start = -bias * sum);
            let (local_scales, _) = self.scales[t].as_chunks_mut::<2>();
            local_scales.iter_mut().zip(scales).for_each(|(local, &scale)| *local = [scale; 2]);
            let (local_sums, _) = self.scaled_sums[t].as_chunks_mut::<2>();
            local_sums.iter_mut().zip(scaled_sums).for_each(|(local, &sum)| *local = [sum; 2]);
        }
    }
}

/// The floats of a tile: both halves of the rows for every token.
type Sums<const T: usize> = [[__m512; 2]; T];

/// All rows × `T` tokens from token `first`. Tokens that do not exist repeat the last.
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn tile<const T: usize, const UNIT: usize, const MINIMUM: bool, const WIDE: bool>(
    panel: &Panel<'_>,
    x: &Activations<'_>,
    first: usize,
    local: &mut Local,
    out: &mut Tile<'_>,
) {
    let offsets: [usize; T] = core::array::from_fn(|t| (first + t).min(x.tokens - 1) * x.stride);
    let units = panel.k / UNIT;
    // Not zeros to begin with: for each tile they would be a call of memset.
    let mut chains = [const { MaybeUninit::<Sums<T>>::uninit() }; 4];
    let mut segment = 0;
    loop {
        let count = SEGMENT.min(units - segment);
        for (t, &offset) in offsets.iter().enumerate() {
            local.fill::<UNIT>(t, x, offset, (segment, count), panel.facts.bias);
        }
        for (c, chain) in chains.iter_mut().enumerate() {
            let mut sums = [[_mm512_setzero_ps(); 2]; T];
            if segment > 0 {
                // SAFETY: the first segment wrote it.
                sums = unsafe { chain.assume_init_read() };
            }
            for u in (c..count).step_by(4) {
                // SAFETY: the unit exists in the panel and in every token.
                unsafe {
                    let dots = dots::<T, UNIT, WIDE>(panel, x, &offsets, segment + u, local, u);
                    add::<T, MINIMUM>(panel, segment + u, local, u, units, &dots, &mut sums);
                }
            }
            chain.write(sums);
        }
        segment += SEGMENT;
        if segment >= units {
            break;
        }
    }
    // SAFETY: there was a first segment, if an empty one.
    let chains = unsafe { &*(&raw const chains).cast::<[Sums<T>; 4]>() };
    store(chains, first, x.tokens, out);
}

/// Ends the chains and writes the tokens and rows that exist.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn store<const T: usize>(chains: &[Sums<T>; 4], first: usize, tokens: usize, out: &mut Tile<'_>) {
    let rows = out.rows();
    let masks = [u32::MAX >> (32 - rows), u32::MAX >> (32 - rows) >> HALF].map(|m| m as u16);
    let [c0, c1, c2, c3] = chains;
    for (t, (((c0, c1), c2), c3)) in c0.iter().zip(c1).zip(c2).zip(c3).enumerate() {
        if first + t == tokens {
            break;
        }
        let out = out.token(first + t);
        for (half, mask) in masks.into_iter().enumerate() {
            let (c0, c1, c2, c3) = (c0[half], c1[half], c2[half], c3[half]);
            let sum = _mm512_add_ps(_mm512_add_ps(c0, c1), _mm512_add_ps(c2, c3));
            // SAFETY: the mask keeps to the rows of the tile.
            unsafe { _mm512_mask_storeu_ps(out.as_mut_ptr().wrapping_add(HALF * half), mask, sum) };
        }
    }
}

/// Exact dots of one unit.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn dots<const T: usize, const UNIT: usize, const WIDE: bool>(
    panel: &Panel<'_>,
    x: &Activations<'_>,
    offsets: &[usize; T],
    unit: usize,
    local: &Local,
    u: usize,
) -> [[__m512i; 2]; T] {
    let codes = panel.codes.as_ptr().wrapping_add(unit * UNIT * HALF);
    let second = codes.wrapping_add(HALF * panel.k);
    let column = unit * UNIT;
    let high = x.high.as_ptr().wrapping_add(column);
    let low = x.low.unwrap_or(x.high).as_ptr().wrapping_add(column);
    let mut dots = [[_mm512_setzero_si512(); 2]; T];
    let mut high_dots = dots;
    for (dots, starts) in dots.iter_mut().zip(&local.starts) {
        *dots = [_mm512_set1_epi32(starts[u % SEGMENT]); 2];
    }
    for four in 0..UNIT / 4 {
        // SAFETY: four codes of 16 rows, twice; four activations of a token.
        unsafe {
            let a = _mm512_loadu_si512(codes.add(64 * four).cast());
            let b = _mm512_loadu_si512(second.add(64 * four).cast());
            let times = |plane: *const i8, t: usize, dots: [__m512i; 2]| {
                let x = plane.add(offsets[t] + 4 * four).cast::<i32>().read_unaligned();
                let x = _mm512_set1_epi32(x);
                [_mm512_dpbusd_epi32(dots[0], a, x), _mm512_dpbusd_epi32(dots[1], b, x)]
            };
            for t in 0..T {
                if WIDE {
                    high_dots[t] = times(high, t, high_dots[t]);
                    dots[t] = times(low, t, dots[t]);
                } else {
                    dots[t] = times(high, t, dots[t]);
                }
            }
        }
    }
    if WIDE {
        let times_255 = |v| _mm512_sub_epi32(_mm512_slli_epi32::<8>(v), v);
        for (dots, high) in dots.iter_mut().zip(high_dots) {
            for (dots, high) in dots.iter_mut().zip(high) {
                *dots = _mm512_add_epi32(*dots, times_255(high));
            }
        }
    }
    dots
}

/// Adds one unit to a chain.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn add<const T: usize, const MINIMUM: bool>(
    panel: &Panel<'_>,
    unit: usize,
    local: &Local,
    u: usize,
    units: usize,
    dots: &[[__m512i; 2]; T],
    sums: &mut Sums<T>,
) {
    // SAFETY: both halves have the unit.
    let pair = |floats: &[f32]| unsafe {
        let p = floats.as_ptr().add(unit * HALF);
        [_mm512_loadu_ps(p), _mm512_loadu_ps(p.add(units * HALF))]
    };
    let scales = pair(panel.scales);
    for (t, sums) in sums.iter_mut().enumerate() {
        let scale = _mm512_set1_ps(local.scales[t][u % SEGMENT]);
        for half in 0..2 {
            let dot = _mm512_cvtepi32_ps(dots[t][half]);
            let scale = _mm512_mul_ps(scales[half], scale);
            sums[half] = _mm512_fmadd_ps(dot, scale, sums[half]);
        }
    }
    if MINIMUM {
        let minima = pair(panel.minima);
        for (t, sums) in sums.iter_mut().enumerate() {
            let sum = _mm512_set1_ps(local.scaled_sums[t][u % SEGMENT]);
            for half in 0..2 {
                sums[half] = _mm512_fmadd_ps(minima[half], sum, sums[half]);
            }
        }
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use std::vec;

    use super::SEGMENT;
    use crate::{ActivationsMut, Kernels, Matrix, QuantType, Rows, Tile};

    /// Rows longer than two segments, for every encoding and both precisions.
    #[test]
    fn segments_of_long_rows_equal_scalar() {
        let Some(kernels) = super::super::kernels() else { return };
        const TOKENS: usize = 9;
        let k = 2 * SEGMENT * 32 + 256;
        let wave = |i: usize| ((i * 7919 % 1009) as f32 - 504.0) * 0.01;
        for &kind in QuantType::ALL.iter().filter(|kind| kind.integer().is_some()) {
            let weights: vec::Vec<f32> = (0..3 * k).map(wave).collect();
            let mut data = vec![0; 3 * kind.row_bytes(k).unwrap()];
            kind.encode(&weights, &mut data);
            let w = Matrix::new(kind, 3, k, &data).unwrap();
            for wide in [false, true] {
                let n = TOKENS * ActivationsMut::stride(k);
                let (mut high, mut low) = (vec![0; n], vec![0; n]);
                let (mut scales, mut scaled_sums) = (vec![0.0; n / 32], vec![0.0; n / 32]);
                let mut sums = vec![0; n / 16];
                let mut x = ActivationsMut::new(
                    (TOKENS, k),
                    (&mut high, wide.then_some(&mut low)),
                    &mut scales,
                    &mut sums,
                    &mut scaled_sums,
                );
                for t in 0..TOKENS {
                    let row: vec::Vec<f32> = (0..k).map(|i| wave(i * 3 + t * 31)).collect();
                    Kernels::SCALAR.quantize(&row, &mut x, t);
                }
                let x = Rows::new((TOKENS, k), None, Some(x.freeze()));
                let product = |kernels: &Kernels| {
                    let mut out = vec![0.0; 3 * TOKENS];
                    let mut scratch = vec![0.0; Kernels::panel_bytes(k) / 4];
                    kernels.matmul(&w, &x, &mut Tile::new(&mut out, TOKENS, 3), &mut scratch);
                    out
                };
                assert_eq!(product(kernels), product(&Kernels::SCALAR), "{}", kind.name());
            }
        }
    }
}
