//! Why a tokenizer is refused: the file, and what is wrong in it.

use std::fmt;
use std::string::String;

use super::protobuf::ProtobufError;

/// The longest part of a file's text that an error repeats, in bytes.
const MAX_QUOTE: usize = 400;

/// Why the tokenizer files of a checkpoint cannot be converted. Its text is one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenizerError {
    file: &'static str,
    reason: Reason,
}

/// What is wrong with a tokenizer file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// None of the files that hold a vocabulary is there.
    NoVocabulary,
    /// A second file that the first one needs is not there.
    Missing(&'static str),
    /// Not JSON, or not the JSON that the file should hold: the parser's sentence.
    Json(String),
    /// Not UTF-8 from this byte on.
    NotUtf8(usize),
    /// The protobuf message is damaged.
    Protobuf(ProtobufError),
    /// The file ends inside a token.
    Truncated,
    /// No tokens at all.
    Empty,
    /// Fewer or more tokens than the embedding has rows.
    Count {
        /// Tokens, or one more than there are rows.
        tokens: usize,
        /// Rows of the embedding.
        rows: usize,
    },
    /// More tokens than [`MAX_TOKENS`](super::MAX_TOKENS).
    TooManyTokens(usize),
    /// A token of more than [`MAX_TOKEN_BYTES`](super::MAX_TOKEN_BYTES): its id and length.
    TokenTooLong {
        /// The token.
        id: u32,
        /// Bytes of its text.
        len: usize,
    },
    /// Two tokens have the same id.
    DuplicateId {
        /// The id.
        id: u32,
        /// The text of one of them.
        text: String,
    },
    /// Two ids have the same text.
    DuplicateText(String),
    /// No token of the vocabulary has this id, though others have larger ones.
    Hole(u32),
    /// An id for which the embedding has no row.
    IdOutOfRange {
        /// The id.
        id: u64,
        /// Rows of the embedding.
        rows: usize,
        /// The token's text.
        text: String,
    },
    /// A merge that is not two texts with one blank between them: its number from 0.
    MergeFields(usize),
    /// A line of merges.txt that is not two texts: its number from 1.
    MergeLine(usize),
    /// A line of a vocabulary that is not its number, a text and its length: its number from 1.
    TokenLine(usize),
    /// A merge of a text, or to a text, that is no token: its number from 0.
    MergeOfNoToken {
        /// The merge.
        index: usize,
        /// The text.
        text: String,
    },
    /// A template puts a token around texts that the file does not have.
    TemplateToken(String),
    /// Texts are to be cut into pieces that overlap by at least their own length.
    Truncation,
    /// The decoder takes so many characters away that no rule of a vocabulary means it.
    Strip,
    /// A score that is not a finite number.
    Score(u32),
    /// The rules that cut texts into words are none that are known; they are repeated.
    PreTokenizer(String),
    /// What is done with a text first is none of what is known; it is repeated.
    Normalizer(String),
    /// A kind of vocabulary that cannot be written yet: its name.
    Model(String),
    /// A part of the file that changes tokens in a way that no GGUF file can say.
    Unsupported(&'static str),
}

impl TokenizerError {
    pub(super) fn new(file: &'static str, reason: Reason) -> Self {
        TokenizerError { file, reason }
    }

    pub(super) fn json(file: &'static str, error: &serde_json::Error) -> Self {
        Self::new(file, Reason::Json(quote(&std::format!("{error}"))))
    }

    /// The file's usual name.
    pub fn file(&self) -> &'static str {
        self.file
    }

    /// What is wrong.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// Whether the files may be sound, but hold what cannot be converted.
    pub fn is_unsupported(&self) -> bool {
        matches!(
            self.reason,
            Reason::PreTokenizer(_)
                | Reason::Normalizer(_)
                | Reason::Model(_)
                | Reason::Unsupported(_)
        )
    }
}

/// So much of a text that a line can show it.
pub(super) fn quote(text: &str) -> String {
    if text.len() <= MAX_QUOTE {
        return text.into();
    }
    let end = (0..=MAX_QUOTE).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    let mut short = String::from(text.get(..end).unwrap_or_default());
    short.push('…');
    short
}

impl fmt::Display for TokenizerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NoVocabulary => write!(
                f,
                "no vocabulary: neither tokenizer.json nor tokenizer.model, vocab.json or vocab.txt"
            ),
            Reason::Missing(file) => write!(f, "{file} is missing beside it"),
            Reason::Json(error) => f.write_str(error),
            Reason::NotUtf8(at) => write!(f, "not UTF-8 at byte {at}"),
            Reason::Protobuf(error) => error.fmt(f),
            Reason::Truncated => f.write_str("the file ends inside a token"),
            Reason::Empty => f.write_str("no tokens"),
            Reason::Count { tokens, rows } if tokens > rows => {
                write!(f, "more tokens than the {rows} rows of the embedding")
            }
            Reason::Count { tokens, rows } => {
                write!(f, "{tokens} tokens, but the embedding has {rows} rows")
            }
            Reason::TooManyTokens(n) => {
                write!(f, "{n} tokens; at most {} are read", super::MAX_TOKENS)
            }
            Reason::TokenTooLong { id, len } => {
                let most = super::MAX_TOKEN_BYTES;
                write!(f, "token {id} has {len} bytes; at most {most} are read")
            }
            Reason::DuplicateId { id, text } => {
                write!(f, "id {id} stands for two tokens, one of them {text:?}")
            }
            Reason::DuplicateText(text) => write!(f, "two ids have the text {text:?}"),
            Reason::Hole(id) => write!(f, "no token has the id {id}, but others have larger ones"),
            Reason::IdOutOfRange { id, rows, text } => {
                write!(f, "token {text:?} has the id {id}, but the embedding has {rows} rows")
            }
            Reason::MergeFields(index) => write!(f, "merge {index} is not two texts"),
            Reason::TokenLine(line) => {
                write!(
                    f,
                    "line {line} is not its number, a token as Python spells it and its length"
                )
            }
            Reason::MergeLine(line) => write!(f, "line {line} is not two texts with a blank"),
            Reason::MergeOfNoToken { index, text } => {
                write!(f, "merge {index} needs {text:?}, which is no token")
            }
            Reason::TemplateToken(text) => {
                write!(f, "the template puts {text:?} around texts, which is no token")
            }
            Reason::Truncation => f.write_str("truncation with a stride not below its length"),
            Reason::Strip => f.write_str("the decoder strips more than the blank at the start"),
            Reason::Score(id) => write!(f, "the score of token {id} is no finite number"),
            Reason::PreTokenizer(rules) => {
                write!(f, "unknown rules to cut texts into words: {rules}")
            }
            Reason::Normalizer(rules) => write!(f, "unknown changes of texts: {rules}"),
            Reason::Model(name) => write!(f, "vocabularies of kind {name} cannot be written yet"),
            Reason::Unsupported(what) => write!(f, "{what} cannot be said in a GGUF file"),
        }
    }
}

impl std::error::Error for TokenizerError {}
