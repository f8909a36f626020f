//! In place of `host.rs`, where there is no system: all memory is lent, one thread computes, and a
//! panic is told to the program.

use core::ffi::c_char;
use core::panic::PanicInfo;

use mote_runtime::executor::{Executor, Serial};

use crate::failure::Sentence;

pub(crate) use core::alloc::Layout;

/// There are no files, and so nothing is ever mapped.
#[derive(Debug)]
pub(crate) enum Mapping {}

unsafe extern "C" {
    /// The program's own: see mote.h.
    fn mote_panic(message: *const c_char);
}

/// A bug of the library. There is nothing that could bring the caller back.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let message = Sentence::new(info);
    // SAFETY: the program's function, which takes a NUL-terminated sentence.
    unsafe { mote_panic(message.as_ptr()) };
    loop {
        core::hint::spin_loop();
    }
}

/// There is no clock.
pub(crate) const CLOCK: Option<fn() -> u64> = None;

/// Runs something. Panics end in [`panic`].
pub(crate) fn catch<R>(work: impl FnOnce() -> R) -> Option<R> {
    Some(work())
}

/// There is none.
///
/// # Safety
/// None is needed; `host.rs` needs it.
pub(crate) unsafe fn allocate(_: Layout) -> *mut u8 {
    core::ptr::null_mut()
}

/// # Safety
/// None is needed; `host.rs` needs it.
pub(crate) unsafe fn give_back(_: *mut u8, _: Layout) {}

/// There is no clock.
#[derive(Clone, Copy)]
pub(crate) enum Deadline {}

impl Deadline {
    pub fn has_passed(&self) -> bool {
        match *self {}
    }
}

/// The caller's.
pub(crate) struct Threads;

impl Threads {
    pub fn available() -> usize {
        1
    }

    pub fn new(_: usize, _: bool) -> Threads {
        Threads
    }

    pub fn executor(&self) -> &dyn Executor {
        &Serial
    }

    pub fn are_lost(&self) -> bool {
        false
    }

    pub fn end(self) {}
}
