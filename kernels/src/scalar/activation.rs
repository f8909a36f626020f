//! Quantising a row of activations (NUMERICS.md, "8-bit activations" and "16-bit activations").

use crate::activation::RowMut;
use crate::scalar::exp::round_even;

/// Below this the block counts as zero: its inverse scale would leave the range of f32.
pub(crate) const TINY: f32 = f32::from_bits(27 << 23); // 2^-100

/// The largest quantised magnitude of 16-bit activations: 255 * 127 + 127.
pub(crate) const LARGEST_16: f32 = 32512.0;

/// Quantises `x` into the row; the padding becomes zero.
pub(crate) fn quantize(x: &[f32], row: &mut RowMut<'_>) {
    let blocks = x.len() / 32;
    for b in 0..row.scales.len() {
        let (mut values, mut scale) = ([0i32; 32], 0.0);
        if b < blocks {
            let largest = if row.low.is_some() { LARGEST_16 } else { 127.0 };
            (values, scale) = block(&x[32 * b..][..32], largest);
        }
        for (i, &v) in values.iter().enumerate() {
            match row.low.as_deref_mut() {
                None => row.high[32 * b + i] = v as i8,
                Some(low) => {
                    // 255 is odd, so the nearest multiple is unique and both planes keep to
                    // -127..=127.
                    let high = (v + 127).div_euclid(255);
                    row.high[32 * b + i] = high as i8;
                    low[32 * b + i] = (v - 255 * high) as i8;
                }
            }
        }
        let sums = [values[..16].iter().sum::<i32>(), values[16..].iter().sum::<i32>()];
        row.sums[2 * b..][..2].copy_from_slice(&sums);
        row.scales[b] = scale;
        row.scaled_sums[b] = scale * (sums[0] + sums[1]) as f32;
    }
}

/// The integer values of 32 floats and their scale.
fn block(x: &[f32], largest: f32) -> ([i32; 32], f32) {
    // As integers the magnitudes compare like floats, and a NaN is larger than everything.
    let bits = x.iter().map(|v| v.to_bits() & 0x7fff_ffff).max().unwrap_or(0);
    let amax = f32::from_bits(bits);
    let mut values = [0; 32];
    if !amax.is_finite() {
        return (values, f32::NAN);
    }
    if amax < TINY {
        return (values, 0.0);
    }
    let inverse = largest / amax;
    for (value, &v) in values.iter_mut().zip(x) {
        *value = round_even(v * inverse) as i32;
    }
    (values, amax / largest)
}
