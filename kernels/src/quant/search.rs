//! Choosing scales: what the encoders share.

use super::Unpacked;
use crate::scalar::exp::round_even;

/// The f32 of two little-endian bytes of f16.
#[inline(always)]
pub(super) fn half(bytes: [u8; 2]) -> f32 {
    half::f16::from_le_bytes(bytes).to_f32()
}

/// The bytes of the nearest f16, and what they will decode to.
pub(super) fn to_half(x: f32) -> ([u8; 2], f32) {
    let h = half::f16::from_f32(x);
    (h.to_le_bytes(), h.to_f32())
}

/// Nearest integer, ties to even, kept within `low..=high`. NaN gives `low`.
pub(super) fn nearest(x: f32, low: i32, high: i32) -> i32 {
    round_even(x.max(low as f32).min(high as f32)) as i32
}

/// Smallest and largest value.
pub(super) fn range(x: &[f32]) -> (f32, f32) {
    x.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)))
}

/// The scales of a Q4_K or Q5_K block.
pub(super) struct KScales {
    pub d: [u8; 2],
    pub dmin: [u8; 2],
    pub scales: [u8; 8],
    pub minima: [u8; 8],
}

/// The 12 bytes of 6-bit scales and minima. Units 0-3 have theirs in the low six bits of bytes 0-3
/// and 4-7; units 4-7 have low nibbles in bytes 8-11 and the upper two bits on top of bytes 0-7.
#[inline(always)]
pub(super) fn k_scales(d: f32, dmin: f32, packed: &[u8; 12], out: &mut Unpacked) {
    for u in 0..8 {
        let (scale, minimum) = if u < 4 {
            (packed[u] & 63, packed[u + 4] & 63)
        } else {
            (packed[u + 4] & 15 | packed[u - 4] >> 6 << 4, packed[u + 4] >> 4 | packed[u] >> 6 << 4)
        };
        out.scales[u] = d * scale as f32;
        out.minima[u] = -(dmin * minimum as f32);
    }
}

/// The inverse of [`k_scales`].
pub(super) fn pack_k_scales(scales: &[u8; 8], minima: &[u8; 8]) -> [u8; 12] {
    let mut packed = [0; 12];
    for u in 0..4 {
        packed[u] = scales[u] | scales[u + 4] >> 4 << 6;
        packed[u + 4] = minima[u] | minima[u + 4] >> 4 << 6;
        packed[u + 8] = scales[u + 4] & 15 | (minima[u + 4] & 15) << 4;
    }
    packed
}

/// Scales, minima and codes (0 to `max`) of 256 weights.
pub(super) fn search_k(x: &[f32], max: i32) -> (KScales, [u8; 256]) {
    let (mut scale, mut minimum) = ([0.0f32; 8], [0.0f32; 8]);
    for (u, unit) in x.chunks_exact(32).enumerate() {
        (scale[u], minimum[u]) = fit_affine(unit, max);
    }
    let largest = |v: &[f32; 8]| v.iter().fold(0.0f32, |m, &s| m.max(s));
    let (d, d_value) = to_half(largest(&scale) / 63.0);
    let (dmin, dmin_value) = to_half(largest(&minimum) / 63.0);
    let six_bits = |v: f32, d: f32| if d == 0.0 { 0 } else { nearest(v / d, 0, 63) as u8 };
    let mut codes = [0; 256];
    let (mut scales, mut minima) = ([0; 8], [0; 8]);
    for (u, unit) in x.chunks_exact(32).enumerate() {
        scales[u] = six_bits(scale[u], d_value);
        minima[u] = six_bits(minimum[u], dmin_value);
        let (s, m) = (d_value * scales[u] as f32, dmin_value * minima[u] as f32);
        for (code, &v) in codes[32 * u..].iter_mut().zip(unit) {
            *code = if s == 0.0 { 0 } else { nearest((v + m) / s, 0, max) as u8 };
        }
    }
    (KScales { d, dmin, scales, minima }, codes)
}

/// `x ≈ scale * code - minimum` with codes 0 to `max` and `minimum >= 0`: tries several ranges and
/// for each the least-squares scale and minimum of its codes; values of larger magnitude weigh more.
fn fit_affine(x: &[f32], max: i32) -> (f32, f32) {
    let (low, high) = range(x);
    let low = low.min(0.0);
    if high <= low {
        return (0.0, -low);
    }
    let mean_square = x.iter().map(|v| v * v).sum::<f32>() / x.len() as f32;
    let weight = |v: f32| libm::sqrtf(mean_square) + v.abs();
    let error = |scale: f32, minimum: f32| -> f32 {
        let miss = |v: f32| scale * nearest((v + minimum) / scale, 0, max) as f32 - minimum - v;
        x.iter().map(|&v| weight(v) * miss(v) * miss(v)).sum()
    };
    let mut best = ((high - low) / max as f32, -low);
    let mut best_error = error(best.0, best.1);
    for step in 0..=20 {
        let inverse = (max as f32 - 1.0 + 0.1 * step as f32) / (high - low);
        let (mut sw, mut sq, mut sqq, mut sx, mut sqx) = (0.0f32, 0.0f32, 0.0f32, 0.0f32, 0.0f32);
        for &v in x {
            let (w, q) = (weight(v), nearest((v - low) * inverse, 0, max) as f32);
            sw += w;
            sq += w * q;
            sqq += w * q * q;
            sx += w * v;
            sqx += w * q * v;
        }
        let determinant = sw * sqq - sq * sq;
        if determinant <= 0.0 {
            continue;
        }
        let scale = (sw * sqx - sq * sx) / determinant;
        let offset = ((sqq * sx - sq * sqx) / determinant).min(0.0);
        let scale = if offset == 0.0 { sqx / sqq } else { scale };
        if scale > 0.0 && error(scale, -offset) < best_error {
            best_error = error(scale, -offset);
            best = (scale, -offset);
        }
    }
    best
}

/// Scale, unit scales and codes (0 to 63, bias 32) of 256 weights.
pub(super) fn search_q6(x: &[f32]) -> ([u8; 2], [i8; 16], [u8; 256]) {
    let mut scale = [0.0f32; 16];
    for (s, unit) in scale.iter_mut().zip(x.chunks_exact(16)) {
        *s = fit_symmetric(unit, 32);
    }
    let extreme = scale.iter().fold(0.0f32, |m, &s| if s.abs() > m.abs() { s } else { m });
    let (d, d_value) = to_half(extreme / -128.0);
    let (mut scales, mut codes) = ([0i8; 16], [32u8; 256]);
    for (u, unit) in x.chunks_exact(16).enumerate() {
        if d_value == 0.0 {
            break;
        }
        scales[u] = nearest(scale[u] / d_value, -128, 127) as i8;
        let s = d_value * scales[u] as f32;
        for (code, &v) in codes[16 * u..].iter_mut().zip(unit) {
            *code = if s == 0.0 { 32 } else { (nearest(v / s, -32, 31) + 32) as u8 };
        }
    }
    (d, scales, codes)
}

/// `x ≈ scale * code` with codes `-half ..= half - 1`: tries scales around the one that gives the
/// value of largest magnitude the code `-half`, with the least-squares scale of each choice.
fn fit_symmetric(x: &[f32], half: i32) -> f32 {
    let extreme = x.iter().fold(0.0f32, |m, &v| if v.abs() > m.abs() { v } else { m });
    if extreme == 0.0 {
        return 0.0;
    }
    let (mut best, mut best_gain) = (0.0, 0.0);
    for step in -9..=9 {
        let inverse = -(half as f32 + 0.1 * step as f32) / extreme;
        let (mut sqx, mut sqq) = (0.0f32, 0.0f32);
        for &v in x {
            let q = nearest(v * inverse, -half, half - 1) as f32;
            let w = v * v;
            sqx += w * q * v;
            sqq += w * q * q;
        }
        // The squared error is (constant - sqx^2 / sqq) at the best scale sqx / sqq.
        if sqq > 0.0 && sqx * sqx > best_gain * sqq {
            best_gain = sqx * sqx / sqq;
            best = sqx / sqq;
        }
    }
    best
}
