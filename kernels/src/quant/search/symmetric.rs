//! Codes with a scale alone.

use super::levels::Levels;
use super::{Group, LANES, Lanes, extreme, inverses, lanes, round_even, to_half, within};

/// As for codes with a minimum.
const REFINEMENTS: usize = 2;

/// A block of 256 weights as a factor, scales and codes.
pub struct Symmetric<const UNITS: usize> {
    pub d: [u8; 2],
    pub scales: [i8; UNITS],
    pub codes: [u8; 256],
}

impl<const N: usize> Group<N> {
    /// The first of the weights of largest magnitude.
    #[inline(always)]
    fn extremes(&self) -> Lanes {
        let mut most = [0.0f32; LANES];
        for x in &self.x {
            for l in 0..LANES {
                most[l] = if x[l].abs() > most[l].abs() { x[l] } else { most[l] };
            }
        }
        most
    }

    /// Weighted sums of q x and q q for the codes `x * inverse`.
    #[inline(always)]
    fn symmetric_sums(&self, inverse: Lanes, levels: impl Levels) -> (Lanes, Lanes) {
        let (mut qx, mut qq) = ([0.0; LANES], [0.0; LANES]);
        for (x, w) in self.x.iter().zip(&self.w) {
            for l in 0..LANES {
                let q = levels.nearest(x[l] * inverse[l]);
                let wq = w[l] * q;
                qx[l] += wq * x[l];
                qq[l] += wq * q;
            }
        }
        (qx, qq)
    }

    /// Replaces `best` by the best scales for the codes `x * inverse` where they make the squared
    /// error less than that of zeros by more than `most`.
    #[inline(always)]
    fn try_symmetric(
        &self,
        inverse: Lanes,
        levels: impl Levels,
        best: &mut Lanes,
        most: &mut Lanes,
    ) {
        let (qx, qq) = self.symmetric_sums(inverse, levels);
        for l in 0..LANES {
            let scale = qx[l] / qq[l];
            let gain = qx[l] * scale;
            // NaN is no success.
            let more = gain > most[l];
            best[l] = if more { scale } else { best[l] };
            most[l] = if more { gain } else { most[l] };
        }
    }

    /// Scales of little error, and by how much they make it less than that of zeros. `starts`: what
    /// the weights of largest magnitude may be.
    fn scales(&self, starts: impl Iterator<Item = Lanes>, levels: impl Levels) -> (Lanes, Lanes) {
        let extremes = self.extremes();
        let mut best = lanes(|l| extremes[l] / levels.end());
        let mut most = [0.0; LANES];
        for start in starts {
            let inverse = lanes(|l| start[l] / extremes[l]);
            self.try_symmetric(inverse, levels, &mut best, &mut most);
        }
        for _ in 0..REFINEMENTS {
            self.try_symmetric(lanes(|l| 1.0 / best[l]), levels, &mut best, &mut most);
        }
        (best, most)
    }

    /// The codes of unit after unit.
    #[inline(always)]
    fn level_codes(&self, inverse: Lanes, levels: impl Levels, codes: &mut [u8]) {
        for (i, x) in self.x.iter().enumerate() {
            for l in 0..LANES {
                codes[N * l + i] = levels.code(x[l] * inverse[l]);
            }
        }
    }

    /// The squared errors of scales.
    #[inline(always)]
    fn symmetric_error(&self, scale: Lanes, levels: impl Levels) -> Lanes {
        let inverse = inverses(scale);
        let mut errors = [0.0; LANES];
        for (x, w) in self.x.iter().zip(&self.w) {
            for l in 0..LANES {
                let q = levels.nearest(x[l] * inverse[l]);
                let miss = scale[l] * q - x[l];
                errors[l] += w[l] * (miss * miss);
            }
        }
        errors
    }

    /// The multiples of `d` near `wanted` that have the least error.
    #[inline(always)]
    fn scale_multiples(&self, wanted: &Lanes, d: f32, levels: impl Levels, top: f32) -> Lanes {
        let nearest = nearest_multiples(wanted, d, top);
        let mut best = nearest;
        let mut least = [f32::INFINITY; LANES];
        for step in [0.0, -1.0, 1.0] {
            let s = lanes(|l| within(nearest[l] + step, -top, top - 1.0));
            let error = self.symmetric_error(lanes(|l| d * s[l]), levels);
            for l in 0..LANES {
                let less = error[l] < least[l];
                best[l] = if less { s[l] } else { best[l] };
                least[l] = if less { error[l] } else { least[l] };
            }
        }
        best
    }
}

#[inline(always)]
fn nearest_multiples(wanted: &Lanes, d: f32, top: f32) -> Lanes {
    lanes(|l| if d == 0.0 { 0.0 } else { round_even(within(wanted[l] / d, -top, top - 1.0)) })
}

/// The scale of 32 weights. `w`: how much the squared error of each weight counts.
pub fn fit_symmetric<L: Levels>(x: &[f32], w: &[f32], levels: L) -> f32 {
    let (scales, gains) = Group::<32>::repeat(x, w).scales(levels.starts().iter().copied(), levels);
    let mut best = 0;
    for l in 1..LANES {
        best = if gains[l] > gains[best] { l } else { best };
    }
    scales[best]
}

/// Scales of `UNITS` units of `N` weights, 256 in all, as multiples (`-top ..= top - 1`) of a factor,
/// and codes. `w`: how much the squared error of each weight counts.
pub fn search_symmetric<const N: usize, const UNITS: usize, L: Levels>(
    x: &[f32],
    w: &[f32],
    levels: L,
    top: i32,
) -> Symmetric<UNITS> {
    const { assert!(N * UNITS == 256 && UNITS.is_multiple_of(LANES)) };
    let top = top as f32;
    let groups = || x.chunks(N * LANES).zip(w.chunks(N * LANES)).enumerate();
    let mut wanted = [[0.0f32; LANES]; 2];
    for (g, (x, w)) in groups() {
        // Every start for each of the units.
        let starts = levels.starts().as_flattened().iter().map(|&start| [start; LANES]);
        wanted[g] = Group::<N>::new(x, w).scales(starts, levels).0;
    }
    let first = to_half(extreme(&wanted.as_flattened()[..UNITS]) / -top).1;
    // The factor again, from the codes that the first one gives.
    let (mut ax, mut aa) = (0.0, 0.0);
    for (g, (x, w)) in groups() {
        let s = nearest_multiples(&wanted[g], first, top);
        let inverse = inverses(lanes(|l| first * s[l]));
        let (qx, qq) = Group::<N>::new(x, w).symmetric_sums(inverse, levels);
        for l in 0..LANES {
            ax += s[l] * qx[l];
            aa += s[l] * s[l] * qq[l];
        }
    }
    let d = to_half(if aa > 0.0 { ax / aa } else { first });
    let mut found = Symmetric { d: d.0, scales: [0; UNITS], codes: [0; 256] };
    for (g, (x, w)) in groups() {
        let group = Group::<N>::new(x, w);
        let s = group.scale_multiples(&wanted[g], d.1, levels, top);
        let inverse = inverses(lanes(|l| d.1 * s[l]));
        group.level_codes(inverse, levels, &mut found.codes[N * LANES * g..][..N * LANES]);
        for (scale, s) in found.scales[LANES * g..].iter_mut().zip(s) {
            *scale = s as i8;
        }
    }
    found
}
