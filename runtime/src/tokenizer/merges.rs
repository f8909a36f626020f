//! The merges of a byte-level vocabulary: which tokens merge, in the order of the file's list.

use mote_formats::gguf::{Array, Text};

use super::alphabet;
use super::error::LoadError;
use super::load::BLOCK;
use super::merge::{NO_RANK, NO_TOKEN, Pairs};
use super::table::{self, MAX_PROBES};
use super::vocabulary::Vocabulary;
use super::{MAX_MERGES, keys};
use crate::memory::{Carver, Measure};

/// Bits of a token, and of a rank, in an entry of the table of pairs.
const TOKEN_BITS: u32 = 20;
const RANK_BITS: u32 = 24;
const _: () = assert!(super::MAX_TOKENS <= 1 << TOKEN_BITS && MAX_MERGES < 1 << RANK_BITS);
/// An entry that holds no pair.
const EMPTY: u64 = u64::MAX;

/// Which tokens merge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Merges<'a> {
    vocabulary: Vocabulary<'a>,
    /// Left token, right token and rank, by a hash of the tokens: as [`table`] does it, but the
    /// whole key fits the entry.
    pairs: &'a [u64],
    /// What the pair of each rank merges to.
    results: &'a [u32],
    /// The token of each byte.
    units: &'a [u32],
}

/// The list in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a>(Array<'a>);

impl<'a> Source<'a> {
    pub(super) fn new(list: Option<Array<'a>>) -> Result<Self, LoadError> {
        let list = list.ok_or(LoadError::Missing(keys::MERGES))?;
        // An array without elements says nothing by its type.
        if list.strings().is_none() && !list.is_empty() {
            return Err(LoadError::WrongType(keys::MERGES));
        }
        if list.len() > MAX_MERGES {
            return Err(LoadError::TooManyMerges(list.len()));
        }
        Ok(Source(list))
    }

    pub(super) fn measure(&self, memory: &mut Measure) {
        let count = self.0.len();
        memory.add::<u64>(table::capacity(count)).add::<u32>(count).add::<u32>(256);
    }

    /// Finds the tokens of every merge. Of equal merges the first counts.
    pub(super) fn load(
        &self,
        vocabulary: &Vocabulary<'a>,
        memory: &mut Carver<'a>,
    ) -> Result<Merges<'a>, LoadError> {
        let pairs = memory.take::<u64>(table::capacity(self.0.len()))?;
        let results = memory.take::<u32>(self.0.len())?;
        let units = memory.take::<u32>(256)?;
        for (byte, unit) in units.iter_mut().enumerate() {
            let mut buffer = [0; 4];
            let text = alphabet::character_of(byte as u8).encode_utf8(&mut buffer).as_bytes();
            *unit = vocabulary.find_merged(text).unwrap_or(NO_TOKEN);
        }
        pairs.fill(EMPTY);
        let mut loader = Loader { vocabulary, pairs, results, result: 0 };
        let mut merges = self.0.strings().into_iter().flatten();
        let mut rank = 0;
        while rank < self.0.len() {
            let len = BLOCK.min(self.0.len() - rank);
            loader.add_block(rank, len, &mut merges)?;
            rank += len;
        }
        let Loader { pairs, results, .. } = loader;
        Ok(Merges { vocabulary: *vocabulary, pairs, results, units })
    }
}

/// Merges that are being read.
struct Loader<'v, 'a> {
    vocabulary: &'v Vocabulary<'a>,
    pairs: &'a mut [u64],
    results: &'a mut [u32],
    /// Of the merge before.
    result: u32,
}

impl<'a> Loader<'_, 'a> {
    fn add_block(
        &mut self,
        first: usize,
        len: usize,
        merges: &mut impl Iterator<Item = Text<'a>>,
    ) -> Result<(), LoadError> {
        let mut halves = [&[][..]; 2 * BLOCK];
        for (rank, pair) in (first..).zip(halves.chunks_exact_mut(2).take(len)) {
            let merge = merges.next().unwrap_or_default().as_bytes();
            let (left, right) = split(merge).ok_or(LoadError::MergeForm(rank))?;
            pair.copy_from_slice(&[left, right]);
        }
        let hashes = self.vocabulary.read_ahead(&halves);
        let mut tokens = [None; BLOCK];
        let merges = halves.as_chunks().0.iter().zip(hashes.as_chunks().0);
        for ((rank, tokens), (texts, hashes)) in (first..).zip(&mut tokens).zip(merges).take(len) {
            let ([left, right], [left_hash, right_hash]) = (*texts, *hashes);
            *tokens = self.find(rank, (left_hash, left), (right_hash, right))?;
        }
        let mut places = [0; BLOCK];
        for (place, tokens) in places.iter_mut().zip(&tokens) {
            *place = tokens.map_or(0, |(left, right)| self.place(left, right));
        }
        let read = |place: usize| self.pairs.get(place).copied().unwrap_or_default();
        core::hint::black_box(places.iter().fold(0, |sum, &place| sum ^ read(place)));
        for (rank, tokens) in (first..).zip(tokens) {
            if let Some((left, right)) = tokens {
                add(self.pairs, left, right, rank)?;
            }
        }
        Ok(())
    }

    /// The tokens of a merge of two texts with these hashes; none if it is about tokens that never
    /// come from text.
    #[inline]
    fn find(
        &mut self,
        rank: usize,
        (left_hash, left): (u64, &[u8]),
        (right_hash, right): (u64, &[u8]),
    ) -> Result<Option<(u32, u32)>, LoadError> {
        let tokens = (|| {
            let left_id = self.vocabulary.find_hashed(left_hash, left)?;
            let right_id = self.vocabulary.find_hashed(right_hash, right)?;
            self.result = find_result(self.vocabulary, left, right, self.result)?;
            Some((left_id, right_id))
        })();
        if let Some(result) = self.results.get_mut(rank) {
            *result = self.result;
        }
        if tokens.is_none() && !is_known(self.vocabulary, left, right) {
            return Err(LoadError::MergeToken(rank));
        }
        Ok(tokens)
    }

    fn place(&self, left: u32, right: u32) -> usize {
        table::place(table::hash_key(key(left, right)), self.pairs.len())
    }
}

impl Merges<'_> {
    /// The token that a word is as a whole, whatever the merges say.
    pub(super) fn whole_word(&self, word: &[u8]) -> Option<u32> {
        self.vocabulary.find_bytes(word)
    }
}

impl Pairs for Merges<'_> {
    const NEEDS_TEXT: bool = false;

    fn ranks(&self) -> usize {
        self.results.len()
    }

    #[inline]
    fn rank(&self, left: u32, right: u32, _joined: &[u8]) -> u32 {
        if (left | right) >> TOKEN_BITS != 0 {
            return NO_RANK;
        }
        let key = key(left, right);
        let mut at = table::place(table::hash_key(key), self.pairs.len());
        for _ in 0..=MAX_PROBES {
            match self.pairs.get(at) {
                Some(&EMPTY) => return NO_RANK,
                Some(entry) if entry >> RANK_BITS == key => {
                    return *entry as u32 & ((1 << RANK_BITS) - 1);
                }
                Some(_) => at += 1,
                None => at = 0,
            }
        }
        NO_RANK
    }

    #[inline]
    fn token(&self, rank: u32) -> u32 {
        self.results.get(rank as usize).copied().unwrap_or(NO_TOKEN)
    }

    #[inline]
    fn unit(&self, byte: u8) -> u32 {
        self.units.get(usize::from(byte)).copied().unwrap_or(NO_TOKEN)
    }
}

/// Both halves of a merge: texts of the alphabet, which has no blank (one with more is no token).
fn split(merge: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = merge.iter().position(|&byte| byte == b' ')?;
    let (left, right) = (merge.get(..blank)?, merge.get(blank + 1..)?);
    (!left.is_empty() && !right.is_empty()).then_some((left, right))
}

/// The token of `left` and `right` in a row. Vocabularies are made by adding one token for each
/// merge, so it nearly always is the token of the merge before or the next.
fn find_result(vocabulary: &Vocabulary<'_>, left: &[u8], right: &[u8], before: u32) -> Option<u32> {
    let is_result = |&id: &u32| {
        let text = vocabulary.text(id);
        text.len() == left.len() + right.len()
            && text.starts_with(left)
            && text.ends_with(right)
            && vocabulary.is_found(id)
    };
    let guess = [before + 1, before].into_iter().find(is_result);
    guess.or_else(|| vocabulary.find_joined(left, right))
}

/// Whether left, right and both in a row are tokens of any kind.
fn is_known(vocabulary: &Vocabulary<'_>, left: &[u8], right: &[u8]) -> bool {
    let known = |text: &[u8]| {
        vocabulary.find_merged(text).or_else(|| vocabulary.find_other(text)).is_some()
    };
    let mut joined = [0; 256];
    let len = left.len() + right.len();
    let Some(joined) = joined.get_mut(..len) else { return false };
    joined.iter_mut().zip(left.iter().chain(right)).for_each(|(place, byte)| *place = *byte);
    known(left) && known(right) && known(joined)
}

#[inline]
fn key(left: u32, right: u32) -> u64 {
    u64::from(left) << TOKEN_BITS | u64::from(right)
}

fn add(pairs: &mut [u64], left: u32, right: u32, rank: usize) -> Result<(), LoadError> {
    let key = key(left, right);
    let mut at = table::place(table::hash_key(key), pairs.len());
    for _ in 0..MAX_PROBES {
        match pairs.get_mut(at) {
            Some(entry) if *entry == EMPTY => {
                *entry = key << RANK_BITS | rank as u64;
                return Ok(());
            }
            Some(entry) if *entry >> RANK_BITS == key => return Ok(()),
            Some(_) => at += 1,
            None => at = 0,
        }
    }
    Err(LoadError::Collisions)
}
