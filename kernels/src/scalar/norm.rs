//! RMSNorm (Zhang and Sennrich 2019), LayerNorm (Ba et al. 2016), softmax.

use super::exp::exp;
use super::{LANES, tree};
use crate::fma;

/// Sum of `f(x)` in sixteen lanes and the tree. `f` maps the padding's zero to zero.
#[inline(always)]
fn sum(x: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    for x in x.chunks(LANES) {
        for (lane, &v) in lanes.iter_mut().zip(x) {
            *lane = f(v, *lane);
        }
    }
    tree(lanes)
}

/// One rounded square root, then one rounded division.
fn inverse_root(mean: f32, epsilon: f32) -> f32 {
    1.0 / libm::sqrtf(mean + epsilon)
}

/// `out = (x / rms(x)) * weight`, the mean over `x.len()`.
pub(crate) fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let r = inverse_root(sum(x, |v, s| fma(v, v, s)) / x.len() as f32, epsilon);
    for ((out, &x), &w) in out.iter_mut().zip(x).zip(weight) {
        *out = (x * r) * w;
    }
}

/// `out = ((x - mean) / deviation) * weight + bias`; an empty bias is none.
pub(crate) fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32, out: &mut [f32]) {
    let n = x.len() as f32;
    let mean = sum(x, |v, s| s + v) / n;
    let variance = sum(x, |v, s| fma(v - mean, v - mean, s)) / n;
    let r = inverse_root(variance, epsilon);
    for (i, out) in out.iter_mut().enumerate() {
        *out = fma((x[i] - mean) * r, weight[i], bias.get(i).copied().unwrap_or(0.0));
    }
}

/// Largest value, skipping NaN; -infinity if there is none.
pub(crate) fn maximum(x: &[f32]) -> f32 {
    x.iter().fold(f32::NEG_INFINITY, |m, &v| if v > m { v } else { m })
}

/// Replaces `x` by `exp(x - largest)` and returns the sum of the results (sixteen lanes, tree).
pub(crate) fn exp_sum(x: &mut [f32]) -> f32 {
    let m = maximum(x);
    for v in x.iter_mut() {
        *v = exp(*v - m);
    }
    sum(x, |v, s| s + v)
}
