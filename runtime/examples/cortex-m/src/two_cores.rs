//! An executor for a chip with two cores that share their memory. The first one runs the session;
//! the second one sleeps until it is woken, and helps.
//!
//! A phase does not wait for the second core to come: when the items are gone, it is over, unless the
//! second core is still at work on one. It is tested with threads in tests/it/two_cores.rs.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mote_runtime::executor::Executor;

/// `job(item, worker)`, for as long as its phase is open.
type Job = *const (dyn Fn(usize, usize) + Sync);

/// Two cores.
pub struct TwoCores {
    /// Wakes the second core.
    wake: fn(),
    /// A phase runs. (A job that began another phase would run that one alone.)
    busy: AtomicBool,
    /// Items may be claimed.
    open: AtomicBool,
    /// The second core looks at `phase`.
    helping: AtomicBool,
    /// Invariant 1: written only by the first core while the phase is closed and the second core has
    /// not found it open since; read by the second core only after it has said that it is helping and
    /// then found the phase open, which therefore does not end before it says that it is done.
    phase: UnsafeCell<Option<(usize, Job)>>,
    /// The next item.
    next: AtomicUsize,
    /// Items that each core has computed.
    counts: [AtomicUsize; 2],
}

// SAFETY: `phase` is guarded by invariant 1, its job is `Sync`, and everything else is.
unsafe impl Sync for TwoCores {}

impl TwoCores {
    /// `wake` tells the second core that there is work; it may be late, or not come at all.
    pub const fn new(wake: fn()) -> Self {
        TwoCores {
            wake,
            busy: AtomicBool::new(false),
            open: AtomicBool::new(false),
            helping: AtomicBool::new(false),
            phase: UnsafeCell::new(None),
            next: AtomicUsize::new(0),
            counts: [AtomicUsize::new(0), AtomicUsize::new(0)],
        }
    }

    /// The second core's part: computes items while there are any, then returns.
    #[allow(dead_code)] // this machine has no second core
    pub fn help(&self) {
        self.help_with(|items| items);
    }

    /// As [`TwoCores::help`], but leaves half of the items to the first core: for an exception that
    /// stands for a second core, and stops the first one meanwhile.
    pub fn help_with_half(&self) {
        self.help_with(|items| items / 2);
    }

    /// How many items each core has computed.
    pub fn items(&self) -> (usize, usize) {
        let [first, second] = &self.counts;
        (first.load(Ordering::Relaxed), second.load(Ordering::Relaxed))
    }

    fn help_with(&self, most: impl Fn(usize) -> usize) {
        // There is one second core: whoever else comes is sent away.
        if self.helping.swap(true, Ordering::SeqCst) {
            return;
        }
        // The order is the point: help first, then look; `run` closes first, then looks. So either
        // this sees the phase closed, or `run` sees the help and waits.
        if self.open.load(Ordering::SeqCst) {
            // SAFETY: invariant 1.
            if let Some((items, job)) = unsafe { *self.phase.get() } {
                // SAFETY: the phase is open, so the job lives.
                unsafe { self.work(items, most(items), &*job, 1) };
            }
        }
        self.helping.store(false, Ordering::SeqCst);
    }

    /// Claims and computes at most `most` items.
    fn work(&self, items: usize, most: usize, job: &(dyn Fn(usize, usize) + Sync), worker: usize) {
        for _ in 0..most {
            let item = self.next.fetch_add(1, Ordering::Relaxed);
            if item >= items {
                return;
            }
            job(item, worker);
            self.counts[worker].fetch_add(1, Ordering::Relaxed);
        }
    }
}

// SAFETY: `next` hands out each item once; worker 0 is the caller, worker 1 the one second core; and
// `run` returns when no item is left and the second core is not at work. A job that panics ends the
// program (`panic = "abort"`).
unsafe impl Executor for TwoCores {
    fn threads(&self) -> usize {
        2
    }

    fn run(&self, items: usize, job: &(dyn Fn(usize, usize) + Sync)) {
        if self.busy.swap(true, Ordering::Acquire) {
            return (0..items).for_each(|item| job(item, 0));
        }
        // SAFETY: only the lifetime changes; the phase is closed before `job` ends.
        let lasting: Job = unsafe { core::mem::transmute(job as *const _) };
        // SAFETY: invariant 1: no phase is open, and the second core does not help in one.
        unsafe { *self.phase.get() = Some((items, lasting)) };
        self.next.store(0, Ordering::Relaxed);
        self.open.store(true, Ordering::SeqCst);
        (self.wake)();
        self.work(items, items, job, 0);
        self.open.store(false, Ordering::SeqCst);
        while self.helping.load(Ordering::SeqCst) {
            core::hint::spin_loop();
        }
        self.busy.store(false, Ordering::Release);
    }
}
