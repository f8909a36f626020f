//! Codes -1, 0 and 1 with one scale.

use super::{nearest, to_half};

/// The scale of 256 weights and their codes, 1 above: the least error there is, but for the rounding
/// of the scale. `w`: how much the squared error of each weight counts.
///
/// The weights that are not 0 are the largest ones, and the best scale for them is their mean. So
/// they are taken one by one, the largest first, and the best number of them is kept.
pub fn search_ternary(x: &[f32], w: &[f32]) -> ([u8; 2], [u8; 256]) {
    // By magnitude, then place: no two are equal, and every sort gives the same order.
    let mut order = [0u64; 256];
    for (i, (place, x)) in order.iter_mut().zip(x).enumerate() {
        *place = u64::from(x.abs().to_bits()) << 8 | i as u64;
    }
    order.sort_unstable();
    let (mut wx, mut ww) = (0.0, 0.0);
    let (mut scale, mut most) = (0.0, 0.0);
    for place in order.iter().rev() {
        let i = (place & 255) as usize;
        wx += w[i] * x[i].abs();
        ww += w[i];
        let mean: f32 = wx / ww;
        if wx * mean > most {
            (most, scale) = (wx * mean, mean);
        }
    }
    let (d, scale) = to_half(scale);
    let inverse = super::inverse(scale);
    let mut codes = [1; 256];
    for (code, x) in codes.iter_mut().zip(x) {
        *code = (nearest(x * inverse, -1, 1) + 1) as u8;
    }
    (d, codes)
}
