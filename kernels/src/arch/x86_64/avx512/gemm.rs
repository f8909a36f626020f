//! Panels of 32 integer rows × any number of tokens.
//!
//! A panel is two halves of 16 rows. In a half, four consecutive codes of all 16 rows lie side by
//! side in 64 bytes, and the scales (and minima) of one unit of all 16 rows in 16 floats; all in
//! the order of the columns. So a register of codes meets four activations broadcast, and the
//! rows' sums grow in its lanes without any adding up across lanes.

use core::arch::x86_64::*;

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

/// Six tokens at a time, or four where that leaves less undone.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn all_tokens<const UNIT: usize, const MINIMUM: bool>(
    panel: &Panel<'_>,
    x: &Activations<'_>,
    out: &mut Tile<'_>,
) {
    let wide = x.low.is_some();
    let mut first = 0;
    while first < x.tokens {
        let left = x.tokens - first;
        let four = matches!(left, 1..=4 | 7 | 8);
        // SAFETY: the same promise; the tokens exist.
        unsafe {
            match (four, wide) {
                (false, false) => tile::<6, UNIT, MINIMUM, false>(panel, x, first, out),
                (false, true) => tile::<6, UNIT, MINIMUM, true>(panel, x, first, out),
                (true, false) => tile::<4, UNIT, MINIMUM, false>(panel, x, first, out),
                (true, true) => tile::<4, UNIT, MINIMUM, true>(panel, x, first, out),
            }
        }
        first += if four { 4 } else { 6 };
    }
}

/// What belongs to a segment's units, for each token of a tile.
struct Local<const T: usize> {
    /// What the bias adds to the dots of every row.
    starts: [[i32; SEGMENT]; T],
    scales: [[f32; SEGMENT]; T],
    scaled_sums: [[f32; SEGMENT]; T],
}

impl<const T: usize> Local<T> {
    /// Copies units `first..first + count` of the tokens.
    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    fn fill<const UNIT: usize>(
        &mut self,
        x: &Activations<'_>,
        offsets: &[usize; T],
        (first, count): (usize, usize),
        bias: i32,
    ) {
        for (t, &offset) in offsets.iter().enumerate() {
            let at = offset + first * UNIT;
            let sums = &x.sums[at / 16..];
            let scales = &x.scales[at / 32..];
            let scaled_sums = &x.scaled_sums[at / 32..];
            let starts = self.starts[t][..count].iter_mut();
            if UNIT == 32 {
                for (start, pair) in starts.zip(sums.as_chunks::<2>().0) {
                    *start = -bias * (pair[0] + pair[1]);
                }
                self.scales[t][..count].copy_from_slice(&scales[..count]);
                self.scaled_sums[t][..count].copy_from_slice(&scaled_sums[..count]);
            } else {
                // SEGMENT is even, so that a segment begins with a whole block of activations.
                starts.zip(sums).for_each(|(start, sum)| *start = -bias * sum);
                for u in 0..count {
                    self.scales[t][u] = scales[u / 2];
                    self.scaled_sums[t][u] = scaled_sums[u / 2];
                }
            }
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
    out: &mut Tile<'_>,
) {
    let offsets: [usize; T] = core::array::from_fn(|t| (first + t).min(x.tokens - 1) * x.stride);
    let units = panel.k / UNIT;
    let mut local = Local {
        starts: [[0; SEGMENT]; T],
        scales: [[0.0; SEGMENT]; T],
        scaled_sums: [[0.0; SEGMENT]; T],
    };
    let mut chains = [[[_mm512_setzero_ps(); 2]; T]; 4];
    for segment in (0..units).step_by(SEGMENT) {
        let count = SEGMENT.min(units - segment);
        local.fill::<UNIT>(x, &offsets, (segment, count), panel.facts.bias);
        for (c, chains) in chains.iter_mut().enumerate() {
            let mut sums = *chains;
            for u in (c..count).step_by(4) {
                // SAFETY: the unit exists in the panel and in every token.
                unsafe {
                    let dots = dots::<T, UNIT, WIDE>(panel, x, &offsets, segment + u, &local, u);
                    add::<T, MINIMUM>(panel, segment + u, &local, u, units, &dots, &mut sums);
                }
            }
            *chains = sums;
        }
    }
    let rows = out.rows();
    let masks = [u32::MAX >> (32 - rows), u32::MAX >> (32 - rows) >> HALF].map(|m| m as u16);
    let [c0, c1, c2, c3] = &chains;
    for (t, (((c0, c1), c2), c3)) in c0.iter().zip(c1).zip(c2).zip(c3).enumerate() {
        if first + t == x.tokens {
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
    local: &Local<T>,
    u: usize,
) -> [[__m512i; 2]; T] {
    let codes = panel.codes.as_ptr().wrapping_add(unit * UNIT * HALF);
    let second = codes.wrapping_add(HALF * panel.k);
    let plane = |plane: &[i8], mut dots: [[__m512i; 2]; T]| {
        let x = plane.as_ptr().wrapping_add(unit * UNIT);
        for four in 0..UNIT / 4 {
            // SAFETY: four codes of 16 rows, twice; four activations of a token.
            unsafe {
                let a = _mm512_loadu_si512(codes.add(64 * four).cast());
                let b = _mm512_loadu_si512(second.add(64 * four).cast());
                for t in 0..T {
                    let x = x.add(offsets[t] + 4 * four).cast::<i32>().read_unaligned();
                    let x = _mm512_set1_epi32(x);
                    dots[t] = [
                        _mm512_dpbusd_epi32(dots[t][0], a, x),
                        _mm512_dpbusd_epi32(dots[t][1], b, x),
                    ];
                }
            }
        }
        dots
    };
    let starts = |t: usize| _mm512_set1_epi32(local.starts[t][u % SEGMENT]);
    if !WIDE {
        return plane(x.high, core::array::from_fn(|t| [starts(t); 2]));
    }
    let high = plane(x.high, [[_mm512_setzero_si512(); 2]; T]);
    let times_255 = |v| _mm512_sub_epi32(_mm512_slli_epi32::<8>(v), v);
    let join = |t: usize| high[t].map(|v| _mm512_add_epi32(starts(t), times_255(v)));
    plane(x.low.unwrap_or(x.high), core::array::from_fn(join))
}

/// Adds one unit to a chain.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn add<const T: usize, const MINIMUM: bool>(
    panel: &Panel<'_>,
    unit: usize,
    local: &Local<T>,
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
