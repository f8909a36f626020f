//! A pool of threads that shares the machine: it spins for microseconds, then sleeps.
//!
//! A shared counter hands out items. A phase ends when its last item is done, not when all threads
//! have arrived: a thread that the system took away while it had no item is not waited for.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::boxed::Box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::vec::Vec;

use crate::executor::Executor;

/// How long a thread without work looks for some before it sleeps. A wake-up costs 15 to 20 us, so
/// threads stay awake between the phases of a token and sleep between requests.
const SPIN: Duration = Duration::from_micros(50);

/// Bits of an item number in the state: a phase has at most about a million items.
const ITEM_BITS: u32 = 20;
const ITEM_MASK: u64 = (1 << ITEM_BITS) - 1;

/// `job(item, worker)` of the running phase.
type Job = *const (dyn Fn(usize, usize) + Sync);

struct Shared {
    /// Phase number (24 bits), items (20), next item (20): one word, so that an item is claimed
    /// only together with the phase that it belongs to.
    state: AtomicU64,
    /// Items of the running phase that are done.
    done: AtomicUsize,
    /// Invariant 1: written only between phases, when every item of the last one is done; read
    /// only after claiming an item, so while the phase cannot end.
    job: UnsafeCell<Option<Job>>,
    /// Threads asleep, or about to be.
    sleepers: AtomicUsize,
    /// The caller sleeps until the last item is done.
    caller_waits: AtomicBool,
    stop: AtomicBool,
    /// An item panicked: the caller of the phase panics when it is over.
    panicked: AtomicBool,
    lock: Mutex<()>,
    work: Condvar,
    finished: Condvar,
}

// SAFETY: `job` is guarded by invariant 1; everything else is Sync.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `job` is used only while the phase's caller keeps it valid.
unsafe impl Send for Shared {}

impl Shared {
    /// Claims and runs items until there is none.
    fn help(&self, worker: usize) {
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            let (items, next) = (state >> ITEM_BITS & ITEM_MASK, state & ITEM_MASK);
            if next >= items {
                return;
            }
            let claim = state + 1;
            if let Err(now) =
                self.state.compare_exchange_weak(state, claim, Ordering::AcqRel, Ordering::Acquire)
            {
                state = now;
                continue;
            }
            // SAFETY: invariant 1: an item of this phase is claimed and not yet done.
            if let Some(job) = unsafe { *self.job.get() } {
                // A panic must not leave the phase unfinished: the caller would wait for ever.
                // SAFETY: the caller of `run` keeps the job alive until every item is done.
                let run = AssertUnwindSafe(|| unsafe { (*job)(next as usize, worker) });
                if catch_unwind(run).is_err() {
                    self.panicked.store(true, Ordering::SeqCst);
                }
            }
            if self.done.fetch_add(1, Ordering::SeqCst) + 1 == items as usize
                && self.caller_waits.load(Ordering::SeqCst)
            {
                drop(self.lock.lock());
                self.finished.notify_one();
            }
            state = self.state.load(Ordering::Acquire);
        }
    }

    /// Waits until `items` are done.
    fn wait(&self, items: usize) {
        let finished = || self.done.load(Ordering::SeqCst) == items;
        if spin_until(finished) {
            return;
        }
        self.caller_waits.store(true, Ordering::SeqCst);
        // No lock is held while a job runs, so none is ever poisoned; but sleeping is only a
        // courtesy, and the loop ends only when the phase is over.
        let mut guard = self.lock.lock();
        while !finished() {
            guard = match guard {
                Ok(guard) => self.finished.wait(guard),
                Err(poisoned) => Err(poisoned),
            };
        }
        self.caller_waits.store(false, Ordering::SeqCst);
    }

    fn has_work(&self, seen: u64) -> bool {
        let state = self.state.load(Ordering::SeqCst);
        state >> (2 * ITEM_BITS) != seen >> (2 * ITEM_BITS) || self.stop.load(Ordering::SeqCst)
    }

    /// A worker's life.
    fn work(&self, worker: usize) {
        loop {
            let seen = self.state.load(Ordering::Acquire);
            self.help(worker);
            if spin_until(|| self.has_work(seen)) {
                if self.stop.load(Ordering::SeqCst) {
                    return;
                }
                continue;
            }
            let Ok(mut guard) = self.lock.lock() else { return };
            self.sleepers.fetch_add(1, Ordering::SeqCst);
            while !self.has_work(seen) {
                guard = match self.work.wait(guard) {
                    Ok(guard) => guard,
                    Err(_) => return,
                };
            }
            self.sleepers.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Waits for `ready` for at most [`SPIN`].
fn spin_until(ready: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    loop {
        for _ in 0..64 {
            if ready() {
                return true;
            }
            core::hint::spin_loop();
        }
        if start.elapsed() > SPIN {
            return false;
        }
    }
}

/// A fixed number of threads, the calling one among them.
pub struct ThreadPool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Phases are run by one caller at a time.
    caller: Mutex<()>,
}

impl core::fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "ThreadPool({})", self.threads())
    }
}

impl ThreadPool {
    /// A pool of `threads`, the calling one included. Threads that the system does not grant are
    /// done without.
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            done: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            sleepers: AtomicUsize::new(0),
            caller_waits: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            lock: Mutex::new(()),
            work: Condvar::new(),
            finished: Condvar::new(),
        });
        let spawn = |worker| {
            let shared = Arc::clone(&shared);
            let body = Box::new(move || shared.work(worker));
            std::thread::Builder::new().name(std::format!("mote-{worker}")).spawn(body).ok()
        };
        let workers = (1..threads.max(1)).map_while(spawn).collect();
        ThreadPool { shared, workers, caller: Mutex::new(()) }
    }

    /// CPUs that this process may use (affinity, cgroup quota); 1 if that cannot be told.
    pub fn available() -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(self.shared.lock.lock());
        self.shared.work.notify_all();
        for worker in self.workers.drain(..) {
            // A worker that panicked has already reported it.
            let _ = worker.join();
        }
    }
}

// SAFETY: an item is claimed by one compare-exchange, so once; worker numbers belong to threads,
// and 0 to the caller, of which `caller` admits one; `run` waits until `done` counts every item.
unsafe impl Executor for ThreadPool {
    fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    fn run(&self, items: usize, job: &(dyn Fn(usize, usize) + Sync)) {
        if self.workers.is_empty() || items <= 1 {
            return (0..items).for_each(|item| job(item, 0));
        }
        if items > ITEM_MASK as usize {
            // More than the state can count: one phase after the other.
            for first in (0..items).step_by(ITEM_MASK as usize) {
                let count = (items - first).min(ITEM_MASK as usize);
                self.run(count, &|item, worker| job(first + item, worker));
            }
            return;
        }
        let _caller = self.caller.lock();
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes; `run` returns after the last use.
        let job: Job = unsafe { core::mem::transmute::<&(dyn Fn(usize, usize) + Sync), Job>(job) };
        // SAFETY: invariant 1: the last phase is over.
        unsafe { *shared.job.get() = Some(job) };
        shared.done.store(0, Ordering::Relaxed);
        let phase = (shared.state.load(Ordering::Relaxed) >> (2 * ITEM_BITS)) + 1;
        let state = phase << (2 * ITEM_BITS) | (items as u64) << ITEM_BITS;
        shared.state.store(state, Ordering::SeqCst);
        if shared.sleepers.load(Ordering::SeqCst) > 0 {
            drop(shared.lock.lock());
            shared.work.notify_all();
        }
        shared.help(0);
        shared.wait(items);
        assert!(!shared.panicked.swap(false, Ordering::SeqCst), "an item of a phase panicked");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Between tokens, while somebody reads them, a thread sleeps: it uses at most 2 % of a core.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_thread_without_work_sleeps() {
        let pool = ThreadPool::new(2);
        let (both, folder) = (std::sync::Barrier::new(2), Mutex::new(None));
        let phase = || {
            pool.run(2, &|_, worker| {
                // So that each thread takes one of the items.
                both.wait();
                if worker == 1 {
                    *folder.lock().unwrap() = std::fs::canonicalize("/proc/thread-self").ok();
                }
            });
        };
        // The first number is the time that the thread ran, in nanoseconds.
        let ran = || -> Option<u64> {
            let path = folder.lock().unwrap().as_ref()?.join("schedstat");
            std::fs::read_to_string(path).ok()?.split(' ').next()?.parse().ok()
        };
        phase();
        let Some(before) = ran() else { return };
        let start = Instant::now();
        for _ in 0..10 {
            phase();
            std::thread::sleep(Duration::from_millis(100));
        }
        let share = (ran().unwrap() - before) as f64 / start.elapsed().as_nanos() as f64;
        assert!(share <= 0.02, "{share}");
    }

    #[test]
    fn every_item_runs_once_in_every_phase() {
        for threads in [1, 2, 3, 8] {
            let pool = ThreadPool::new(threads);
            let counts: Vec<AtomicUsize> = (0..50).map(|_| AtomicUsize::new(0)).collect();
            for phase in 0..2000 {
                let items = phase % 50;
                pool.run(items, &|item, worker| {
                    assert!(worker < threads);
                    counts[item].fetch_add(1, Ordering::Relaxed);
                });
                if phase % 500 == 0 {
                    std::thread::sleep(2 * SPIN);
                }
            }
            for (item, count) in counts.iter().enumerate() {
                assert_eq!(count.load(Ordering::Relaxed), 40 * (49 - item), "item {item}");
            }
        }
    }
}
