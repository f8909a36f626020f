//! Quantising a row of activations: two registers for each block of 32.

use core::arch::x86_64::*;

use crate::activation::RowMut;
use crate::scalar::activation::{LARGEST_16, TINY};

/// See [`crate::scalar::activation::quantize`].
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn quantize(x: &[f32], row: &mut RowMut<'_>) {
    let RowMut { high, low, scales, sums, scaled_sums } = row;
    let (blocks, _) = x.as_chunks::<32>();
    let (high, high_padding) = high.as_chunks_mut::<32>().0.split_at_mut(blocks.len());
    let (sums, sums_padding) = sums.as_chunks_mut::<2>().0.split_at_mut(blocks.len());
    let (scales, scales_padding) = scales.split_at_mut(blocks.len());
    let (scaled_sums, scaled_sums_padding) = scaled_sums.split_at_mut(blocks.len());
    high_padding.fill([0; 32]);
    sums_padding.fill([0; 2]);
    scales_padding.fill(0.0);
    scaled_sums_padding.fill(0.0);
    let mut low = low.as_deref_mut().map(|low| low.as_chunks_mut::<32>().0);
    if let Some(low) = &mut low {
        low[blocks.len()..].fill([0; 32]);
    }
    let largest = if low.is_some() { LARGEST_16 } else { 127.0 };
    for (b, x) in blocks.iter().enumerate() {
        let (values, scale) = block(x, largest);
        match &mut low {
            None => store(&mut high[b], values),
            Some(low) => {
                let [(high_a, low_a), (high_b, low_b)] = [split(values[0]), split(values[1])];
                store(&mut high[b], [high_a, high_b]);
                store(&mut low[b], [low_a, low_b]);
            }
        }
        sums[b] = [_mm512_reduce_add_epi32(values[0]), _mm512_reduce_add_epi32(values[1])];
        scales[b] = scale;
        scaled_sums[b] = scale * (sums[b][0] + sums[b][1]) as f32;
    }
}

/// The integer values of 32 floats and their scale.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn block(x: &[f32; 32], largest: f32) -> ([__m512i; 2], f32) {
    // SAFETY: both registers lie inside the 32 floats.
    let (a, b) = unsafe { (_mm512_loadu_ps(x.as_ptr()), _mm512_loadu_ps(x.as_ptr().add(16))) };
    // As integers the magnitudes compare like floats, and a NaN is larger than everything.
    let magnitude = _mm512_set1_epi32(0x7fff_ffff);
    let bits = _mm512_max_epi32(
        _mm512_and_si512(_mm512_castps_si512(a), magnitude),
        _mm512_and_si512(_mm512_castps_si512(b), magnitude),
    );
    let amax = f32::from_bits(_mm512_reduce_max_epi32(bits) as u32);
    if !amax.is_finite() {
        return ([_mm512_setzero_si512(); 2], f32::NAN);
    }
    if amax < TINY {
        return ([_mm512_setzero_si512(); 2], 0.0);
    }
    let inverse = _mm512_set1_ps(largest / amax);
    let nearest = |v| _mm512_cvtps_epi32(_mm512_mul_ps(v, inverse));
    ([nearest(a), nearest(b)], amax / largest)
}

/// The planes of 16-bit values: `high` is the multiple of 255 nearest to the value. The quotient is
/// never near a tie (255 is odd), so the rounding of 1 / 255 does not show.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn split(v: __m512i) -> (__m512i, __m512i) {
    let quotient = _mm512_mul_ps(_mm512_cvtepi32_ps(v), _mm512_set1_ps(1.0 / 255.0));
    let high = _mm512_cvtps_epi32(quotient);
    let times_255 = _mm512_sub_epi32(_mm512_slli_epi32::<8>(high), high);
    (high, _mm512_sub_epi32(v, times_255))
}

/// The low bytes of two registers.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn store(out: &mut [i8; 32], [a, b]: [__m512i; 2]) {
    let bytes = _mm256_set_m128i(_mm512_cvtepi32_epi8(b), _mm512_cvtepi32_epi8(a));
    // SAFETY: exactly the 32 bytes.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every 16-bit value has the planes of the definition.
    #[test]
    fn planes_are_those_of_the_definition() {
        if super::super::kernels().is_none() {
            return;
        }
        for first in (-32512..=32512).step_by(16) {
            let mut planes = [[0i32; 16]; 2];
            // SAFETY: the CPU has the target's features; the arrays hold 16 values.
            unsafe {
                let ramp = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
                let (high, low) = split(_mm512_add_epi32(_mm512_set1_epi32(first), ramp));
                _mm512_storeu_epi32(planes[0].as_mut_ptr(), high);
                _mm512_storeu_epi32(planes[1].as_mut_ptr(), low);
            }
            for (v, (&high, &low)) in (first..).zip(planes[0].iter().zip(&planes[1])) {
                let want = (v + 127).div_euclid(255);
                assert_eq!([high, low], [want, v - 255 * want], "{v}");
            }
        }
    }
}
