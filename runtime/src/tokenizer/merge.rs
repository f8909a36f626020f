//! Merging: the one loop of byte-pair encoding (Sennrich et al. 2016; SentencePiece, Kudo and
//! Richardson 2018). Of all neighbours that may merge, the pair of the lowest rank does, the
//! leftmost first, until none may.
//!
//! Words are short, so looking through all pairs each time is the fastest way for them. Longer
//! ones go through [`chain`](super::chain), which gives the same.

/// No token: a symbol that never merges.
pub(super) const NO_TOKEN: u32 = (1 << 30) - 1;
/// No rank: a pair that does not merge. Above every rank.
pub(super) const NO_RANK: u32 = (1 << 30) - 1;

/// Which pairs merge, to what, and how soon.
pub(super) trait Pairs {
    /// Whether [`rank`](Pairs::rank) looks at the joined text.
    const NEEDS_TEXT: bool;
    /// The number of ranks; each rank is below it.
    fn ranks(&self) -> usize;
    /// The rank of a pair of tokens, whose texts in a row are `joined`.
    fn rank(&self, left: u32, right: u32, joined: &[u8]) -> u32;
    /// What the pairs of a rank merge to.
    fn token(&self, rank: u32) -> u32;
    /// The token of a symbol of one byte.
    fn unit(&self, byte: u8) -> u32;
}

/// Bytes of a word up to which it is merged here.
pub(super) const SHORT: usize = 96;

/// A short word while it is merged.
pub(super) struct ShortWord {
    len: usize,
    ids: [u32; SHORT],
    /// The rank of each symbol and the next; the last is not used.
    ranks: [u32; SHORT],
    /// Where each symbol ends, where texts are needed.
    ends: [u8; SHORT],
}

impl ShortWord {
    pub(super) fn new() -> Self {
        ShortWord { len: 0, ids: [0; SHORT], ranks: [0; SHORT], ends: [0; SHORT] }
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// Appends a symbol that ends at `end` of the word. At most [`SHORT`] are kept.
    #[inline]
    pub(super) fn push(&mut self, id: u32, end: usize) {
        if self.len < SHORT {
            self.ids[self.len] = id;
            self.ends[self.len] = end as u8;
            self.len += 1;
        }
    }

    /// Merges until nothing merges.
    #[inline]
    pub(super) fn merge<P: Pairs>(&mut self, pairs: &P, word: &[u8]) {
        if self.len < 2 {
            return;
        }
        for at in 0..self.len - 1 {
            self.ranks[at] = self.rank_at(at, pairs, word);
        }
        loop {
            let (mut best, mut at) = (NO_RANK, 0);
            for (place, &rank) in self.ranks[..self.len - 1].iter().enumerate() {
                if rank < best {
                    (best, at) = (rank, place);
                }
            }
            if best == NO_RANK {
                return;
            }
            self.ids[at] = pairs.token(best);
            self.ids.copy_within(at + 2..self.len, at + 1);
            self.ranks.copy_within(at + 1..self.len, at);
            if P::NEEDS_TEXT {
                self.ends.copy_within(at + 1..self.len, at);
            }
            self.len -= 1;
            if at + 1 < self.len {
                self.ranks[at] = self.rank_at(at, pairs, word);
            }
            if at > 0 {
                self.ranks[at - 1] = self.rank_at(at - 1, pairs, word);
            }
            if self.len < 2 {
                return;
            }
        }
    }

    /// Symbols that are left.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The token of a symbol, and where it ends if texts are needed.
    #[inline]
    pub(super) fn symbol(&self, at: usize) -> (u32, usize) {
        (self.ids[at], usize::from(self.ends[at]))
    }

    #[inline]
    fn rank_at<P: Pairs>(&self, at: usize, pairs: &P, word: &[u8]) -> u32 {
        let joined = if P::NEEDS_TEXT {
            let start = if at == 0 { 0 } else { usize::from(self.ends[at - 1]) };
            word.get(start..usize::from(self.ends[at + 1])).unwrap_or_default()
        } else {
            &[]
        };
        pairs.rank(self.ids[at], self.ids[at + 1], joined)
    }
}
