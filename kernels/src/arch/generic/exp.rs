//! exp and the gated activations; the order of operations is that of `scalar::exp`.

use super::Lanes;
use crate::scalar::exp::{
    EXP_HIGH, EXP_LOW, EXP_POLYNOMIAL, GELU_A, GELU_B, Gate, LN2_HIGH, LN2_LOW, ROUND,
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
            activation::<V>(kind, V::load(g.add(i))).mul(V::load(u.add(i))).store(g.add(i));
        }
        if rest > 0 {
            let (g, u) = (g.add(whole), u.add(whole));
            let y = activation::<V>(kind, V::load_first(g, rest)).mul(V::load_first(u, rest));
            y.store_first(g, rest);
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

/// x * sigmoid(x), or x * sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)).
#[inline(always)]
unsafe fn activation<V: Lanes>(kind: Gate, x: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let t = match kind {
            Gate::Silu => x,
            Gate::GeluTanh => {
                let u = x.mul(V::splat(GELU_B).fma(x.mul(x), V::splat(GELU_A)));
                u.add(u)
            }
        };
        x.div(V::splat(1.0).add(exp(t.neg())))
    }
}
