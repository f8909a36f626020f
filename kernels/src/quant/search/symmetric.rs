//! Codes with a scale alone.

use super::{Group, LANES, Lanes, extreme, inverses, lanes, round_even, to_half, within};

/// Where the weight of largest magnitude may lie: so many codes beyond the last one.
const STRETCHES: [f32; LANES] = [-0.9, -0.6, -0.35, -0.15, 0.0, 0.2, 0.45, 0.7];

/// As for codes with a minimum.
const REFINEMENTS: usize = 2;

/// A block of 256 weights as a factor, scales and codes (0 to `2 * half - 1`).
pub struct Symmetric {
    pub d: [u8; 2],
    pub scales: [i8; 16],
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
    fn symmetric_sums(&self, inverse: Lanes, half: f32) -> (Lanes, Lanes) {
        let (mut qx, mut qq) = ([0.0; LANES], [0.0; LANES]);
        for (x, w) in self.x.iter().zip(&self.w) {
            for l in 0..LANES {
                let q = round_even(within(x[l] * inverse[l], -half, half - 1.0));
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
    fn try_symmetric(&self, inverse: Lanes, half: f32, best: &mut Lanes, most: &mut Lanes) {
        let (qx, qq) = self.symmetric_sums(inverse, half);
        for l in 0..LANES {
            let scale = qx[l] / qq[l];
            let gain = qx[l] * scale;
            // NaN is no success.
            let more = gain > most[l];
            best[l] = if more { scale } else { best[l] };
            most[l] = if more { gain } else { most[l] };
        }
    }

    /// Scales of little error for codes `-half ..= half - 1`, and by how much they make it less than
    /// that of zeros. The weight of largest magnitude gets a code near `-half`, the only end without
    /// a counterpart. `stretches`: what to begin with, each of them for all units.
    fn scales(&self, stretches: &[Lanes], half: f32) -> (Lanes, Lanes) {
        let extremes = self.extremes();
        let mut best = lanes(|l| extremes[l] / -half);
        let mut most = [0.0; LANES];
        for stretch in stretches {
            let inverse = lanes(|l| -(half + stretch[l]) / extremes[l]);
            self.try_symmetric(inverse, half, &mut best, &mut most);
        }
        for _ in 0..REFINEMENTS {
            self.try_symmetric(lanes(|l| 1.0 / best[l]), half, &mut best, &mut most);
        }
        (best, most)
    }

    /// The squared errors of scales.
    #[inline(always)]
    fn symmetric_error(&self, scale: Lanes, half: f32) -> Lanes {
        let inverse = inverses(scale);
        let mut errors = [0.0; LANES];
        for (x, w) in self.x.iter().zip(&self.w) {
            for l in 0..LANES {
                let q = round_even(within(x[l] * inverse[l], -half, half - 1.0));
                let miss = scale[l] * q - x[l];
                errors[l] += w[l] * (miss * miss);
            }
        }
        errors
    }

    /// The multiples of `d` near `wanted` that have the least error.
    #[inline(always)]
    fn scale_multiples(&self, wanted: &Lanes, d: f32, half: f32, top: f32) -> Lanes {
        let nearest = nearest_multiples(wanted, d, top);
        let mut best = nearest;
        let mut least = [f32::INFINITY; LANES];
        for step in [0.0, -1.0, 1.0] {
            let s = lanes(|l| within(nearest[l] + step, -top, top - 1.0));
            let error = self.symmetric_error(lanes(|l| d * s[l]), half);
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

/// The scale of 32 weights with codes `-half ..= half - 1`. `w`: how much the squared error of each
/// weight counts.
pub fn fit_symmetric(x: &[f32], w: &[f32], half: i32) -> f32 {
    let (scales, gains) = Group::<32>::repeat(x, w).scales(&[STRETCHES], half as f32);
    let mut best = 0;
    for l in 1..LANES {
        best = if gains[l] > gains[best] { l } else { best };
    }
    scales[best]
}

/// Scales of 16 units of 16 weights as multiples (`-top ..= top - 1`) of a factor, and codes. `w`:
/// how much the squared error of each weight counts.
pub fn search_symmetric(x: &[f32], w: &[f32], half: i32, top: i32) -> Symmetric {
    let (half, top) = (half as f32, top as f32);
    let stretches = STRETCHES.map(|stretch| [stretch; LANES]);
    let groups = || x.chunks(16 * LANES).zip(w.chunks(16 * LANES)).enumerate();
    let mut wanted = [[0.0f32; LANES]; 2];
    for (g, (x, w)) in groups() {
        wanted[g] = Group::<16>::new(x, w).scales(&stretches, half).0;
    }
    let first = to_half(extreme(wanted.as_flattened()) / -top).1;
    // The factor again, from the codes that the first one gives.
    let (mut ax, mut aa) = (0.0, 0.0);
    for (g, (x, w)) in groups() {
        let s = nearest_multiples(&wanted[g], first, top);
        let inverse = inverses(lanes(|l| first * s[l]));
        let (qx, qq) = Group::<16>::new(x, w).symmetric_sums(inverse, half);
        for l in 0..LANES {
            ax += s[l] * qx[l];
            aa += s[l] * s[l] * qq[l];
        }
    }
    let d = to_half(if aa > 0.0 { ax / aa } else { first });
    let mut found = Symmetric { d: d.0, scales: [0; 16], codes: [0; 256] };
    for (g, (x, w)) in groups() {
        let group = Group::<16>::new(x, w);
        let s = group.scale_multiples(&wanted[g], d.1, half, top);
        let inverse = inverses(lanes(|l| d.1 * s[l]));
        let codes = &mut found.codes[16 * LANES * g..][..16 * LANES];
        group.codes(inverse, [0.0; LANES], (-half, half - 1.0), codes);
        for l in 0..LANES {
            found.scales[LANES * g + l] = s[l] as i8;
        }
    }
    found
}
