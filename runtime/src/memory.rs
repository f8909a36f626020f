//! Lent memory: measure first, then carve the same pieces in the same order.
//!
//! A constructor names its pieces twice, in the same order: to [`Measure`], which counts the bytes
//! that `bytes_needed` reports, and to [`Carver`], which hands out typed pieces of a lent
//! `&mut [u8]`. A test of each constructor lends exactly what was asked.

use bytemuck::Pod;

/// Every piece starts at a multiple of this: a cache line, and the widest vector.
pub const ALIGN: usize = 64;

/// The lent buffer is smaller than what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSmall {
    /// Bytes that the whole construction needs, as far as it got.
    pub needed: usize,
    /// Bytes that were lent.
    pub given: usize,
}

impl core::fmt::Display for TooSmall {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} bytes of memory are needed, {} were lent", self.needed, self.given)
    }
}

impl core::error::Error for TooSmall {}

/// Counts the bytes of a sequence of pieces.
#[derive(Clone, Copy, Debug, Default)]
pub struct Measure {
    bytes: usize,
}

impl Measure {
    /// Adds a piece of `len` values of `T`. Saturates, so that an absurd size is refused later.
    pub fn add<T: Pod>(&mut self, len: usize) -> &mut Self {
        self.bytes = self.bytes.saturating_add(padded(len.saturating_mul(size_of::<T>())));
        self
    }

    /// Bytes of the pieces alone.
    pub fn pieces(&self) -> usize {
        self.bytes
    }

    /// Bytes to lend, with room to align the first piece wherever the buffer starts.
    pub fn bytes(&self) -> usize {
        self.bytes.saturating_add(ALIGN - 1)
    }
}

/// Bytes of a piece with what follows it up to the next one. Saturates.
fn padded(bytes: usize) -> usize {
    bytes.checked_next_multiple_of(ALIGN).unwrap_or(usize::MAX)
}

/// Cuts a lent buffer into aligned, typed pieces.
#[derive(Debug)]
pub struct Carver<'a> {
    rest: &'a mut [u8],
    given: usize,
}

impl<'a> Carver<'a> {
    /// Starts at the first aligned byte of `buffer`.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        let given = buffer.len();
        let skip = buffer.as_ptr().align_offset(ALIGN).min(given);
        Carver { rest: buffer.get_mut(skip..).unwrap_or_default(), given }
    }

    /// The next piece: `len` values of `T`, with whatever bits the buffer had.
    pub fn take<T: Pod>(&mut self, len: usize) -> Result<&'a mut [T], TooSmall> {
        let bytes = len.saturating_mul(size_of::<T>());
        let padded = padded(bytes);
        let left = self.rest.len();
        let used = self.given.saturating_sub(left);
        // The last piece need not be padded.
        let len = (bytes <= left).then_some(padded.min(left));
        let piece = len.and_then(|len| self.rest.split_off_mut(..len)?.get_mut(..bytes));
        piece
            .and_then(|piece| bytemuck::try_cast_slice_mut(piece).ok())
            .ok_or(TooSmall { needed: used.saturating_add(padded), given: self.given })
    }
}
