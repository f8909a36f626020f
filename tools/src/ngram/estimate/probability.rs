//! Probabilities and backoffs: a second walk through the tree of contexts, each before the longer
//! ones, with all lengths in step. What is known of the context that is one word shorter lies ready
//! by word, so that p(w | h) = u(w | h) + gamma(h) p(w | h') takes one look-up.

use std::io;

use super::adjust::Adjusted;
use super::count::bits;
use super::discount::Discounts;
use super::level::{LevelIn, Successor};
use super::record::{Record, get, put, shift};
use super::sort::{Equal, Sorted, Sorter};
use super::{Ids, Settings, Smoothing, Told};

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
    fn put<const W: usize>(&self, record: &mut Record<W>, fields: Fields) {
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

/// Receives every value once, in no particular order: for choosing codes.
pub trait Values {
    /// Of an n-gram of `order` words, from 2 on.
    fn probability(&mut self, order: usize, log10: f32);
    /// Of a context of `length` words, from 1 on, that has successors.
    fn backoff(&mut self, length: usize, log10: f32);
}

/// What stays the same during the walk.
struct Model<'a> {
    ids: &'a Ids,
    smoothing: Smoothing,
    discounts: &'a [Discounts],
    prune: Vec<u64>,
    layout: Layout,
}

/// One length of context during the walk.
struct Level<const W: usize> {
    input: LevelIn,
    successors: Vec<Successor>,
    /// By word of the context at which the walk is: its probability and its place among those kept.
    dense: Vec<(f64, u32)>,
    sorter: Option<Sorter<W>>,
    kept: u64,
}

/// What the empty context says.
struct Root {
    unigrams: Vec<Option<f32>>,
    unknown: f32,
    /// Contexts of one word.
    contexts: u64,
}

/// A context's sums.
#[derive(Default)]
struct Sums {
    /// What probabilities are divided by.
    total: f64,
    /// What the context leaves to the shorter one.
    backoff: f64,
}

/// Walks. `memory` is for the buffers of what is sorted.
pub fn walk<const W: usize>(
    adjusted: &Adjusted,
    ids: &Ids,
    discounts: &[Discounts],
    settings: &Settings,
    memory: usize,
    values: &mut dyn Values,
    told: &Told<'_>,
) -> io::Result<Grams<W>> {
    let order = adjusted.levels.len();
    let layout = Layout::new(ids.len, W);
    let prune = (0..order).map(|k| settings.threshold(k + 1)).collect();
    let model = Model { ids, smoothing: settings.smoothing, discounts, prune, layout };
    let mut levels = Vec::new();
    let total: u64 = adjusted.tallies.iter().skip(1).map(|tally| tally.different).sum();
    for (depth, file) in adjusted.levels.iter().enumerate() {
        let different = adjusted.tallies.get(depth).map_or(0, |tally| tally.different);
        let share = (memory as u128 * u128::from(different) / u128::from(total.max(1))) as usize;
        let (helpers, folder) = (settings.threads - 1, &settings.folder);
        let sorter =
            (depth > 0).then(|| Sorter::new(share, helpers, folder, Equal::Never)).transpose()?;
        let places = if depth + 1 < order { ids.len as usize + 1 } else { 0 };
        levels.push(Level {
            input: file.read((1 << 16).min(settings.memory / 64))?,
            successors: Vec::new(),
            dense: vec![(0.0, 0); places],
            sorter,
            kept: 0,
        });
    }
    let Root { mut unigrams, unknown, contexts } = model.unigrams(&mut levels, settings)?;
    let mut walk = Walk { model: &model, values, told, seen: 0 };
    for _ in 0..contexts {
        walk.visit(&mut levels, 1, &[0; W], true)?;
    }
    if let Some(root) = levels.first_mut() {
        unigrams.iter_mut().skip(ids.allowed as usize).for_each(|p| *p = None);
        root.kept = unigrams.iter().flatten().count() as u64;
    }
    let counts = levels.iter().map(|level| level.kept).collect();
    let sorters = levels.into_iter().filter_map(|level| level.sorter);
    let longer = sorters.map(Sorter::finish).collect::<io::Result<_>>()?;
    Ok(Grams { longer, layout, words: ids.len, unigrams, unknown, counts })
}

/// log10, of what rounding may have made more than 1.
#[inline]
fn log10(p: f64) -> f32 {
    libm::log10(p.min(1.0)) as f32
}

impl Model<'_> {
    fn kept(&self, order: usize, word: u32, raw: u64) -> bool {
        word > 0 && word <= self.ids.allowed && raw > self.prune[order - 1]
    }

    /// Sums over the successors of a context for n-grams of `order` words.
    #[inline]
    fn sums(&self, order: usize, successors: &[Successor], alive: bool) -> Sums {
        if self.smoothing == Smoothing::Stupid {
            let total: u64 = successors.iter().map(|s| s.raw).sum();
            return Sums { total: total as f64, backoff: 1.0 };
        }
        // Counted in whole numbers: their sums do not depend on an order of additions.
        let (mut total, mut given_up, mut times) = (0u64, 0u64, [0u64; 3]);
        for s in successors {
            total += s.adjusted;
            if alive && self.kept(order, s.word, s.raw) {
                times[s.adjusted.clamp(1, 3) as usize - 1] += 1;
            } else {
                given_up += s.adjusted;
            }
        }
        let Discounts(d) = self.discounts[order - 1];
        let taken = d[0] * times[0] as f64 + d[1] * times[1] as f64 + d[2] * times[2] as f64;
        Sums { total: total as f64, backoff: (taken + given_up as f64) / total as f64 }
    }

    #[inline(always)]
    fn share(&self, order: usize, successor: Successor, sums: &Sums) -> f64 {
        match self.smoothing {
            Smoothing::Stupid => successor.raw as f64 / sums.total,
            _ => {
                let a = successor.adjusted;
                (a as f64 - self.discounts[order - 1].of(a)) / sums.total
            }
        }
    }

    /// The empty context.
    fn unigrams<const W: usize>(
        &self,
        levels: &mut [Level<W>],
        settings: &Settings,
    ) -> io::Result<Root> {
        let mut unigrams = vec![None; self.ids.len as usize];
        let unknown = f32::NEG_INFINITY;
        let Some(root) = levels.first_mut() else {
            return Ok(Root { unigrams, unknown, contexts: 0 });
        };
        let contexts = root.input.next(&mut root.successors)?.children;
        let seen = root.successors.iter().filter(|s| s.word > 0).count() as u64;
        let sums = self.sums(1, &root.successors, true);
        let closed = self.ids.unknown.is_none() && seen == u64::from(self.ids.len);
        let types = (seen + u64::from(!closed)).max(settings.vocab_pad);
        let stupid = self.smoothing == Smoothing::Stupid;
        let uniform = match settings.interpolate_unigrams && !stupid {
            true => sums.backoff / types as f64,
            false => 0.0,
        };
        for (i, &s) in root.successors.iter().enumerate() {
            let p = self.share(1, s, &sums) + uniform;
            if let Some(place) = root.dense.get_mut(s.word as usize) {
                *place = (p, i as u32);
            }
            if s.word > 0 {
                unigrams[s.word as usize - 1] = Some(log10(p));
            }
        }
        let unknown = match () {
            _ if stupid || closed => 0.0,
            _ if settings.interpolate_unigrams => uniform,
            _ => sums.backoff,
        };
        Ok(Root { unigrams, unknown: log10(unknown), contexts })
    }
}

struct Walk<'a, 'b> {
    model: &'a Model<'a>,
    values: &'a mut dyn Values,
    told: &'a Told<'b>,
    seen: u64,
}

impl Walk<'_, '_> {
    /// The next context of `length` words, of which all but the farthest are in `forward`, and all
    /// longer ones. `alive`: it has no word that must not stay.
    fn visit<const W: usize>(
        &mut self,
        levels: &mut [Level<W>],
        length: usize,
        forward: &Record<W>,
        alive: bool,
    ) -> io::Result<()> {
        let Model { ids, layout, .. } = *self.model;
        let (above, below) = levels.split_at_mut(length);
        let (Some(shorter), Some(level)) = (above.last(), below.first_mut()) else {
            return Ok(());
        };
        let head = level.input.next(&mut level.successors)?;
        let mut forward = *forward;
        shift(&mut forward, layout.bits);
        put(&mut forward, 0, layout.bits, head.word);
        let alive = alive && head.word <= ids.allowed;
        self.emit(shorter, level, length, &forward, alive)?;
        self.seen += head.successors as u64;
        if self.seen >= 1 << 16 {
            self.told.inc(std::mem::take(&mut self.seen));
        }
        for _ in 0..head.children {
            self.visit(levels, length + 1, &forward, alive)?;
        }
        Ok(())
    }

    /// The n-grams that consist of a context and each of its successors.
    fn emit<const W: usize>(
        &mut self,
        shorter: &Level<W>,
        level: &mut Level<W>,
        length: usize,
        context: &Record<W>,
        alive: bool,
    ) -> io::Result<()> {
        let Model { layout, smoothing, .. } = *self.model;
        let order = length + 1;
        let sums = self.model.sums(order, &level.successors, alive);
        if !alive {
            return Ok(());
        }
        let backoff = log10(sums.backoff);
        let mut place = 0;
        let Some(sorter) = &mut level.sorter else { return Ok(()) };
        for &s in &level.successors {
            if !self.model.kept(order, s.word, s.raw) {
                continue;
            }
            let (lower, key) = shorter.dense[s.word as usize];
            let mut p = self.model.share(order, s, &sums);
            if smoothing != Smoothing::Stupid {
                p += sums.backoff * lower;
            }
            if let Some(known) = level.dense.get_mut(s.word as usize) {
                *known = (p, place);
            }
            place += 1;
            // At order 2 the key is the word itself.
            let key = if length == 1 { s.word - 1 } else { key };
            let probability = log10(p);
            self.values.probability(order, probability);
            let mut record = *context;
            put(&mut record, length as u32 * layout.bits, layout.bits, s.word);
            layout.put(&mut record, Fields { key, probability, backoff });
            sorter.push(record)?;
        }
        level.kept += u64::from(place);
        if place > 0 {
            self.values.backoff(length, backoff);
        }
        Ok(())
    }
}
