//! exp, and the activation functions made of it.

use crate::fma;

/// 1.5 * 2^23: adding it to a float of magnitude below 2^22 leaves the nearest integer, ties to
/// even, in the low bits of the significand.
pub(crate) const ROUND: f32 = 12582912.0;

/// Below this exp gives exactly 0: the result would be subnormal.
pub(crate) const EXP_LOW: f32 = -87.3;

/// Above this exp gives infinity: the largest f32 below ln(f32::MAX) (88.7228...).
pub(crate) const EXP_HIGH: f32 = 88.72283;

/// ln 2 in two parts; the first has 12 trailing zero bits, so that its product with |n| <= 128 is
/// exact.
pub(crate) const LN2_HIGH: f32 = 0.693_115_23;
pub(crate) const LN2_LOW: f32 = 3.194_618_3e-5;

/// (e^r - 1 - r) / r^2 on |r| <= ln(2) / 2, highest power first: Chebyshev interpolation, error
/// below 7e-8.
pub(crate) const EXP_POLYNOMIAL: [f32; 5] =
    [0.001_392_621_3, 0.008_363_203, 0.041_666_556, 0.166_665_77, 0.5];

/// Nearest integer, ties to even, for magnitudes below 2^22.
#[inline(always)]
pub(crate) fn round_even(x: f32) -> f32 {
    (x + ROUND) - ROUND
}

/// e^x. Less than 1.1 ulp from the exact value; exactly 0 below -87.3 and 1 at 0.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let shifted = fma(x, core::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = fma(n, -LN2_LOW, fma(n, -LN2_HIGH, x));
    let [c6, c5, c4, c3, c2] = EXP_POLYNOMIAL;
    let q = fma(fma(fma(fma(c6, r, c5), r, c4), r, c3), r, c2);
    let p = fma(q, r * r, r) + 1.0;
    // n stands in the low bits of `shifted`; its higher bits leave by the shift.
    let scaled = f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23));
    let scaled = if x > EXP_HIGH { f32::INFINITY } else { scaled };
    let scaled = if x < EXP_LOW { 0.0 } else { scaled };
    if x.is_nan() { x } else { scaled }
}

/// x * sigmoid(x), also called swish (Elfwing et al. 2017).
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// sqrt(2 / pi), and its product with 0.044715.
pub(crate) const GELU_A: f32 = 0.797_884_6;
pub(crate) const GELU_B: f32 = 0.035_677_407;

/// The tanh form of GELU (Hendrycks and Gimpel 2016): 0.5 x (1 + tanh(u)) with
/// u = sqrt(2/pi) (x + 0.044715 x^3). Computed as x * sigmoid(2u), which is the same function and
/// loses nothing for negative x.
#[inline(always)]
pub fn gelu_tanh(x: f32) -> f32 {
    let u = x * fma(GELU_B, x * x, GELU_A);
    x / (1.0 + exp(-(u + u)))
}

/// 1 / sqrt(2), and the numbers of Abramowitz and Stegun's 7.1.26, the last power first: 1 - erf(z) is
/// t P(t) exp(-z^2) with t = 1 / (1 + p z), to 1.5e-7.
pub(crate) const INVERSE_ROOT_2: f32 = core::f32::consts::FRAC_1_SQRT_2;
pub(crate) const ERF_P: f32 = 0.327_591_1;
pub(crate) const ERF_POLYNOMIAL: [f32; 5] =
    [1.061_405_4, -1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6];

/// GELU as it was defined (Hendrycks and Gimpel 2016): x times the normal distribution's mass below
/// x, to 2e-7 of |x|; for negative x it is the tail that is computed.
#[inline(always)]
pub fn gelu_erf(x: f32) -> f32 {
    let z = (if x > 0.0 { x } else { -x }) * INVERSE_ROOT_2;
    let t = 1.0 / fma(ERF_P, z, 1.0);
    let [a5, a4, a3, a2, a1] = ERF_POLYNOMIAL;
    let p = fma(fma(fma(fma(a5, t, a4), t, a3), t, a2), t, a1);
    let tail = (0.5 * t * p) * exp(-(z * z));
    x * if x > 0.0 { 1.0 - tail } else { tail }
}

/// `cap * tanh(x / cap)`: x, but never beyond `cap`, which is positive.
#[inline(always)]
pub fn softcap(x: f32, cap: f32) -> f32 {
    let twice = 2.0 * cap;
    cap - twice / (1.0 + exp(x * (2.0 / cap)))
}

/// Where [`Gate::ClampedSwish`] is cut off, and what multiplies the argument of its sigmoid.
pub(crate) const CLAMP: f32 = 7.0;
pub(crate) const CLAMPED_ALPHA: f32 = 1.702;

/// The activation of a feed-forward network, and its name where it is the gate of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// SwiGLU (Shazeer 2020).
    Silu,
    /// GeGLU with the tanh form of GELU.
    GeluTanh,
    /// GeGLU with GELU as it was defined.
    GeluErf,
    /// ReGLU.
    Relu,
    /// The square of what is above zero (So et al. 2021).
    ReluSquared,
    /// The gate g up to 7, times sigmoid(1.702 g); the other factor within -7 and 7, plus one
    /// (gpt-oss).
    ClampedSwish,
    /// exp itself.
    Exp,
    /// 1 / (1 + exp(-x)).
    Sigmoid,
}

impl Gate {
    #[inline(always)]
    fn of(self, x: f32) -> f32 {
        // NaN stays: nothing that went wrong is to vanish.
        let positive = if 0.0 > x { 0.0 } else { x };
        match self {
            Gate::Silu => silu(x),
            Gate::GeluTanh => gelu_tanh(x),
            Gate::GeluErf => gelu_erf(x),
            Gate::Relu => positive,
            Gate::ReluSquared => positive * positive,
            Gate::Exp => exp(x),
            Gate::Sigmoid => 1.0 / (1.0 + exp(-x)),
            Gate::ClampedSwish => {
                let x = if x > CLAMP { CLAMP } else { x };
                x / (1.0 + exp(-(x * CLAMPED_ALPHA)))
            }
        }
    }

    /// The factor beside the gate.
    #[inline(always)]
    fn other(self, up: f32) -> f32 {
        if self != Gate::ClampedSwish {
            return up;
        }
        let up = if up > CLAMP { CLAMP } else { up };
        1.0 + if -CLAMP > up { -CLAMP } else { up }
    }
}

/// `gate = activation(gate) * up`.
pub(crate) fn gate(kind: Gate, gate: &mut [f32], up: &[f32]) {
    for (g, &u) in gate.iter_mut().zip(up) {
        *g = kind.other(u) * kind.of(*g);
    }
}

/// `x = softcap(x)`.
pub(crate) fn soften(cap: f32, x: &mut [f32]) {
    for x in x {
        *x = softcap(*x, cap);
    }
}

/// `x = activation(x)`.
pub(crate) fn activate(kind: Gate, x: &mut [f32]) {
    for x in x {
        *x = kind.of(*x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documented bound, on floats of every exponent.
    #[test]
    fn exp_keeps_its_error_bound_and_is_total() {
        let mut worst = 0.0f64;
        let mut bits = 0u32;
        // A stride that is coprime to 2^32 visits all exponents and many significands.
        for _ in 0..3_000_000 {
            bits = bits.wrapping_add(0x9e37_79b1);
            let x = f32::from_bits(bits);
            let y = exp(x);
            if x.is_nan() {
                assert!(y.is_nan());
            } else if x < EXP_LOW {
                assert_eq!(y.to_bits(), 0);
            } else if x > EXP_HIGH {
                assert_eq!(y, f32::INFINITY);
            } else {
                let exact = libm::exp(x as f64);
                let ulp = f32::from_bits((exact as f32).to_bits() + 1) as f64 - exact as f32 as f64;
                worst = worst.max((y as f64 - exact).abs() / ulp);
            }
        }
        assert!(worst < 1.1, "{worst} ulp");
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
    }

    #[test]
    fn gates_match_their_textbook_form() {
        for i in -2000..2000 {
            let x = i as f32 * 0.01;
            let wide = x as f64;
            let u = (2.0 / core::f64::consts::PI).sqrt() * (wide + 0.044715 * wide.powi(3));
            let gelu = 0.5 * wide * (1.0 + u.tanh());
            assert!((gelu_tanh(x) as f64 - gelu).abs() < 2e-6, "{x}");
            assert!((silu(x) as f64 - wide / (1.0 + (-wide).exp())).abs() < 2e-6, "{x}");
            let gelu = 0.5 * wide * libm::erfc(-wide / 2f64.sqrt());
            assert!((gelu_erf(x) as f64 - gelu).abs() < 3e-7 * wide.abs().max(1.0), "{x}");
            for cap in [5.0f32, 30.0, 50.0] {
                let capped = cap as f64 * libm::tanh(wide / cap as f64);
                assert!((softcap(x, cap) as f64 - capped).abs() < 3e-7 * cap as f64, "{x} {cap}");
            }
        }
    }
}
