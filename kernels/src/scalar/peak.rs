//! What an instruction set admits at most: multiply-adds on registers alone, for
//! `mote bench machine`. Every target multiplies as its own matrix products do.

use core::hint::black_box;

/// Independent sums, so that none waits for the one before.
const SUMS: usize = 16;

/// Products of unsigned and signed bytes, summed; returns how many.
pub(crate) fn peak_integer(rounds: usize) -> usize {
    let (w, x) = (black_box(3_u8), [-5_i8; SUMS]);
    let mut sums = [0_i32; SUMS];
    for _ in 0..rounds {
        // Read anew in each round, or the products would be computed once.
        for (sum, &x) in sums.iter_mut().zip(black_box(&x)) {
            *sum = sum.wrapping_add(w as i32 * x as i32);
        }
    }
    black_box(sums);
    rounds * SUMS
}

/// Products of floats, summed; returns how many. Two operations each, as here nothing is fused but
/// in software.
pub(crate) fn peak_float(rounds: usize) -> usize {
    let (w, x) = (black_box(0.5_f32), [-0.25_f32; SUMS]);
    let mut sums = [0.0_f32; SUMS];
    for _ in 0..rounds {
        for (sum, &x) in sums.iter_mut().zip(black_box(&x)) {
            *sum += w * x;
        }
    }
    black_box(sums);
    rounds * SUMS
}
