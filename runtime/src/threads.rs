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

/// How long a worker is at work before it offers its CPU to other programs, between two phases: were
/// it taken away within an item, all threads would wait for that item. Shorter than a time slice.
const GIVE: Duration = Duration::from_millis(1);

/// Bits of an item number in the state: a phase has at most about 260,000 items.
const ITEM_BITS: u32 = 18;
const ITEM_MASK: u64 = (1 << ITEM_BITS) - 1;

/// Bits of a number of threads in the state.
const THREAD_BITS: u32 = 10;
const MAX_THREADS: usize = (1 << THREAD_BITS) - 1;

/// `job(item, worker)` of the running phase.
type Job = *const (dyn Fn(usize, usize) + Sync);

/// The running phase in one word, so that an item is claimed only together with the phase that it
/// belongs to, and only by a thread that belongs to it. From the lowest bit: next item (18 bits), items
/// (18), threads (10), phase number (18).
#[derive(Clone, Copy)]
struct State(u64);

impl State {
    fn new(phase: u64, threads: usize, items: usize) -> State {
        let word = (phase << THREAD_BITS | threads as u64) << ITEM_BITS | items as u64;
        State(word << ITEM_BITS)
    }
    fn next(self) -> u64 {
        self.0 & ITEM_MASK
    }
    fn items(self) -> u64 {
        self.0 >> ITEM_BITS & ITEM_MASK
    }
    /// Whether this worker is to help.
    fn is_for(self, worker: usize) -> bool {
        worker < (self.0 >> (2 * ITEM_BITS)) as usize & MAX_THREADS
    }
    fn phase(self) -> u64 {
        self.0 >> (2 * ITEM_BITS + THREAD_BITS)
    }
}

struct Shared {
    /// See [`State`].
    state: AtomicU64,
    /// Items of the running phase that are done.
    done: AtomicUsize,
    /// Invariant 1: written only between phases, when every item of the last one is done; read
    /// only after claiming an item, so while the phase cannot end.
    job: UnsafeCell<Option<Job>>,
    /// Whether each worker sleeps, or is about to; the first is not the caller.
    asleep: Vec<AtomicBool>,
    /// The caller sleeps until the last item is done.
    caller_waits: AtomicBool,
    stop: AtomicBool,
    /// An item panicked: the caller of the phase panics when it is over.
    panicked: AtomicBool,
    lock: Mutex<()>,
    finished: Condvar,
}

// SAFETY: `job` is guarded by invariant 1; everything else is Sync.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `job` is used only while the phase's caller keeps it valid.
unsafe impl Send for Shared {}

impl Shared {
    /// Claims and runs items until there is none.
    fn help(&self, worker: usize) {
        let mut state = State(self.state.load(Ordering::Acquire));
        loop {
            let (items, next) = (state.items(), state.next());
            if next >= items || !state.is_for(worker) {
                return;
            }
            let (word, claim) = (state.0, state.0 + 1);
            if let Err(now) =
                self.state.compare_exchange_weak(word, claim, Ordering::AcqRel, Ordering::Acquire)
            {
                state = State(now);
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
            state = State(self.state.load(Ordering::Acquire));
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

    /// Whether there is another phase than the one seen, with work for this worker, or the end.
    fn has_work(&self, worker: usize, seen: State) -> bool {
        let state = State(self.state.load(Ordering::SeqCst));
        state.phase() != seen.phase() && state.is_for(worker) || self.stop.load(Ordering::SeqCst)
    }

    /// A worker's life.
    fn work(&self, worker: usize) {
        let mut given = Instant::now();
        while !self.stop.load(Ordering::SeqCst) {
            let seen = State(self.state.load(Ordering::Acquire));
            self.help(worker);
            if given.elapsed() > GIVE {
                std::thread::yield_now();
                given = Instant::now();
            }
            if !spin_until(|| self.has_work(worker, seen)) {
                self.sleep(worker, seen);
            }
        }
    }

    /// Until there is work. Whoever brings some first changes the state, then looks who is asleep;
    /// so either the work is seen here, or the sleep there.
    fn sleep(&self, worker: usize, seen: State) {
        let Some(asleep) = self.asleep.get(worker - 1) else { return };
        loop {
            asleep.store(true, Ordering::SeqCst);
            if self.has_work(worker, seen) {
                break;
            }
            std::thread::park();
        }
        asleep.store(false, Ordering::SeqCst);
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
    /// What the clock counts from; without it there is none.
    epoch: Option<Instant>,
    /// Phases are run by one caller at a time.
    caller: Mutex<()>,
}

impl core::fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "ThreadPool({})", self.threads())
    }
}

impl ThreadPool {
    /// A pool of `threads`, the calling one included, at most 1023. Threads that the system does not
    /// grant are done without.
    pub fn new(threads: usize) -> Self {
        Self::start(threads, None)
    }

    /// As [`ThreadPool::new`], but sessions that decode leave some of the threads asleep where that is
    /// faster: where few of them take all that the memory gives. It is found out while decoding.
    pub fn adaptive(threads: usize) -> Self {
        Self::start(threads, Some(Instant::now()))
    }

    fn start(threads: usize, epoch: Option<Instant>) -> Self {
        let threads = threads.clamp(1, MAX_THREADS);
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            done: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            asleep: (1..threads).map(|_| AtomicBool::new(false)).collect(),
            caller_waits: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            lock: Mutex::new(()),
            finished: Condvar::new(),
        });
        let spawn = |worker| {
            let shared = Arc::clone(&shared);
            let body = Box::new(move || shared.work(worker));
            std::thread::Builder::new().name(std::format!("mote-{worker}")).spawn(body).ok()
        };
        let workers = (1..threads).map_while(spawn).collect();
        ThreadPool { shared, workers, epoch, caller: Mutex::new(()) }
    }

    /// CPUs that this process may use (affinity, cgroup quota); 1 if that cannot be told.
    pub fn available() -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.workers.iter().for_each(|worker| worker.thread().unpark());
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
        self.run_on(self.threads(), items, job);
    }

    fn run_on(&self, threads: usize, items: usize, job: &(dyn Fn(usize, usize) + Sync)) {
        let threads = threads.min(self.threads());
        if threads <= 1 || items <= 1 {
            return (0..items).for_each(|item| job(item, 0));
        }
        if items > ITEM_MASK as usize {
            // More than the state can count: one phase after the other.
            for first in (0..items).step_by(ITEM_MASK as usize) {
                let count = (items - first).min(ITEM_MASK as usize);
                self.run_on(threads, count, &|item, worker| job(first + item, worker));
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
        let phase = State(shared.state.load(Ordering::Relaxed)).phase() + 1;
        shared.state.store(State::new(phase, threads, items).0, Ordering::SeqCst);
        for (worker, asleep) in self.workers.iter().zip(&shared.asleep).take(threads - 1) {
            if asleep.load(Ordering::SeqCst) && asleep.swap(false, Ordering::SeqCst) {
                worker.thread().unpark();
            }
        }
        shared.help(0);
        shared.wait(items);
        assert!(!shared.panicked.swap(false, Ordering::SeqCst), "an item of a phase panicked");
    }

    fn clock(&self) -> Option<u64> {
        let passed = self.epoch?.elapsed();
        Some(u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX))
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
    fn threads_that_a_phase_is_not_for_sleep() {
        let pool = ThreadPool::new(3);
        let both = std::sync::Barrier::new(2);
        let asleep = || pool.shared.asleep[1].load(Ordering::SeqCst);
        let start = Instant::now();
        while !asleep() && start.elapsed() < Duration::from_secs(10) {
            std::thread::yield_now();
        }
        for _ in 0..100 {
            pool.run_on(2, 2, &|_, worker| {
                assert!(worker < 2);
                both.wait();
            });
            assert!(asleep());
        }
    }

    #[test]
    fn every_item_runs_once_in_every_phase() {
        for threads in [1, 2, 3, 8] {
            let pool = ThreadPool::new(threads);
            let counts: Vec<AtomicUsize> = (0..50).map(|_| AtomicUsize::new(0)).collect();
            for phase in 0..2000 {
                let items = phase % 50;
                let at_work = threads.min(1 + phase % 5);
                pool.run_on(at_work, items, &|item, worker| {
                    assert!(worker < at_work);
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
