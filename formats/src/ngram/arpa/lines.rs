//! Lines of a text, from memory or from any reader.

use core::convert::Infallible;

/// A source of lines. One line is there at a time.
pub trait Lines {
    /// Why it can fail.
    type Error;

    /// Moves to the next line, the first time to the first; `false` at the end of the text. A line
    /// of more than [`MAX_LINE_BYTES`](super::MAX_LINE_BYTES) may be cut after one byte more.
    fn advance(&mut self) -> Result<bool, Self::Error>;

    /// The line, without its LF.
    fn line(&self) -> &[u8];
}

/// The lines of a text in memory.
#[derive(Clone, Copy, Debug)]
pub struct SliceLines<'a> {
    line: &'a [u8],
    rest: &'a [u8],
}

impl<'a> SliceLines<'a> {
    /// The lines of `text`.
    pub fn new(text: &'a [u8]) -> Self {
        SliceLines { line: &[], rest: text }
    }
}

impl Lines for SliceLines<'_> {
    type Error = Infallible;

    fn advance(&mut self) -> Result<bool, Infallible> {
        if self.rest.is_empty() {
            return Ok(false);
        }
        let mut parts = self.rest.splitn(2, |&byte| byte == b'\n');
        self.line = parts.next().unwrap_or_default();
        self.rest = parts.next().unwrap_or_default();
        Ok(true)
    }

    fn line(&self) -> &[u8] {
        self.line
    }
}

/// The lines of a reader, in memory for the longest line.
#[cfg(feature = "std")]
#[derive(Debug)]
pub struct ReadLines<R> {
    reader: R,
    line: std::vec::Vec<u8>,
}

#[cfg(feature = "std")]
impl<R: std::io::BufRead> ReadLines<R> {
    /// The lines that `reader` gives.
    pub fn new(reader: R) -> Self {
        ReadLines { reader, line: std::vec::Vec::new() }
    }

    /// The reader, wherever it is.
    pub fn get_ref(&self) -> &R {
        &self.reader
    }
}

#[cfg(feature = "std")]
impl<R: std::io::BufRead> Lines for ReadLines<R> {
    type Error = std::io::Error;

    fn advance(&mut self) -> std::io::Result<bool> {
        use std::io::{BufRead as _, Read as _};
        self.line.clear();
        // One for what is too long, one for its LF.
        let limit = super::MAX_LINE_BYTES as u64 + 2;
        let read = self.reader.by_ref().take(limit).read_until(b'\n', &mut self.line)?;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        }
        Ok(read > 0)
    }

    fn line(&self) -> &[u8] {
        &self.line
    }
}
