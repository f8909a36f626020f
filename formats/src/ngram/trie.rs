//! The trie of a file.

use xxhash_rust::xxh64::Xxh64;

use super::error::TrieError;
use super::level::{
    Entry, Level, MAX_CODE_BITS, RECORD, RECORD_LAST, Range, VALUE_BITS_EXACT, word,
};
use super::packed;
use super::{ARCHITECTURE, MAX_ORDER, MAX_WORDS, NEVER, keys};
use crate::gguf::{Gguf, Tensor, Value};

/// Words of a unigram's record: probability, backoff and where its 2-grams begin; or both values in one.
pub(super) const UNIGRAM: usize = 3;
pub(super) const PACKED_UNIGRAM: usize = 2;

/// How the probabilities of a model were estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Smoothing {
    /// Interpolated modified Kneser-Ney (Chen and Goodman 1998).
    ModifiedKneserNey,
    /// Interpolated Kneser-Ney with one discount for each order (Kneser and Ney 1995).
    KneserNey,
    /// Stupid backoff (Brants et al. 2007): scores that are no probabilities.
    StupidBackoff,
    /// Not known: read from ARPA text.
    Arpa,
}

/// An n-gram model in a GGUF file, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Trie<'a> {
    gguf: Gguf<'a>,
    order: usize,
    smoothing: Smoothing,
    alpha: f32,
    value_bits: u32,
    n_words: usize,
    unigrams: Unigrams<'a>,
    /// Of 2-grams, 3-grams and so on.
    levels: [Level<'a>; MAX_ORDER - 1],
}

#[derive(Clone, Copy, Debug, Default)]
struct Unigrams<'a> {
    /// A record for each, and one behind the last.
    entries: &'a [u8],
    by_probability: &'a [u8],
}

impl Smoothing {
    /// All of them.
    pub const ALL: [Smoothing; 4] = [
        Smoothing::ModifiedKneserNey,
        Smoothing::KneserNey,
        Smoothing::StupidBackoff,
        Smoothing::Arpa,
    ];

    /// As the file spells it.
    pub fn name(self) -> &'static str {
        match self {
            Smoothing::ModifiedKneserNey => "modified-kneser-ney",
            Smoothing::KneserNey => "kneser-ney",
            Smoothing::StupidBackoff => "stupid-backoff",
            Smoothing::Arpa => "arpa",
        }
    }
}

impl<'a> Trie<'a> {
    /// Whether the file says that it is one.
    pub fn is_in(gguf: &Gguf<'_>) -> bool {
        text(gguf, "general.architecture") == Some(ARCHITECTURE)
    }

    /// The trie of a file, when all that leads through it is sound: sizes, directories, ranges of
    /// children. Reads the unigrams and the directories, about a twentieth of the file.
    pub fn new(gguf: &Gguf<'a>) -> Result<Trie<'a>, TrieError> {
        if !Trie::is_in(gguf) {
            return Err(TrieError::Architecture);
        }
        let order = number(gguf, keys::ORDER)?;
        if !(1..=MAX_ORDER as u64).contains(&order) {
            return Err(TrieError::Key(keys::ORDER));
        }
        let name = text(gguf, keys::SMOOTHING);
        let smoothing = Smoothing::ALL.into_iter().find(|kind| Some(kind.name()) == name);
        let mut trie = Trie {
            gguf: *gguf,
            order: order as usize,
            smoothing: smoothing.ok_or(TrieError::Key(keys::SMOOTHING))?,
            alpha: 1.0,
            value_bits: number(gguf, keys::VALUE_BITS)?.try_into().unwrap_or(0),
            n_words: 0,
            unigrams: Unigrams::default(),
            levels: [Level::default(); _],
        };
        if !(1..=MAX_CODE_BITS).contains(&trie.value_bits) && trie.value_bits != VALUE_BITS_EXACT {
            return Err(TrieError::Key(keys::VALUE_BITS));
        }
        if trie.smoothing == Smoothing::StupidBackoff {
            trie.alpha = match gguf.get(keys::ALPHA) {
                Some(Value::F32(alpha)) if alpha > 0.0 && alpha <= 1.0 => alpha,
                _ => return Err(TrieError::Key(keys::ALPHA)),
            };
        }
        trie.read_counts()?;
        trie.read_tensors()?;
        trie.check()?;
        Ok(trie)
    }

    /// Reads all of the data and compares it with the checksum that was written.
    pub fn verify(&self) -> Result<(), TrieError> {
        let stored = number(&self.gguf, keys::CHECKSUM)?;
        let mut hasher = Xxh64::new(0);
        self.gguf.tensors().for_each(|tensor| hasher.update(tensor.data()));
        let computed = hasher.digest();
        if computed != stored {
            return Err(TrieError::Checksum { stored, computed });
        }
        Ok(())
    }

    /// The file.
    pub fn gguf(&self) -> &Gguf<'a> {
        &self.gguf
    }

    /// Words of the longest n-grams.
    pub fn order(&self) -> usize {
        self.order
    }

    /// How it was estimated.
    pub fn smoothing(&self) -> Smoothing {
        self.smoothing
    }

    /// The factor of stupid backoff; 1 for all else.
    pub fn alpha(&self) -> f32 {
        self.alpha
    }

    /// Bits of a probability or backoff; 32 are exact.
    pub fn value_bits(&self) -> u32 {
        self.value_bits
    }

    /// Words of the vocabulary. Ids are below it.
    pub fn n_words(&self) -> usize {
        self.n_words
    }

    /// n-grams of a length, from 1 to the order.
    pub fn n_grams(&self, length: usize) -> usize {
        match length {
            1 => self.n_words,
            _ => self.level(length).map_or(0, |level| level.len as usize),
        }
    }

    /// A word on its own. `None` for an id that is no word.
    #[inline]
    pub fn unigram(&self, id: u32) -> Option<Entry> {
        let i = id as usize;
        if i >= self.n_words {
            return None;
        }
        let words = self.unigram_words();
        let record = self.unigrams.entries.get(i * words * 4..)?;
        let (probability, backoff) = match record {
            [a, b, c, d, ..] if words == PACKED_UNIGRAM => {
                packed::unpack(u32::from_le_bytes([*a, *b, *c, *d]))
            }
            _ => (f32::from_bits(word(record, 0)?), f32::from_bits(word(record, 1)?)),
        };
        let begin = word(record, words - 1).unwrap_or(0);
        let end = word(record, words * 2 - 1).unwrap_or(0);
        Some(Entry { index: id, key: id, probability, backoff, children: Range { begin, end } })
    }

    /// The most probable words, the best first, of equals the lower id: the id at this place. The
    /// list ends after a few thousand.
    #[inline]
    pub fn by_probability(&self, place: usize) -> Option<u32> {
        word(self.unigrams.by_probability, place)
    }

    /// The n-gram of this length (from 2) whose key is `key`, among the neighbours `range`.
    #[inline]
    pub fn find(&self, length: usize, range: Range, key: u32) -> Option<Entry> {
        self.level(length)?.find(range, key)
    }

    /// Brings into the cache what [`find`](Self::find) will look at. Where several places are asked one
    /// after the other, touching all of them first lets the memory answer at once.
    #[inline]
    pub fn touch(&self, length: usize, range: Range) {
        if let Some(level) = self.level(length) {
            level.touch(range);
        }
    }

    /// The n-gram of this length (from 2) that stands at `index`.
    #[inline]
    pub fn get(&self, length: usize, index: u32) -> Option<Entry> {
        self.level(length)?.get(index)
    }

    /// The key of the n-gram of this length (from 2) that stands at `index`.
    #[inline]
    pub fn key(&self, length: usize, index: u32) -> Option<u32> {
        self.level(length)?.key(index)
    }

    /// log10 of probability and backoff that these codes of the level stand for.
    #[inline(always)]
    pub(super) fn values(&self, length: usize, probability: u64, backoff: u64) -> (f32, f32) {
        self.level(length).map_or((NEVER, 0.0), |level| level.values(probability, backoff))
    }

    /// The codes of probability and backoff (0 without backoffs) of the n-gram that stands at `index`.
    #[cfg(feature = "std")]
    pub(super) fn codes(&self, length: usize, index: u32) -> Option<(u64, u64)> {
        self.level(length)?.codes(index)
    }

    #[inline]
    fn level(&self, length: usize) -> Option<&Level<'a>> {
        self.levels.get(length.checked_sub(2)?)
    }

    fn unigram_words(&self) -> usize {
        if self.value_bits == VALUE_BITS_EXACT { UNIGRAM } else { PACKED_UNIGRAM }
    }

    fn read_counts(&mut self) -> Result<(), TrieError> {
        let wrong = TrieError::Key(keys::COUNTS);
        let Some(Value::Array(counts)) = self.gguf.get(keys::COUNTS) else { return Err(wrong) };
        let counts = counts.elements::<u64>().filter(|counts| counts.len() == self.order);
        let mut counts = counts.ok_or(wrong)?.iter();
        let n_words = counts.next().and_then(|n| usize::try_from(n).ok());
        self.n_words = n_words.filter(|n| (1..=MAX_WORDS).contains(n)).ok_or(wrong)?;
        for (level, count) in self.levels.iter_mut().zip(counts) {
            level.len = u32::try_from(count).map_err(|_| wrong)?;
        }
        for k in 0..self.levels.len() {
            let next_len = self.levels.get(k + 1).map_or(0, |next| next.len);
            let is_last = k + 2 == self.order;
            if let Some(level) = self.levels.get_mut(k) {
                level.next_len = next_len;
                level.record = if is_last { RECORD_LAST } else { RECORD };
            }
        }
        Ok(())
    }

    fn read_tensors(&mut self) -> Result<(), TrieError> {
        for tensor in self.gguf.tensors() {
            let Some((place, name)) = tensor.name().split_once('.') else { continue };
            let data = tensor.data();
            if place == "unigram" {
                match name {
                    "entries" => self.unigrams.entries = data,
                    "by_probability" => self.unigrams.by_probability = data,
                    _ => {}
                }
                continue;
            }
            let length = place.strip_suffix("gram").and_then(|n| n.parse::<usize>().ok());
            let length = length.filter(|length| (2..=self.order).contains(length));
            let Some(level) = length.and_then(|length| self.levels.get_mut(length - 2)) else {
                continue;
            };
            let length = length.unwrap_or(0);
            match name {
                "data" => level.data = data,
                "directory" => level.directory = data,
                "probability_values" => {
                    level.probability.values = floats(&tensor, length, "probability_values")?;
                }
                "backoff_values" => {
                    level.backoff.values = floats(&tensor, length, "backoff_values")?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What [`Level`] and the unigrams rely on.
    fn check(&mut self) -> Result<(), TrieError> {
        let tensor = |level, name| TrieError::Tensor { level, name };
        let (order, n, bits) = (self.order, self.n_words, self.value_bits);
        let Unigrams { entries, by_probability } = self.unigrams;
        let words = self.unigram_words();
        if entries.len() != (n + 1) * words * 4 {
            return Err(tensor(1, "entries"));
        }
        let (entries, _) = entries.as_chunks::<4>();
        let mut values = entries.chunks_exact(UNIGRAM).filter_map(|entry| entry.first_chunk::<2>());
        if words == UNIGRAM && !values.all(|values| values.iter().all(is_sound)) {
            return Err(tensor(1, "entries"));
        }
        let (ids, rest) = by_probability.as_chunks::<4>();
        if ids.is_empty() || ids.len() > n || !rest.is_empty() {
            return Err(tensor(1, "by_probability"));
        }
        let children =
            |i: usize| entries.get((i + 1) * words - 1).map(|word| u32::from_le_bytes(*word));
        let rises = (0..n).all(|i| children(i) <= children(i + 1));
        let n_children = if order > 1 { self.levels[0].len } else { 0 };
        let ends = children(0) == Some(0) && children(n) == Some(n_children);
        if !(rises && ends) || ids.iter().any(|id| u32::from_le_bytes(*id) as usize >= n) {
            return Err(TrieError::Directory { level: 1 });
        }
        let has_backoffs = self.smoothing != Smoothing::StupidBackoff;
        for (i, level) in self.levels.iter_mut().enumerate().take(order - 1) {
            let length = i + 2;
            level.probability.bits = bits;
            level.backoff.bits = if has_backoffs && length < order { bits } else { 0 };
            if level.len == 0 {
                // Nothing leads here, nothing leads on.
                (level.data, level.directory) = (&[], &[]);
                if level.next_len > 0 {
                    return Err(TrieError::Directory { level: length });
                }
                continue;
            }
            for (name, values) in
                [("probability_values", &level.probability), ("backoff_values", &level.backoff)]
            {
                let codes =
                    if (1..=MAX_CODE_BITS).contains(&values.bits) { 1 << values.bits } else { 0 };
                if codes > 0 && values.values.len() != codes * 4 {
                    return Err(tensor(length, name));
                }
            }
            if !level.is_directory_sound() {
                return Err(TrieError::Directory { level: length });
            }
        }
        Ok(())
    }
}

fn text<'a>(gguf: &Gguf<'a>, key: &str) -> Option<&'a str> {
    match gguf.get(key) {
        Some(Value::Str(text)) => core::str::from_utf8(text.as_bytes()).ok(),
        _ => None,
    }
}

pub(super) fn number(gguf: &Gguf<'_>, key: &'static str) -> Result<u64, TrieError> {
    match gguf.get(key) {
        Some(Value::U32(n)) => Ok(n.into()),
        Some(Value::U64(n)) => Ok(n),
        _ => Err(TrieError::Key(key)),
    }
}

/// A tensor's values, all of them numbers that a logarithm of a probability can be.
fn floats<'a>(
    tensor: &Tensor<'a>,
    level: usize,
    name: &'static str,
) -> Result<&'a [u8], TrieError> {
    let data = tensor.data();
    let (values, rest) = data.as_chunks::<4>();
    if !rest.is_empty() || !values.iter().all(is_sound) {
        return Err(TrieError::Tensor { level, name });
    }
    Ok(data)
}

fn is_sound(value: &[u8; 4]) -> bool {
    f32::from_le_bytes(*value).abs() <= -NEVER
}
