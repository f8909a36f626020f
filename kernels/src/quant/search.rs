//! Choosing scales: what the encoders share.
//!
//! Eight units are searched side by side ([`Group`]), so that compilers use vectors; sums run in the
//! order of the weights, so that every CPU gives the same bits.

mod affine;
mod levels;
mod symmetric;
mod ternary;

use super::Unpacked;
use crate::scalar::exp::{ROUND, round_even};

pub(super) use affine::{Affine, fit_affine, search_affine};
pub(super) use levels::{Grid, Integers, Levels};
pub(super) use symmetric::{Symmetric, fit_symmetric, search_symmetric};
pub(super) use ternary::search_ternary;

/// Weights of equal importance.
pub(crate) const EQUAL: [f32; 256] = [1.0; 256];

/// Numbers that are computed side by side.
const LANES: usize = 8;

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

/// Nearest integer, ties to even, kept within `low..=high`, of which neither is beyond 2^22. NaN gives
/// `low`.
#[inline(always)]
pub(super) fn nearest(x: f32, low: i32, high: i32) -> i32 {
    // The integer stands in the low bits: no conversion, which would have to look for NaN.
    let shifted = within(x, low as f32, high as f32) + ROUND;
    shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32
}

/// `x`, kept within `low..=high`. NaN gives `low`. One instruction for each end.
#[inline(always)]
fn within(x: f32, low: f32, high: f32) -> f32 {
    let x = if x > low { x } else { low };
    if x < high { x } else { high }
}

/// The codes of 32 weights, those of the first 16 in the low halves of the bytes.
#[inline(always)]
pub(super) fn pack_nibbles(x: &[f32], code: impl Fn(f32) -> i32) -> [u8; 16] {
    let mut codes = [0; 16];
    if let Some((low, high)) = x.split_at_checked(16) {
        for ((byte, &low), &high) in codes.iter_mut().zip(low).zip(high) {
            *byte = (code(low) | code(high) << 4) as u8;
        }
    }
    codes
}

/// Smallest and largest value.
pub(super) fn range(x: &[f32]) -> (f32, f32) {
    let (mut low, mut high) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
    for x in x.chunks(LANES) {
        for ((low, high), &v) in low.iter_mut().zip(&mut high).zip(x) {
            *low = if v < *low { v } else { *low };
            *high = if v > *high { v } else { *high };
        }
    }
    let less = |a: f32, &b: &f32| if b < a { b } else { a };
    let more = |a: f32, &b: &f32| if b > a { b } else { a };
    (low.iter().fold(f32::INFINITY, less), high.iter().fold(f32::NEG_INFINITY, more))
}

/// The first of the values of largest magnitude, with its sign.
pub(super) fn extreme(x: &[f32]) -> f32 {
    let (low, high) = range(x);
    match () {
        _ if x.is_empty() => 0.0,
        _ if -low > high => low,
        _ if -low < high => high,
        _ => x.iter().copied().find(|&v| v == low || v == high).unwrap_or(0.0),
    }
}

/// Eight numbers, one for each unit of a [`Group`].
type Lanes = [f32; LANES];

/// A number for each lane.
#[inline(always)]
fn lanes(number: impl Fn(usize) -> f32) -> Lanes {
    core::array::from_fn(number)
}

/// 1 / scale; 0 for 0.
#[inline(always)]
pub(super) fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// The same for each.
#[inline(always)]
fn inverses(scale: Lanes) -> Lanes {
    lanes(|l| inverse(scale[l]))
}

/// Eight units of `N` weights side by side, so that whatever is tried is tried for all of them at
/// once: weight `i` of unit `l` is `x[i][l]`, and its squared error counts `w[i][l]` times.
struct Group<const N: usize> {
    x: [Lanes; N],
    w: [Lanes; N],
}

impl<const N: usize> Group<N> {
    /// Unit after unit. Weights that are missing are 0.
    #[inline(always)]
    fn new(x: &[f32], w: &[f32]) -> Self {
        let mut group = Group { x: [[0.0; LANES]; N], w: [[0.0; LANES]; N] };
        let units = x.as_chunks::<N>().0.iter().zip(w.as_chunks::<N>().0);
        for (l, (x, w)) in units.enumerate().take(LANES) {
            for i in 0..N {
                (group.x[i][l], group.w[i][l]) = (x[i], w[i]);
            }
        }
        group
    }

    /// One unit in all lanes, for eight attempts at a time.
    fn repeat(x: &[f32], w: &[f32]) -> Self {
        let mut group = Group { x: [[0.0; LANES]; N], w: [[0.0; LANES]; N] };
        for (i, (&x, &w)) in x.iter().zip(w).enumerate().take(N) {
            (group.x[i], group.w[i]) = ([x; LANES], [w; LANES]);
        }
        group
    }

    /// Smallest and largest weight.
    #[inline(always)]
    fn range(&self) -> (Lanes, Lanes) {
        let (mut low, mut high) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
        for x in &self.x {
            for l in 0..LANES {
                low[l] = if x[l] < low[l] { x[l] } else { low[l] };
                high[l] = if x[l] > high[l] { x[l] } else { high[l] };
            }
        }
        (low, high)
    }

    /// The integers nearest to `(x - offset) * inverse` within `low..=high`, less `low`, of unit
    /// after unit.
    #[inline(always)]
    fn codes(&self, inverse: Lanes, offset: Lanes, (low, high): (f32, f32), codes: &mut [u8]) {
        for (i, x) in self.x.iter().enumerate() {
            for l in 0..LANES {
                let v = within((x[l] - offset[l]) * inverse[l], low, high);
                // The integer stands in the low bits.
                codes[N * l + i] = (v - low + ROUND).to_bits() as u8;
            }
        }
    }
}

/// Importances of a block of weights in proportion to `weights`, around 1: none is far below their
/// mean, so that weights without any importance are still stored well.
pub(crate) fn importances(weights: &[f32], out: &mut [f32; 256]) {
    let n = weights.len().min(256);
    let mean = weights.iter().sum::<f32>() / n as f32;
    for (out, &w) in out.iter_mut().zip(weights) {
        *out = if mean > 0.0 && mean < f32::INFINITY { within(w / mean, 1e-3, 1e6) } else { 1.0 };
    }
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
