//! Counts the allocations of the threads that are watched: other tests run at the same time.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use mote_runtime::executor::Executor;

thread_local! {
    /// Constant and without destructor, so that the allocator may look at it at any time.
    static WATCHED: Cell<bool> = const { Cell::new(false) };
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

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
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
