//! Why a GGUF file is no n-gram model.

use core::fmt;

/// What is wrong with a file, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrieError {
    /// `general.architecture` is not `ngram`.
    Architecture,
    /// A key is missing or has a value that it cannot have.
    Key(&'static str),
    /// A tensor of the level (1: unigrams) is missing, or has another type or length than it must.
    Tensor {
        /// Words of the n-grams.
        level: usize,
        /// Its name behind the level's.
        name: &'static str,
    },
    /// What leads from the level to its data or to the next level leads astray.
    Directory {
        /// Words of the n-grams.
        level: usize,
    },
    /// The hash index has another type or size than it must.
    Index,
    /// The data is not what was written.
    Checksum {
        /// In the file.
        stored: u64,
        /// Of the data.
        computed: u64,
    },
}

impl fmt::Display for TrieError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            TrieError::Architecture => f.write_str("not an n-gram model"),
            TrieError::Key(key) => write!(f, "key {key} is missing or out of range"),
            TrieError::Tensor { level: 1, name } => {
                write!(f, "tensor unigram.{name} is missing or has the wrong type or length")
            }
            TrieError::Tensor { level, name } => {
                write!(f, "tensor {level}gram.{name} is missing or has the wrong type or length")
            }
            TrieError::Directory { level } => {
                write!(f, "the directory of the {level}-grams leads out of the file or backwards")
            }
            TrieError::Index => f.write_str("tensor index.slots has the wrong type or length"),
            TrieError::Checksum { stored, computed } => {
                write!(
                    f,
                    "checksum {computed:016x}, but the file says {stored:016x}: it is damaged"
                )
            }
        }
    }
}

impl core::error::Error for TrieError {}
