//! Why a vocabulary is refused, and why a text or a token is.

use core::fmt;

use super::{MAX_MERGES, MAX_TEXT_BYTES, MAX_TOKEN_BYTES, MAX_TOKENS, MAX_WORDS};
use crate::memory::TooSmall;

/// Why the vocabulary of a file is refused. Its text is one sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadError {
    /// A key is not in the file.
    Missing(&'static str),
    /// A key's value has another type than the format says.
    WrongType(&'static str),
    /// `tokenizer.ggml.model` names a kind of vocabulary that is not supported.
    Model,
    /// An array has another length than the tokens.
    Length {
        /// The array's key.
        key: &'static str,
        /// Its length.
        found: usize,
        /// The number of tokens.
        tokens: usize,
    },
    /// No token, or none with any text.
    Empty,
    /// More tokens than [`MAX_TOKENS`], or more words than [`MAX_WORDS`].
    TooManyTokens(usize),
    /// More merges than [`MAX_MERGES`].
    TooManyMerges(usize),
    /// A token longer than [`MAX_TOKEN_BYTES`].
    TokenTooLong {
        /// The token.
        id: u32,
        /// Its bytes.
        len: usize,
    },
    /// A token type that the format does not know.
    TokenType {
        /// The token.
        id: u32,
        /// Its type.
        found: u32,
    },
    /// A token of type byte whose text is not of the form `<0x0A>`.
    ByteToken(u32),
    /// A token of RWKV's vocabulary that is not spelled as Python spells bytes.
    Escape(u32),
    /// A token of a vocabulary of bytes that is not the byte which belongs at its place.
    BytePlace(u32),
    /// A score that is not a finite number.
    Score(u32),
    /// `tokenizer.ggml.precompiled_charsmap` has another length than it says.
    Charsmap,
    /// The id of a special token is not below the number of tokens.
    SpecialId {
        /// The key that holds the id.
        key: &'static str,
        /// The id.
        id: u32,
    },
    /// A merge that is not two texts with one blank between them.
    MergeForm(usize),
    /// A merge of texts, or to a text, that no token has.
    MergeToken(usize),
    /// Texts chosen so that their places in a table collide.
    Collisions,
    /// Less memory was lent than asked for.
    Memory(TooSmall),
}

/// Why a text was not turned into ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The text is longer than [`MAX_TEXT_BYTES`].
    TextTooLong {
        /// Its bytes.
        len: usize,
    },
    /// There are more ids than places for them. As many as fit were written.
    OutputTooSmall {
        /// The number of ids.
        needed: usize,
    },
    /// The scratch does not do for this text.
    ScratchTooSmall(TooSmall),
    /// A byte for which the vocabulary has no token, and no unknown token either.
    NoToken {
        /// The byte.
        byte: u8,
    },
    /// The system has no memory for the buffers (only where mote makes them).
    OutOfMemory,
}

/// Why a token was not turned into text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The id is not below the number of tokens.
    UnknownId(u32),
    /// The text does not fit. Nothing was written and the state is as before.
    OutputTooSmall {
        /// Bytes of the text.
        needed: usize,
    },
}

impl From<TooSmall> for LoadError {
    fn from(error: TooSmall) -> Self {
        LoadError::Memory(error)
    }
}

impl From<TooSmall> for EncodeError {
    fn from(error: TooSmall) -> Self {
        EncodeError::ScratchTooSmall(error)
    }
}

impl core::error::Error for LoadError {}
impl core::error::Error for EncodeError {}
impl core::error::Error for DecodeError {}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            LoadError::Missing(key) => write!(f, "the file has no {key}"),
            LoadError::WrongType(key) => write!(f, "{key} has a value of the wrong type"),
            LoadError::Model => f.write_str(
                "tokenizer.ggml.model names a kind of vocabulary that is not supported \
                 (supported: gpt2, llama, gemma4, t5, bert, rwkv, words, bytes)",
            ),
            LoadError::Length { key, found, tokens } => {
                write!(f, "{key} has {found} entries for {tokens} tokens")
            }
            LoadError::Empty => f.write_str("the vocabulary has no token with a text"),
            LoadError::TooManyTokens(n) => {
                let limit = if n > MAX_WORDS { MAX_WORDS } else { MAX_TOKENS };
                write!(f, "{n} tokens, more than the limit of {limit}")
            }
            LoadError::TooManyMerges(n) => {
                write!(f, "{n} merges, more than the limit of {MAX_MERGES}")
            }
            LoadError::TokenTooLong { id, len } => {
                write!(f, "token {id} has {len} bytes, more than the limit of {MAX_TOKEN_BYTES}")
            }
            LoadError::TokenType { id, found } => {
                write!(f, "token {id} is of the unknown type {found}")
            }
            LoadError::ByteToken(id) => {
                write!(f, "token {id} is of type byte, but its text is not of the form <0x0A>")
            }
            LoadError::Escape(id) => {
                write!(f, "token {id} is not spelled as Python spells bytes")
            }
            LoadError::BytePlace(id) => {
                write!(f, "token {id} of a vocabulary of bytes is not the byte at its place")
            }
            LoadError::Score(id) => write!(f, "the score of token {id} is not a finite number"),
            LoadError::Charsmap => {
                write!(f, "the map of characters is longer or shorter than it says")
            }
            LoadError::SpecialId { key, id } => {
                write!(f, "{key} is {id}, which is not a token of the vocabulary")
            }
            LoadError::MergeForm(index) => {
                write!(f, "merge {index} is not two texts with one blank between them")
            }
            LoadError::MergeToken(index) => {
                write!(f, "merge {index} is about a text that is no token")
            }
            LoadError::Collisions => {
                f.write_str("the vocabulary was made to collide in hash tables")
            }
            LoadError::Memory(TooSmall { needed, given }) => {
                write!(f, "the vocabulary needs {needed} bytes of memory, {given} were lent")
            }
        }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            EncodeError::TextTooLong { len } => {
                write!(f, "the text is too long: {len} bytes, the limit is {MAX_TEXT_BYTES}")
            }
            EncodeError::OutputTooSmall { needed } => {
                write!(f, "the text has {needed} tokens, more than there is room for")
            }
            EncodeError::ScratchTooSmall(TooSmall { needed, given }) => {
                write!(f, "the text needs {needed} bytes of scratch, {given} were lent")
            }
            EncodeError::NoToken { byte } => {
                write!(f, "the vocabulary has no token for the byte 0x{byte:02X}")
            }
            EncodeError::OutOfMemory => f.write_str("no memory for the text's tokens"),
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            DecodeError::UnknownId(id) => write!(f, "{id} is not a token of the vocabulary"),
            DecodeError::OutputTooSmall { needed } => {
                write!(f, "the token's text of {needed} bytes does not fit")
            }
        }
    }
}
