//! exp and the gated activations; the order of operations is that of `scalar::exp`.

use super::Lanes;
use crate::scalar::exp::{
    CLAMP, CLAMPED_ALPHA, ERF_P, ERF_POLYNOMIAL, EXP_HIGH, EXP_LOW, EXP_POLYNOMIAL, GELU_A, GELU_B,
    Gate, INVERSE_ROOT_2, LN2_HIGH, LN2_LOW, ROUND,
};

/// exp for arguments that are at most [`EXP_HIGH`] or NaN.
///
/// # Safety
/// The CPU has the features of `V`.
#[inline(always)]
pub(crate) unsafe fn exp_bounded<V: Lanes>(x: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let round = V::splat(ROUND);
        let shifted = x.fma(V::splat(core::f32::consts::LOG2_E), round);
        let n = shifted.sub(round);
        let r = n.fnma(V::splat(LN2_LOW), n.fnma(V::splat(LN2_HIGH), x));
        let [c6, c5, c4, c3, c2] = EXP_POLYNOMIAL;
        let q = V::splat(c6).fma(r, V::splat(c5)).fma(r, V::splat(c4));
        let q = q.fma(r, V::splat(c3)).fma(r, V::splat(c2));
        let p = q.fma(r.mul(r), r).add(V::splat(1.0));
        V::exp_scale(p, n, shifted, x, V::splat(EXP_LOW))
    }
}

/// exp of anything.
///
/// # Safety
/// The CPU has the features of `V`.
#[inline(always)]
pub(crate) unsafe fn exp<V: Lanes>(x: V) -> V {
    // SAFETY: the caller's promise.
    unsafe { x.if_greater(V::splat(EXP_HIGH), V::splat(f32::INFINITY), exp_bounded(x)) }
}

/// See [`crate::Kernels::gate`].
///
/// # Safety
/// The CPU has the features of `V`; the lengths are equal.
#[inline(always)]
pub(crate) unsafe fn gate<V: Lanes>(kind: Gate, gate: &mut [f32], up: &[f32]) {
    let (n, g, u) = (gate.len(), gate.as_mut_ptr(), up.as_ptr());
    let (whole, rest) = (n - n % 16, n % 16);
    // SAFETY: `whole + rest` is the length of both.
    unsafe {
        for i in (0..whole).step_by(16) {
            let up = other_factor(kind, V::load(u.add(i)));
            activation::<V>(kind, V::load(g.add(i))).mul(up).store(g.add(i));
        }
        if rest > 0 {
            let (g, u) = (g.add(whole), u.add(whole));
            let up = other_factor(kind, V::load_first(u, rest));
            activation::<V>(kind, V::load_first(g, rest)).mul(up).store_first(g, rest);
        }
    }
}

/// See [`crate::Kernels::activate`].
///
/// # Safety
/// The CPU has the features of `V`.
#[inline(always)]
pub(crate) unsafe fn activate<V: Lanes>(kind: Gate, x: &mut [f32]) {
    let (n, x) = (x.len(), x.as_mut_ptr());
    let (whole, rest) = (n - n % 16, n % 16);
    // SAFETY: `whole + rest` is the length.
    unsafe {
        for i in (0..whole).step_by(16) {
            activation::<V>(kind, V::load(x.add(i))).store(x.add(i));
        }
        if rest > 0 {
            activation::<V>(kind, V::load_first(x.add(whole), rest))
                .store_first(x.add(whole), rest);
        }
    }
}

/// See [`crate::Kernels::softcap`].
///
/// # Safety
/// The CPU has the features of `V`.
#[inline(always)]
pub(crate) unsafe fn soften<V: Lanes>(cap: f32, x: &mut [f32]) {
    let (n, x) = (x.len(), x.as_mut_ptr());
    let (whole, rest) = (n - n % 16, n % 16);
    // SAFETY: `whole + rest` is the length.
    unsafe {
        for i in (0..whole).step_by(16) {
            softcap::<V>(V::load(x.add(i)), cap).store(x.add(i));
        }
        if rest > 0 {
            softcap::<V>(V::load_first(x.add(whole), rest), cap).store_first(x.add(whole), rest);
        }
    }
}

/// `cap * tanh(x / cap)`.
///
/// # Safety
/// The CPU has the features of `V`.
#[inline(always)]
pub(crate) unsafe fn softcap<V: Lanes>(x: V, cap: f32) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let e = exp(x.mul(V::splat(2.0 / cap)));
        V::splat(cap).sub(V::splat(2.0 * cap).div(V::splat(1.0).add(e)))
    }
}

/// What the gate's activation is multiplied by.
#[inline(always)]
unsafe fn other_factor<V: Lanes>(kind: Gate, up: V) -> V {
    if kind != Gate::ClampedSwish {
        return up;
    }
    // SAFETY: the caller's promise.
    unsafe {
        let (low, high) = (V::splat(-CLAMP), V::splat(CLAMP));
        let up = up.if_greater(high, high, up);
        V::splat(1.0).add(low.if_greater(up, low, up))
    }
}

/// x times something between 0 and 1, or the positive part.
#[inline(always)]
unsafe fn activation<V: Lanes>(kind: Gate, x: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let zero = V::splat(0.0);
        match kind {
            Gate::Silu => times_sigmoid(x, x),
            Gate::GeluTanh => {
                let u = x.mul(V::splat(GELU_B).fma(x.mul(x), V::splat(GELU_A)));
                times_sigmoid(x, u.add(u))
            }
            Gate::GeluErf => gelu_erf(x),
            Gate::Exp => exp(x),
            Gate::Sigmoid => times_sigmoid(V::splat(1.0), x),
            Gate::Relu => zero.if_greater(x, zero, x),
            Gate::ReluSquared => {
                let positive = zero.if_greater(x, zero, x);
                positive.mul(positive)
            }
            Gate::ClampedSwish => {
                let high = V::splat(CLAMP);
                let x = x.if_greater(high, high, x);
                times_sigmoid(x, x.mul(V::splat(CLAMPED_ALPHA)))
            }
        }
    }
}

/// x * sigmoid(t).
#[inline(always)]
unsafe fn times_sigmoid<V: Lanes>(x: V, t: V) -> V {
    // SAFETY: the caller's promise.
    unsafe { x.div(V::splat(1.0).add(exp(t.neg()))) }
}

#[inline(always)]
unsafe fn gelu_erf<V: Lanes>(x: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let (zero, one) = (V::splat(0.0), V::splat(1.0));
        let z = x.if_greater(zero, x, x.neg()).mul(V::splat(INVERSE_ROOT_2));
        let t = one.div(V::splat(ERF_P).fma(z, one));
        let [a5, a4, a3, a2, a1] = ERF_POLYNOMIAL;
        let p = V::splat(a5).fma(t, V::splat(a4)).fma(t, V::splat(a3));
        let p = p.fma(t, V::splat(a2)).fma(t, V::splat(a1));
        let tail = V::splat(0.5).mul(t).mul(p).mul(exp_bounded(z.mul(z).neg()));
        x.mul(x.if_greater(zero, one.sub(tail), tail))
    }
}
