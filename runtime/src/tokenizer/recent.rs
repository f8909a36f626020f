//! The ranks that were looked up lately.
//!
//! Whether two pieces merge is found by their joined text, which costs a hash and some reads that
//! miss the caches. It depends on the two tokens only; and texts repeat themselves.

use core::cell::Cell;

use super::merge::{NO_RANK, Pairs};
use super::table;
use crate::memory::{Carver, Measure, TooSmall};

/// Pairs that are kept, each in the place that its hash gives.
const ENTRIES: usize = 1 << 12;
/// Bits of a token, and of a rank.
const TOKEN_BITS: u32 = 20;
const RANK_BITS: u32 = 24;
const _: () = assert!(super::MAX_TOKENS <= 1 << TOKEN_BITS);
const _: () = assert!(2 * TOKEN_BITS + RANK_BITS == u64::BITS);
/// The rank of a pair that does not merge, in an entry.
const NONE: u64 = (1 << RANK_BITS) - 1;
/// The key of entries that are empty: the last possible token twice, which is never kept.
const EMPTY: u64 = u64::MAX >> RANK_BITS;

/// Left token, right token and rank of pairs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recent<'s> {
    entries: &'s [Cell<u64>],
}

/// Pairs with a memory.
pub(super) struct Remembered<'p, P> {
    pub(super) pairs: &'p P,
    pub(super) recent: Recent<'p>,
}

/// Bytes of memory.
pub(super) fn bytes() -> usize {
    let mut memory = Measure::default();
    memory.add::<u64>(ENTRIES);
    memory.bytes()
}

impl<'s> Recent<'s> {
    pub(super) fn new(memory: &'s mut [u8]) -> Result<Self, TooSmall> {
        let entries = Carver::new(memory).take::<u64>(ENTRIES)?;
        entries.fill(EMPTY << RANK_BITS);
        Ok(Recent { entries: Cell::from_mut(entries).as_slice_of_cells() })
    }

    /// Without memory: nothing is kept.
    pub(super) fn none() -> Self {
        Recent { entries: &[] }
    }
}

impl<P: Pairs> Pairs for Remembered<'_, P> {
    const NEEDS_TEXT: bool = P::NEEDS_TEXT;

    fn ranks(&self) -> usize {
        self.pairs.ranks()
    }

    #[inline]
    fn rank(&self, left: u32, right: u32, joined: &[u8]) -> u32 {
        let key = u64::from(left) << TOKEN_BITS | u64::from(right);
        let place = table::place(table::hash_key(key), self.recent.entries.len());
        let is_kept = (left | right) >> TOKEN_BITS == 0 && key != EMPTY;
        let Some(entry) = self.recent.entries.get(place).filter(|_| is_kept) else {
            return self.pairs.rank(left, right, joined);
        };
        let known = entry.get();
        if known >> RANK_BITS == key {
            let rank = known & NONE;
            return if rank == NONE { NO_RANK } else { rank as u32 };
        }
        let rank = self.pairs.rank(left, right, joined);
        entry.set(key << RANK_BITS | u64::from(rank).min(NONE));
        rank
    }

    #[inline]
    fn token(&self, rank: u32) -> u32 {
        self.pairs.token(rank)
    }

    #[inline]
    fn unit(&self, byte: u8) -> u32 {
        self.pairs.unit(byte)
    }
}
