//! What every exported function does around its work.

use crate::failure::{Code, Failure, Result};
use crate::host::catch;
use crate::system::{Errno, FloatState};

/// Runs the body of an exported function: panics become `None`, errno and the floating-point state
/// are the caller's afterwards.
pub(crate) fn protected<R>(body: impl FnOnce(&FloatState) -> R) -> Option<R> {
    let _errno = Errno::keep();
    let float = FloatState::standard();
    catch(|| body(&float))
}

/// As [`protected`], for functions that report by a status alone.
pub(crate) fn status(body: impl FnOnce() -> Result<()>) -> i32 {
    let body = |_: &FloatState| {
        panic_if_asked();
        body()
    };
    match protected(body) {
        Some(result) => number(&result),
        None => Code::Internal as i32,
    }
}

/// 0, or the code of a failure.
pub(crate) fn number(result: &Result<()>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(Failure { code, .. }) => *code as i32,
    }
}

/// Panics in tests that ask for it, and always in the library that check.sh builds for it.
pub(crate) fn panic_if_asked() {
    #[cfg(mote_panics)]
    panic!("asked for by a test");
    #[cfg(test)]
    assert!(!tests_only::PANICS.get(), "asked for by a test");
}

#[cfg(test)]
pub(crate) mod tests_only {
    use std::cell::Cell;

    thread_local! {
        /// Whether every exported function of this thread panics in its body.
        pub static PANICS: Cell<bool> = const { Cell::new(false) };
    }
}
