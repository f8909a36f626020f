//! Ctrl-C, as long work learns of it.
//!
//! Work that takes long asks [`pressed`] between its steps, and gives up as [`Code::Interrupted`]: what
//! it has made for a time is then removed on the way out, and nothing stands under a file's final name.
//! Where nobody ever asked, or where standard input is awaited, Ctrl-C ends the process at once; so does
//! a second one. SIGTERM and SIGHUP count as Ctrl-C.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::io::{self, Read, Write};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::failure::{Code, Failure, Result};

static PRESSED: AtomicBool = AtomicBool::new(false);

/// Somebody asks, and will ask again.
static ASKED: AtomicBool = AtomicBool::new(false);

/// Standard input is awaited: nobody asks meanwhile.
static WAITING: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Questions of this thread that are still answered by no: for tests.
    static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Listens from now on: for the process's `main` alone. A process that was started to ignore one of the
/// signals (by nohup, or behind a script's `&`) leaves all of them as they are.
///
/// It fails where the system has no thread for it: the signals are then caught, and nobody hears them.
pub fn install() -> Result<()> {
    match ctrlc::try_set_handler(hear) {
        Err(ctrlc::Error::System(error)) => {
            Err(Failure::new(Code::Io, format_args!("cannot listen for Ctrl-C: {error}")))
        }
        // Where somebody ignores them, Ctrl-C does what it did.
        _ => Ok(()),
    }
}

/// Runs in a thread of its own, not in the signal's handler.
fn hear() {
    let again = PRESSED.swap(true, Relaxed);
    if again || WAITING.load(Relaxed) || !ASKED.load(Relaxed) {
        process::exit(Code::Interrupted.exit_code().into());
    }
}

/// Whether Ctrl-C was pressed. Whoever asks once must go on asking, a few times a second: from then on
/// the first Ctrl-C does nothing else than to answer this by yes.
pub fn pressed() -> bool {
    if !ASKED.load(Relaxed) {
        ASKED.store(true, Relaxed);
    }
    PRESSED.load(Relaxed) || was_last_of_test()
}

/// Ctrl-C did what it was pressed for: what comes next is not meant.
pub fn forget() {
    PRESSED.store(false, Relaxed);
    LEFT.set(None);
}

/// The failure to end by, if Ctrl-C was pressed.
pub fn check() -> Result<()> {
    if pressed() { Err(Interrupted.into()) } else { Ok(()) }
}

/// What a model's passes are asked by: go on until Ctrl-C is pressed. [`check`] then says why they ended.
pub fn not_pressed(_tokens_done: usize) -> bool {
    !pressed()
}

/// The same as [`check`] for what fails by errors of input and output.
pub fn check_io() -> io::Result<()> {
    // Not of the kind `Interrupted`: reading and writing would be tried again.
    if pressed() { Err(io::Error::other(Interrupted)) } else { Ok(()) }
}

/// For tests: this thread's questions are answered by no so many times, and then by yes. `None`: by no.
pub fn after(questions: Option<u64>) {
    LEFT.set(questions);
}

fn was_last_of_test() -> bool {
    let Some(left) = LEFT.get() else { return false };
    LEFT.set(Some(left.saturating_sub(1)));
    left == 0
}

/// Ctrl-C was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

impl Interrupted {
    /// Whether this is why input or output failed.
    pub fn is_in(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Interrupted>())
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl Error for Interrupted {}

impl From<Interrupted> for Failure {
    fn from(interrupted: Interrupted) -> Self {
        Failure::new(Code::Interrupted, interrupted)
    }
}

/// A source or sink that fails once Ctrl-C is pressed.
pub struct Stoppable<T> {
    inner: T,
    /// Bytes that go by without a question.
    unasked: usize,
}

/// Bytes from one question to the next: short writes cost as little as ever.
const BLOCK: usize = 1 << 16;

impl<T> Stoppable<T> {
    /// Around another.
    pub fn new(inner: T) -> Self {
        Stoppable { inner, unasked: 0 }
    }

    fn ask(&mut self, bytes: usize) -> io::Result<()> {
        match self.unasked.checked_sub(bytes) {
            Some(rest) => self.unasked = rest,
            None => {
                self.unasked = BLOCK;
                check_io()?;
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for Stoppable<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.ask(bytes.len())?;
        read_on(&mut self.inner, bytes)
    }
}

impl<W: Write> Write for Stoppable<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.ask(bytes.len())?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Reads, again if a signal came between. `BufRead::fill_buf` would hand that on as a failure.
fn read_on(inner: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    loop {
        match inner.read(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Waits for somebody who types: meanwhile a signal ends the process.
pub fn awaiting<R>(wait: impl FnOnce() -> R) -> R {
    WAITING.store(true, Relaxed);
    let result = wait();
    WAITING.store(false, Relaxed);
    result
}

/// Standard input: while it is awaited, Ctrl-C ends the process.
pub struct Awaited<R>(pub R);

impl<R: Read> Read for Awaited<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = awaiting(|| read_on(&mut self.0, bytes));
        // Pressed just before. This is no question: nobody need go on asking.
        if PRESSED.load(Relaxed) { Err(io::Error::other(Interrupted)) } else { read }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_answered_by_no_and_then_by_yes() {
        assert!(!pressed());
        after(Some(2));
        assert_eq!([pressed(), pressed(), pressed(), pressed()], [false, false, true, true]);
        assert_eq!(check().unwrap_err().code, Code::Interrupted);
        assert!(Interrupted::is_in(&check_io().unwrap_err()));
        assert!(!Interrupted::is_in(&io::ErrorKind::Interrupted.into()));
        after(None);
        assert!(!pressed() && check().is_ok());
    }
}
