//! The clock of the core, by counting.

use std::hint::black_box;
use std::time::Instant;

/// Cycles from one 64-bit multiplication to the next that needs its result: the same for all
/// x86-64 processors of the last fifteen years.
const LATENCY: usize = 3;

/// Multiplications of a timing: about 0.2 ms.
const CHAIN: usize = 200_000;
const TIMINGS: usize = 50;

/// Cycles a second, where the latency is known.
pub fn hertz() -> Option<f64> {
    if !cfg!(target_arch = "x86_64") {
        return None;
    }
    let chain = || {
        let start = Instant::now();
        let mut x = black_box(3_u64);
        for _ in 0..CHAIN / 16 {
            (0..16).for_each(|_| x = x.wrapping_mul(x));
        }
        black_box(x);
        start.elapsed().as_secs_f64()
    };
    let best = (0..TIMINGS).map(|_| chain()).fold(f64::INFINITY, f64::min);
    Some((LATENCY * CHAIN) as f64 / best)
}
