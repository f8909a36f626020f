//! Quantising a row of activations: four blocks of 32 at a time, so that their scales and sums are
//! neighbours in registers.

use core::arch::x86_64::*;

use crate::activation::RowMut;
use crate::scalar::activation::{LARGEST_16, TINY};

/// Values that are taken together; rows are padded to a multiple of it.
const GROUP: usize = 128;

/// The values of a group: registers `2b` and `2b + 1` are block `b`.
type Values = [__m512i; 8];

/// See [`crate::scalar::activation::quantize`].
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn quantize(x: &[f32], row: &mut RowMut<'_>) {
    let high = row.high.as_chunks_mut::<GROUP>().0;
    let mut low = row.low.as_deref_mut().map(|low| low.as_chunks_mut::<GROUP>().0);
    let sums = row.sums.as_chunks_mut::<8>().0;
    let scales = row.scales.as_chunks_mut::<4>().0;
    let scaled_sums = row.scaled_sums.as_chunks_mut::<4>().0;
    let largest = if low.is_some() { LARGEST_16 } else { 127.0 };
    let groups = high.iter_mut().zip(sums).zip(scales).zip(scaled_sums);
    for (g, (((high, sums), scales), scaled_sums)) in groups.enumerate() {
        let (values, scale) = group(&x[(g * GROUP).min(x.len())..], largest);
        let sum = match &mut low {
            None => store(high, &values),
            Some(low) => {
                let planes = values.map(|v| split(v));
                let high_sum = store(high, &planes.map(|(high, _)| high));
                let low_sum = store(&mut low[g], &planes.map(|(_, low)| low));
                _mm256_add_epi32(times_255(high_sum), low_sum)
            }
        };
        // SAFETY: eight integers, four floats, twice.
        unsafe {
            _mm256_storeu_si256(sums.as_mut_ptr().cast(), sum);
            _mm_storeu_ps(scales.as_mut_ptr(), scale);
            let pairs = _mm256_add_epi32(sum, _mm256_srli_epi64::<32>(sum));
            let block_sums = _mm_cvtepi32_ps(_mm256_cvtepi64_epi32(pairs));
            _mm_storeu_ps(scaled_sums.as_mut_ptr(), _mm_mul_ps(scale, block_sums));
        }
    }
}

/// The integer values of the first 128 floats, or of as many as there are, which are whole blocks,
/// and zeros; and the scales of the four blocks.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn group(x: &[f32], largest: f32) -> (Values, __m128) {
    let floats: [__m512; 8] = core::array::from_fn(|i| match x.get(16 * i..16 * (i + 1)) {
        // SAFETY: 16 floats.
        Some(x) => unsafe { _mm512_loadu_ps(x.as_ptr()) },
        None => _mm512_setzero_ps(),
    });
    // As integers the magnitudes compare like floats, and a NaN is larger than everything.
    let magnitude = _mm512_set1_epi32(0x7fff_ffff);
    let bits: [__m512i; 4] = core::array::from_fn(|b| {
        let [a, b] = [floats[2 * b], floats[2 * b + 1]].map(|v| _mm512_castps_si512(v));
        _mm512_max_epi32(_mm512_and_si512(a, magnitude), _mm512_and_si512(b, magnitude))
    });
    let amax = _mm_castsi128_ps(largest_of_each(bits));
    let finite = _mm_cmp_ps_mask::<_CMP_LT_OQ>(amax, _mm_set1_ps(f32::INFINITY));
    let counts = _mm_cmp_ps_mask::<_CMP_GE_OQ>(amax, _mm_set1_ps(TINY)) & finite;
    let largest = _mm_set1_ps(largest);
    let inverses = _mm512_broadcast_f32x4(_mm_maskz_div_ps(counts, largest, amax));
    let not_finite = _mm_castps_si128(_mm_set1_ps(f32::NAN));
    let no_scale = _mm_maskz_mov_epi32(!finite, not_finite);
    let scale = _mm_mask_div_ps(_mm_castsi128_ps(no_scale), counts, amax, largest);
    let values = core::array::from_fn(|i| {
        let inverse = _mm512_permutexvar_ps(_mm512_set1_epi32(i as i32 / 2), inverses);
        // Not even a NaN times zero is to give anything but zero.
        let mask = if counts >> (i / 2) & 1 == 1 { !0 } else { 0 };
        _mm512_maskz_cvtps_epi32(mask, _mm512_mul_ps(floats[i], inverse))
    });
    (values, scale)
}

/// The largest lane of each of four registers, as unsigned integers below 2^31.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn largest_of_each([a, b, c, d]: [__m512i; 4]) -> __m128i {
    let ab = _mm512_max_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let cd = _mm512_max_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    let quarters = _mm512_max_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    let halves = _mm256_max_epi32(
        _mm512_castsi512_si256(quarters),
        _mm512_extracti64x4_epi64::<1>(quarters),
    );
    _mm_max_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves))
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

#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn times_255(v: __m256i) -> __m256i {
    _mm256_sub_epi32(_mm256_slli_epi32::<8>(v), v)
}

/// The bytes of values that fit them, and the sums of each 16.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn store(out: &mut [i8; GROUP], values: &Values) -> __m256i {
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let [first, second] = [0_usize, 4].map(|at| {
        let words = |i: usize| _mm512_packs_epi32(values[at + i], values[at + i + 1]);
        let bytes = _mm512_packs_epi16(words(0), words(2));
        _mm512_permutexvar_epi32(order, bytes)
    });
    // SAFETY: exactly the 128 bytes.
    unsafe {
        _mm512_storeu_si512(out.as_mut_ptr().cast(), first);
        _mm512_storeu_si512(out.as_mut_ptr().add(64).cast(), second);
    }
    let fours = |bytes| {
        let fours = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), bytes);
        let twos = _mm512_add_epi32(fours, _mm512_shuffle_epi32::<0b10_11_00_01>(fours));
        _mm512_add_epi32(twos, _mm512_shuffle_epi32::<0b01_00_11_10>(twos))
    };
    let sums = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 0, 0, 0, 0, 0, 0, 0);
    _mm512_castsi512_si256(_mm512_permutex2var_epi32(fours(first), sums, fours(second)))
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
