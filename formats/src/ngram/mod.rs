//! n-gram models: ARPA text, and the mapped trie in a GGUF file.
//!
//! FORMATS.md beside this crate's sources describes the file; [`level`] the order of its entries.
//! [`Trie::new`] checks what leads from one place of a file to another; after that nothing that it
//! is asked can fail. A trie borrows the file: nothing is copied, nothing is allocated.

pub mod arpa;
mod bits;
mod error;
mod index;
pub mod level;
mod packed;
#[cfg(feature = "std")]
mod quantize;
#[cfg(all(test, feature = "std"))]
mod tests;
mod trie;
#[cfg(feature = "std")]
mod write;

pub use error::TrieError;
pub use index::Index;
#[cfg(feature = "std")]
pub use index::write_indexed;
use level::VALUE_BITS_EXACT;
pub use level::{Entry, Range};
#[cfg(feature = "std")]
pub use level::{LevelParts, LevelWriter};
#[cfg(feature = "std")]
pub use quantize::{Codebook, Histogram};
pub use trie::{Smoothing, Trie};
#[cfg(feature = "std")]
pub use write::{Header, LevelSource, Unigrams, write_model};

/// The value of `general.architecture`.
pub const ARCHITECTURE: &str = "ngram";
/// The longest n-grams, in words.
pub const MAX_ORDER: usize = 16;
/// Most words of a vocabulary.
pub const MAX_WORDS: usize = 1 << level::MAX_KEY_BITS;
/// log10 of a probability that stands for none: the start of a sentence is never predicted.
pub const NEVER: f32 = -99.0;

/// Keys of the metadata.
pub mod keys {
    /// u32: words of the longest n-grams.
    pub const ORDER: &str = "ngram.order";
    /// u64 array: n-grams of each length.
    pub const COUNTS: &str = "ngram.counts";
    /// String: how probabilities were estimated.
    pub const SMOOTHING: &str = "ngram.smoothing";
    /// f32: the factor of stupid backoff.
    pub const ALPHA: &str = "ngram.alpha";
    /// u32: bits of a probability or backoff; 32 are exact.
    pub const VALUE_BITS: &str = "ngram.value_bits";
    /// u64: XXH64 (seed 0) of the tensors' data, in the order of the file, without padding.
    pub const CHECKSUM: &str = "ngram.checksum";
    /// u64: the seed of the hashes, where the file has an index.
    pub const INDEX_SEED: &str = "ngram.index_seed";
}
