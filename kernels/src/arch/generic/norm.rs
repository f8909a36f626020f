//! RMSNorm, LayerNorm, the exponentials of softmax, narrowing.

use super::exp::exp_bounded;
use super::{Lanes, first_lanes};

/// See [`crate::Kernels::rms_norm`].
///
/// # Safety
/// The CPU has the features of `V`; the lengths are equal.
#[inline(always)]
pub(crate) unsafe fn rms_norm<V: Lanes>(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let (n, x, w, out) = (x.len(), x.as_ptr(), weight.as_ptr(), out.as_mut_ptr());
    let (whole, rest) = (n - n % 16, n % 16);
    // SAFETY: `whole + rest` is the length of all three.
    unsafe {
        let mut squares = V::splat(0.0);
        for i in (0..whole).step_by(16) {
            let v = V::load(x.add(i));
            squares = v.fma(v, squares);
        }
        // The zeros of the last group add nothing.
        let v = V::load_first(x.add(whole), rest);
        let squares = v.fma(v, squares).tree();
        let r = V::splat(inverse_root(squares / n as f32, epsilon));
        for i in (0..whole).step_by(16) {
            V::load(x.add(i)).mul(r).mul(V::load(w.add(i))).store(out.add(i));
        }
        let y = V::load_first(x.add(whole), rest).mul(r);
        y.mul(V::load_first(w.add(whole), rest)).store_first(out.add(whole), rest);
    }
}

/// One rounded square root, then one rounded division.
#[inline(always)]
fn inverse_root(mean: f32, epsilon: f32) -> f32 {
    1.0 / libm::sqrtf(mean + epsilon)
}

/// See [`crate::Kernels::layer_norm`].
///
/// # Safety
/// The CPU has the features of `V`; the lengths are equal, but there may be no bias.
#[inline(always)]
pub(crate) unsafe fn layer_norm<V: Lanes>(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    epsilon: f32,
    out: &mut [f32],
) {
    let (n, x, out) = (x.len(), x.as_ptr(), out.as_mut_ptr());
    let (w, b, biased) = (weight.as_ptr(), bias.as_ptr(), !bias.is_empty());
    let (whole, rest) = (n - n % 16, n % 16);
    // SAFETY: `whole + rest` is the length of all that are there.
    unsafe {
        let zero = V::splat(0.0);
        let mut total = zero;
        for i in (0..whole).step_by(16) {
            total = total.add(V::load(x.add(i)));
        }
        let last = V::load_first(x.add(whole), rest);
        let mean = V::splat(total.add(last).tree() / n as f32);
        let mut squares = zero;
        for i in (0..whole).step_by(16) {
            let v = V::load(x.add(i)).sub(mean);
            squares = v.fma(v, squares);
        }
        let difference = last.sub(mean).select(first_lanes(rest), zero);
        let variance = difference.fma(difference, squares).tree() / n as f32;
        let r = V::splat(inverse_root(variance, epsilon));
        for i in (0..whole).step_by(16) {
            let y = V::load(x.add(i)).sub(mean).mul(r);
            let bias = if biased { V::load(b.add(i)) } else { zero };
            y.fma(V::load(w.add(i)), bias).store(out.add(i));
        }
        let y = last.sub(mean).mul(r);
        let bias = if biased { V::load_first(b.add(whole), rest) } else { zero };
        y.fma(V::load_first(w.add(whole), rest), bias).store_first(out.add(whole), rest);
    }
}

/// See [`crate::Kernels::exp_sum`].
///
/// # Safety
/// The CPU has the features of `V`.
#[inline(always)]
pub(crate) unsafe fn exp_sum<V: Lanes>(x: &mut [f32]) -> f32 {
    let (n, x) = (x.len(), x.as_mut_ptr());
    let (whole, rest) = (n - n % 16, n % 16);
    // SAFETY: `whole + rest` is the length.
    unsafe {
        let m = V::splat(maximum::<V>(x, n));
        let mut sum = V::splat(0.0);
        for i in (0..whole).step_by(16) {
            // The argument is never positive, so it needs no upper bound.
            let p = exp_bounded(V::load(x.add(i)).sub(m));
            p.store(x.add(i));
            sum = sum.add(p);
        }
        let p = exp_bounded(V::load_first(x.add(whole), rest).sub(m));
        p.store_first(x.add(whole), rest);
        sum.add(p.select(first_lanes(rest), V::splat(0.0))).tree()
    }
}

/// Largest of `n` values, skipping NaN; -infinity if there is none.
#[inline(always)]
unsafe fn maximum<V: Lanes>(x: *const f32, n: usize) -> f32 {
    let (whole, rest) = (n - n % 16, n % 16);
    let fours = n - n % 64;
    // SAFETY: the caller promises `n` values.
    unsafe {
        let lowest = V::splat(f32::NEG_INFINITY);
        // Four chains, because the latency of one would be the limit; the order does not matter.
        let mut m = [lowest; 4];
        for i in (0..fours).step_by(64) {
            for (lane, m) in m.iter_mut().enumerate() {
                *m = V::load(x.add(i + 16 * lane)).max(*m);
            }
        }
        let mut m = m[0].max(m[1]).max(m[2].max(m[3]));
        for i in (fours..whole).step_by(16) {
            m = V::load(x.add(i)).max(m);
        }
        let last = V::load_first(x.add(whole), rest).select(first_lanes(rest), lowest);
        last.max(m).largest()
    }
}

/// See [`crate::Kernels::narrow`].
///
/// # Safety
/// The CPU has the features of `V`; the lengths are equal.
#[inline(always)]
pub(crate) unsafe fn narrow<V: Lanes>(x: &[f32], out: &mut [u16]) {
    let (n, x, out) = (x.len(), x.as_ptr(), out.as_mut_ptr());
    let (whole, rest) = (n - n % 16, n % 16);
    // SAFETY: `whole + rest` is the length of both.
    unsafe {
        for i in (0..whole).step_by(16) {
            V::load(x.add(i)).store_f16(out.add(i));
        }
        V::load_first(x.add(whole), rest).store_first_f16(out.add(whole), rest);
    }
}
