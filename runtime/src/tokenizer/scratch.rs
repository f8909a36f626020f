//! Memory that is lent for one text.

use crate::memory::{Carver, TooSmall};

/// Lent memory of which a part may be in use already.
#[derive(Debug, Default)]
pub(super) struct Scratch<'s> {
    rest: &'s mut [u8],
    used: usize,
}

impl<'s> Scratch<'s> {
    /// What is left after `used` bytes.
    pub(super) fn after(used: usize, rest: &'s mut [u8]) -> Self {
        Scratch { rest, used }
    }

    /// The same memory, for a while.
    pub(super) fn reborrow(&mut self) -> Scratch<'_> {
        Scratch { rest: self.rest, used: self.used }
    }

    /// `len` bytes, and what is left.
    pub(super) fn split(self, len: usize) -> Result<(&'s mut [u8], Scratch<'s>), TooSmall> {
        let error = self.too_small(len);
        let (part, rest) = self.rest.split_at_mut_checked(len).ok_or(error)?;
        Ok((part, Scratch { rest, used: self.used + len }))
    }

    /// The rest, if it has that many bytes, to be cut up. It can be had again afterwards.
    pub(super) fn carver(&mut self, bytes: usize) -> Result<Carver<'_>, TooSmall> {
        if bytes > self.rest.len() {
            return Err(self.too_small(bytes));
        }
        Ok(Carver::new(self.rest))
    }

    fn too_small(&self, more: usize) -> TooSmall {
        let given = self.used + self.rest.len();
        TooSmall { needed: self.used.saturating_add(more), given }
    }
}
