//! A hash table of ids in a lent slice: open addressing, linear probing, half full at most.
//!
//! An entry keeps 32 bits of the hash beside the id, so that a probe rarely reads the text it
//! stands for. The texts come from a file, which may have been made to collide: a probe sequence
//! longer than any honest one refuses the file instead of taking quadratic time.

/// Entries of a table for `count` ids.
pub(super) const fn capacity(count: usize) -> usize {
    count.saturating_mul(2).saturating_add(1)
}

/// Probes after which a file is hostile: with random hashes the longest run in a table of 2^21
/// entries that is half full has about 100.
pub(super) const MAX_PROBES: usize = 512;

/// More than [`MAX_PROBES`] ids compete for a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowded;

/// Ids by hash, to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    /// The low half of the hash, then the id plus 1; 0 where there is none.
    entries: &'a [u64],
}

/// A table that is being filled.
#[derive(Debug)]
pub(super) struct TableBuilder<'a> {
    entries: &'a mut [u64],
}

impl<'a> TableBuilder<'a> {
    /// An empty table in `entries`, whose length is [`capacity`] of the ids to come.
    pub(super) fn new(entries: &'a mut [u64]) -> Self {
        entries.fill(0);
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
        let mut at = place(hash, self.entries.len());
        for _ in 0..MAX_PROBES {
            match self.entries.get_mut(at) {
                Some(entry) if *entry == 0 => {
                    *entry = hash << 32 | u64::from(id + 1);
                    return Ok(true);
                }
                Some(entry) if *entry >> 32 == hash & 0xFFFF_FFFF && same(*entry as u32 - 1) => {
                    return Ok(false);
                }
                Some(_) => at += 1,
                None => at = 0,
            }
        }
        Err(Crowded)
    }

    pub(super) fn finish(self) -> Table<'a> {
        Table { entries: self.entries }
    }
}

impl Table<'_> {
    /// The id with this hash of which `same` says that it is the text in question.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut same: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = place(hash, self.entries.len());
        // An insertion may have wrapped once more than it probed.
        for _ in 0..=MAX_PROBES {
            match self.entries.get(at) {
                Some(0) => return None,
                Some(entry) if entry >> 32 == hash & 0xFFFF_FFFF && same(*entry as u32 - 1) => {
                    return Some(*entry as u32 - 1);
                }
                Some(_) => at += 1,
                None => at = 0,
            }
        }
        None
    }
}

/// The first place to look: the high half of the hash, scaled to the table.
#[inline]
pub(super) fn place(hash: u64, capacity: usize) -> usize {
    ((hash >> 32) * capacity as u64 >> 32) as usize
}

const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// A hash whose halves are both good, of a few nanoseconds for a short text.
#[inline]
pub(super) fn hash(text: &[u8]) -> u64 {
    let mut state = MULTIPLIER;
    let mut words = text.chunks_exact(8);
    for word in &mut words {
        state = mix(state, word.first_chunk().map_or(0, |&word| u64::from_le_bytes(word)));
    }
    finish(mix(state, tail_word(words.remainder())), text.len())
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
        return u64::from(low) | u64::from(high) << (tail.len().wrapping_sub(4) * 8 & 63);
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
        let text: vec::Vec<u8> = (1..=40).collect();
        for start in 0..8 {
            for end in start..text.len() {
                let part = &text[start..end];
                assert_eq!(hash(part), hash_bytes(part.iter().copied()), "{part:?}");
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
        let longest = table.entries.split(|&entry| entry == 0).map(<[u64]>::len).max();
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
