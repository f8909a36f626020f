//! Words and their ids: provisional ones, as words turn up in the text, then the model's.

/// The model's ids of words and bytes: unknown words, the beginning and the end of a sentence.
pub const UNKNOWN: u32 = 0;
/// `<s>`
pub const BEGIN: u32 = 1;
/// `</s>`
pub const END: u32 = 2;
/// How they are spelt in ARPA files, and in texts that must not have them.
pub const SPECIAL: [&[u8]; 3] = [b"<unk>", b"<s>", b"</s>"];
/// Most words, the three included (formats::ngram keeps ids in 22 bits).
pub const MAX_WORDS: usize = 1 << 22;

/// Words by their provisional ids, and how often each was predicted.
#[derive(Clone, Debug, Default)]
pub struct Words {
    bytes: Vec<u8>,
    /// Where each word ends; it begins where the one before ends.
    ends: Vec<usize>,
    counts: Vec<u64>,
    /// Open addressing: the upper half of the hash, and the id plus 1; 0 is a free place.
    table: Vec<(u32, u32)>,
}

impl Words {
    /// The three special ones.
    pub fn new() -> Words {
        let mut words = Words { table: vec![(0, 0); 1 << 12], ..Words::default() };
        SPECIAL.iter().for_each(|word| _ = words.insert(word));
        words
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// A word's spelling.
    pub fn get(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let begin = id.checked_sub(1).and_then(|before| self.ends.get(before)).unwrap_or(&0);
        self.ends.get(id).and_then(|end| self.bytes.get(*begin..*end)).unwrap_or_default()
    }

    /// Counts an occurrence.
    #[inline]
    pub fn count(&mut self, id: u32) {
        self.add_count(id, 1);
    }

    /// Counts several.
    #[inline]
    pub fn add_count(&mut self, id: u32, n: u64) {
        if let Some(count) = self.counts.get_mut(id as usize) {
            *count = count.saturating_add(n);
        }
    }

    /// Occurrences.
    pub fn count_of(&self, id: u32) -> u64 {
        self.counts.get(id as usize).copied().unwrap_or(0)
    }

    /// The id of a word that is there.
    pub fn find(&self, word: &[u8]) -> Option<u32> {
        self.place(word, hash(word)).ok()
    }

    /// A word's id, a new one if the word is new.
    #[inline]
    pub fn insert(&mut self, word: &[u8]) -> u32 {
        let hash = hash(word);
        match self.place(word, hash) {
            Ok(id) => id,
            Err(free) => self.add(word, hash, free),
        }
    }

    #[inline]
    fn place(&self, word: &[u8], hash: u64) -> Result<u32, usize> {
        let mask = self.table.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let (upper, id) = self.table[at];
            if id == 0 {
                return Err(at);
            }
            if upper == (hash >> 32) as u32 && self.get(id - 1) == word {
                return Ok(id - 1);
            }
            at = (at + 1) & mask;
        }
    }

    #[cold]
    fn add(&mut self, word: &[u8], hash: u64, free: usize) -> u32 {
        let id = self.ends.len() as u32;
        self.bytes.extend_from_slice(word);
        self.ends.push(self.bytes.len());
        self.counts.push(0);
        self.table[free] = ((hash >> 32) as u32, id + 1);
        if self.ends.len() * 2 > self.table.len() {
            self.grow();
        }
        id
    }

    fn grow(&mut self) {
        let mask = self.table.len() * 4 - 1;
        self.table = Vec::new();
        let mut table = vec![(0, 0); mask + 1];
        for id in 0..self.ends.len() as u32 {
            let hash = hash(self.get(id));
            let mut at = hash as usize & mask;
            while table[at].1 != 0 {
                at = (at + 1) & mask;
            }
            table[at] = ((hash >> 32) as u32, id + 1);
        }
        self.table = table;
    }

    /// The table is not needed any more once the text is read.
    pub fn forget_table(&mut self) {
        self.table = Vec::new();
    }

    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        self.bytes.capacity()
            + 8 * (self.ends.capacity() + self.counts.capacity() + self.table.len())
    }

    /// Provisional ids in the order of the model's: the special three; the words that may stay, by
    /// falling count, equal ones by their bytes; the others likewise.
    pub fn order(&self, may_stay: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        let key = |&id: &u32| (!may_stay(id), std::cmp::Reverse(self.counts[id as usize]));
        order[SPECIAL.len()..].sort_unstable_by(|a, b| {
            key(a).cmp(&key(b)).then_with(|| self.get(*a).cmp(self.get(*b)))
        });
        order
    }
}

/// Multiplies and folds eight bytes at a time. It decides places in the table alone, never results.
#[inline]
fn hash(word: &[u8]) -> u64 {
    const A: u64 = 0x9e37_79b9_7f4a_7c15;
    const B: u64 = 0xd6e8_feb8_6659_fd93;
    let fold = |x: u64| {
        let product = u128::from(x) * u128::from(B);
        (product >> 64) as u64 ^ product as u64
    };
    let mut state = A ^ word.len() as u64;
    let (eights, rest) = word.as_chunks::<8>();
    for eight in eights {
        state = fold(state ^ u64::from_le_bytes(*eight));
    }
    let mut last = 0;
    for &byte in rest {
        last = last << 8 | u64::from(byte);
    }
    fold(fold(state ^ last) ^ A)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_ids_and_are_ordered_by_count() {
        let mut words = Words::new();
        let names: Vec<String> = (0..20_000).map(|i| format!("word-{}", i % 9999)).collect();
        for name in &names {
            let id = words.insert(name.as_bytes());
            words.count(id);
        }
        assert_eq!(words.len(), 9999 + 3);
        for (i, name) in names.iter().take(9999).enumerate() {
            assert_eq!(words.find(name.as_bytes()), Some(i as u32 + 3));
            assert_eq!(words.get(i as u32 + 3), name.as_bytes());
        }
        assert_eq!(words.find(b"none"), None);
        let order = words.order(|_| true);
        assert_eq!(order[..3], [0, 1, 2]);
        // word-0 and word-1 came three times, the others twice.
        let spelt: Vec<&[u8]> = order[3..7].iter().map(|id| words.get(*id)).collect();
        assert_eq!(spelt, [&b"word-0"[..], b"word-1", b"word-10", b"word-100"]);
    }
}
