//! The words that a text had lately, and their tokens. Most words of a long text are among them.

use super::table;
use crate::memory::{Carver, Measure, TooSmall};

/// Bytes of a text from which on a memo is worth clearing its memory.
pub(super) const WORTHWHILE: usize = 1 << 14;

/// Words that are kept, each in the place that its hash gives.
const ENTRIES: usize = 1 << 11;
/// Bytes of the longest word that is kept, and tokens of the most.
const MAX_WORD: usize = 20;
const MAX_TOKENS: usize = 10;
/// An entry: the word, filled up with zeros; its length, and above it the number of tokens; tokens.
const WORD: usize = MAX_WORD / 4;
const ENTRY: usize = WORD + 1 + MAX_TOKENS;

/// Words and their tokens.
pub(super) struct Memo<'s> {
    entries: &'s mut [u32],
}

/// A word that may be kept.
#[derive(Clone, Copy)]
pub(super) struct Key {
    word: [u32; WORD],
    len: u32,
    /// Where its entry begins.
    at: usize,
}

/// Bytes of memory.
pub(super) fn bytes() -> usize {
    let mut memory = Measure::default();
    memory.add::<u32>(ENTRIES * ENTRY);
    memory.bytes()
}

impl<'s> Memo<'s> {
    pub(super) fn new(memory: &'s mut [u8]) -> Result<Self, TooSmall> {
        let entries = Carver::new(memory).take::<u32>(ENTRIES * ENTRY)?;
        // No word has the length 0.
        entries.fill(0);
        Ok(Memo { entries })
    }

    /// The tokens of a word, if it is here.
    #[inline]
    pub(super) fn get(&self, key: &Key) -> Option<&[u32]> {
        let (word, rest) = self.entries.get(key.at..key.at + ENTRY)?.split_at(WORD);
        let (&state, tokens) = rest.split_first()?;
        let is_here = state & 0xFF == key.len && word == key.word;
        if is_here { tokens.get(..(state >> 8) as usize) } else { None }
    }

    /// Keeps a word, in place of another.
    pub(super) fn put(&mut self, key: &Key, tokens: impl ExactSizeIterator<Item = u32>) {
        let count = tokens.len();
        let Some(entry) = self.entries.get_mut(key.at..key.at + ENTRY) else { return };
        if count > MAX_TOKENS {
            return;
        }
        let (word, rest) = entry.split_at_mut(WORD);
        word.copy_from_slice(&key.word);
        let state = key.len | (count as u32) << 8;
        for (place, value) in rest.iter_mut().zip(core::iter::once(state).chain(tokens)) {
            *place = value;
        }
    }
}

impl Key {
    /// The key of a word that is short enough.
    #[inline]
    pub(super) fn new(word: &[u8]) -> Option<Key> {
        let mut bytes = [0; MAX_WORD];
        bytes.get_mut(..word.len())?.copy_from_slice(word);
        let mut filled = [0; WORD];
        for (value, chunk) in filled.iter_mut().zip(bytes.chunks_exact(4)) {
            *value = chunk.first_chunk().map_or(0, |&chunk| u32::from_le_bytes(chunk));
        }
        let at = table::place(table::hash(word), ENTRIES) * ENTRY;
        Some(Key { word: filled, len: word.len() as u32, at })
    }
}
