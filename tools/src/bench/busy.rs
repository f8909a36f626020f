//! Other programs on the same CPUs, as a benchmark has them: threads that do nothing but count.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Does `work` while `neighbours` threads of the same priority count.
pub fn beside<R>(neighbours: usize, work: impl FnOnce() -> R) -> R {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        // Also if the work panics: the scope waits for its threads.
        let _stop = Stop(&stop);
        for _ in 0..neighbours {
            scope.spawn(|| count(&stop));
        }
        work()
    })
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn count(stop: &AtomicBool) {
    let mut count = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..1000 {
            count = black_box(count.wrapping_mul(3).wrapping_add(1));
        }
    }
}
