//! A panel times many tokens (its layout: see `unpack`). Rows lie in lanes, so a sum is complete
//! without any horizontal step.
//!
//! Two inner loops. Bytes: unsigned codes of up to 6 bits times one plane of activations, sums in
//! i16 as long as they fit, 16 products for each instruction. Words: everything else, signed codes
//! and activations of 16 bits, both widened to i16, 8 products for each instruction. (The
//! alternatives for these, two planes one after the other or moving the signs to the activations,
//! need as many instructions or more.)

use core::arch::x86_64::*;

use crate::activation::Activations;
use crate::cast::Tile;
use crate::table::{PANEL_ROWS, Panel};

/// Tokens of a block: their sums for 16 rows fill half of the registers.
const TOKENS: usize = 4;

/// Vectors of eight rows in a panel.
const GROUPS: usize = PANEL_ROWS / 8;

/// The bias of signed bytes, which the panel keeps as they are.
const SIGNED: i32 = 128;

/// See [`crate::Kernels`].
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn gemm(panel: &Panel<'_>, x: &Activations<'_>, out: &mut Tile<'_>) {
    let words = x.low.is_some() || panel.facts.bias == SIGNED;
    let units = panel.k / panel.facts.unit;
    // What the loads below rely on.
    assert!(panel.codes.len() >= PANEL_ROWS * panel.k && panel.rows <= PANEL_ROWS);
    assert!(panel.scales.len().min(panel.minima.len()) >= PANEL_ROWS * units);
    assert_eq!((x.k, out.rows()), (panel.k, panel.rows));
    for first in (0..x.tokens).step_by(TOKENS) {
        let tokens = TOKENS.min(x.tokens - first);
        let x = x.part(first, tokens);
        let out = &mut out.part(first, tokens, 0, panel.rows);
        match (panel.facts.unit, words, panel.facts.minimum) {
            (32, false, false) => any_tokens::<32, false, false>(panel, &x, out),
            (32, false, true) => any_tokens::<32, false, true>(panel, &x, out),
            (32, true, false) => any_tokens::<32, true, false>(panel, &x, out),
            (32, true, true) => any_tokens::<32, true, true>(panel, &x, out),
            (16, false, _) => any_tokens::<16, false, false>(panel, &x, out),
            _ => any_tokens::<16, true, false>(panel, &x, out),
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn any_tokens<const UNIT: usize, const WORDS: bool, const MINIMUM: bool>(
    panel: &Panel<'_>,
    x: &Activations<'_>,
    out: &mut Tile<'_>,
) {
    match x.tokens {
        1 => block::<1, UNIT, WORDS, MINIMUM>(panel, x, out),
        2 => block::<2, UNIT, WORDS, MINIMUM>(panel, x, out),
        3 => block::<3, UNIT, WORDS, MINIMUM>(panel, x, out),
        _ => block::<4, UNIT, WORDS, MINIMUM>(panel, x, out),
    }
}

/// All rows times `T` tokens.
#[target_feature(enable = "avx2,fma,f16c")]
fn block<const T: usize, const UNIT: usize, const WORDS: bool, const MINIMUM: bool>(
    panel: &Panel<'_>,
    x: &Activations<'_>,
    out: &mut Tile<'_>,
) {
    let tokens = Tokens::<T>::new(panel, x);
    let zero = [[_mm256_setzero_ps(); T]; GROUPS];
    let mut chains = [zero; 4];
    if WORDS {
        // Rows inside, because the activations of a unit must be widened first.
        for unit in 0..panel.k / UNIT {
            // SAFETY: the unit lies in every token's row.
            let factors = unsafe { tokens.factors::<UNIT>(unit) };
            let x = wide_unit::<T, UNIT>(x, unit);
            for (group, chains) in chains[unit % 4].iter_mut().enumerate() {
                if 8 * group < panel.rows {
                    // SAFETY: the unit and the group lie in the panel.
                    unsafe {
                        let sums = words::<T, UNIT>(panel, &x, unit, group);
                        add_unit::<T, MINIMUM>(panel, &factors, sums, unit, group, chains);
                    }
                }
            }
        }
    } else {
        // Rows outside: otherwise the compiler keeps all activations of a unit on the stack.
        for pair in 0..panel.rows.div_ceil(16) {
            for unit in 0..panel.k / UNIT {
                // SAFETY: the unit and both groups lie in the panel, the unit in every token's row.
                unsafe {
                    let factors = tokens.factors::<UNIT>(unit);
                    let sums = bytes::<T, UNIT>(panel, &tokens, unit, pair);
                    for (i, sums) in sums.into_iter().enumerate() {
                        let group = 2 * pair + i;
                        add_unit::<T, MINIMUM>(
                            panel,
                            &factors,
                            sums,
                            unit,
                            group,
                            &mut chains[unit % 4][group],
                        );
                    }
                }
            }
        }
    }
    let [c0, c1, c2, c3] = chains;
    for group in 0..panel.rows.div_ceil(8) {
        for token in 0..T {
            let left = _mm256_add_ps(c0[group][token], c1[group][token]);
            let right = _mm256_add_ps(c2[group][token], c3[group][token]);
            store(_mm256_add_ps(left, right), &mut out.token(token)[8 * group..]);
        }
    }
}

/// The first eight floats of `to`, or as many as there are.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn store(x: __m256, to: &mut [f32]) {
    let mut lanes = [0.0; 8];
    // SAFETY: eight floats.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), x) };
    let n = to.len().min(8);
    to[..n].copy_from_slice(&lanes[..n]);
}

/// Where the activations of each token lie.
struct Tokens<const T: usize> {
    high: [*const i8; T],
    scales: [*const f32; T],
    scaled_sums: [*const f32; T],
    sums: [*const i32; T],
    /// What codes are above the weights.
    bias: i32,
}

impl<const T: usize> Tokens<T> {
    fn new(panel: &Panel<'_>, x: &Activations<'_>) -> Self {
        let at = |token: usize| token * x.stride..(token + 1) * x.stride;
        let part = |token: usize, values: usize| at(token).start / values..at(token).end / values;
        Tokens {
            high: core::array::from_fn(|t| x.high[at(t)].as_ptr()),
            scales: core::array::from_fn(|t| x.scales[part(t, 32)].as_ptr()),
            scaled_sums: core::array::from_fn(|t| x.scaled_sums[part(t, 32)].as_ptr()),
            sums: core::array::from_fn(|t| x.sums[part(t, 16)].as_ptr()),
            bias: if panel.facts.bias == SIGNED { 0 } else { panel.facts.bias },
        }
    }

    /// What every row needs of one unit.
    ///
    /// # Safety
    /// The unit lies in the rows.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn factors<const UNIT: usize>(&self, unit: usize) -> Factors<T> {
        let block = unit * UNIT / 32;
        let zero = _mm256_setzero_ps();
        let bias = [_mm256_setzero_si256(); T];
        let mut factors = Factors { bias, scales: [zero; T], scaled_sums: [zero; T] };
        for token in 0..T {
            // SAFETY: the caller's promise.
            unsafe {
                let sums = self.sums[token].add(unit * UNIT / 16);
                let sum = if UNIT == 32 { *sums + *sums.add(1) } else { *sums };
                factors.bias[token] = _mm256_set1_epi32(sum * self.bias);
                factors.scales[token] = _mm256_broadcast_ss(&*self.scales[token].add(block));
                let scaled_sum = &*self.scaled_sums[token].add(block);
                factors.scaled_sums[token] = _mm256_broadcast_ss(scaled_sum);
            }
        }
        factors
    }
}

/// See [`Tokens::factors`]. Vectors, each the same value in every lane: the compiler would read
/// stored scalars back in wider loads, which stall.
struct Factors<const T: usize> {
    /// Sum of the activations times the bias of the codes.
    bias: [__m256i; T],
    scales: [__m256; T],
    scaled_sums: [__m256; T],
}

/// The activations of a unit as i16.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn wide_unit<const T: usize, const UNIT: usize>(
    x: &Activations<'_>,
    unit: usize,
) -> [[i16; UNIT]; T] {
    let mut wide = [[0; UNIT]; T];
    for (token, wide) in wide.iter_mut().enumerate() {
        let at = token * x.stride + unit * UNIT;
        for (i, wide) in wide.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let here = at + 16 * i..at + 16 * i + 16;
            let mut values = widen(&x.high[here.clone()]);
            if let Some(low) = x.low {
                let high = _mm256_mullo_epi16(values, _mm256_set1_epi16(255));
                values = _mm256_add_epi16(high, widen(&low[here]));
            }
            // SAFETY: sixteen words.
            unsafe { _mm256_storeu_si256(wide.as_mut_ptr().cast(), values) };
        }
    }
    wide
}

/// Sixteen bytes as words.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn widen(x: &[i8]) -> __m256i {
    assert!(x.len() == 16);
    // SAFETY: sixteen bytes.
    _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(x.as_ptr().cast()) })
}

/// Where the codes of a group of eight rows begin, for four columns.
#[inline]
fn codes_at(panel: &Panel<'_>, column: usize, group: usize) -> usize {
    group / 2 * 16 * panel.k + column * 64 + group % 2 * 32
}

/// The exact sums of one unit for the rows of two groups.
///
/// # Safety
/// The unit and both groups lie in the panel, and the unit in every token's row.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn bytes<const T: usize, const UNIT: usize>(
    panel: &Panel<'_>,
    tokens: &Tokens<T>,
    unit: usize,
    pair: usize,
) -> [[__m256i; T]; 2] {
    // How many sums of two products fit an i16: 4 * 2 * 31 * 127 = 31496 where units are of 32,
    // 2 * 2 * 63 * 127 = 32004 where units are of 16 and codes have up to 6 bits.
    let depth = UNIT / 8;
    let one = _mm256_set1_epi16(1);
    let mut sums = [[_mm256_setzero_si256(); T]; 2];
    for part in 0..2 {
        let mut short = [[_mm256_setzero_si256(); T]; 2];
        for i in 0..depth {
            let column = unit * UNIT / 4 + part * depth + i;
            // SAFETY: the caller's promise.
            let codes = unsafe {
                let codes = panel.codes.as_ptr().add(codes_at(panel, column, 2 * pair));
                let codes = codes.cast::<__m256i>();
                [_mm256_loadu_si256(codes), _mm256_loadu_si256(codes.add(1))]
            };
            for token in 0..T {
                // SAFETY: the caller's promise.
                let x = unsafe {
                    let x = tokens.high[token].add(4 * column);
                    _mm256_set1_epi32(x.cast::<i32>().read_unaligned())
                };
                for (short, codes) in short.iter_mut().zip(codes) {
                    let products = _mm256_maddubs_epi16(codes, x);
                    // Saturating, which never happens, because the compiler would sum the others in
                    // an order of its own and spill half of the values.
                    short[token] = _mm256_adds_epi16(short[token], products);
                }
            }
        }
        for (sums, short) in sums.iter_mut().zip(short) {
            for (sum, short) in sums.iter_mut().zip(short) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(short, one));
            }
        }
    }
    sums
}

/// The exact sums of one unit for the rows of one group.
///
/// # Safety
/// The unit and the group lie in the panel.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn words<const T: usize, const UNIT: usize>(
    panel: &Panel<'_>,
    x: &[[i16; UNIT]; T],
    unit: usize,
    group: usize,
) -> [__m256i; T] {
    // Two sums for each of four rows, in two vectors.
    let mut sums = [[_mm256_setzero_si256(); 2]; T];
    // Not a constant, as in `bytes`.
    for i in 0..panel.facts.unit / 4 {
        // SAFETY: the caller's promise.
        let codes = unsafe {
            let at = codes_at(panel, unit * UNIT / 4 + i, group);
            let codes = panel.codes.as_ptr().add(at).cast::<__m128i>();
            [_mm_loadu_si128(codes), _mm_loadu_si128(codes.add(1))]
        };
        let codes = [_mm256_cvtepi8_epi16(codes[0]), _mm256_cvtepi8_epi16(codes[1])];
        for (sums, x) in sums.iter_mut().zip(x) {
            // SAFETY: four words.
            let x = unsafe { x.as_ptr().add(4 * i).cast::<i64>().read_unaligned() };
            let x = _mm256_set1_epi64x(x);
            for (sum, codes) in sums.iter_mut().zip(codes) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(codes, x));
            }
        }
    }
    let mut whole = [_mm256_setzero_si256(); T];
    for (whole, [low, high]) in whole.iter_mut().zip(sums) {
        // Rows 0 1 4 5 | 2 3 6 7, then in order.
        *whole = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(low, high));
    }
    whole
}

/// Adds the unit's sums of eight rows to their chains.
///
/// # Safety
/// The unit and the group lie in the panel.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add_unit<const T: usize, const MINIMUM: bool>(
    panel: &Panel<'_>,
    x: &Factors<T>,
    sums: [__m256i; T],
    unit: usize,
    group: usize,
    chains: &mut [__m256; T],
) {
    let at = unit * PANEL_ROWS + 8 * group;
    // SAFETY: the caller's promise.
    let scales = unsafe { _mm256_loadu_ps(panel.scales.as_ptr().add(at)) };
    for token in 0..T {
        let sum = _mm256_sub_epi32(sums[token], x.bias[token]);
        let scale = _mm256_mul_ps(scales, x.scales[token]);
        chains[token] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), scale, chains[token]);
    }
    if MINIMUM {
        // SAFETY: as for the scales.
        let minima = unsafe { _mm256_loadu_ps(panel.minima.as_ptr().add(at)) };
        for (chain, sum) in chains.iter_mut().zip(x.scaled_sums) {
            *chain = _mm256_fmadd_ps(minima, sum, *chain);
        }
    }
}
