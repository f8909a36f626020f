//! A level of the trie: all n-grams of one length, in order.
//!
//! Entry i of level k is the i-th k-gram in the order of its word ids (w1, …, wk). The successors of
//! a (k-1)-gram are therefore neighbours, by rising id. An entry holds
//!
//! - the **key**: at level 2 the id of w2; above, where w2 … wk stands among the successors of
//!   w2 … w(k-1) one level below, counted from 0. It rises among neighbours as the id does, but is
//!   small, because few words follow a given context (Pibiri and Venturini 2017, "remapping");
//! - where its own successors begin at the next level, relative to its block (not on the last level);
//! - the code of its probability, and of its backoff (not on the last level).
//!
//! 32 entries are a block. Widths of key and offset are those that the block needs, so that they
//! cost little where little is to be told. A directory says where each block lies, where its
//! children begin, which key is its first, and the widths.

use super::{NEVER, bits};

/// Entries of a block.
pub(super) const BLOCK: usize = 32;
/// Bits of a value that is kept as it is.
pub const VALUE_BITS_EXACT: u32 = 32;
/// Most bits of a code.
pub const MAX_CODE_BITS: u32 = 8;
/// Most bits of a key, and so of a word's id.
pub(crate) const MAX_KEY_BITS: u32 = 22;
/// Most bits of an offset: a block's entries have no more successors together.
#[cfg(feature = "std")]
pub(super) const MAX_OFFSET_BITS: u32 = 31;
/// Blocks begin at multiples of so many bytes.
pub(super) const DATA_UNIT: usize = 2;
/// Words of a directory's record: where the data begins; first key and widths; and, but on the last
/// level, where the children begin.
pub(super) const RECORD_LAST: usize = 2;
pub(super) const RECORD: usize = 3;

/// Neighbours at a level: entries from `begin` to before `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub begin: u32,
    /// Behind the last.
    pub end: u32,
}

impl Range {
    /// How many.
    pub fn len(&self) -> u32 {
        self.end.saturating_sub(self.begin)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.end <= self.begin
    }
}

/// What is known of an n-gram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// Where it stands at its level.
    pub index: u32,
    /// Its key, see the module.
    pub key: u32,
    /// log10 of its last word's probability after the others.
    pub probability: f32,
    /// log10 of what the next shorter context's probabilities are multiplied by.
    pub backoff: f32,
    /// Its successors at the next level.
    pub children: Range,
}

/// A level in a file.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Level<'a> {
    /// Records of the directory, one for each block and one behind the last.
    pub directory: &'a [u8],
    pub data: &'a [u8],
    pub probability: Values<'a>,
    pub backoff: Values<'a>,
    pub len: u32,
    /// Entries of the next level; 0 on the last.
    pub next_len: u32,
    /// Words of a record.
    pub record: usize,
}

/// How a level's probabilities or backoffs are kept: codes and the value of each code as f32; or
/// without any (`bits` is 32), the values; or not at all (0), all of them 0.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Values<'a> {
    pub bits: u32,
    pub values: &'a [u8],
}

impl Values<'_> {
    #[inline(always)]
    fn get(&self, code: u64) -> f32 {
        if self.bits == VALUE_BITS_EXACT {
            return exact(code as u32);
        }
        word(self.values, code as usize).map_or(0.0, f32::from_bits)
    }
}

/// A block, as its record tells.
#[derive(Clone, Copy)]
struct Block {
    /// Where its first entry begins in the data, in bits.
    at: u64,
    key_bits: u32,
    offset_bits: u32,
    entry_bits: u32,
    children: u32,
}

impl Level<'_> {
    /// The child with this key among the neighbours `range`.
    #[inline]
    pub fn find(&self, range: Range, key: u32) -> Option<Entry> {
        if range.is_empty() || range.end > self.len {
            return None;
        }
        let (begin, end) = (range.begin as usize, range.end as usize);
        let (first, last) = (begin / BLOCK, (end - 1) / BLOCK);
        // The last of the range's blocks that does not begin behind the key. Halving without branches:
        // the keys asked for cannot be predicted.
        let index = last_at_most(first, last - first + 1, key, |block| self.first_key(block));
        let block = self.block(index)?;
        let (from, to) = (begin.max(index * BLOCK), end.min(index * BLOCK + BLOCK));
        let at = |entry: usize| block.at + (entry % BLOCK) as u64 * u64::from(block.entry_bits);
        let read = |entry| bits::read(self.data, at(entry), block.key_bits) as u32;
        let found = last_at_most(from, to - from, key, read);
        (read(found) == key).then(|| self.entry(&block, found, key))
    }

    /// Brings what [`find`](Self::find) will look at into the cache.
    #[inline]
    pub fn touch(&self, range: Range) {
        if let Some(block) = self.block(range.begin as usize / BLOCK) {
            let at = block.at + (range.begin as usize % BLOCK) as u64 * u64::from(block.entry_bits);
            // The byte itself: its address alone would load nothing.
            core::hint::black_box(self.data.get((at >> 3) as usize).copied());
        }
    }

    /// The entry of this index.
    pub fn get(&self, index: u32) -> Option<Entry> {
        if index >= self.len {
            return None;
        }
        let index = index as usize;
        let block = self.block(index / BLOCK)?;
        let at = block.at + (index % BLOCK) as u64 * u64::from(block.entry_bits);
        let key = bits::read(self.data, at, block.key_bits) as u32;
        Some(self.entry(&block, index, key))
    }

    /// The key of this entry.
    pub fn key(&self, index: u32) -> Option<u32> {
        let index = index as usize;
        let block = self.block(index / BLOCK)?;
        let at = block.at + (index % BLOCK) as u64 * u64::from(block.entry_bits);
        Some(bits::read(self.data, at, block.key_bits) as u32)
    }

    /// The codes of probability and backoff of the entry of this index; 0 where there are no backoffs.
    #[cfg(feature = "std")]
    pub fn codes(&self, index: u32) -> Option<(u64, u64)> {
        let index = index as usize;
        let block = self.block(index / BLOCK)?;
        let at = block.at
            + (index % BLOCK) as u64 * u64::from(block.entry_bits)
            + u64::from(block.key_bits + block.offset_bits);
        let backoff = at + u64::from(self.probability.bits);
        let read = |at, values: &Values<'_>| bits::read(self.data, at, values.bits);
        Some((read(at, &self.probability), read(backoff, &self.backoff)))
    }

    /// What these codes stand for.
    #[inline(always)]
    pub fn values(&self, probability: u64, backoff: u64) -> (f32, f32) {
        let backoff = if self.backoff.bits > 0 { self.backoff.get(backoff) } else { 0.0 };
        (self.probability.get(probability), backoff)
    }

    #[inline(always)]
    fn entry(&self, block: &Block, index: usize, key: u32) -> Entry {
        let i = index % BLOCK;
        let at = block.at + i as u64 * u64::from(block.entry_bits) + u64::from(block.key_bits);
        let offset = bits::read(self.data, at, block.offset_bits) as u32;
        let at = at + u64::from(block.offset_bits);
        let probability = self.probability.get(bits::read(self.data, at, self.probability.bits));
        let at = at + u64::from(self.probability.bits);
        let mut entry = Entry {
            index: index as u32,
            key,
            probability,
            backoff: 0.0,
            children: Range::default(),
        };
        if self.record == RECORD {
            if self.backoff.bits > 0 {
                entry.backoff = self.backoff.get(bits::read(self.data, at, self.backoff.bits));
            }
            let end = if i + 1 < BLOCK && index + 1 < self.len as usize {
                let next = at + u64::from(self.backoff.bits) + u64::from(block.key_bits);
                block.children.saturating_add(bits::read(self.data, next, block.offset_bits) as u32)
            } else {
                self.children_base(index / BLOCK + 1)
            };
            let end = end.min(self.next_len);
            let begin = block.children.saturating_add(offset).min(end);
            entry.children = Range { begin, end };
        }
        entry
    }

    #[inline(always)]
    fn block(&self, index: usize) -> Option<Block> {
        let record = self.directory.get(index * self.record * 4..)?;
        let (head, rest) = record.split_first_chunk::<8>()?;
        let [a, b, c, d, e, f, g, h] = *head;
        let packed = u32::from_le_bytes([e, f, g, h]);
        let (key_bits, offset_bits) = widths(packed);
        let values = self.probability.bits + self.backoff.bits;
        Some(Block {
            at: u64::from(u32::from_le_bytes([a, b, c, d])) * (DATA_UNIT * 8) as u64,
            key_bits,
            offset_bits,
            entry_bits: key_bits + offset_bits + values,
            children: if self.record == RECORD { word(rest, 0)? } else { 0 },
        })
    }

    #[inline(always)]
    fn first_key(&self, block: usize) -> u32 {
        word(self.directory, block * self.record + 1).unwrap_or(0) & ((1 << MAX_KEY_BITS) - 1)
    }

    fn children_base(&self, block: usize) -> u32 {
        word(self.directory, block * self.record + 2).unwrap_or(0)
    }

    /// Whether every record leads into the data and to the next level: what `find` and `get` rely
    /// on to be right. (They stay in bounds whatever the file says.)
    pub fn is_directory_sound(&self) -> bool {
        let blocks = (self.len as usize).div_ceil(BLOCK);
        let Some(room) = self.data.len().checked_sub(bits::SLACK) else { return false };
        if self.directory.len() != (blocks + 1) * self.record * 4 {
            return false;
        }
        let mut children = 0;
        let blocks_fit = (0..blocks).all(|i| {
            let Some(block) = self.block(i) else { return false };
            let entries = BLOCK.min(self.len as usize - i * BLOCK) as u64;
            let end = block.at + entries * u64::from(block.entry_bits);
            let rises = self.record == RECORD_LAST || block.children >= children;
            children = block.children;
            rises && block.key_bits <= MAX_KEY_BITS && end.div_ceil(8) <= room as u64
        });
        let end = if self.record == RECORD { self.children_base(blocks) } else { 0 };
        blocks_fit && children <= end && end == self.next_len
    }
}

/// The last of `len` places (one at least) from `first` on whose key is at most `key`, where keys rise;
/// the first if there is none.
#[inline(always)]
fn last_at_most(first: usize, mut len: usize, key: u32, at: impl Fn(usize) -> u32) -> usize {
    let mut place = first;
    while len > 1 {
        let half = len / 2;
        place = core::hint::select_unpredictable(at(place + half) <= key, place + half, place);
        len -= half;
    }
    place
}

/// Widths of keys and offsets, above the first key.
fn widths(packed: u32) -> (u32, u32) {
    (packed >> MAX_KEY_BITS & 31, packed >> (MAX_KEY_BITS + 5))
}

/// An exact value by its bits, which are looked at here and not, as a unigram's, when a file is opened: that would
/// read all of it. What is beyond the bounds, or no number, becomes one of them.
#[inline(always)]
#[allow(clippy::manual_clamp)] // Which would keep NaN.
pub(super) fn exact(bits: u32) -> f32 {
    f32::from_bits(bits).max(NEVER).min(-NEVER)
}

/// The u32 of this index.
#[inline(always)]
pub(super) fn word(bytes: &[u8], index: usize) -> Option<u32> {
    let rest = bytes.get(index.checked_mul(4)?..)?;
    rest.first_chunk().map(|word| u32::from_le_bytes(*word))
}

#[cfg(feature = "std")]
pub use writer::{LevelParts, LevelWriter};

#[cfg(feature = "std")]
mod writer {
    use std::io::{self, Write};

    use super::super::bits::{self, Writer};
    use super::super::quantize::Codebook;
    use super::{BLOCK, DATA_UNIT, MAX_KEY_BITS, MAX_OFFSET_BITS};

    /// Writes a level, entry by entry in its order: packed data to one place, the directory to another.
    #[derive(Debug)]
    pub struct LevelWriter<'c, W> {
        data: W,
        directory: W,
        probability: &'c Codebook,
        /// None on the last level.
        backoff: Option<&'c Codebook>,
        waiting: [Waiting; BLOCK],
        n_waiting: usize,
        parts: LevelParts,
    }

    /// How much a [`LevelWriter`] wrote.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct LevelParts {
        /// Entries.
        pub entries: u64,
        /// Their children, which are the next level's entries; 0 on the last level.
        pub children: u64,
        /// Bytes of packed data.
        pub data_bytes: u64,
        /// Bytes of the directory.
        pub directory_bytes: u64,
    }

    #[derive(Clone, Copy, Debug, Default)]
    struct Waiting {
        key: u32,
        probability: u32,
        backoff: u32,
        children: u32,
    }

    impl<'c, W: Write> LevelWriter<'c, W> {
        /// A level whose n-grams have backoffs and successors; or, with `None` for the backoffs, the
        /// last level, whose have none.
        pub fn new(
            data: W,
            directory: W,
            probability: &'c Codebook,
            backoff: Option<&'c Codebook>,
        ) -> Self {
            let (waiting, parts) = ([Waiting::default(); BLOCK], LevelParts::default());
            LevelWriter { data, directory, probability, backoff, waiting, n_waiting: 0, parts }
        }

        /// Appends an entry (see the module `level`): its key, log10 of its probability and backoff, and how
        /// many successors it has.
        pub fn push(
            &mut self,
            key: u32,
            probability: f32,
            backoff: f32,
            children: u32,
        ) -> io::Result<()> {
            let probability = self.probability.code(probability);
            let backoff = self.backoff.map_or(0, |book| book.code(backoff));
            if let Some(place) = self.waiting.get_mut(self.n_waiting) {
                *place = Waiting { key, probability, backoff, children };
            }
            self.n_waiting += 1;
            if self.n_waiting == BLOCK { self.write_block() } else { Ok(()) }
        }

        /// Writes what waits, and the ends. Gives both places back.
        pub fn finish(mut self) -> io::Result<(LevelParts, W, W)> {
            if self.n_waiting > 0 {
                self.write_block()?;
            }
            self.write_record(0)?;
            self.data.write_all(&[0; bits::SLACK])?;
            self.parts.data_bytes += bits::SLACK as u64;
            Ok((self.parts, self.data, self.directory))
        }

        fn write_block(&mut self) -> io::Result<()> {
            let entries = self.waiting.get(..self.n_waiting).unwrap_or(&self.waiting);
            let first_key = entries.first().map_or(0, |entry| entry.key);
            let largest = entries.iter().map(|entry| entry.key).max().unwrap_or(0);
            let children: u64 = entries.iter().map(|entry| u64::from(entry.children)).sum();
            let before_last: u32 = match entries.split_last() {
                Some((last, _)) => too_large((children - u64::from(last.children)).try_into())?,
                None => 0,
            };
            let key_bits = bits::width(largest);
            let offset_bits = if self.backoff.is_some() { bits::width(before_last) } else { 0 };
            if key_bits > MAX_KEY_BITS || offset_bits > MAX_OFFSET_BITS {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            let (mut packer, mut offset) = (Writer::default(), 0);
            for entry in entries {
                packer.push(entry.key, key_bits);
                packer.push(offset, offset_bits);
                packer.push(entry.probability, self.probability.bits());
                if let Some(book) = self.backoff {
                    packer.push(entry.backoff, book.bits());
                }
                offset = offset.wrapping_add(entry.children);
            }
            let (n, packed) = (entries.len() as u64, packer.flush(DATA_UNIT));
            self.write_record(
                first_key | key_bits << MAX_KEY_BITS | offset_bits << (MAX_KEY_BITS + 5),
            )?;
            self.data.write_all(&packed)?;
            self.parts.data_bytes += packed.len() as u64;
            self.parts.entries += n;
            if self.backoff.is_some() {
                self.parts.children += children;
            }
            self.n_waiting = 0;
            Ok(())
        }

        /// The record of a block that begins here, or the one behind the last.
        fn write_record(&mut self, packed: u32) -> io::Result<()> {
            let data: u32 = too_large((self.parts.data_bytes / DATA_UNIT as u64).try_into())?;
            let children: u32 = too_large(self.parts.children.try_into())?;
            let record = [data, packed, children].map(u32::to_le_bytes);
            let record = record.as_flattened();
            let record =
                if self.backoff.is_some() { record } else { record.get(..8).unwrap_or(record) };
            self.parts.directory_bytes += record.len() as u64;
            self.directory.write_all(record)
        }
    }

    fn too_large<T, E>(result: Result<T, E>) -> io::Result<T> {
        result.map_err(|_| io::ErrorKind::FileTooLarge.into())
    }
}
