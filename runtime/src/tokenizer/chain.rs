//! Merging of long words, in time that grows with n log n and 12 bytes for each byte of the word.
//!
//! A priority queue of all pairs would do, ordered by rank and then by place; but of ten million
//! bytes it has ten million entries to sift. Here a pair is an entry of a list instead, one list
//! for each rank, and a [bitmap](Ranks) finds the lowest rank in use.
//!
//! Within a rank the leftmost pair comes first, so a list must be in order of place when it is
//! drained. It nearly always is: entries are appended from left to right. A list that is not is
//! sorted, once, when its turn comes. While a list is drained, new pairs come into being only at
//! the symbol just merged, which is left of everything still listed, so that they belong in front.
//!
//! # Layout
//! Symbols are runs of bytes; `p` is the first byte of one, three words stand at each byte:
//!
//! ```text
//!            slot[]                       next[]           prev[]
//! p          rank of its pair | LONG?     list of that rank (the head's prev is the tail)
//! p+1        token            | TAIL?     length           -           LONG symbols only
//! last       TAIL                         length           -           LONG symbols only
//! ```
//! A symbol of one byte has no room for its token: the byte tells it ([`Pairs::unit`]).

use super::merge::{NO_RANK, NO_TOKEN, Pairs};
use crate::memory::{Carver, Measure, TooSmall};

/// In a symbol's first slot: it has more than one byte.
const LONG: u32 = 1 << 31;
/// In a symbol's last slot, if it has more than one byte.
const TAIL: u32 = 1 << 30;
/// The rank or token beside the flags.
const VALUE: u32 = TAIL - 1;
/// The end of a list.
const NIL: u32 = u32::MAX;

/// A long word while it is merged.
pub(super) struct Chain<'s, 'p, P> {
    pairs: &'p P,
    word: &'p [u8],
    slot: &'s mut [u32],
    next: &'s mut [u32],
    prev: &'s mut [u32],
    /// The first entry of each rank's list, where `used` says that there is one.
    heads: &'s mut [u32],
    used: Ranks<'s>,
    /// Ranks whose list is out of order.
    unsorted: &'s mut [u64],
    /// Bytes of the word that have become symbols.
    len: usize,
}

/// Adds what [`Chain::new`] takes for a word of `len` bytes and that many ranks.
pub(super) fn measure(memory: &mut Measure, len: usize, ranks: usize) {
    memory.add::<u32>(len).add::<u32>(len).add::<u32>(len).add::<u32>(ranks);
    memory.add::<u64>(Ranks::words(ranks)).add::<u64>(ranks.div_ceil(64));
}

impl<'s, 'p, P: Pairs> Chain<'s, 'p, P> {
    pub(super) fn new(
        pairs: &'p P,
        word: &'p [u8],
        memory: &mut Carver<'s>,
    ) -> Result<Self, TooSmall> {
        let ranks = pairs.ranks();
        let chain = Chain {
            pairs,
            word,
            slot: memory.take(word.len())?,
            next: memory.take(word.len())?,
            prev: memory.take(word.len())?,
            heads: memory.take(ranks)?,
            used: Ranks::new(memory.take(Ranks::words(ranks))?, ranks),
            unsorted: memory.take(ranks.div_ceil(64))?,
            len: 0,
        };
        chain.unsorted.fill(0);
        Ok(chain)
    }

    /// Appends a symbol of `len` bytes, at least 1. One byte must be of the token of
    /// [`Pairs::unit`].
    #[inline]
    pub(super) fn push(&mut self, id: u32, len: usize) {
        self.set_symbol(self.len, len, id);
        self.len += len;
    }

    /// Merges until nothing merges.
    pub(super) fn merge(&mut self) {
        self.list_pairs();
        while let Some(rank) = self.used.first() {
            if self.unsorted[rank / 64] >> (rank % 64) & 1 == 1 {
                self.sort(rank);
            }
            self.merge_at(self.heads[rank] as usize, rank as u32);
        }
    }

    /// Each symbol's token and where it ends.
    pub(super) fn symbols(&self) -> impl Iterator<Item = (u32, usize)> + '_ {
        let mut at = 0;
        core::iter::from_fn(move || {
            let id = (at < self.len).then(|| self.token(at))?;
            at += self.length(at);
            Some((id, at))
        })
    }

    fn list_pairs(&mut self) {
        let mut at = 0;
        while at < self.len {
            let next = at + self.length(at);
            let rank = self.pair_rank(at);
            self.set_rank(at, rank);
            if rank != NO_RANK {
                self.append(rank, at);
            }
            at = next;
        }
    }

    /// Merges the symbol at `left`, whose pair is of `rank`, with the next.
    fn merge_at(&mut self, left: usize, rank: u32) {
        let right = left + self.length(left);
        let after = right + self.length(right);
        let before = self.previous(left);
        self.unlist(left);
        if after < self.len {
            self.unlist(right);
        }
        if let Some(before) = before {
            self.unlist(before);
        }
        self.set_symbol(left, after - left, self.pairs.token(rank));
        let new_rank = self.pair_rank(left);
        self.set_rank(left, new_rank);
        let Some(before) = before else {
            return self.enlist(new_rank, left);
        };
        let rank_before = self.pair_rank(before);
        self.set_rank(before, rank_before);
        // Two entries for one list go to its end or to its front: each in its order.
        if rank_before == new_rank && new_rank != NO_RANK && !self.precedes_list(new_rank, left) {
            self.enlist(rank_before, before);
            self.enlist(new_rank, left);
        } else {
            self.enlist(new_rank, left);
            self.enlist(rank_before, before);
        }
    }
}

/// Symbols.
impl<P: Pairs> Chain<'_, '_, P> {
    /// Writes a symbol, with no rank yet.
    #[inline]
    fn set_symbol(&mut self, at: usize, len: usize, id: u32) {
        if len == 1 {
            self.slot[at] = NO_RANK;
            return;
        }
        let last = at + len - 1;
        self.slot[at] = NO_RANK | LONG;
        self.slot[last] = TAIL;
        self.next[last] = len as u32;
        self.slot[at + 1] = id | if len == 2 { TAIL } else { 0 };
        self.next[at + 1] = len as u32;
    }

    #[inline]
    fn length(&self, at: usize) -> usize {
        if self.slot[at] & LONG == 0 { 1 } else { self.next[at + 1] as usize }
    }

    #[inline]
    fn token(&self, at: usize) -> u32 {
        match self.slot[at] & LONG {
            0 => self.pairs.unit(self.word[at]),
            _ => self.slot[at + 1] & VALUE,
        }
    }

    /// The symbol before the one at `at`.
    #[inline]
    fn previous(&self, at: usize) -> Option<usize> {
        let last = at.checked_sub(1)?;
        Some(if self.slot[last] & TAIL == 0 { last } else { at - self.next[last] as usize })
    }

    #[inline]
    fn set_rank(&mut self, at: usize, rank: u32) {
        self.slot[at] = self.slot[at] & LONG | rank;
    }

    /// The rank of the symbol at `at` and the next, looked up.
    #[inline]
    fn pair_rank(&self, at: usize) -> u32 {
        let right = at + self.length(at);
        if right >= self.len {
            return NO_RANK;
        }
        let (left_id, right_id) = (self.token(at), self.token(right));
        if left_id == NO_TOKEN || right_id == NO_TOKEN {
            return NO_RANK;
        }
        let joined = if P::NEEDS_TEXT { &self.word[at..right + self.length(right)] } else { &[] };
        self.pairs.rank(left_id, right_id, joined)
    }
}

/// Lists.
impl<P: Pairs> Chain<'_, '_, P> {
    /// Whether `at` is left of everything in the list of `rank`, which has entries.
    fn precedes_list(&self, rank: u32, at: usize) -> bool {
        self.used.has(rank as usize) && at < self.heads[rank as usize] as usize
    }

    /// Adds an entry where it keeps the list in order, or anywhere.
    #[inline]
    fn enlist(&mut self, rank: u32, at: usize) {
        if rank == NO_RANK {
            return;
        }
        if !self.precedes_list(rank, at) {
            return self.append(rank, at);
        }
        let head = self.heads[rank as usize] as usize;
        self.next[at] = head as u32;
        self.prev[at] = self.prev[head];
        self.prev[head] = at as u32;
        self.heads[rank as usize] = at as u32;
    }

    #[inline]
    fn append(&mut self, rank: u32, at: usize) {
        let list = rank as usize;
        self.next[at] = NIL;
        if !self.used.has(list) {
            self.used.add(list);
            self.heads[list] = at as u32;
            self.prev[at] = at as u32;
            return;
        }
        let head = self.heads[list] as usize;
        let tail = self.prev[head] as usize;
        if at < tail {
            self.unsorted[list / 64] |= 1 << (list % 64);
        }
        self.next[tail] = at as u32;
        self.prev[at] = tail as u32;
        self.prev[head] = at as u32;
    }

    /// Takes the pair of the symbol at `at` out of its list, if it is in one.
    #[inline]
    fn unlist(&mut self, at: usize) {
        let rank = self.slot[at] & VALUE;
        if rank == NO_RANK {
            return;
        }
        self.set_rank(at, NO_RANK);
        let list = rank as usize;
        let (before, after) = (self.prev[at], self.next[at]);
        let head = self.heads[list] as usize;
        if head != at {
            self.next[before as usize] = after;
            let link = if after == NIL { head } else { after as usize };
            self.prev[link] = before;
        } else if after == NIL {
            self.used.remove(list);
            self.unsorted[list / 64] &= !(1 << (list % 64));
        } else {
            self.heads[list] = after;
            self.prev[after as usize] = before;
        }
    }

    /// Puts a list in order of place: a merge sort of the runs that it has.
    fn sort(&mut self, list: usize) {
        self.unsorted[list / 64] &= !(1 << (list % 64));
        // Place i holds a sorted list of up to 2^i runs, or none.
        let mut sorted = [NIL; 32];
        let mut rest = self.heads[list];
        while rest != NIL {
            let mut run = rest;
            rest = self.cut_run(run);
            for place in &mut sorted {
                if *place == NIL {
                    *place = run;
                    break;
                }
                run = self.merge_lists(core::mem::replace(place, NIL), run);
            }
        }
        let head = sorted.into_iter().fold(NIL, |all, part| self.merge_lists(part, all));
        self.heads[list] = head;
        let (mut tail, mut at) = (head, self.next[head as usize]);
        while at != NIL {
            self.prev[at as usize] = tail;
            (tail, at) = (at, self.next[at as usize]);
        }
        self.prev[head as usize] = tail;
    }

    /// Ends the ascending run that begins at `at` and returns what comes after it.
    fn cut_run(&mut self, mut at: u32) -> u32 {
        loop {
            let after = self.next[at as usize];
            if after == NIL || after < at {
                self.next[at as usize] = NIL;
                return after;
            }
            at = after;
        }
    }

    fn merge_lists(&mut self, mut left: u32, mut right: u32) -> u32 {
        let mut head = NIL;
        let mut tail = NIL;
        while left != NIL || right != NIL {
            // NIL is above every place.
            let from = if left <= right { &mut left } else { &mut right };
            let taken = *from;
            *from = self.next[taken as usize];
            match tail {
                NIL => head = taken,
                _ => self.next[tail as usize] = taken,
            }
            tail = taken;
        }
        if tail != NIL {
            self.next[tail as usize] = NIL;
        }
        head
    }
}

/// A set of ranks that knows its least: a bitmap, a bitmap of its words that are not 0, and so on
/// up to one word.
struct Ranks<'s> {
    words: &'s mut [u64],
    /// Where each level begins; the last level has one word.
    levels: [usize; Ranks::LEVELS],
    depth: usize,
}

impl<'s> Ranks<'s> {
    /// Enough for 2^36 ranks.
    const LEVELS: usize = 6;

    /// Words for that many ranks.
    fn words(ranks: usize) -> usize {
        let mut level = ranks.div_ceil(64).max(1);
        let mut words = level;
        while level > 1 {
            level = level.div_ceil(64);
            words += level;
        }
        words
    }

    fn new(words: &'s mut [u64], ranks: usize) -> Self {
        words.fill(0);
        let mut levels = [0; Ranks::LEVELS];
        let mut depth = 1;
        let mut level = ranks.div_ceil(64).max(1);
        while level > 1 && depth < Ranks::LEVELS {
            levels[depth] = levels[depth - 1] + level;
            level = level.div_ceil(64);
            depth += 1;
        }
        Ranks { words, levels, depth }
    }

    #[inline]
    fn has(&self, rank: usize) -> bool {
        self.words[rank / 64] >> (rank % 64) & 1 == 1
    }

    #[inline]
    fn add(&mut self, mut rank: usize) {
        for &level in &self.levels[..self.depth] {
            let word = &mut self.words[level + rank / 64];
            let known = *word != 0;
            *word |= 1 << (rank % 64);
            if known {
                return;
            }
            rank /= 64;
        }
    }

    #[inline]
    fn remove(&mut self, mut rank: usize) {
        for &level in &self.levels[..self.depth] {
            let word = &mut self.words[level + rank / 64];
            *word &= !(1 << (rank % 64));
            if *word != 0 {
                return;
            }
            rank /= 64;
        }
    }

    #[inline]
    fn first(&self) -> Option<usize> {
        let mut rank = 0;
        for &level in self.levels[..self.depth].iter().rev() {
            let word = self.words[level + rank];
            if word == 0 {
                return None;
            }
            rank = rank * 64 + word.trailing_zeros() as usize;
        }
        Some(rank)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::tokenizer::merge::{SHORT, ShortWord};

    /// Any pairs with any ranks, in any order: also such as no training gives. The texts of tokens
    /// decide in the second map.
    struct Rules {
        by_tokens: BTreeMap<(u32, u32), u32>,
        by_text: BTreeMap<Vec<u8>, u32>,
        results: Vec<u32>,
    }

    impl Pairs for Rules {
        const NEEDS_TEXT: bool = true;

        fn ranks(&self) -> usize {
            self.results.len()
        }

        fn rank(&self, left: u32, right: u32, joined: &[u8]) -> u32 {
            let rank = self.by_tokens.get(&(left, right)).or_else(|| self.by_text.get(joined));
            rank.copied().unwrap_or(NO_RANK)
        }

        fn token(&self, rank: u32) -> u32 {
            self.results[rank as usize]
        }

        fn unit(&self, byte: u8) -> u32 {
            u32::from(byte)
        }
    }

    /// The definition: of all pairs the lowest rank, the leftmost.
    fn merge_slowly(rules: &Rules, word: &[u8], lens: &[usize]) -> Vec<(u32, usize)> {
        let mut symbols = Vec::new();
        let mut start = 0;
        for &len in lens {
            symbols.push((if len == 1 { rules.unit(word[start]) } else { 300 }, start + len));
            start += len;
        }
        loop {
            let rank = |at: usize| {
                let start = if at == 0 { 0 } else { symbols[at - 1].1 };
                let (left, right) = (symbols[at], symbols[at + 1]);
                rules.rank(left.0, right.0, &word[start..right.1])
            };
            let best = (0..symbols.len().saturating_sub(1)).map(|at| (rank(at), at)).min();
            match best {
                Some((rank, at)) if rank != NO_RANK => {
                    symbols[at] = (rules.token(rank), symbols[at + 1].1);
                    symbols.remove(at + 1);
                }
                _ => return symbols,
            }
        }
    }

    fn merge_in_chain(rules: &Rules, word: &[u8], lens: &[usize]) -> Vec<(u32, usize)> {
        let mut memory = Measure::default();
        measure(&mut memory, word.len(), rules.ranks());
        let mut memory = vec![0xA5; memory.bytes()];
        let mut chain = Chain::new(rules, word, &mut Carver::new(&mut memory)).unwrap();
        for &len in lens {
            chain.push(if len == 1 { rules.unit(word[chain.len]) } else { 300 }, len);
        }
        chain.merge();
        chain.symbols().collect()
    }

    fn merge_shortly(rules: &Rules, word: &[u8], lens: &[usize]) -> Vec<(u32, usize)> {
        let mut short = ShortWord::new();
        let mut start = 0;
        for &len in lens {
            short.push(if len == 1 { rules.unit(word[start]) } else { 300 }, start + len);
            start += len;
        }
        short.merge(rules, word);
        (0..short.len()).map(|at| short.symbol(at)).collect()
    }

    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: usize) -> usize {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((self.0 >> 33) as usize) % limit
        }
    }

    fn random_rules(random: &mut Random, letters: usize) -> Rules {
        let n_ranks = 1 + random.below(200);
        let mut rules = Rules {
            by_tokens: BTreeMap::new(),
            by_text: BTreeMap::new(),
            results: (0..n_ranks as u32).map(|rank| 400 + rank).collect(),
        };
        // Letters are tokens 97 and up, results 400 and up.
        let token = |random: &mut Random| match random.below(2) {
            0 => (97 + random.below(letters)) as u32,
            _ => (400 + random.below(n_ranks)) as u32,
        };
        for _ in 0..random.below(120) {
            let pair = (token(random), token(random));
            rules.by_tokens.insert(pair, random.below(n_ranks) as u32);
        }
        for _ in 0..random.below(120) {
            let len = 2 + random.below(4);
            let text = (0..len).map(|_| 97 + random.below(letters) as u8).collect();
            rules.by_text.insert(text, random.below(n_ranks) as u32);
        }
        rules
    }

    #[test]
    fn equals_the_definition() {
        let mut random = Random(7);
        for round in 0..3000 {
            let letters = 1 + random.below(3);
            let rules = random_rules(&mut random, letters);
            let mut lens = Vec::new();
            for _ in 0..1 + random.below(if round % 10 == 0 { 400 } else { 40 }) {
                lens.push(if random.below(5) == 0 { 1 + random.below(4) } else { 1 });
            }
            let word: Vec<u8> =
                (0..lens.iter().sum()).map(|_| 97 + random.below(letters) as u8).collect();
            let expected = merge_slowly(&rules, &word, &lens);
            assert_eq!(merge_in_chain(&rules, &word, &lens), expected, "round {round}");
            if word.len() <= SHORT {
                assert_eq!(merge_shortly(&rules, &word, &lens), expected, "round {round}");
            }
        }
    }

    #[test]
    fn a_set_of_ranks_knows_its_least() {
        let mut random = Random(1);
        for count in [1, 63, 64, 65, 4096, 4097, 300_000] {
            let mut words = vec![u64::MAX; Ranks::words(count)];
            let mut ranks = Ranks::new(&mut words, count);
            let mut model = std::collections::BTreeSet::new();
            for _ in 0..2000 {
                let rank = random.below(count);
                if random.below(2) == 0 {
                    ranks.add(rank);
                    model.insert(rank);
                } else {
                    ranks.remove(rank);
                    model.remove(&rank);
                }
                assert_eq!(ranks.first(), model.first().copied());
                assert_eq!(ranks.has(rank), model.contains(&rank));
            }
        }
    }
}
