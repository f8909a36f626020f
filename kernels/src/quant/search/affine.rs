//! Codes with a scale and a minimum.

use super::{Group, LANES, Lanes, inverses, lanes, round_even, to_half, within};

/// Where the largest weight may lie: so many codes above the last one. Weights beyond are cut off.
const STRETCHES: [f32; LANES] = [-0.9, -0.6, -0.4, -0.2, 0.0, 0.2, 0.45, 0.7];

/// Steps of refinement (Lloyd 1982): the best scale and offset of the codes, then the codes again.
const REFINEMENTS: usize = 3;

/// Times that the factors are computed from what they led to, at most.
const ROUNDS: usize = 3;

/// A block of 256 weights as scales, minima and codes.
pub struct Affine<const UNITS: usize> {
    pub d: [u8; 2],
    pub dmin: [u8; 2],
    pub scales: [u8; UNITS],
    pub minima: [u8; UNITS],
    pub codes: [u8; 256],
}

/// `x ≈ scale * code + offset`, for each unit.
#[derive(Clone, Copy)]
struct Lines {
    scale: Lanes,
    offset: Lanes,
}

/// Weighted sums over a unit.
struct Sums {
    q: Lanes,
    qq: Lanes,
    qx: Lanes,
}

/// Those that no choice of codes changes.
struct Fixed {
    w: Lanes,
    x: Lanes,
    xx: Lanes,
}

impl<const N: usize> Group<N> {
    #[inline(always)]
    fn fixed(&self) -> Fixed {
        let mut sums = Fixed { w: [0.0; LANES], x: [0.0; LANES], xx: [0.0; LANES] };
        for (x, w) in self.x.iter().zip(&self.w) {
            for l in 0..LANES {
                let wx = w[l] * x[l];
                sums.w[l] += w[l];
                sums.x[l] += wx;
                sums.xx[l] += wx * x[l];
            }
        }
        sums
    }

    /// For the codes `(x - offset) * inverse`.
    #[inline(always)]
    fn affine_sums(&self, inverse: Lanes, offset: Lanes, max: f32) -> Sums {
        let mut sums = Sums { q: [0.0; LANES], qq: [0.0; LANES], qx: [0.0; LANES] };
        for (x, w) in self.x.iter().zip(&self.w) {
            for l in 0..LANES {
                let q = round_even(within((x[l] - offset[l]) * inverse[l], 0.0, max));
                let wq = w[l] * q;
                sums.q[l] += wq;
                sums.qq[l] += wq * q;
                sums.qx[l] += wq * x[l];
            }
        }
        sums
    }

    /// Replaces `best` by the best lines for the codes `(x - offset) * inverse` where their squared
    /// error is less than `least`. With `BELOW` offsets are at most 0.
    #[inline(always)]
    fn try_affine<const BELOW: bool>(
        &self,
        fixed: &Fixed,
        (inverse, offset, max): (Lanes, Lanes, f32),
        (best, least): (&mut Lines, &mut Lanes),
    ) {
        let sums = self.affine_sums(inverse, offset, max);
        // Side by side in several arrays: an iterator over one of them would read no better.
        #[allow(clippy::needless_range_loop)]
        for l in 0..LANES {
            let (mean_q, mean_x) = (sums.q[l] / fixed.w[l], fixed.x[l] / fixed.w[l]);
            let variance = sums.qq[l] - sums.q[l] * mean_q;
            let covariance = sums.qx[l] - sums.q[l] * mean_x;
            let slope = covariance / variance;
            let offset = mean_x - slope * mean_q;
            let error = fixed.xx[l] - fixed.x[l] * mean_x - covariance * slope;
            // Through 0.
            let steep = sums.qx[l] / sums.qq[l];
            let through = BELOW && offset > 0.0;
            let scale = if through { steep } else { slope };
            let offset = if through { 0.0 } else { offset };
            let error = if through { fixed.xx[l] - sums.qx[l] * steep } else { error };
            // A smaller variance is that of rounding alone. (NaN is no success either.)
            let sound = variance > 1e-5 * sums.qq[l] && scale > 0.0 && error < least[l];
            best.scale[l] = if sound { scale } else { best.scale[l] };
            best.offset[l] = if sound { offset } else { best.offset[l] };
            least[l] = if sound { error } else { least[l] };
        }
    }

    /// The squared errors of lines.
    #[inline(always)]
    fn affine_error(&self, lines: &Lines, max: f32) -> Lanes {
        let inverse = inverses(lines.scale);
        let mut errors = [0.0; LANES];
        for (x, w) in self.x.iter().zip(&self.w) {
            for l in 0..LANES {
                let q = round_even(within((x[l] - lines.offset[l]) * inverse[l], 0.0, max));
                let miss = lines.scale[l] * q + lines.offset[l] - x[l];
                errors[l] += w[l] * (miss * miss);
            }
        }
        errors
    }

    /// Lines of little error for codes 0 to `max`. `stretches`: what to begin with, each of them for
    /// all units.
    fn lines<const BELOW: bool>(&self, stretches: &[Lanes], max: f32) -> (Lines, Lanes) {
        let (low, high) = self.range();
        let low = lanes(|l| if BELOW && low[l] > 0.0 { 0.0 } else { low[l] });
        let width = lanes(|l| if high[l] > low[l] { high[l] - low[l] } else { 0.0 });
        let fixed = self.fixed();
        let mut best = Lines { scale: lanes(|l| width[l] / max), offset: low };
        let mut least = [f32::INFINITY; LANES];
        for stretch in stretches {
            let inverse = lanes(|l| (max + stretch[l]) / width[l]);
            self.try_affine::<BELOW>(&fixed, (inverse, low, max), (&mut best, &mut least));
        }
        for _ in 0..REFINEMENTS {
            let from = (inverses(best.scale), best.offset, max);
            self.try_affine::<BELOW>(&fixed, from, (&mut best, &mut least));
        }
        (best, least)
    }

    /// The multiples of `d` and `dmin` near `lines` that have the least error, and that.
    #[inline(always)]
    fn multiples(
        &self,
        lines: &Lines,
        (d, dmin): (f32, f32),
        max: f32,
        top: f32,
    ) -> (Lanes, Lanes, Lanes) {
        let (s0, m0) = nearest_multiples(lines, (d, dmin), top);
        let (mut best_s, mut best_m) = (s0, m0);
        let mut least = [f32::INFINITY; LANES];
        for ds in [0.0, -1.0, 1.0] {
            for dm in [0.0, -1.0, 1.0] {
                let s = lanes(|l| within(s0[l] + ds, 0.0, top));
                let m = lanes(|l| within(m0[l] + dm, 0.0, top));
                let error = self.affine_error(&products(&s, &m, (d, dmin)), max);
                for l in 0..LANES {
                    let less = error[l] < least[l];
                    best_s[l] = if less { s[l] } else { best_s[l] };
                    best_m[l] = if less { m[l] } else { best_m[l] };
                    least[l] = if less { error[l] } else { least[l] };
                }
            }
        }
        (best_s, best_m, least)
    }
}

#[inline(always)]
fn nearest_multiples(lines: &Lines, (d, dmin): (f32, f32), top: f32) -> (Lanes, Lanes) {
    let nearest = |v: f32, factor: f32| {
        if factor > 0.0 { round_even(within(v / factor, 0.0, top)) } else { 0.0 }
    };
    (lanes(|l| nearest(lines.scale[l], d)), lanes(|l| nearest(-lines.offset[l], dmin)))
}

#[inline(always)]
fn products(s: &Lanes, m: &Lanes, (d, dmin): (f32, f32)) -> Lines {
    Lines { scale: lanes(|l| d * s[l]), offset: lanes(|l| -(dmin * m[l])) }
}

/// Scale and offset of 32 weights with codes 0 to `max`, as f16 has them. `w`: how much the squared
/// error of each weight counts.
pub fn fit_affine(x: &[f32], w: &[f32], max: i32) -> (f32, f32) {
    let group = Group::<32>::repeat(x, w);
    let found = group.lines::<false>(&[STRETCHES], max as f32).0;
    let rounded = |numbers: Lanes| numbers.map(|number| to_half(number).1);
    let lines = Lines { scale: rounded(found.scale), offset: rounded(found.offset) };
    // Of what is stored, and not from the sums, whose differences are no more exact than the squares of
    // the weights: where all weights lie on a grid, it is found again.
    let errors = group.affine_error(&lines, max as f32);
    let mut best = 0;
    for l in 1..LANES {
        best = if errors[l] < errors[best] { l } else { best };
    }
    (lines.scale[best], lines.offset[best])
}

/// Scales and minima of `UNITS` units of `N` weights, 256 in all, as multiples (0 to `top`) of two
/// factors, and codes 0 to `max`. `w`: how much the squared error of each weight counts.
pub fn search_affine<const N: usize, const UNITS: usize>(
    x: &[f32],
    w: &[f32],
    max: i32,
    top: i32,
) -> Affine<UNITS> {
    const { assert!(N * UNITS == 256 && UNITS.is_multiple_of(LANES)) };
    let (max, top) = (max as f32, top as f32);
    let stretches = STRETCHES.map(|stretch| [stretch; LANES]);
    let nothing = Lines { scale: [0.0; LANES], offset: [0.0; LANES] };
    let mut lines = [nothing; 2];
    let groups = || x.chunks(N * LANES).zip(w.chunks(N * LANES)).enumerate();
    let (mut scale, mut minimum) = (0.0f32, 0.0f32);
    for (g, (x, w)) in groups() {
        lines[g] = Group::<N>::new(x, w).lines::<true>(&stretches, max).0;
        scale = lines[g].scale.iter().fold(scale, |most, &s| if s > most { s } else { most });
        minimum =
            lines[g].offset.iter().fold(minimum, |most, &o| if -o > most { -o } else { most });
    }
    let first = (to_half(scale / top).1, to_half(minimum / top).1);
    // The factors again, from the codes that the first ones give.
    let mut factors = Factors::default();
    for (g, (x, w)) in groups() {
        let group = Group::<N>::new(x, w);
        let (s, m) = nearest_multiples(&lines[g], first, top);
        let rounded = products(&s, &m, first);
        let sums = group.affine_sums(inverses(rounded.scale), rounded.offset, max);
        factors.add(&sums, &group.fixed(), (&s, &m));
    }
    let mut tried = factors.solve().unwrap_or(first);
    let (mut found, mut least) = (None, f32::INFINITY);
    for _ in 0..ROUNDS {
        let factors = (to_half(tried.0), to_half(tried.1));
        let round = Round::new::<N>((x, w), &lines, (factors.0.1, factors.1.1), (max, top));
        // Not if it is NaN; but what is too large for f16 is to be seen.
        let is_better = round.error < least;
        if found.is_some() && !is_better {
            break;
        }
        least = round.error;
        found = Some((factors, round.multiples));
        let Some(next) = round.factors.solve() else { break };
        tried = next;
    }
    let ((d, dmin), multiples) = found.unwrap_or_default();
    let mut found =
        Affine { d: d.0, dmin: dmin.0, scales: [0; UNITS], minima: [0; UNITS], codes: [0; 256] };
    for (g, (x, w)) in groups() {
        let (s, m) = multiples[g];
        let lines = products(&s, &m, (d.1, dmin.1));
        let codes = &mut found.codes[N * LANES * g..][..N * LANES];
        Group::<N>::new(x, w).codes(inverses(lines.scale), lines.offset, (0.0, max), codes);
        for l in 0..LANES {
            (found.scales[LANES * g + l], found.minima[LANES * g + l]) = (s[l] as u8, m[l] as u8);
        }
    }
    found
}

/// What two factors lead to.
struct Round {
    multiples: [(Lanes, Lanes); 2],
    error: f32,
    /// Sums for better ones.
    factors: Factors,
}

impl Round {
    fn new<const N: usize>(
        (x, w): (&[f32], &[f32]),
        lines: &[Lines; 2],
        by: (f32, f32),
        (max, top): (f32, f32),
    ) -> Round {
        let multiples = [([0.0; LANES], [0.0; LANES]); 2];
        let mut round = Round { multiples, error: 0.0, factors: Factors::default() };
        let groups = x.chunks(N * LANES).zip(w.chunks(N * LANES)).zip(lines);
        for (((x, w), lines), found) in groups.zip(&mut round.multiples) {
            let group = Group::<N>::new(x, w);
            let (s, m, errors) = group.multiples(lines, by, max, top);
            let rounded = products(&s, &m, by);
            let sums = group.affine_sums(inverses(rounded.scale), rounded.offset, max);
            round.factors.add(&sums, &group.fixed(), (&s, &m));
            round.error = errors.iter().fold(round.error, |sum, error| sum + error);
            *found = (s, m);
        }
        round
    }
}

/// Sums for the best `d` and `dmin` of given codes: x ≈ d * (s * q) - dmin * m.
#[derive(Default)]
struct Factors {
    aa: f32,
    ab: f32,
    bb: f32,
    ax: f32,
    bx: f32,
}

impl Factors {
    fn add(&mut self, sums: &Sums, fixed: &Fixed, (s, m): (&Lanes, &Lanes)) {
        for l in 0..LANES {
            self.aa += s[l] * s[l] * sums.qq[l];
            self.ab += s[l] * m[l] * sums.q[l];
            self.bb += m[l] * m[l] * fixed.w[l];
            self.ax += s[l] * sums.qx[l];
            self.bx += m[l] * fixed.x[l];
        }
    }

    /// `None` where the sums do not tell.
    fn solve(&self) -> Option<(f32, f32)> {
        if self.bb == 0.0 {
            return (self.aa > 0.0).then(|| (self.ax / self.aa, 0.0));
        }
        let determinant = self.aa * self.bb - self.ab * self.ab;
        let d = (self.ax * self.bb - self.bx * self.ab) / determinant;
        let dmin = (self.ax * self.ab - self.bx * self.aa) / determinant;
        (determinant > 1e-5 * self.aa * self.bb && d > 0.0 && dmin > 0.0).then_some((d, dmin))
    }
}
