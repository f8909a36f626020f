//! Why an ARPA text is refused: the line and a reason.

use core::fmt;

use super::{MAX_IDLE_LINES, MAX_LINE_BYTES, MAX_NGRAMS, MAX_WORD_BYTES};
use crate::gguf::ShortName;
use crate::ngram::MAX_ORDER;

/// Why [`Reader`](super::Reader) refused a text. Its text is one sentence that begins with the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpaError {
    line: u64,
    reason: Reason,
}

/// Why no n-gram came: the text is wrong, or it cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError<E> {
    /// The text is no ARPA model.
    Arpa(ArpaError),
    /// The source of lines failed.
    Source(E),
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The text ends, or goes on for long, without `\data\`.
    NoData,
    /// The text ends without `\end\`.
    NoEnd,
    /// Something other than blank lines after `\end\`.
    AfterEnd,
    /// Too many lines in a row that say nothing.
    Idle,
    /// A line of more than [`MAX_LINE_BYTES`].
    LineTooLong,
    /// A line of the header that is not `ngram ORDER=COUNT`.
    Header(ShortName),
    /// The header announces this order where it should announce that one.
    Orders {
        /// Announced.
        found: u64,
        /// The next in turn.
        expected: usize,
    },
    /// An order above [`MAX_ORDER`].
    OrderTooHigh(u64),
    /// More than [`MAX_NGRAMS`] of one order.
    TooMany(ShortName),
    /// No order is announced, or no 1-grams.
    NoUnigrams,
    /// A line with a backslash that is neither `\end\` nor `\ORDER-grams:`.
    Heading(ShortName),
    /// The section of an order that the header does not announce.
    NotAnnounced(u64),
    /// A section that stood there before, or whose turn was before the last one.
    SectionAgain(u64),
    /// The section of this order is missing.
    NoSection(usize),
    /// n-grams announced by the header, and how many there are (at least: counting ends there).
    Count {
        /// Of which order.
        order: usize,
        /// Announced.
        announced: u64,
        /// Found in the section.
        found: u64,
    },
    /// Not so many words as the section says.
    Words {
        /// Of which order the section is.
        order: usize,
        /// Words of the line; where there are too many, one more.
        found: usize,
    },
    /// A word of more than [`MAX_WORD_BYTES`].
    WordTooLong,
    /// A word with a NUL byte, at which other readers would cut it.
    WordHasNul,
    /// Not a number, or none that is finite.
    Number(ShortName),
    /// A log probability above 0.
    Positive(ShortName),
    /// A probability of zero that is written `-inf`.
    MinusInfinity,
    /// A back-off weight other than 0 on an n-gram of the highest order.
    Backoff(ShortName),
}

impl ArpaError {
    pub(super) fn new(line: u64, reason: Reason) -> Self {
        ArpaError { line, reason }
    }

    /// The line, counted from 1; of a text without a line, 0.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// What is wrong.
    pub fn reason(&self) -> Reason {
        self.reason
    }
}

impl fmt::Display for ArpaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl core::error::Error for ArpaError {}

impl<E> From<ArpaError> for ReadError<E> {
    fn from(error: ArpaError) -> Self {
        ReadError::Arpa(error)
    }
}

impl<E: fmt::Display> fmt::Display for ReadError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Arpa(error) => error.fmt(f),
            ReadError::Source(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for ReadError<E> {}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Reason::NoData => f.write_str("no \\data\\ up to here: is it an ARPA file?"),
            Reason::NoEnd => f.write_str("the file ends without \\end\\"),
            Reason::AfterEnd => f.write_str("text after \\end\\"),
            Reason::Idle => write!(f, "more than {MAX_IDLE_LINES} blank lines in a row"),
            Reason::LineTooLong => write!(f, "more than the limit of {MAX_LINE_BYTES} bytes"),
            Reason::Header(text) => write!(f, "'{text}' is not of the form ngram ORDER=COUNT"),
            Reason::Orders { found, expected } => {
                write!(f, "order {found} is announced where order {expected} should be")
            }
            Reason::OrderTooHigh(order) => {
                write!(f, "order {order} is above the limit of {MAX_ORDER}")
            }
            Reason::TooMany(count) => {
                write!(f, "{count} n-grams are announced, the limit is {MAX_NGRAMS}")
            }
            Reason::NoUnigrams => f.write_str("no 1-grams are announced"),
            Reason::Heading(text) => write!(f, "'{text}' is no heading"),
            Reason::NotAnnounced(order) => {
                write!(f, "a section of {order}-grams, which the header does not announce")
            }
            Reason::SectionAgain(order) => {
                write!(f, "a section of {order}-grams, whose turn was before")
            }
            Reason::NoSection(order) => write!(f, "the section of the {order}-grams is missing"),
            Reason::Count { order, announced, found } => {
                write!(f, "{announced} {order}-grams are announced, but there are ")?;
                let more = if found > announced { "or more" } else { "of them" };
                write!(f, "{found} {more}")
            }
            _ => self.fmt_entry(f),
        }
    }
}

impl Reason {
    /// The sentences about n-grams.
    fn fmt_entry(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Reason::Words { order, found } if found > order => {
                write!(f, "more than {order} words in a line of {order}-grams")
            }
            Reason::Words { order, found } => {
                write!(f, "{found} words in a line of {order}-grams")
            }
            Reason::WordTooLong => write!(f, "a word of more than {MAX_WORD_BYTES} bytes"),
            Reason::WordHasNul => f.write_str("a word with a NUL byte inside"),
            Reason::Number(text) => write!(f, "'{text}' is not a finite number"),
            Reason::Positive(text) => write!(f, "the log probability {text} is above 0"),
            Reason::MinusInfinity => {
                f.write_str("the log probability -inf; for a probability of zero write -99")
            }
            Reason::Backoff(text) => {
                write!(f, "the back-off weight {text} on an n-gram of the highest order")
            }
            _ => f.write_str("malformed"),
        }
    }
}
