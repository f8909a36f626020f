//! n-grams with their values, as they are sorted and kept until all are written.

use super::count::bits;
use super::record::{Record, get, put};
use super::sort::Sorted;

/// Places of the fields of an n-gram's record: its words in the order of the text, each its id plus
/// 1; in the lowest bits its key, log10 of its probability, log10 of the backoff of its context.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Bits of a word and of a key.
    pub bits: u32,
    /// Bits of a record.
    total: u32,
}

/// What a record says of its n-gram.
#[derive(Clone, Copy, Debug)]
pub struct Fields {
    /// Where the last word stands among the successors of the context without its first word.
    pub key: u32,
    /// log10 of its probability.
    pub probability: f32,
    /// log10 of the context's backoff.
    pub backoff: f32,
}

impl Layout {
    /// 64-bit words that n-grams of `order` words with ids below `words` need.
    pub fn width(order: usize, words: u32) -> usize {
        ((order as u32 + 1) * bits(words) + 64).div_ceil(64) as usize
    }

    /// In records of `width` words.
    pub fn new(words: u32, width: usize) -> Layout {
        Layout { bits: bits(words), total: 64 * width as u32 }
    }

    #[inline(always)]
    pub fn put<const W: usize>(&self, record: &mut Record<W>, fields: Fields) {
        put(record, self.total - 64 - self.bits, self.bits, fields.key);
        let (p, b) = (fields.probability.to_bits(), fields.backoff.to_bits());
        record[W - 1] |= u64::from(p) << 32 | u64::from(b);
    }

    /// Of a record.
    #[inline(always)]
    pub fn fields<const W: usize>(&self, record: &Record<W>) -> Fields {
        let key = get(record, self.total - 64 - self.bits, self.bits);
        let values = record[W - 1];
        let probability = f32::from_bits((values >> 32) as u32);
        Fields { key, probability, backoff: f32::from_bits(values as u32) }
    }

    /// The word at this place, as its id.
    #[inline(always)]
    pub fn word<const W: usize>(&self, record: &Record<W>, place: usize) -> u32 {
        get(record, place as u32 * self.bits, self.bits) - 1
    }
}

/// All n-grams with their values.
pub struct Grams<const W: usize> {
    /// From order 2 on: sorted by words.
    pub longer: Vec<Sorted<W>>,
    pub layout: Layout,
    /// Ids are below.
    pub words: u32,
    /// log10 of each id's probability; none where it is not in the model.
    pub unigrams: Vec<Option<f32>>,
    /// log10 p(<unk>)
    pub unknown: f32,
    /// N-grams of each order, those that are left out excepted.
    pub counts: Vec<u64>,
}
