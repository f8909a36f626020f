//! The one place where bytes of a file are read by position: every read is checked.

use super::error::{ParseError, Reason};
use super::limits::MAX_STRING_BYTES;

/// A position in a file. A read that does not fit leaves the position where it was.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// `at` may lie past the end: then every read fails.
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Cursor { bytes, at }
    }

    /// The same file at another place.
    pub fn moved_to(&self, at: usize) -> Self {
        Cursor { at, ..*self }
    }

    /// Bytes from the start of the file.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// Bytes from here to the end of the file.
    pub fn left(&self) -> u64 {
        self.bytes.len().saturating_sub(self.at) as u64
    }

    /// The next `len` bytes.
    #[inline]
    pub fn take(&mut self, len: u64) -> Result<&'a [u8], ParseError> {
        let taken = usize::try_from(len)
            .ok()
            .and_then(|len| self.at.checked_add(len))
            .and_then(|end| Some((end, self.bytes.get(self.at..end)?)));
        let Some((end, taken)) = taken else {
            return Err(self.error(Reason::Truncated { needed: len, left: self.left() }));
        };
        self.at = end;
        Ok(taken)
    }

    /// The next `N` bytes by value.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], ParseError> {
        match self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()) {
            Some(chunk) => {
                self.at = self.at.saturating_add(N);
                Ok(*chunk)
            }
            None => Err(self.error(Reason::Truncated { needed: N as u64, left: self.left() })),
        }
    }

    #[inline]
    pub fn u32(&mut self) -> Result<u32, ParseError> {
        self.array().map(u32::from_le_bytes)
    }

    #[inline]
    pub fn u64(&mut self) -> Result<u64, ParseError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A GGUF string: its length as u64, then its bytes. An error points at the length.
    #[inline]
    pub fn string(&mut self) -> Result<&'a [u8], ParseError> {
        let mut next = *self;
        let len = next.u64()?;
        if len > MAX_STRING_BYTES && len <= next.left() {
            return Err(self.error(Reason::StringTooLong(len)));
        }
        let Ok(taken) = next.take(len) else {
            return Err(self.error(Reason::Truncated { needed: len, left: next.left() }));
        };
        *self = next;
        Ok(taken)
    }

    /// `reason`, here.
    pub fn error(&self, reason: Reason) -> ParseError {
        ParseError::new(reason, self.at)
    }
}
