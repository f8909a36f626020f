//! Counts of the highest order: every predicted token with the tokens before it, sorted by context
//! read backwards, then by the token.

use std::io;

use super::record::{Record, put, shift};
use super::sort::{Equal, Sorted, Sorter};
use super::temporary::Reader;
use super::text::{BREAK, Tokens};
use super::{Ids, Settings, Told};

/// Places of the fields of a record that is counted: `order` words of `bits` bits, the nearest word
/// of the context first, the predicted word last, in the lowest bits the count.
///
/// A word is its id plus 1. 0 stands for what is before `<s>`, and for the nothing that follows a
/// text which breaks off.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Words of an n-gram.
    pub order: u32,
    /// Bits of a word.
    pub bits: u32,
    /// Bits of a count.
    pub count_bits: u32,
}

/// Least bits of a count. Greater sums stay in pieces until they are read.
const MIN_COUNT_BITS: u32 = 8;
/// Most bits of a count.
const MAX_COUNT_BITS: u32 = 32;

impl Layout {
    /// For ids up to `words`, and counts of one text's occurrences.
    pub fn new(order: usize, words: u32) -> Layout {
        Layout::with_counts(order, words, MIN_COUNT_BITS)
    }

    /// For large counts.
    pub fn of_counts(order: usize, words: u32) -> Layout {
        Layout::with_counts(order, words, MAX_COUNT_BITS)
    }

    fn with_counts(order: usize, words: u32, least: u32) -> Layout {
        let (order, bits) = (order as u32, bits(words));
        let used = order * bits;
        let total = (used + least).next_multiple_of(64);
        Layout { order, bits, count_bits: (total - used).min(MAX_COUNT_BITS) }
    }

    /// 64-bit words of a record.
    pub fn width(&self) -> usize {
        (self.order * self.bits + self.count_bits).div_ceil(64) as usize
    }
}

/// Bits for the numbers from 0 to `words`.
pub fn bits(words: u32) -> u32 {
    (u32::BITS - words.leading_zeros()).max(1)
}

/// Counts. `broken`: also that a text breaks off after a context.
pub fn count<const W: usize>(
    tokens: &Tokens,
    ids: &Ids,
    layout: Layout,
    settings: &Settings,
    memory: usize,
    broken: bool,
    told: &Told<'_>,
) -> io::Result<Sorted<W>> {
    let Layout { order, bits, count_bits } = layout;
    let (helpers, folder) = (settings.threads - 1, &settings.folder);
    let most = tokens.predicted + tokens.sentences;
    let mut sorter = Sorter::<W>::new(memory, helpers, folder, Equal::Add(count_bits), most)?;
    let context = super::record::mask::<W>((order - 1) * bits);
    let start: Record<W> = follow(&[0; W], ids.begin + 1, bits, &context);
    let mut before = start;
    let mut reader = Reader::whole(std::sync::Arc::clone(&tokens.spool), 1 << 18)?;
    let last = (order - 1) * bits;
    let mut ended = false;
    let mut n = 0u64;
    while let Some(token) = reader.word()? {
        if token == BREAK {
            if broken && !ended {
                let mut record = before;
                record[W - 1] |= 1;
                sorter.push(record)?;
            }
            before = start;
            continue;
        }
        let id = ids.of(token);
        ended = id == ids.end;
        let mut record = before;
        put(&mut record, last, bits, id + 1);
        record[W - 1] |= 1;
        sorter.push(record)?;
        before = follow(&before, id + 1, bits, &context);
        n += 1;
        if n.is_multiple_of(1 << 16) {
            told.inc(1 << 16)?;
        }
    }
    sorter.finish()
}

/// The context one word later.
#[inline(always)]
fn follow<const W: usize>(
    before: &Record<W>,
    word: u32,
    bits: u32,
    context: &Record<W>,
) -> Record<W> {
    let mut after = *before;
    shift(&mut after, bits);
    put(&mut after, 0, bits, word);
    super::record::and(&after, context)
}
