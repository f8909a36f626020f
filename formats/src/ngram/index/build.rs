//! Writing a model's file again, with an index.

use std::io::{self, Write};
use std::string::ToString as _;
use std::vec;
use std::vec::Vec;

use xxhash_rust::xxh64::Xxh64;

use super::{
    BUCKET, CODE_BITS, I64, MARK, MAX_SEARCHED, TAG_SHIFT, TENSOR, extended, following, home,
    marked, tag, words_of_slot,
};
use crate::gguf::{BuildError, Builder, IoSink, TensorType};
use crate::ngram::level::Range;
use crate::ngram::{Trie, VALUE_BITS_EXACT, keys};

/// Slots for so many n-grams: a table that is fuller searches longer, an emptier one is larger.
const SLOTS: usize = 5;
const N_GRAMS: usize = 4;
/// Attempts with other hashes or more slots. A second one is rare; two n-grams that are the same, as
/// damage may have it, never get different slots.
const ATTEMPTS: u64 = 16;
/// Bytes at which the tensors begin: no bucket lies in two cache lines.
const ALIGNMENT: u32 = 64;
const ALIGNMENT_KEY: &str = "general.alignment";

/// Writes the file of this model with an index; one that it has is replaced. Takes memory for the index,
/// and 16 bytes for each n-gram of the two largest neighbouring levels but the last.
pub fn write_indexed(trie: &Trie<'_>, out: impl Write) -> io::Result<()> {
    let (seed, table) = table_of(trie)?;
    let gguf = trie.gguf();
    let tensors = || gguf.tensors().filter(|tensor| tensor.name() != TENSOR);
    let mut hasher = Xxh64::new(0);
    tensors().for_each(|tensor| hasher.update(tensor.data()));
    table.pieces().for_each(|piece| hasher.update(piece.as_flattened()));
    let checksum = hasher.digest();

    let describe = || -> Result<Builder, BuildError> {
        let mut builder = Builder::new();
        if gguf.get(ALIGNMENT_KEY).is_none() {
            builder.set(ALIGNMENT_KEY, ALIGNMENT)?;
        }
        for (key, value) in gguf.metadata() {
            match key {
                keys::CHECKSUM => builder.set(key, checksum)?,
                keys::INDEX_SEED => {}
                _ => builder.set(key, value)?,
            }
        }
        builder.set(keys::INDEX_SEED, seed)?;
        for tensor in tensors() {
            builder.add_tensor(tensor.name(), tensor.dims(), tensor.tensor_type())?;
        }
        if let Some(i64) = TensorType::from_id(I64) {
            builder.add_tensor(TENSOR, &[(table.buckets.len() * BUCKET) as u64], i64)?;
        }
        Ok(builder)
    };
    let builder = describe()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    let mut data = builder.write_index(IoSink(out))?;
    for tensor in tensors() {
        data.write(tensor.data())?;
    }
    for piece in table.pieces() {
        data.write(piece.as_flattened())?;
    }
    data.finish()?.0.flush()
}

/// The table of all n-grams from 2 words on, and the hashes' seed.
fn table_of(trie: &Trie<'_>) -> io::Result<(u64, Table)> {
    let words = words_of_slot(trie);
    let lengths = (2..=trie.order()).map(|length| trie.n_grams(length));
    let n_grams = lengths.fold(0, usize::saturating_add);
    let mut buckets = n_grams.saturating_mul(SLOTS).div_ceil(N_GRAMS * BUCKET / words).max(1);
    let mut seed = 0;
    for _ in 0..ATTEMPTS {
        let mut table = Table { buckets: Vec::new(), words };
        let room = table.buckets.try_reserve_exact(buckets);
        room.map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        table.buckets.resize(buckets, [0; BUCKET]);
        match fill(trie, seed, &mut table)? {
            Ok(()) => return Ok((seed, table)),
            Err(Refusal::Collision) => seed += 1,
            Err(Refusal::Crowded) => buckets += buckets / 8 + 1,
        }
    }
    Err(damaged())
}

/// What a level's n-grams are the contexts of the next level's with.
#[derive(Default)]
struct Contexts {
    hashes: Vec<u64>,
    /// The last word.
    words: Vec<u32>,
    /// Where the n-gram without its first word stands, one level below.
    suffixes: Vec<u32>,
}

fn fill(trie: &Trie<'_>, seed: u64, table: &mut Table) -> io::Result<Result<(), Refusal>> {
    let words: Vec<u32> = (0..trie.n_words() as u32).collect();
    let hashes = words.iter().map(|&word| extended(seed, word)).collect();
    let mut contexts = Contexts { hashes, suffixes: vec![0; words.len()], words };
    for length in 2..=trie.order() {
        let mut next = Contexts::default();
        if length < trie.order() {
            let n = trie.n_grams(length);
            next.hashes.reserve_exact(n);
            next.words.reserve_exact(n);
            next.suffixes.reserve_exact(n);
        }
        let mut last = 0;
        for (context, (&hash, &suffix)) in (0..).zip(contexts.hashes.iter().zip(&contexts.suffixes))
        {
            let siblings = match length {
                2 => 0,
                _ => children(trie, length - 2, suffix)?.begin,
            };
            let Range { begin, end } = children(trie, length - 1, context)?;
            // Each n-gram has one context: otherwise a small file could take any time.
            if begin != last {
                return Err(damaged());
            }
            last = end;
            for index in begin..end {
                let key = trie.key(length, index).ok_or_else(damaged)?;
                let suffix = siblings.checked_add(key).ok_or_else(damaged)?;
                let word = contexts.words.get(suffix as usize).ok_or_else(damaged)?;
                let hash = extended(hash, *word);
                let codes = trie.codes(length, index).ok_or_else(damaged)?;
                if let Err(refusal) = table.insert(hash, codes) {
                    return Ok(Err(refusal));
                }
                if length < trie.order() {
                    next.hashes.push(hash);
                    next.words.push(*word);
                    next.suffixes.push(suffix);
                }
            }
        }
        contexts = next;
    }
    Ok(Ok(()))
}

fn children(trie: &Trie<'_>, length: usize, index: u32) -> io::Result<Range> {
    let entry = if length == 1 { trie.unigram(index) } else { trie.get(length, index) };
    Ok(entry.ok_or_else(damaged)?.children)
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the model is damaged")
}

/// Why an n-gram got no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// Another would be found in its place.
    Collision,
    /// There is none where it is searched for.
    Crowded,
}

struct Table {
    buckets: Vec<[u64; BUCKET]>,
    /// Of a slot.
    words: usize,
}

impl Table {
    /// Puts an n-gram into the first bucket with room. All slots that a search for it looks at have been
    /// looked at then, since full buckets stay as they are.
    fn insert(&mut self, hash: u64, (probability, backoff): (u64, u64)) -> Result<(), Refusal> {
        let (n, words) = (self.buckets.len(), self.words);
        let value = match words {
            1 => [tag(hash) | probability | backoff << CODE_BITS, 0],
            _ => [tag(hash), probability | backoff << 32],
        };
        let mut place = home(hash, n);
        for _ in 0..MAX_SEARCHED {
            let Some(bucket) = self.buckets.get_mut(place) else { break };
            for slot in bucket.chunks_exact_mut(words) {
                let head = slot.first().copied().unwrap_or(0);
                if head == 0 {
                    slot.iter_mut().zip(value).for_each(|(word, value)| *word = value);
                    return Ok(());
                }
                if head ^ tag(hash) < 1 << TAG_SHIFT {
                    return Err(Refusal::Collision);
                }
            }
            if let Some(head) = bucket.get_mut(marked(hash, BUCKET / words) * words) {
                *head |= MARK;
            }
            place = following(place, n);
        }
        Err(Refusal::Crowded)
    }

    /// The table's bytes, in pieces.
    fn pieces(&self) -> impl Iterator<Item = Vec<[u8; 8]>> + '_ {
        let bytes = |piece: &[[u64; BUCKET]]| {
            piece.as_flattened().iter().map(|word| word.to_le_bytes()).collect()
        };
        self.buckets.chunks(1 << 12).map(bytes)
    }
}

const _: () = assert!(VALUE_BITS_EXACT == 32, "two values in one word");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_hashes_are_refused() {
        let mut table = Table { buckets: vec![[0; BUCKET]; 4], words: 1 };
        for i in 1..=9 {
            assert_eq!(table.insert(i, (i, 0)), Ok(()), "all begin in the first bucket");
        }
        assert_eq!(table.insert(3, (0, 0)), Err(Refusal::Collision));
        assert_eq!(table.insert(9, (0, 0)), Err(Refusal::Collision), "in the second bucket");
        // The same tag, but another bucket to begin in.
        assert_eq!(table.insert(1 << 63 | 3, (0, 0)), Ok(()));
        assert_eq!(table.insert(1 << 62 | 9, (0, 0)), Err(Refusal::Collision));
    }

    #[test]
    fn a_crowd_is_refused() {
        for words in [1, 2] {
            let mut table = Table { buckets: vec![[0; BUCKET]; 200], words };
            let room = (MAX_SEARCHED * BUCKET / words) as u64;
            assert!((1..=room).all(|i| table.insert(i, (0, 0)).is_ok()));
            assert_eq!(table.insert(room + 1, (0, 0)), Err(Refusal::Crowded));
        }
    }
}
