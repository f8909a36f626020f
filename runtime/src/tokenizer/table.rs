//! A hash table of ids in a lent slice: open addressing, linear probing, half full at most.
//!
//! An entry keeps 10 bits of the hash beside the id, so that a probe rarely reads a text that is
//! not the one in question. The texts come from a file, which may have been made to collide: a
//! probe sequence longer than any honest one refuses the file instead of taking quadratic time.

use super::MAX_WORDS;

/// Bits of an id in an entry; those above are of the hash.
const ID_BITS: u32 = 22;
const _: () = assert!(MAX_WORDS <= 1 << ID_BITS);
/// Different tags: the last is that of an empty entry.
const TAGS: u64 = (1 << (32 - ID_BITS)) - 1;
const EMPTY: u32 = u32::MAX;

/// Entries of a table for `count` ids.
pub(super) const fn capacity(count: usize) -> usize {
    count.saturating_mul(2).saturating_add(1)
}

/// Probes after which a file is hostile: with random hashes the longest run in a table of 2^21
/// entries that is half full has about 100.
pub(super) const MAX_PROBES: usize = 512;

/// Texts of equal tags that are compared before a file is hostile: one in 1,023 probes meets an
/// equal tag by chance, and a comparison of long texts is dear.
const MAX_COMPARISONS: usize = 16;

/// More than [`MAX_PROBES`] ids compete for a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowded;

/// Ids by hash, to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    entries: &'a [u32],
}

/// A table that is being filled.
#[derive(Debug)]
pub(super) struct TableBuilder<'a> {
    entries: &'a mut [u32],
}

impl<'a> TableBuilder<'a> {
    /// An empty table in `entries`, whose length is [`capacity`] of the ids to come.
    pub(super) fn new(entries: &'a mut [u32]) -> Self {
        entries.fill(EMPTY);
        TableBuilder { entries }
    }

    /// Adds an id, unless `same` says of one with this hash that it is the same text. Returns
    /// whether it was added.
    #[inline]
    pub(super) fn insert(
        &mut self,
        hash: u64,
        id: u32,
        mut same: impl FnMut(u32) -> bool,
    ) -> Result<bool, Crowded> {
        let tag = tag(hash);
        let mut at = place(hash, self.entries.len());
        let mut comparisons = 0;
        for _ in 0..MAX_PROBES {
            match self.entries.get_mut(at) {
                Some(entry) if *entry == EMPTY => {
                    *entry = tag | id;
                    return Ok(true);
                }
                Some(entry) if *entry & !ID_MASK == tag => {
                    if same(*entry & ID_MASK) {
                        return Ok(false);
                    }
                    comparisons += 1;
                    if comparisons > MAX_COMPARISONS {
                        break;
                    }
                    at += 1;
                }
                Some(_) => at += 1,
                None => at = 0,
            }
        }
        Err(Crowded)
    }

    /// See [`Table::guess`].
    #[inline]
    pub(super) fn guess(&self, hash: u64) -> u32 {
        Table { entries: self.entries }.guess(hash)
    }

    pub(super) fn finish(self) -> Table<'a> {
        Table { entries: self.entries }
    }
}

impl Table<'_> {
    /// The id with this hash of which `same` says that it is the text in question.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut same: impl FnMut(u32) -> bool) -> Option<u32> {
        let tag = tag(hash);
        let mut at = place(hash, self.entries.len());
        let mut comparisons = 0;
        for _ in 0..=MAX_PROBES {
            match self.entries.get(at) {
                Some(&EMPTY) => return None,
                Some(entry) if entry & !ID_MASK == tag => {
                    if same(entry & ID_MASK) {
                        return Some(entry & ID_MASK);
                    }
                    comparisons += 1;
                    if comparisons > MAX_COMPARISONS {
                        return None;
                    }
                    at += 1;
                }
                Some(_) => at += 1,
                None => at = 0,
            }
        }
        None
    }

    /// What stands at the first place of a hash: the id in question more often than not, another,
    /// or no id at all. To be read ahead, for many hashes at once.
    #[inline]
    pub(super) fn guess(&self, hash: u64) -> u32 {
        let entry = self.entries.get(place(hash, self.entries.len()));
        entry.copied().unwrap_or_default() & ID_MASK
    }
}

const ID_MASK: u32 = (1 << ID_BITS) - 1;

/// The part of a hash that an entry keeps, in its place above the id.
#[inline]
fn tag(hash: u64) -> u32 {
    ((((hash & 0xFFFF_FFFF) * TAGS) >> 32) as u32) << ID_BITS
}

/// The first place to look: the high half of the hash, scaled to the table.
#[inline]
pub(super) fn place(hash: u64, capacity: usize) -> usize {
    (((hash >> 32) * capacity as u64) >> 32) as usize
}

const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// A hash whose halves are both good, of a few nanoseconds for a short text.
#[inline]
pub(super) fn hash(text: &[u8]) -> u64 {
    let mut state = MULTIPLIER;
    for_each_word(text, |word| state = mix(state, word));
    finish(state, text.len())
}

/// The hash of a text, perhaps after one byte more, and which of two bytes the text has. They are
/// not 0.
#[inline]
pub(super) fn hash_and_look(
    before: Option<u8>,
    text: &[u8],
    looked_for: [u8; 2],
) -> (u64, [bool; 2]) {
    let mut state = MULTIPLIER;
    let mut found = [0; 2];
    let mut look = |word: u64| {
        found[0] |= equal_bytes(word, looked_for[0]);
        found[1] |= equal_bytes(word, looked_for[1]);
    };
    let mut rest = Some(text);
    let mut len = text.len();
    if let Some(before) = before {
        let (head, tail) = text.split_at(text.len().min(7));
        let word = tail_word(head);
        look(word);
        state = mix(state, word << 8 | u64::from(before));
        rest = (head.len() == 7).then_some(tail);
        len += 1;
    }
    if let Some(rest) = rest {
        for_each_word(rest, |word| {
            look(word);
            state = mix(state, word);
        });
    }
    (finish(state, len), found.map(|found| found != 0))
}

/// Not 0 if one of a word's bytes is `byte`: a byte of the difference that is 0 borrows from its
/// high bit (Hacker's Delight, 6-1).
#[inline]
fn equal_bytes(word: u64, byte: u8) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let difference = word ^ (ONES * u64::from(byte));
    difference.wrapping_sub(ONES) & !difference & ONES << 7
}

/// Calls `each` with every 8 bytes, and with the 0 to 7 that are left.
#[inline]
fn for_each_word(text: &[u8], mut each: impl FnMut(u64)) {
    let mut words = text.chunks_exact(8);
    for word in &mut words {
        each(word.first_chunk().map_or(0, |&word| u64::from_le_bytes(word)));
    }
    each(tail_word(words.remainder()));
}

/// The same hash of a text that comes byte by byte.
pub(super) fn hash_bytes(text: impl Iterator<Item = u8>) -> u64 {
    let mut state = MULTIPLIER;
    let mut word = 0;
    let mut len = 0;
    for byte in text {
        word |= u64::from(byte) << (len % 8 * 8);
        len += 1;
        if len % 8 == 0 {
            state = mix(state, word);
            word = 0;
        }
    }
    finish(mix(state, word), len)
}

/// Spreads a number that is a key itself.
#[inline]
pub(super) fn hash_key(key: u64) -> u64 {
    finish(mix(MULTIPLIER, key), 0)
}

#[inline]
fn mix(state: u64, word: u64) -> u64 {
    let product = (state ^ word).wrapping_mul(MULTIPLIER);
    product ^ product >> 32
}

#[inline]
fn finish(state: u64, len: usize) -> u64 {
    let product = (state ^ len as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    product ^ product >> 32
}

/// Up to 7 bytes, little-endian, filled up with zeros. The two halves overlap where they agree.
#[inline]
fn tail_word(tail: &[u8]) -> u64 {
    if let (Some(&low), Some(&high)) = (tail.first_chunk(), tail.last_chunk()) {
        let (low, high) = (u32::from_le_bytes(low), u32::from_le_bytes(high));
        let shift = (tail.len().wrapping_sub(4) * 8) & 63;
        return u64::from(low) | u64::from(high) << shift;
    }
    let byte = |at: usize| u64::from(tail.get(at).copied().unwrap_or_default()) << (at * 8);
    byte(0) | byte(1) | byte(2)
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    #[test]
    fn both_hashes_agree() {
        let text: vec::Vec<u8> = (1..=40).map(|n| n * 6).collect();
        for start in 0..8 {
            for end in start..text.len() {
                let part = &text[start..end];
                assert_eq!(hash(part), hash_bytes(part.iter().copied()), "{part:?}");
                for byte in 1..=255 {
                    let found = [part.contains(&byte), part.contains(&6)];
                    assert_eq!(hash_and_look(None, part, [byte, 6]), (hash(part), found));
                    if let Some((&first, rest)) = part.split_first() {
                        let found = [rest.contains(&6), rest.contains(&byte)];
                        let hash = hash(part);
                        assert_eq!(hash_and_look(Some(first), rest, [6, byte]), (hash, found));
                    }
                }
            }
        }
    }

    /// Short numbers in a row, as vocabularies have them, spread well.
    #[test]
    fn probe_sequences_are_short() {
        let count = 200_000u32;
        let mut entries = vec![1; capacity(count as usize)];
        let mut table = TableBuilder::new(&mut entries);
        let text = |id: u32| std::format!("<unused{id}>");
        for id in 0..count {
            table.insert(hash(text(id).as_bytes()), id, |_| false).unwrap();
        }
        let table = table.finish();
        let longest = table.entries.split(|&entry| entry == EMPTY).map(<[u32]>::len).max();
        assert!(longest < Some(150), "{longest:?}");
        for id in 0..count {
            let found = table.find(hash(text(id).as_bytes()), |found| found == id);
            assert_eq!(found, Some(id));
        }
    }

    #[test]
    fn collisions_are_refused() {
        let mut entries = vec![0; capacity(1000)];
        let mut table = TableBuilder::new(&mut entries);
        assert!((0..1000).any(|id| table.insert(7, id, |_| false).is_err()));
    }
}
