//! Tokens in the order of their bytes, in which those that begin with some bytes are neighbours: what a
//! trie does, in four bytes a token.

use super::error::LoadError;
use super::longest::MAX_LEN;
use super::vocabulary::{TokenKind, Vocabulary};
use crate::memory::{Carver, Measure};

/// Some tokens of a vocabulary, sorted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sorted<'a> {
    ids: &'a [u32],
    /// For each first byte, where tokens of it begin; one more at the end.
    firsts: &'a [u32],
}

/// Tokens that begin with some bytes.
#[derive(Clone, Copy)]
pub(super) struct Branch<'s> {
    ids: &'s [u32],
    /// Of how many bytes.
    depth: usize,
}

/// Adds what [`Sorted::new`] takes for a vocabulary of that many tokens.
pub(super) fn measure(memory: &mut Measure, tokens: usize) {
    memory.add::<u32>(tokens).add::<u32>(257);
}

impl<'a> Sorted<'a> {
    /// The tokens for which `holds` says so and that have text. Of equal texts the first is kept.
    pub(super) fn new(
        vocabulary: &Vocabulary<'a>,
        holds: impl Fn(u32, TokenKind) -> bool,
        memory: &mut Carver<'a>,
    ) -> Result<Self, LoadError> {
        let ids = memory.take::<u32>(vocabulary.len())?;
        let firsts = memory.take::<u32>(257)?;
        let mut len = 0;
        for id in 0..vocabulary.len() as u32 {
            let kind = vocabulary.kind(id).unwrap_or(TokenKind::Unused);
            let text = vocabulary.text(id);
            if holds(id, kind) && !text.is_empty() && text.len() <= MAX_LEN {
                ids[len] = id;
                len += 1;
            }
        }
        let ids = ids.get_mut(..len).unwrap_or_default();
        ids.sort_unstable_by_key(|&id| (vocabulary.text(id), id));
        let first_byte = |id| byte_at(vocabulary, id, 0).map_or(0, usize::from);
        let mut at = 0;
        for (byte, first) in firsts.iter_mut().enumerate() {
            while ids.get(at).is_some_and(|&id| first_byte(id) < byte) {
                at += 1;
            }
            *first = at as u32;
        }
        Ok(Sorted { ids, firsts })
    }

    /// The tokens that begin with a byte.
    pub(super) fn begin(&self, byte: u8) -> Branch<'a> {
        let place = |at: usize| self.firsts.get(at).map_or(0, |&first| first as usize);
        let (start, end) = (place(usize::from(byte)), place(usize::from(byte) + 1));
        Branch { ids: self.ids.get(start..end).unwrap_or_default(), depth: 1 }
    }
}

impl Branch<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The token of these bytes and no more: shorter ones are in front.
    pub(super) fn token(&self, vocabulary: &Vocabulary<'_>) -> Option<u32> {
        let first = self.ids.first().copied()?;
        byte_at(vocabulary, first, self.depth).is_none().then_some(first)
    }

    /// Those that go on with a byte.
    pub(super) fn next(self, vocabulary: &Vocabulary<'_>, byte: u8) -> Self {
        let at = |id: u32| byte_at(vocabulary, id, self.depth);
        let start = self.ids.partition_point(|&id| at(id) < Some(byte));
        let rest = self.ids.get(start..).unwrap_or_default();
        // Most branches are narrow: what goes on with another byte is near.
        let len = rest.partition_point(|&id| at(id) == Some(byte));
        Branch { ids: rest.get(..len).unwrap_or_default(), depth: self.depth + 1 }
    }
}

/// A byte of a token's text, if it has so many.
#[inline]
fn byte_at(vocabulary: &Vocabulary<'_>, id: u32, at: usize) -> Option<u8> {
    vocabulary.text(id).get(at).copied()
}
