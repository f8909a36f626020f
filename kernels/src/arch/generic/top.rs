//! Searching logits.

use super::Lanes;

/// Values that are passed over together: their largest is all that is looked at.
const GROUP: usize = 64;

/// See [`crate::Kernels::first_above`].
///
/// # Safety
/// The CPU has the features of `V`.
#[inline(always)]
pub(crate) unsafe fn first_above<V: Lanes>(x: &[f32], limit: f32) -> usize {
    let whole = x.len() - x.len() % GROUP;
    let mut at = 0;
    // SAFETY: a group that begins before `whole` lies inside `x`.
    unsafe {
        while at < whole {
            if largest_of_group::<V>(x.as_ptr().add(at)) > limit {
                break;
            }
            at += GROUP;
        }
    }
    at + crate::scalar::top::first_above(&x[at..], limit)
}

/// Largest of 64 values, skipping NaN; -infinity if there is none.
#[inline(always)]
unsafe fn largest_of_group<V: Lanes>(x: *const f32) -> f32 {
    // SAFETY: the caller promises 64 values.
    unsafe {
        let lowest = V::splat(f32::NEG_INFINITY);
        let (a, b) = (V::load(x).max(lowest), V::load(x.add(16)).max(lowest));
        let (c, d) = (V::load(x.add(32)).max(lowest), V::load(x.add(48)).max(lowest));
        a.max(b).max(c.max(d)).largest()
    }
}

/// See [`crate::Kernels::is_finite`].
///
/// # Safety
/// The CPU has the features of `V`.
#[inline(always)]
pub(crate) unsafe fn is_finite<V: Lanes>(x: &[f32]) -> bool {
    let (n, x) = (x.len(), x.as_ptr());
    let (groups, whole, rest) = (n - n % GROUP, n - n % 16, n % 16);
    // SAFETY: `whole + rest` is the length.
    unsafe {
        // Zero times a value is zero, or NaN if the value is not finite; and a NaN stays in a sum.
        let zero = V::splat(0.0);
        let mut sums = [zero; 4];
        for i in (0..groups).step_by(GROUP) {
            for (lane, sum) in sums.iter_mut().enumerate() {
                *sum = V::load(x.add(i + 16 * lane)).fma(zero, *sum);
            }
        }
        for i in (groups..whole).step_by(16) {
            sums[0] = V::load(x.add(i)).fma(zero, sums[0]);
        }
        sums[0] = V::load_first(x.add(whole), rest).fma(zero, sums[0]);
        sums[0].add(sums[1]).add(sums[2].add(sums[3])).tree() == 0.0
    }
}
