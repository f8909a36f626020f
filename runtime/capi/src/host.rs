//! What the system gives: memory, a clock, threads, catching panics. `bare.rs` has the same names
//! for programs without it.

use std::alloc::{alloc_zeroed, dealloc};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub(crate) use std::alloc::Layout;

pub(crate) use mote_formats::Mapping;
use mote_runtime::executor::{Executor, Serial};
use mote_runtime::threads::ThreadPool;

/// Runs something; a panic becomes `None`.
pub(crate) fn catch<R>(work: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// Faults of mapped files become errors of those who use them.
pub(crate) fn guard_files() -> std::io::Result<()> {
    #[cfg(unix)]
    return mote_formats::guard::install();
    #[cfg(not(unix))]
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Zeros, or NULL if there is no memory left.
///
/// # Safety
/// The size is not 0.
pub(crate) unsafe fn allocate(layout: Layout) -> *mut u8 {
    // SAFETY: the caller's promise.
    unsafe { alloc_zeroed(layout) }
}

/// # Safety
/// Allocated with the same layout, and not used any more.
pub(crate) unsafe fn give_back(start: *mut u8, layout: Layout) {
    // SAFETY: the caller's promise.
    unsafe { dealloc(start, layout) };
}

/// Nanoseconds since some moment, where there is a clock.
pub(crate) const CLOCK: Option<fn() -> u64> = Some(nanoseconds);

fn nanoseconds() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// A moment that may come.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// So many microseconds from now. No clock reaches some of them: those are no deadline, and
    /// neither is MOTE_NO_DEADLINE.
    pub fn after(microseconds: u64) -> Option<Deadline> {
        let moment = Instant::now().checked_add(Duration::from_micros(microseconds));
        moment.filter(|_| microseconds != u64::MAX).map(Deadline)
    }

    pub fn has_passed(&self) -> bool {
        Instant::now() >= self.0
    }
}

/// Those of a session.
pub(crate) struct Threads {
    pool: Option<ThreadPool>,
    /// Threads do not follow a process into its child.
    process: u32,
}

impl Threads {
    /// How many are of use.
    pub fn available() -> usize {
        ThreadPool::available()
    }

    /// So many; with `fewer`, decoding may leave some of them asleep.
    pub fn new(threads: usize, fewer: bool) -> Threads {
        let new = if fewer { ThreadPool::adaptive } else { ThreadPool::new };
        let pool = (threads > 1).then(|| new(threads));
        Threads { pool, process: std::process::id() }
    }

    pub fn executor(&self) -> &dyn Executor {
        match &self.pool {
            Some(pool) => pool,
            None => &Serial,
        }
    }

    /// Whether they are in another process than this one, the parent.
    pub fn are_lost(&self) -> bool {
        self.pool.is_some() && self.process != std::process::id()
    }

    /// Waits for them to end, unless they are not there.
    pub fn end(self) {
        if self.are_lost() {
            std::mem::forget(self);
        }
    }
}
