//! Rotary position embedding (Su et al. 2021): pairs of a head's dimensions turn by an angle that
//! grows with the position. Frequencies and angles are f64 made of + - * / alone, so that they are
//! the same on every platform.

use crate::fma;

/// Which dimensions form a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeLayout {
    /// 2i and 2i + 1, as in the paper; llama's GGUF files are permuted to it.
    Interleaved,
    /// i and i + n/2, as in GPT-NeoX.
    Halves,
}

/// Angles per position, `base^(-2i / n)` for pair i of n/2. `divisors` (one for each pair, or
/// empty) and `scale` stretch them: `frequency / (divisor * scale)`.
pub fn inverse_frequencies(
    base: f64,
    scale: f64,
    divisors: impl Fn(usize) -> f32,
    out: &mut [f64],
) {
    let ratio = root(base, out.len());
    let mut power = 1.0;
    for (i, frequency) in out.iter_mut().enumerate() {
        *frequency = 1.0 / (power * divisors(i) as f64 * scale);
        power *= ratio;
    }
}

/// The positive n-th root of x >= 1, by Newton's iteration from above.
fn root(x: f64, n: usize) -> f64 {
    let power = |mut base: f64, mut n: usize| {
        let mut product = 1.0;
        while n > 0 {
            if n & 1 == 1 {
                product *= base;
            }
            base *= base;
            n >>= 1;
        }
        product
    };
    if n == 0 {
        return 1.0;
    }
    // (1 + (x - 1) / n)^n >= x by Bernoulli's inequality, so the iteration falls monotonically.
    let mut r = 1.0 + (x - 1.0) / n as f64;
    for _ in 0..20_000 {
        let next = r - (r - x / power(r, n - 1)) / n as f64;
        if next >= r || next.is_nan() {
            break;
        }
        r = next;
    }
    r
}

/// Cosines and sines of `position * frequency`, times `magnitude`, each rounded once to f32.
pub fn rope_angles(
    position: usize,
    frequencies: &[f64],
    magnitude: f64,
    cos: &mut [f32],
    sin: &mut [f32],
) {
    for ((&frequency, cos), sin) in frequencies.iter().zip(cos).zip(sin) {
        let (s, c) = sin_cos(position as f64 * frequency);
        (*cos, *sin) = ((c * magnitude) as f32, (s * magnitude) as f32);
    }
}

/// Sine and cosine for 0 <= x < 2^30, to about 1e-15: quadrant by a three-part pi/2 (Cody and
/// Waite), then Taylor polynomials on |r| <= pi/4.
pub fn sin_cos(x: f64) -> (f64, f64) {
    // The first two parts have 33 bits each: their products with n < 2^20 are exact.
    const PART1: f64 = 1.570_796_326_734_125_6;
    const PART2: f64 = 6.077_100_506_303_966e-11;
    const PART3: f64 = 2.022_266_248_795_950_6e-21;
    let n = (x * core::f64::consts::FRAC_2_PI + 0.5) as i64;
    let r = ((x - n as f64 * PART1) - n as f64 * PART2) - n as f64 * PART3;
    let z = r * r;
    let (mut sin, mut cos) = (0.0, 0.0);
    // sin r = r (1 - z/6 (1 - z/20 (1 - z/42 ...))), and the like for cos.
    for k in (1..=8).rev() {
        let (a, b) = ((2 * k) as f64, (2 * k + 1) as f64);
        sin = z / (a * b) * (1.0 - sin);
        cos = z / ((a - 1.0) * a) * (1.0 - cos);
    }
    let (sin, cos) = (r * (1.0 - sin), 1.0 - cos);
    match n & 3 {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

/// Turns one head in place. `cos` and `sin` hold one value for each pair; dimensions beyond the
/// pairs stay as they are.
pub(crate) fn rope(layout: RopeLayout, head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let pairs = cos.len();
    for (i, (&c, &s)) in cos.iter().zip(sin).enumerate() {
        let (a, b) = match layout {
            RopeLayout::Interleaved => (2 * i, 2 * i + 1),
            RopeLayout::Halves => (i, i + pairs),
        };
        let (x, y) = (head[a], head[b]);
        head[a] = fma(x, c, -(y * s));
        head[b] = fma(x, s, y * c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sin_cos_agree_with_libm() {
        for i in 0..200_000u32 {
            let x = i as f64 * 0.7 + 1.0 / (i + 1) as f64;
            let (s, c) = sin_cos(x);
            assert!((s - libm::sin(x)).abs() < 4e-15 && (c - libm::cos(x)).abs() < 4e-15, "{x}");
        }
    }

    #[test]
    fn frequencies_are_powers_of_the_base() {
        for (base, pairs) in [(10000.0, 32), (1e6, 128), (500000.0, 64), (1e4, 1), (1.0, 4)] {
            let mut f = [0.0; 128];
            inverse_frequencies(base, 1.0, |_| 1.0, &mut f[..pairs]);
            for (i, f) in f[..pairs].iter().enumerate() {
                let want = libm::pow(base, -(i as f64) / pairs as f64);
                assert!((f / want - 1.0).abs() < 1e-13, "{base} {i}: {f} {want}");
            }
        }
    }
}
