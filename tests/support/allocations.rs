//! Counts the allocations of the threads that are watched, and makes one of them fail: other tests run at the
//! same time.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use mote_runtime::executor::Executor;

thread_local! {
    /// Constant and without destructor, so that the allocator may look at it at any time.
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    /// The allocation of this thread that fails, counted down; negative: none.
    static FAILS: Cell<isize> = const { Cell::new(-1) };
    /// What this thread has allocated and not given back.
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, with an eye on it.
#[derive(Debug)]
pub struct Counting;

fn count() {
    if WATCHED.try_with(Cell::get).unwrap_or(false) {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
    }
}

/// Whether an allocation is not to fail.
fn is_granted() -> bool {
    count();
    let fails = FAILS.try_with(Cell::get).unwrap_or(-1);
    if fails >= 0 {
        FAILS.set(fails - 1);
    }
    fails != 0
}

/// Counts a block of this thread, if the system gave it.
fn taken(block: *mut u8) -> *mut u8 {
    let _ = LIVE.try_with(|live| live.set(live.get() + isize::from(!block.is_null())));
    block
}

// SAFETY: everything is passed on to the system's allocator, which may fail as every allocator may.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !is_granted() {
            return null_mut();
        }
        // SAFETY: the caller's promises are passed on.
        taken(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !is_granted() {
            return null_mut();
        }
        // SAFETY: the caller's promises are passed on.
        taken(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !is_granted() {
            return null_mut();
        }
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let _ = LIVE.try_with(|live| live.set(live.get() - 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// How often `work` allocates, on this thread and on those that [`Watching`] reaches. One thread at a time
/// asks: there is one counter.
pub fn allocations(work: impl FnOnce()) -> usize {
    static ASKING: Mutex<()> = Mutex::new(());
    let _one = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    WATCHED.set(true);
    work();
    WATCHED.set(false);
    ALLOCATIONS.load(Ordering::SeqCst) - before
}

/// Runs `work` with this thread's allocation `k` failing, counted from 0: its result, the blocks that it leaves
/// behind, and whether there was such an allocation.
pub fn failing<R>(k: isize, work: impl FnOnce() -> R) -> (R, isize, bool) {
    let before = LIVE.get();
    FAILS.set(k);
    let result = work();
    let failed = FAILS.replace(-1) < 0;
    (result, LIVE.get() - before, failed)
}

/// An executor whose threads are watched from their first item on.
pub struct Watching<'a>(pub &'a dyn Executor);

// SAFETY: the inner executor keeps the promises.
unsafe impl Executor for Watching<'_> {
    fn threads(&self) -> usize {
        self.0.threads()
    }

    fn run(&self, items: usize, job: &(dyn Fn(usize, usize) + Sync)) {
        self.run_on(self.threads(), items, job);
    }

    fn run_on(&self, threads: usize, items: usize, job: &(dyn Fn(usize, usize) + Sync)) {
        self.0.run_on(threads, items, &|item, worker| {
            // The calling thread decides for itself.
            if worker > 0 {
                WATCHED.set(true);
            }
            job(item, worker);
        });
    }

    fn clock(&self) -> Option<u64> {
        self.0.clock()
    }
}
