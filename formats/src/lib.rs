//! File formats of mote: bytes in, borrowed views out.
//!
//! - [`gguf`]: the model container. [`Gguf::parse`] proves every length and range of a file once;
//!   afterwards its accessors cannot fail and borrow from the file's bytes.
//! - `gguf::Builder` (feature `alloc`) writes such files.
//! - [`ngram`]: n-gram models in that container.
//! - `mmap::Mapping` (feature `std`) gives the bytes of a file, mapped or copied; `file::write`
//!   writes a file so that a half-written one never stands under its final name.
//! - `safetensors`, `hf` and `llama2c` (feature `checkpoints`) read what other programs train.
//!
//! Nothing here trusts its input: no panic, no recursion, and no memory whose size a file claims.
#![no_std]
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
#[cfg(any(feature = "alloc", test))]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

#[cfg(feature = "std")]
pub mod file;
#[cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]
pub mod gguf;
#[cfg(all(feature = "std", unix))]
pub mod guard;
#[cfg(feature = "checkpoints")]
pub mod hf;
#[cfg(feature = "checkpoints")]
pub mod llama2c;
#[cfg(feature = "std")]
pub mod mmap;
pub mod ngram;
#[cfg(feature = "checkpoints")]
#[cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]
pub mod safetensors;

pub use gguf::{Gguf, ParseError};
#[cfg(feature = "std")]
pub use mmap::Mapping;
