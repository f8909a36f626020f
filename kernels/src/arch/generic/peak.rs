//! See [`crate::Kernels::peak_float`].

use core::hint::black_box;

use super::Lanes;

/// # Safety
/// The CPU has the features of `V`.
#[inline(always)]
pub(crate) unsafe fn peak_float<V: Lanes>(rounds: usize) -> usize {
    // SAFETY: the caller's promise. As many sums as registers hold, with two operands beside them.
    unsafe { if V::WIDE { sums::<V, 16>(rounds) } else { sums::<V, 6>(rounds) } }
}

#[inline(always)]
unsafe fn sums<V: Lanes, const N: usize>(rounds: usize) -> usize {
    // SAFETY: the caller's promise; a store has room for sixteen floats.
    unsafe {
        let (w, x) = (V::splat(black_box(0.5)), V::splat(black_box(-0.25)));
        let mut sums = [V::splat(0.0); N];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = w.fma(x, *sum);
            }
        }
        for sum in sums {
            let mut lanes = [0.0_f32; 16];
            sum.store(lanes.as_mut_ptr());
            black_box(lanes);
        }
    }
    rounds * N * 16
}
