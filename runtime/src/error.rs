//! Why a model is refused, or a session cannot go on.

use core::fmt;

use mote_formats::gguf::{Gguf, ShortName, TensorType};
use mote_formats::ngram::TrieError;

use crate::memory::TooSmall;
use crate::tokenizer;

/// Why a GGUF file is not a model that runs.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum LoadError {
    /// `general.architecture` is absent or not a string.
    NoArchitecture,
    /// No file under `runtime/src/arch` describes it.
    Architecture(ShortName),
    /// A hyper-parameter: its key without the architecture's prefix.
    Key(&'static str, KeyError),
    /// A tensor: its name without the layer's prefix, the layer, and what is wrong with it.
    Tensor(&'static str, Option<u32>, TensorError),
    /// The vocabulary.
    Tokenizer(tokenizer::LoadError),
    /// The vocabulary and the model disagree about the number of tokens.
    Vocabulary {
        /// Tokens in the vocabulary.
        tokens: usize,
        /// Rows of the embedding, or words of the n-grams.
        rows: usize,
    },
    /// The n-grams.
    Ngram(TrieError),
    /// The file's bytes do not begin at a multiple of 4: float tensors are used where they lie.
    Misaligned,
    /// The lent memory is too small.
    Memory(TooSmall),
}

/// What is wrong with a hyper-parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KeyError {
    /// Absent, and there is no default.
    Missing,
    /// Not a number (or whatever else it must be).
    WrongType,
    /// Outside what any model has, or at odds with the others.
    OutOfRange,
    /// It asks for something that this architecture's file does not do yet.
    Unsupported,
}

/// What is wrong with a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TensorError {
    /// Absent.
    Missing,
    /// Its dimensions are not those that the hyper-parameters ask for.
    Shape {
        /// Columns (inputs), rows (outputs), and how many of them, asked for.
        expected: [u64; 3],
        /// The file's dimensions, fastest first.
        found: [u64; 4],
    },
    /// Its encoding (ggml's type id) cannot be computed with here.
    Type(u32),
    /// It is a vector, and its encoding (ggml's type id) is not f32.
    NotF32(u32),
    /// Its weights are in another tensor, too.
    Twice,
    /// It is a bias that the architecture does not add.
    Unused,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::NoArchitecture => write!(f, "the file names no architecture"),
            LoadError::Architecture(name) => write!(f, "no support for architecture '{name}'"),
            LoadError::Key(key, error) => {
                write!(f, "hyper-parameter '{key}' ")?;
                match error {
                    KeyError::Missing => write!(f, "is missing"),
                    KeyError::WrongType => write!(f, "has a value of the wrong type"),
                    KeyError::OutOfRange => write!(f, "is out of range"),
                    KeyError::Unsupported => write!(f, "asks for something not supported"),
                }
            }
            LoadError::Tensor(name, layer, error) => {
                write!(f, "tensor '{name}'")?;
                if let Some(layer) = layer {
                    write!(f, " of layer {layer}")?;
                }
                match error {
                    TensorError::Missing => write!(f, " is missing"),
                    TensorError::Shape { expected: [cols, rows, stacked], found } => {
                        write!(f, " has the shape {found:?} where {cols} x {rows}")?;
                        if *stacked != 1 {
                            write!(f, " x {stacked}")?;
                        }
                        write!(f, " is needed")
                    }
                    TensorError::Type(id) => match TensorType::from_id(*id) {
                        Some(kind) => write!(
                            f,
                            " has the encoding {}, which mote cannot compute with; the nearest \
                             that it can is {}",
                            kind.name(),
                            kind.nearest().name()
                        ),
                        None => write!(f, " has the unknown encoding {id}"),
                    },
                    TensorError::NotF32(id) => {
                        let name = TensorType::from_id(*id).map_or("unknown", |kind| kind.name());
                        write!(f, " has the encoding {name}; a vector's must be f32")
                    }
                    TensorError::Unused => {
                        write!(f, " is a bias that is not known of this architecture")
                    }
                    TensorError::Twice => write!(f, " has weights that another tensor has, too"),
                }
            }
            LoadError::Tokenizer(error) => write!(f, "{error}"),
            LoadError::Vocabulary { tokens, rows } => {
                write!(f, "the vocabulary has {tokens} tokens, the model {rows}")
            }
            LoadError::Ngram(error) => write!(f, "{error}"),
            LoadError::Misaligned => write!(f, "the file's bytes are not aligned to 4"),
            LoadError::Memory(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for LoadError {}

impl From<TooSmall> for LoadError {
    fn from(error: TooSmall) -> Self {
        LoadError::Memory(error)
    }
}

impl From<TrieError> for LoadError {
    fn from(error: TrieError) -> Self {
        LoadError::Ngram(error)
    }
}

impl From<tokenizer::LoadError> for LoadError {
    fn from(error: tokenizer::LoadError) -> Self {
        LoadError::Tokenizer(error)
    }
}

/// Why a session did not do what was asked. The session stays as it was before the call, except
/// after [`SessionError::NotFinite`] and [`SessionError::Damaged`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum SessionError {
    /// A token id that the vocabulary does not have.
    Token(u32),
    /// More tokens than the context has room for.
    ContextFull {
        /// Tokens in the context, and given.
        needed: usize,
        /// Its capacity.
        capacity: usize,
    },
    /// Nothing was fed, so there is nothing to continue.
    Empty,
    /// The model is an encoder: it gives embeddings of texts ([`Session::embed`](crate::Session::embed)),
    /// and predicts none.
    Encoder,
    /// A logit is infinite or NaN: broken weights, or a text that overflows them.
    NotFinite,
    /// The model's file was cut short while it was mapped, or its medium failed: the model is of no use any
    /// more ([`Gguf::is_damaged`](mote_formats::Gguf::is_damaged)).
    Damaged,
    /// An option that cannot be.
    Option(&'static str),
    /// A [`Constraint`](crate::Constraint) allows no token, or cannot say which.
    Constraint,
    /// The lent memory is too small.
    Memory(TooSmall),
}

/// To be asked behind whatever read a model's file: did it, or zeros in the place of what is gone?
pub(crate) fn check_file(gguf: &Gguf<'_>) -> Result<(), SessionError> {
    if gguf.is_damaged() { Err(SessionError::Damaged) } else { Ok(()) }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionError::Token(id) => write!(f, "token id {id} is not in the vocabulary"),
            SessionError::ContextFull { needed, capacity } => {
                write!(f, "{needed} tokens do not fit a context of {capacity}")
            }
            SessionError::Empty => write!(f, "there is no token to continue from"),
            SessionError::Encoder => {
                write!(f, "the model is an encoder: it gives embeddings of texts, and writes none")
            }
            SessionError::NotFinite => write!(f, "the logits are not finite"),
            SessionError::Damaged => {
                write!(
                    f,
                    "the model's file was cut short, or could not be read, while it was in use"
                )
            }
            SessionError::Option(option) => write!(f, "{option}"),
            SessionError::Constraint => write!(f, "the constraint allows no token"),
            SessionError::Memory(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for SessionError {}

impl From<TooSmall> for SessionError {
    fn from(error: TooSmall) -> Self {
        SessionError::Memory(error)
    }
}
