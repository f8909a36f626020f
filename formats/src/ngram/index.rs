//! A hash index beside the trie: what is known of every n-gram of two or more words, at a place that
//! a hash of its words tells.
//!
//! In the trie each length waits for the shorter one. Here all places are known from the words alone,
//! so that memory is asked for all lengths at once. The price is 10 bytes an n-gram.
//!
//! The n-grams are spread over buckets of 64 bytes, a cache line. One whose bucket is full goes to the
//! next bucket that is not, and leaves a mark on its way: a search ends at the first bucket without the
//! mark, nearly always where it began.

use super::error::TrieError;
use super::level::exact;
use super::trie::{Trie, number};
use super::{VALUE_BITS_EXACT, keys};

#[cfg(feature = "std")]
mod build;
#[cfg(feature = "std")]
pub use build::write_indexed;

/// The tensor of the slots, and its type: ggml's i64.
pub(super) const TENSOR: &str = "index.slots";
const I64: u32 = 27;
/// A bucket, in words of 64 bits.
const BUCKET: usize = 8;
/// Buckets that a search looks at, at most. So it ends, whatever a file says.
const MAX_SEARCHED: usize = 64;
/// Bits of a slot's first word below the mark: the codes of probability and backoff, 8 bits each.
const CODE_BITS: u32 = 8;
/// In slot i of a bucket: n-grams whose hash is i in its last bits went on to the next bucket.
const MARK: u64 = 1 << (2 * CODE_BITS);
/// Above it is the lowest part of the hash.
const TAG_SHIFT: u32 = 2 * CODE_BITS + 1;

/// The index of a model whose file has one.
#[derive(Clone, Copy, Debug)]
pub struct Index<'a> {
    trie: &'a Trie<'a>,
    buckets: &'a [[u8; BUCKET * 8]],
    seed: u64,
}

impl<'a> Index<'a> {
    /// The index in the model's file; `None` if it has none.
    pub fn new(trie: &'a Trie<'a>) -> Result<Option<Index<'a>>, TrieError> {
        let Some(tensor) = trie.gguf().tensor(TENSOR) else { return Ok(None) };
        let (buckets, rest) = tensor.data().as_chunks();
        let lengths = (2..=trie.order()).map(|length| trie.n_grams(length));
        let n_grams = lengths.fold(0, usize::saturating_add);
        let slots = buckets.len().saturating_mul(BUCKET / words_of_slot(trie));
        let fits = rest.is_empty() && slots > 0 && slots >= n_grams;
        if !fits || tensor.tensor_type().id() != I64 || u32::try_from(buckets.len()).is_err() {
            return Err(TrieError::Index);
        }
        Ok(Some(Index { trie, buckets, seed: number(trie.gguf(), keys::INDEX_SEED)? }))
    }

    /// The model.
    pub fn trie(&self) -> &'a Trie<'a> {
        self.trie
    }

    /// The hash of a word.
    #[inline]
    pub fn hash(&self, word: u32) -> u64 {
        extended(self.seed, word)
    }

    /// The hash of an n-gram and one more word behind it.
    #[inline]
    pub fn extended(&self, hash: u64, word: u32) -> u64 {
        extended(hash, word)
    }

    /// Brings into the cache what [`find`](Self::find) will look at.
    #[inline]
    pub fn touch(&self, hash: u64) {
        let bucket = self.buckets.get(home(hash, self.buckets.len()));
        // A byte of it: the bucket's address alone would ask for nothing.
        core::hint::black_box(bucket.map(|bucket| bucket[0]));
    }

    /// log10 of probability and backoff of the n-gram of this length (from 2) that has this hash. One
    /// that is in the model is found; one that is not is taken for another about once in 2^64 divided
    /// by the number of n-grams.
    #[inline(always)]
    pub fn find(&self, length: usize, hash: u64) -> Option<(f32, f32)> {
        if self.trie.value_bits() == VALUE_BITS_EXACT {
            let [_, values] = self.slot::<2>(hash)?;
            return Some((exact(values as u32), exact((values >> 32) as u32)));
        }
        let [codes] = self.slot::<1>(hash)?;
        let code_mask = (1 << CODE_BITS) - 1;
        Some(self.trie.values(length, codes & code_mask, codes >> CODE_BITS & code_mask))
    }

    /// The slot with this hash, of so many words.
    #[inline(always)]
    fn slot<const WORDS: usize>(&self, hash: u64) -> Option<[u64; WORDS]> {
        let tag = tag(hash);
        let mut place = home(hash, self.buckets.len());
        for _ in 0..MAX_SEARCHED {
            let (words, _) = self.buckets.get(place)?.as_chunks::<8>();
            let (slots, _) = words.as_chunks::<WORDS>();
            let head = |slot: &[[u8; 8]; WORDS]| u64::from_le_bytes(slot[0]);
            let mut at = slots.len();
            // All of them: which one it is cannot be predicted.
            for (i, slot) in slots.iter().enumerate() {
                let is_it = head(slot) ^ tag < 1 << TAG_SHIFT;
                at = core::hint::select_unpredictable(is_it, i, at);
            }
            if let Some(slot) = slots.get(at) {
                return Some(slot.map(u64::from_le_bytes));
            }
            let mark = slots.get(marked(hash, slots.len()))?;
            if head(mark) & MARK == 0 {
                return None;
            }
            place = following(place, self.buckets.len());
        }
        None
    }
}

/// Words of a slot: values that are no codes need a second one.
fn words_of_slot(trie: &Trie<'_>) -> usize {
    if trie.value_bits() == VALUE_BITS_EXACT { 2 } else { 1 }
}

/// The hash of what has the hash `hash` and one more word. Every step is a permutation of the hashes.
#[inline(always)]
fn extended(hash: u64, word: u32) -> u64 {
    // Odd numbers without pattern: the golden ratio's, and of Steele and Vigna 2021 for multiplying.
    const WORD: u64 = 0x9e37_79b9_7f4a_7c15;
    const MIX: u64 = 0xd134_2543_de82_ef95;
    let mixed = (hash ^ (u64::from(word) + 1).wrapping_mul(WORD)).wrapping_mul(MIX);
    mixed ^ (mixed >> 32)
}

/// The bucket in which a search begins, of `n`.
#[inline(always)]
fn home(hash: u64, n: usize) -> usize {
    ((u128::from(hash) * n as u128) >> 64) as usize
}

/// The bucket behind this one, of `n`.
#[inline(always)]
fn following(place: usize, n: usize) -> usize {
    if place + 1 < n { place + 1 } else { 0 }
}

/// The lowest bits of the hash, where they stand in a slot: never 0, which is an empty slot's.
#[inline(always)]
fn tag(hash: u64) -> u64 {
    (hash << TAG_SHIFT).max(1 << TAG_SHIFT)
}

/// The slot of a bucket of `slots` whose mark says that n-grams with such a hash went on.
#[inline(always)]
fn marked(hash: u64, slots: usize) -> usize {
    hash as usize % slots
}
