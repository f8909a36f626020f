//! Quantising a row of activations, a block of 32 in four vectors.

use core::arch::x86_64::*;

use crate::activation::RowMut;
use crate::scalar::activation::{LARGEST_16, TINY};

/// See [`crate::Kernels`].
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn quantize(x: &[f32], row: &mut RowMut<'_>) {
    let (blocks, _) = x.as_chunks::<32>();
    let largest = if row.low.is_some() { LARGEST_16 } else { 127.0 };
    for (b, x) in blocks.iter().enumerate() {
        let (values, scale) = block(x, largest);
        let high = row.high[32 * b..][..32].as_mut_ptr();
        match row.low.as_deref_mut() {
            // SAFETY: 32 bytes.
            None => unsafe { _mm256_storeu_si256(high.cast(), bytes(values)) },
            Some(low) => {
                let [highs, lows] = planes(values);
                // SAFETY: 32 bytes each.
                unsafe {
                    _mm256_storeu_si256(high.cast(), highs);
                    _mm256_storeu_si256(low[32 * b..][..32].as_mut_ptr().cast(), lows);
                }
            }
        }
        let sums = [sum(values[0], values[1]), sum(values[2], values[3])];
        row.sums[2 * b..][..2].copy_from_slice(&sums);
        row.scales[b] = scale;
        row.scaled_sums[b] = scale * (sums[0] + sums[1]) as f32;
    }
    let n = blocks.len();
    row.high[32 * n..].fill(0);
    if let Some(low) = row.low.as_deref_mut() {
        low[32 * n..].fill(0);
    }
    row.sums[2 * n..].fill(0);
    row.scales[n..].fill(0.0);
    row.scaled_sums[n..].fill(0.0);
}

/// The integer values of 32 floats and their scale.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn block(x: &[f32; 32], largest: f32) -> ([__m256i; 4], f32) {
    let mut vectors = [_mm256_setzero_ps(); 4];
    for (vector, x) in vectors.iter_mut().zip(x.as_chunks::<8>().0) {
        // SAFETY: eight floats.
        *vector = unsafe { _mm256_loadu_ps(x.as_ptr()) };
    }
    let amax = largest_magnitude(&vectors);
    let mut values = [_mm256_setzero_si256(); 4];
    if !amax.is_finite() {
        return (values, f32::NAN);
    }
    if amax < TINY {
        return (values, 0.0);
    }
    let inverse = _mm256_set1_ps(largest / amax);
    for (value, x) in values.iter_mut().zip(vectors) {
        // Nearest, ties to even: the default of the control register, as in `round_even`.
        *value = _mm256_cvtps_epi32(_mm256_mul_ps(x, inverse));
    }
    (values, amax / largest)
}

/// As integers the magnitudes compare like floats, and a NaN is larger than everything.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn largest_magnitude(x: &[__m256; 4]) -> f32 {
    let bits = |x| _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fff_ffff));
    let (a, b) =
        (_mm256_max_epi32(bits(x[0]), bits(x[1])), _mm256_max_epi32(bits(x[2]), bits(x[3])));
    let all = _mm256_max_epi32(a, b);
    let four = _mm_max_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256::<1>(all));
    let two = _mm_max_epi32(four, _mm_unpackhi_epi64(four, four));
    let one = _mm_max_epi32(two, _mm_shuffle_epi32::<1>(two));
    f32::from_bits(_mm_cvtsi128_si32(one) as u32)
}

/// The sum of sixteen values.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn sum(a: __m256i, b: __m256i) -> i32 {
    let eight = _mm256_add_epi32(a, b);
    let four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256::<1>(eight));
    let two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
    _mm_cvtsi128_si32(two) + _mm_extract_epi32::<1>(two)
}

/// `v = 255 * high + low`, both in -127..=127.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn planes(values: [__m256i; 4]) -> [__m256i; 2] {
    let (mut high, mut low) = (values, values);
    for i in 0..4 {
        // 255 is odd, so a quotient is at least 1/510 from a tie; the error of the product is far
        // smaller.
        let quotient = _mm256_mul_ps(_mm256_cvtepi32_ps(values[i]), _mm256_set1_ps(1.0 / 255.0));
        high[i] = _mm256_cvtps_epi32(quotient);
        let product = _mm256_sub_epi32(_mm256_slli_epi32::<8>(high[i]), high[i]);
        low[i] = _mm256_sub_epi32(values[i], product);
    }
    [bytes(high), bytes(low)]
}

/// 32 values that fit a byte.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn bytes([a, b, c, d]: [__m256i; 4]) -> __m256i {
    let packed = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    // Packing works in halves: dwords a0 b0 c0 d0 | a1 b1 c1 d1.
    _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
}
