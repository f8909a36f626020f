//! ARPA, the text form of back-off n-gram models.
//!
//! ```text
//! \data\
//! ngram 1=13
//! ngram 2=24
//!
//! \1-grams:
//! -0.97651887<tab>mouse<tab>-0.30103        log10 p(mouse), log10 of its back-off weight
//! ...
//! \2-grams:
//! -0.61928636<tab>the mouse                 log10 p(mouse | the); the highest order backs off nowhere
//! ...
//! \end\
//! ```
//!
//! [`Reader`] walks such a text line by line and gives one [`Entry`] an n-gram: memory is one line,
//! however long the file. [`Writer`] (feature `alloc`) writes what KenLM's lmplz writes, numbers in
//! the fewest digits that give the same f32 again.
//!
//! # What is accepted
//! SRILM, KenLM, MITLM, IRSTLM, CMU's tools and pocketsphinx differ in small things:
//! - Any text may stand before `\data\` (a few thousand lines of it), only blank lines after `\end\`.
//! - Lines may end in LF or CR LF; blank lines may be missing or many.
//! - Fields are separated by any number of spaces and tabs. But in a line that has a tab after the
//!   probability, the back-off weight stands after a tab, too: `-1<tab>12 13 14` is no 2-gram.
//! - A back-off weight that is missing is 0. On n-grams of the highest order it is an error, as it
//!   is for KenLM, unless it is 0.
//! - An order announced with 0 n-grams may have its section or not.
//! - Words are any bytes but blanks and NUL: UTF-8 is not demanded.
//! - A number has digits, a sign, a point and an exponent; no other locale's comma, no hexadecimal
//!   digits, no infinity, and probabilities are not positive. `-99` is customary for "never";
//!   [`Reader::accept_minus_infinity`] takes lmplz's `-inf`, too.
//!
//! Whether the n-grams make a model (words known, none twice, every context there) is for whoever
//! collects them to say.

mod error;
mod lines;
mod read;
#[cfg(all(test, feature = "std"))]
mod tests;
#[cfg(feature = "alloc")]
mod write;

pub use error::{ArpaError, ReadError, Reason};
#[cfg(feature = "std")]
pub use lines::ReadLines;
pub use lines::{Lines, SliceLines};
pub use read::{Entry, Reader, Words};
#[cfg(feature = "alloc")]
pub use write::{WriteError, Writer};

/// Bytes of the longest line that is read.
pub const MAX_LINE_BYTES: usize = 1 << 24;
/// Bytes of the longest word.
pub const MAX_WORD_BYTES: usize = 1 << 20;
/// n-grams of one order: their numbers fit 32 bits.
pub const MAX_NGRAMS: u64 = u32::MAX as u64;
/// Lines in a row that say nothing: before `\data\`, or blank.
pub const MAX_IDLE_LINES: u64 = 1 << 12;

/// What separates fields, and words.
const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}
