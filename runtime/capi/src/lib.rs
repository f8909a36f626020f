//! The C ABI of mote. `include/mote.h` is its documentation; what stands here is how it is kept:
//!
//! - `call.rs`: no panic crosses, and errno and the floating-point state stay the caller's;
//! - `argument.rs`: pointers become references in one place, checked as far as that is possible;
//! - `options.rs`: structs that may grow;
//! - `model.rs`, `tokens.rs`, `session.rs`, `write.rs`, `embed.rs`, `state.rs`, `fallback.rs`: the
//!   functions;
//! - `memory.rs`: blocks that are lent, or allocated and given back;
//! - `quiet.rs`: what libmote.so has in place of the standard library's panic handler;
//! - `host.rs`: all that needs the standard library, and `bare.rs` in its place without it.

#![cfg_attr(not(feature = "std"), no_std)]
// A failure carries its sentence, because nothing may be allocated for it.
#![allow(clippy::result_large_err)]
// No error is answered by a panic (SECURITY.md); tests may.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::get_unwrap,
        clippy::panic,
        clippy::unreachable,
        clippy::todo,
        clippy::unimplemented,
        clippy::string_slice,
        clippy::indexing_slicing
    )
)]

mod argument;
mod call;
mod embed;
mod failure;
mod fallback;
#[cfg(feature = "std")]
mod host;
#[cfg(not(feature = "std"))]
#[path = "bare.rs"]
mod host;
mod memory;
mod model;
mod options;
#[cfg(mote_quiet)]
mod quiet;
mod session;
mod state;
mod system;
mod tokens;
mod write;

#[cfg(test)]
mod tests;

use core::ffi::{CStr, c_char};

pub use failure::Code;
pub use model::ModelHandle;
pub use options::{Info, LogitBias, ModelOptions, Piece, PlanInfo, SessionOptions, WritingOptions};
pub use session::SessionHandle;

/// Changes when a program compiled with an older header would no longer work.
const ABI_VERSION: u32 = 0;

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("a version without NUL"),
    };

/// See mote.h, as for every function of this crate.
#[unsafe(no_mangle)]
pub extern "C" fn mote_version() -> *const c_char {
    VERSION.as_ptr()
}

/// See mote.h.
#[unsafe(no_mangle)]
pub extern "C" fn mote_abi_version() -> u32 {
    ABI_VERSION
}

/// See mote.h.
#[unsafe(no_mangle)]
pub extern "C" fn mote_status_text(status: i32) -> *const c_char {
    Code::text_of(status).as_ptr()
}
