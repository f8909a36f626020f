//! Quantising a row of activations, a block of 32 in eight vectors.

use core::arch::aarch64::*;

use crate::activation::RowMut;
use crate::scalar::activation::{LARGEST_16, TINY};

/// See [`crate::Kernels`].
#[target_feature(enable = "neon")]
pub(super) fn quantize(x: &[f32], row: &mut RowMut<'_>) {
    let (blocks, _) = x.as_chunks::<32>();
    let largest = if row.low.is_some() { LARGEST_16 } else { 127.0 };
    for (b, x) in blocks.iter().enumerate() {
        let (values, scale) = block(x, largest);
        let high = &mut row.high[32 * b..][..32];
        match row.low.as_deref_mut() {
            None => store(values, high),
            Some(low) => {
                let (highs, lows) = planes(values);
                store(highs, high);
                store(lows, &mut low[32 * b..][..32]);
            }
        }
        let [a, b2, c, d, e, f, g, h] = values;
        let sums = [sum([a, b2, c, d]), sum([e, f, g, h])];
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
#[target_feature(enable = "neon")]
fn block(x: &[f32; 32], largest: f32) -> ([int32x4_t; 8], f32) {
    let mut vectors = [vdupq_n_f32(0.0); 8];
    for (vector, x) in vectors.iter_mut().zip(x.as_chunks::<4>().0) {
        // SAFETY: four floats.
        *vector = unsafe { vld1q_f32(x.as_ptr()) };
    }
    let amax = largest_magnitude(&vectors);
    let mut values = [vdupq_n_s32(0); 8];
    if !amax.is_finite() {
        return (values, f32::NAN);
    }
    if amax < TINY {
        return (values, 0.0);
    }
    let inverse = largest / amax;
    for (value, x) in values.iter_mut().zip(vectors) {
        // Nearest, ties to even, as in `round_even`.
        *value = vcvtnq_s32_f32(vmulq_n_f32(x, inverse));
    }
    (values, amax / largest)
}

/// As integers the magnitudes compare like floats, and a NaN is larger than everything.
#[inline]
#[target_feature(enable = "neon")]
fn largest_magnitude(x: &[float32x4_t; 8]) -> f32 {
    let mut largest = vdupq_n_u32(0);
    for &x in x {
        let bits = vandq_u32(vreinterpretq_u32_f32(x), vdupq_n_u32(0x7fff_ffff));
        largest = vmaxq_u32(largest, bits);
    }
    f32::from_bits(vmaxvq_u32(largest))
}

/// The sum of sixteen values.
#[inline]
#[target_feature(enable = "neon")]
fn sum([a, b, c, d]: [int32x4_t; 4]) -> i32 {
    vaddvq_s32(vaddq_s32(vaddq_s32(a, b), vaddq_s32(c, d)))
}

/// `v = 255 * high + low`, both in -127..=127.
#[inline]
#[target_feature(enable = "neon")]
fn planes(values: [int32x4_t; 8]) -> ([int32x4_t; 8], [int32x4_t; 8]) {
    let (mut high, mut low) = (values, values);
    for i in 0..8 {
        // 255 is odd, so a quotient is at least 1/510 from a tie; the error of the product is far
        // smaller.
        high[i] = vcvtnq_s32_f32(vmulq_n_f32(vcvtq_f32_s32(values[i]), 1.0 / 255.0));
        low[i] = vmlsq_n_s32(values[i], high[i], 255);
    }
    (high, low)
}

/// 32 values that fit a byte.
#[inline]
#[target_feature(enable = "neon")]
fn store(values: [int32x4_t; 8], to: &mut [i8]) {
    for (values, to) in values.as_chunks::<4>().0.iter().zip(to.as_chunks_mut::<16>().0) {
        let [a, b, c, d] = *values;
        let low = vcombine_s16(vmovn_s32(a), vmovn_s32(b));
        let high = vcombine_s16(vmovn_s32(c), vmovn_s32(d));
        // SAFETY: 16 bytes.
        unsafe { vst1q_s8(to.as_mut_ptr(), vcombine_s8(vmovn_s16(low), vmovn_s16(high))) };
    }
}
