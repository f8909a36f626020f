//! Work that threads share, until Ctrl-C.

use std::panic;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;

use crate::failure::Result;
use crate::interrupt::{self, Interrupted};

/// Whether the threads are to give up: Ctrl-C was pressed, and one of them has learnt of it.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// To be asked a few times a second, also inside a long item.
    pub fn check(&self) -> std::result::Result<(), Interrupted> {
        // Tests interrupt their own thread alone; an end is the end for all.
        if self.0.load(Relaxed) || interrupt::pressed() {
            self.0.store(true, Relaxed);
            return Err(Interrupted);
        }
        Ok(())
    }
}

/// Does `work` on each of so many items by so many threads, this one included: whoever is free takes
/// the next one. The results stand in the order of the items, whoever computed them.
pub fn share<T: Send>(
    items: usize,
    threads: usize,
    work: impl Fn(usize, &Stop) -> std::result::Result<T, Interrupted> + Sync,
) -> Result<Vec<T>> {
    let (next, stop) = (AtomicUsize::new(0), Stop::default());
    let take = || -> std::result::Result<Vec<(usize, T)>, Interrupted> {
        let mut done = Vec::new();
        loop {
            let item = next.fetch_add(1, Relaxed);
            if item >= items {
                return Ok(done);
            }
            stop.check()?;
            done.push((item, work(item, &stop)?));
        }
    };
    // This thread may come too late for an item of its own.
    stop.check()?;
    let done = thread::scope(|scope| {
        // Fewer threads do it, too, where the system has no more.
        let others: Vec<_> = (1..threads.min(items))
            .map_while(|_| thread::Builder::new().spawn_scoped(scope, take).ok())
            .collect();
        let mut all = take();
        for other in others {
            let theirs = other.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
            all = all.and_then(|mut all| {
                all.extend(theirs?);
                Ok(all)
            });
        }
        all
    })?;
    let mut results: Vec<Option<T>> = (0..items).map(|_| None).collect();
    for (item, result) in done {
        results[item] = Some(result);
    }
    Ok(results.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Code;

    #[test]
    fn results_stand_in_the_order_of_the_items() {
        for threads in [0, 1, 3, 50] {
            let squares = share(20, threads, |item, _| Ok(item * item)).unwrap();
            assert_eq!(squares, (0..20).map(|item| item * item).collect::<Vec<_>>());
            assert_eq!(share(0, threads, |item, _| Ok(item)), Ok(vec![]));
        }
    }

    #[test]
    fn all_threads_stop_inside_their_items() {
        // Endless items: each thread has one of its own.
        interrupt::after(Some(100));
        let outcome: Result<Vec<()>> = share(2, 2, |_, stop| {
            loop {
                stop.check()?;
            }
        });
        interrupt::after(None);
        assert_eq!(outcome.unwrap_err().code, Code::Interrupted);
    }
}
