//! Models and sessions for tests; counting and failing allocations.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::CString;
use std::ptr::null_mut;

use crate::model::{mote_model_free, mote_model_from_memory};
use crate::options::{ModelOptions, Piece, SessionOptions, WritingOptions};
use crate::session::{mote_session_error, mote_session_free, mote_session_new};
use crate::write::{mote_session_begin, mote_session_feed, mote_session_next};
use crate::{Code, ModelHandle, SessionHandle};

pub const OK: i32 = 0;

/// The bytes of a small model, where a C program would have them.
pub struct Bytes {
    words: Vec<u64>,
    len: usize,
}

impl Bytes {
    pub fn of(file: &[u8]) -> Bytes {
        let word = |bytes: &[u8]| {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            u64::from_ne_bytes(word)
        };
        Bytes { words: file.chunks(8).map(word).collect(), len: file.len() }
    }

    pub fn fixture(name: &str) -> Bytes {
        Bytes::of(&std::fs::read(path(name)).unwrap())
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn as_ptr(&self) -> *const std::ffi::c_void {
        self.words.as_ptr().cast()
    }

    pub fn model(&self) -> Owned {
        let mut model = null_mut();
        let options = ModelOptions::default();
        // SAFETY: the bytes are there, and a test keeps them longer than the model.
        let status =
            unsafe { mote_model_from_memory(self.as_ptr(), self.len, &options, &mut model) };
        assert_eq!(status, OK);
        Owned(model)
    }
}

pub fn path(name: &str) -> String {
    format!("{}/../../tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

pub fn c_path(name: &str) -> CString {
    CString::new(path(name)).unwrap()
}

/// A model's handle that is freed.
pub struct Owned(pub *mut ModelHandle);

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: made by this library, freed once.
        assert_eq!(unsafe { mote_model_free(self.0) }, OK);
    }
}

/// A session that is freed.
pub struct Text(pub *mut SessionHandle);

impl Drop for Text {
    fn drop(&mut self) {
        // SAFETY: made by this library, freed once.
        assert_eq!(unsafe { mote_session_free(self.0) }, OK);
    }
}

pub const GEMMA: &str = "models/gemma3.gguf";

pub fn small() -> SessionOptions {
    SessionOptions { n_ctx: 64, batch: 4, threads: 1, ..SessionOptions::default() }
}

impl Owned {
    pub fn session(&self, options: &SessionOptions) -> Text {
        let mut session = null_mut();
        // SAFETY: a live model and sound options.
        let status = unsafe { mote_session_new(self.0, options, &mut session) };
        assert_eq!(status, OK);
        Text(session)
    }
}

pub fn greedy() -> WritingOptions {
    WritingOptions { temperature: 0.0, ignore_eos: 1, show_special: 1, ..Default::default() }
}

impl Text {
    pub fn begin(&self, options: &WritingOptions) -> i32 {
        // SAFETY: a live session and sound options.
        unsafe { mote_session_begin(self.0, options) }
    }

    pub fn feed(&self, ids: &[u32]) -> i32 {
        // SAFETY: a live session.
        unsafe { mote_session_feed(self.0, ids.as_ptr(), ids.len(), 0) }
    }

    /// The next piece: its token, text and stop reason.
    pub fn next(&self) -> Result<(u32, String, u32), i32> {
        let mut piece = Piece::default();
        // SAFETY: a live session; the text is read before the next call.
        unsafe {
            match mote_session_next(self.0, &mut piece) {
                OK => {
                    let text = core::slice::from_raw_parts(piece.text.cast(), piece.text_size);
                    let text = String::from_utf8(text.to_vec()).unwrap();
                    Ok((piece.id, text, piece.stop))
                }
                status => Err(status),
            }
        }
    }

    /// `n` tokens, and the whole text.
    pub fn write(&self, n: usize) -> (Vec<u32>, String) {
        let (mut ids, mut text) = (Vec::new(), String::new());
        for _ in 0..n {
            let (id, piece, stop) = self.next().unwrap();
            ids.push(id);
            text += &piece;
            if stop != 0 {
                break;
            }
        }
        (ids, text)
    }

    pub fn error(&self) -> String {
        // SAFETY: a live session, and a NUL-terminated text of it.
        let text = unsafe { std::ffi::CStr::from_ptr(mote_session_error(self.0)) };
        text.to_str().unwrap().to_owned()
    }
}

pub fn prompt(len: u32) -> Vec<u32> {
    (0..len).map(|i| (i * 37 + i * i * 11) % 29 + 3).collect()
}

pub fn code(code: Code) -> i32 {
    code as i32
}

/// Memory of 8-byte words, to be lent.
pub fn lent(bytes: usize) -> Vec<u64> {
    vec![0x5555_5555_5555_5555; bytes.div_ceil(8)]
}

// ---- Allocations of this thread

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static LIVE: Cell<isize> = const { Cell::new(0) };
    /// The allocation that fails, counted down; negative: none.
    static FAILS: Cell<isize> = const { Cell::new(-1) };
}

struct Watched;

#[global_allocator]
static ALLOCATOR: Watched = Watched;

// SAFETY: the system's allocator, which may fail as every allocator may.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        let fails = FAILS.get();
        FAILS.set(if fails >= 0 { fails - 1 } else { fails });
        if fails == 0 {
            return null_mut();
        }
        LIVE.set(LIVE.get() + 1);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - 1);
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// How many allocations `work` makes on this thread.
pub fn allocations(work: impl FnOnce()) -> usize {
    let before = COUNT.get();
    work();
    COUNT.get() - before
}

/// Runs `work` with its k-th allocation failing; what it leaves allocated, and whether one failed.
pub fn failing<R>(k: isize, work: impl FnOnce() -> R) -> (R, isize, bool) {
    let before = LIVE.get();
    FAILS.set(k);
    let result = work();
    let failed = FAILS.get() < 0;
    FAILS.set(-1);
    (result, LIVE.get() - before, failed)
}
