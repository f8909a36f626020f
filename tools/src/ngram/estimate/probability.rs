//! Probabilities and backoffs: a second walk through the tree of contexts, each before the longer
//! ones, with all lengths in step. What is known of the context that is one word shorter lies ready
//! by word, so that p(w | h) = u(w | h) + gamma(h) p(w | h') takes one look-up.

use std::io;
use std::thread;

use super::adjust::{Adjusted, Split};
use super::discount::Discounts;
use super::gguf::Histograms;
use super::gram::{Fields, Grams, Layout};
use super::level::{LevelIn, Successor};
use super::record::{Record, put, shift};
use super::sort::{Equal, Sorted, Sorter};
use super::{Ids, Settings, Smoothing, Told};

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
    /// By word of the context at which the walk is.
    dense: Vec<Known>,
    sorter: Sorter<W>,
    kept: u64,
}

/// A word's probability after a context, and its place among those that are kept.
type Known = (f64, u32);

/// What the empty context says.
struct Root {
    unigrams: Vec<Option<f32>>,
    unknown: f32,
    /// Contexts of one word.
    contexts: u64,
    known: Vec<Known>,
}

/// A context's sums.
#[derive(Default)]
struct Sums {
    /// What probabilities are divided by.
    total: f64,
    /// What the context leaves to the shorter one.
    backoff: f64,
}

/// Walks, in as many threads as there are and have room for what they know by word: each takes
/// neighbouring contexts of one word and all that are longer. `memory` is for that, and for the
/// buffers of what is sorted. Adds all values to `values`.
pub fn walk<const W: usize>(
    adjusted: &Adjusted,
    ids: &Ids,
    discounts: &[Discounts],
    settings: &Settings,
    memory: usize,
    values: &mut Histograms,
    told: &Told<'_>,
) -> io::Result<Grams<W>> {
    let order = adjusted.levels.len();
    let layout = Layout::new(ids.len, W);
    let prune = (0..order).map(|k| settings.threshold(k + 1)).collect();
    let model = Model { ids, smoothing: settings.smoothing, discounts, prune, layout };
    let Root { mut unigrams, unknown, contexts, known } = model.root(adjusted, settings)?;
    let known_bytes = (ids.len as usize + 1) * size_of::<Known>();
    let memory = memory.saturating_sub(known_bytes + values.bytes());
    let each = known_bytes * order.saturating_sub(2) + values.bytes();
    let n_parts = settings.threads.min((memory / 2 / each.max(1)).max(1));
    let means = Means {
        memory: (memory.saturating_sub(each * n_parts) / n_parts).max(1 << 16),
        helpers: if n_parts == 1 { settings.threads - 1 } else { 0 },
        settings,
        told,
    };
    let ranges = ranges(&adjusted.splits, contexts, n_parts);
    let part = |range: &Range, values: Histograms| {
        Part::new(&model, adjusted, range, &known, values, &means)?.walk()
    };
    let parts: Vec<io::Result<Done<W>>> = thread::scope(|scope| {
        let others: Vec<_> = ranges
            .iter()
            .skip(1)
            .map(|range| (range, values.emptied()))
            .map(|(range, values)| {
                thread::Builder::new().spawn_scoped(scope, || part(range, values))
            })
            .collect();
        let first = ranges.first().map(|range| part(range, values.emptied()));
        let died = || Err(io::Error::other("a thread has died"));
        let others = others.into_iter().map(|other| other?.join().unwrap_or_else(|_| died()));
        first.into_iter().chain(others).collect()
    });
    unigrams.iter_mut().skip(ids.allowed as usize).for_each(|p| *p = None);
    let mut counts = vec![0; order];
    counts[0] = unigrams.iter().flatten().count() as u64;
    let mut longer: Vec<Sorted<W>> = Vec::new();
    for part in parts {
        let Done { sorted, kept, values: seen } = part?;
        values.merge(&seen);
        counts.iter_mut().skip(1).zip(kept).for_each(|(count, kept)| *count += kept);
        if longer.is_empty() {
            longer = sorted;
        } else {
            longer.iter_mut().zip(sorted).for_each(|(all, more)| all.join(more));
        }
    }
    Ok(Grams { longer, layout, words: ids.len, unigrams, unknown, counts })
}

/// What all parts share.
struct Means<'a, 'b> {
    /// For sorting, of each.
    memory: usize,
    /// Threads that sort for each.
    helpers: usize,
    settings: &'a Settings,
    told: &'a Told<'b>,
}

/// Neighbouring contexts of one word.
struct Range {
    /// Where they begin, on each level.
    begin: Split,
    contexts: u64,
}

/// Cuts all contexts into at most `n` ranges of about as many n-grams.
fn ranges(splits: &[Split], contexts: u64, n: usize) -> Vec<Range> {
    let mut begins: Vec<&Split> = (0..n).filter_map(|i| splits.get(i * splits.len() / n)).collect();
    begins.dedup_by_key(|split| split.contexts);
    let ends = begins.iter().skip(1).map(|split| split.contexts).chain([contexts]);
    begins
        .iter()
        .zip(ends)
        .map(|(begin, end)| Range {
            begin: (*begin).clone(),
            contexts: end.saturating_sub(begin.contexts),
        })
        .collect()
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
    fn sums(&self, order: usize, successors: &[Successor]) -> Sums {
        if self.smoothing == Smoothing::Stupid {
            let total: u64 = successors.iter().map(|s| s.raw).sum();
            return Sums { total: total as f64, backoff: 1.0 };
        }
        // Counted in whole numbers: their sums do not depend on an order of additions.
        let (mut total, mut given_up, mut times) = (0u64, 0u64, [0u64; 3]);
        for s in successors {
            total += s.adjusted;
            if self.kept(order, s.word, s.raw) {
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
    fn root(&self, adjusted: &Adjusted, settings: &Settings) -> io::Result<Root> {
        let mut unigrams = vec![None; self.ids.len as usize];
        let mut known = vec![(0.0, 0); self.ids.len as usize + 1];
        let (mut successors, mut contexts) = (Vec::new(), 0);
        if let Some(level) = adjusted.levels.first() {
            contexts = level.read(0, 1 << 12)?.next(&mut successors)?.children;
        }
        // Words that are left out have no share in what the discounts give.
        let kept = |s: &&Successor| s.word > 0 && s.word <= self.ids.allowed;
        let seen = successors.iter().filter(kept).count() as u64;
        let sums = self.sums(1, &successors);
        let closed = self.ids.unknown.is_none() && seen == u64::from(self.ids.len);
        let types = (seen + u64::from(!closed)).max(settings.vocab_pad);
        let stupid = self.smoothing == Smoothing::Stupid;
        let uniform = match settings.interpolate_unigrams && !stupid {
            true => sums.backoff / types as f64,
            false => 0.0,
        };
        for (i, &s) in successors.iter().enumerate() {
            let p = self.share(1, s, &sums) + uniform;
            if let Some(place) = known.get_mut(s.word as usize) {
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
        Ok(Root { unigrams, unknown: log10(unknown), contexts, known })
    }
}

/// A range of contexts, walked.
struct Part<'a, 'b, const W: usize> {
    model: &'a Model<'a>,
    /// Of the empty context.
    root: &'a [Known],
    /// From contexts of one word on.
    levels: Vec<Level<W>>,
    values: Histograms,
    contexts: u64,
    told: &'a Told<'b>,
    seen: u64,
}

/// What a part leaves, by order from 2 on.
struct Done<const W: usize> {
    sorted: Vec<Sorted<W>>,
    kept: Vec<u64>,
    values: Histograms,
}

impl<'a, 'b, const W: usize> Part<'a, 'b, W> {
    fn new(
        model: &'a Model<'a>,
        adjusted: &Adjusted,
        range: &Range,
        root: &'a [Known],
        values: Histograms,
        means: &Means<'a, 'b>,
    ) -> io::Result<Self> {
        let Means { memory, helpers, settings, told } = *means;
        let order = adjusted.levels.len();
        let longer = adjusted.levels.iter().zip(&adjusted.tallies).skip(1);
        let total: u64 = longer.clone().map(|(_, tally)| tally.different).sum();
        let mut levels = Vec::new();
        for (i, (file, tally)) in longer.enumerate() {
            let share = memory as u128 * u128::from(tally.different) / u128::from(total.max(1));
            let places = if i + 2 < order { root.len() } else { 0 };
            let at = range.begin.at.get(i + 1).copied().unwrap_or(0);
            levels.push(Level {
                input: file.read(at, (1 << 16).min(settings.memory / 64))?,
                successors: Vec::new(),
                dense: vec![(0.0, 0); places],
                sorter: Sorter::new(
                    share as usize,
                    helpers,
                    &settings.folder,
                    Equal::Never,
                    tally.different,
                )?,
                kept: 0,
            });
        }
        Ok(Part { model, root, levels, values, contexts: range.contexts, told, seen: 0 })
    }

    fn walk(mut self) -> io::Result<Done<W>> {
        for _ in 0..self.contexts {
            self.visit(0, &[0; W], true)?;
        }
        let kept = self.levels.iter().map(|level| level.kept).collect();
        let sorters = self.levels.into_iter().map(|level| level.sorter);
        let sorted = sorters.map(Sorter::finish).collect::<io::Result<_>>()?;
        Ok(Done { sorted, kept, values: self.values })
    }

    /// The next context of `i + 1` words, of which all but the farthest are in `forward`, and all
    /// longer ones. `alive`: it has no word that must not stay.
    fn visit(&mut self, i: usize, forward: &Record<W>, alive: bool) -> io::Result<()> {
        let Model { ids, layout, .. } = *self.model;
        let Some(level) = self.levels.get_mut(i) else { return Ok(()) };
        let head = level.input.next(&mut level.successors)?;
        let mut forward = *forward;
        shift(&mut forward, layout.bits);
        put(&mut forward, 0, layout.bits, head.word);
        let alive = alive && head.word <= ids.allowed;
        if alive {
            self.emit(i, &forward)?;
        }
        self.seen += head.successors as u64;
        if self.seen >= 1 << 16 {
            self.told.inc(std::mem::take(&mut self.seen))?;
        }
        for _ in 0..head.children {
            self.visit(i + 1, &forward, alive)?;
        }
        Ok(())
    }

    /// The n-grams that consist of a context of `i + 1` words and each of its successors.
    fn emit(&mut self, i: usize, context: &Record<W>) -> io::Result<()> {
        let Model { layout, smoothing, .. } = *self.model;
        let (length, order) = (i + 1, i + 2);
        let (above, below) = self.levels.split_at_mut(i);
        let shorter = above.last().map_or(self.root, |level| &level.dense);
        let Some(level) = below.first_mut() else { return Ok(()) };
        let sums = self.model.sums(order, &level.successors);
        let backoff = log10(sums.backoff);
        let mut place = 0;
        for &s in &level.successors {
            if !self.model.kept(order, s.word, s.raw) {
                continue;
            }
            let (lower, key) = shorter[s.word as usize];
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
            level.sorter.push(record)?;
        }
        level.kept += u64::from(place);
        if place > 0 {
            self.values.backoff(length, backoff);
        }
        Ok(())
    }
}
