//! Rotary position embedding of one head.

use super::Lanes;
use crate::scalar::rope::RopeLayout;

/// See [`crate::Kernels::rope`].
///
/// # Safety
/// The CPU has the features of `V`; `cos` and `sin` are equally long and at most half as long as
/// `head`.
#[inline(always)]
pub(crate) unsafe fn rope<V: Lanes>(
    layout: RopeLayout,
    head: &mut [f32],
    cos: &[f32],
    sin: &[f32],
) {
    let (n, head, cos, sin) = (cos.len(), head.as_mut_ptr(), cos.as_ptr(), sin.as_ptr());
    let (whole, rest) = (n - n % 16, n % 16);
    // SAFETY: `whole + rest` pairs lie in `head`, and as many angles in `cos` and `sin`.
    unsafe {
        for i in (0..whole).step_by(16) {
            let (c, s) = (V::load(cos.add(i)), V::load(sin.add(i)));
            match layout {
                RopeLayout::Interleaved => turn_interleaved(head.add(2 * i), c, s),
                RopeLayout::Halves => {
                    let (a, b) = (head.add(i), head.add(i + n));
                    let (x, y) = turn(V::load(a), V::load(b), c, s);
                    x.store(a);
                    y.store(b);
                }
            }
        }
        if rest == 0 {
            return;
        }
        let (c, s) = (V::load_first(cos.add(whole), rest), V::load_first(sin.add(whole), rest));
        match layout {
            RopeLayout::Interleaved => {
                let (head, mut pairs) = (head.add(2 * whole), [0.0; 32]);
                core::ptr::copy_nonoverlapping(head, pairs.as_mut_ptr(), 2 * rest);
                turn_interleaved(pairs.as_mut_ptr(), c, s);
                core::ptr::copy_nonoverlapping(pairs.as_ptr(), head, 2 * rest);
            }
            RopeLayout::Halves => {
                let (a, b) = (head.add(whole), head.add(whole + n));
                let (x, y) = turn(V::load_first(a, rest), V::load_first(b, rest), c, s);
                x.store_first(a, rest);
                y.store_first(b, rest);
            }
        }
    }
}

/// 16 pairs that lie side by side.
#[inline(always)]
unsafe fn turn_interleaved<V: Lanes>(pairs: *mut f32, c: V, s: V) {
    // SAFETY: the caller promises 32 floats.
    unsafe {
        let (x, y) = V::unzip(V::load(pairs), V::load(pairs.add(16)));
        let (x, y) = turn(x, y, c, s);
        let (low, high) = V::zip(x, y);
        low.store(pairs);
        high.store(pairs.add(16));
    }
}

#[inline(always)]
unsafe fn turn<V: Lanes>(x: V, y: V, c: V, s: V) -> (V, V) {
    // SAFETY: the caller's promise.
    unsafe { (x.fma(c, y.mul(s).neg()), x.fma(s, y.mul(c))) }
}
