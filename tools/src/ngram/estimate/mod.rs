//! Estimation of n-gram models: text to counts to probabilities, in memory that is given, with
//! files on disk for the rest.
//!
//! 1. [`text`]: words become provisional ids in a file; [`vocabulary`] gives the model's ids.
//! 2. [`count`]: n-grams of the highest order are sorted by context read backwards, equal ones
//!    counted ([`sort`], [`record`], [`temporary`]).
//! 3. [`adjust`]: one walk through the sorted counts gives the adjusted counts of all orders
//!    ([`level`]); so there is one sort for all counts (Pibiri and Venturini 2019).
//! 4. [`discount`]: discounts from counts of counts.
//! 5. [`probability`]: a second walk gives probabilities and backoffs, which are sorted by words
//!    ([`gram`]).
//! 6. [`emit`]: all orders in step, to the writers of files.
//!
//! Everything is counted in whole numbers or computed by f64 in an order that the n-grams alone
//! decide: neither memory nor threads change a bit of the result.

mod adjust;
pub mod arpa;
mod count;
mod discount;
mod emit;
pub mod gguf;
mod gram;
mod level;
pub mod lexicon;
mod probability;
mod record;
pub mod shards;
mod sort;
mod temporary;
pub mod text;
pub mod vocabulary;

use std::fmt;
use std::io;
use std::path::PathBuf;

use indicatif::ProgressBar;
use mote_runtime::tokenizer::{MAX_TEXT_BYTES, MAX_TOKEN_BYTES};

use crate::interrupt;
use adjust::Adjusted;
pub use adjust::Tally;
pub use discount::{Discounts, NoDiscount};
pub use emit::{Gram, Sink, Unigrams};
use gguf::Histograms;
use gram::Grams;
use shards::Shards;
use text::Tokens;

/// How probabilities are estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Smoothing {
    /// Interpolated modified Kneser-Ney.
    Modified,
    /// Interpolated Kneser-Ney with one discount an order.
    Plain,
    /// Relative frequencies; what was not seen costs a constant factor.
    Stupid,
}

/// What becomes of an order whose counts give no discounts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fallback {
    /// It is an error.
    Off,
    /// It gets these.
    Discounts(Discounts),
}

/// What to estimate, and with what means.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Words of the longest n-grams.
    pub order: usize,
    pub smoothing: Smoothing,
    pub fallback: Fallback,
    /// By order from 1 on, the last for all further ones: n-grams of so many occurrences or fewer
    /// are left out. Rising.
    pub prune: Vec<u64>,
    /// Single words get a share of what the discounts take from them.
    pub interpolate_unigrams: bool,
    /// The vocabulary counts as at least so many words.
    pub vocab_pad: u64,
    /// Bytes for all but the vocabulary's words.
    pub memory: usize,
    /// Threads, this one included; at least 1.
    pub threads: usize,
    /// For temporary files.
    pub folder: PathBuf,
}

impl Settings {
    fn threshold(&self, order: usize) -> u64 {
        self.prune.get(order - 1).or(self.prune.last()).copied().unwrap_or(0)
    }

    /// Whether occurrences in the text count beside adjusted counts.
    fn needs_raw(&self) -> bool {
        self.smoothing == Smoothing::Stupid || self.prune.iter().any(|n| *n > 0)
    }

    /// Bytes for sorting beside `taken`.
    fn memory_beside(&self, taken: usize) -> usize {
        self.memory.saturating_sub(taken).max(LEAST)
    }
}

/// Bytes that sorting gets whatever is asked for.
const LEAST: usize = 1 << 18;

/// What is counted.
pub enum Source {
    /// A text's tokens.
    Tokens(Tokens),
    /// Counts made elsewhere.
    Counts(Shards),
}

impl Source {
    /// Tokens that are predicted, ends of sentences included.
    pub fn predicted(&self) -> u64 {
        match self {
            Source::Tokens(tokens) => tokens.predicted,
            Source::Counts(shards) => shards.predicted,
        }
    }

    /// Sentences.
    pub fn sentences(&self) -> u64 {
        match self {
            Source::Tokens(tokens) => tokens.sentences,
            Source::Counts(shards) => shards.sentences,
        }
    }
}

/// The model's ids.
#[derive(Clone, Debug)]
pub struct Ids {
    /// They are below.
    pub len: u32,
    /// N-grams with ids from here on are left out.
    pub allowed: u32,
    /// `<s>`
    pub begin: u32,
    /// `</s>`, perhaps the same.
    pub end: u32,
    /// `<unk>`
    pub unknown: Option<u32>,
    /// Ids by provisional ones; empty if they are the same.
    pub of_provisional: Vec<u32>,
}

impl Ids {
    /// Bytes of memory of what is kept for each id from the beginning to the end.
    pub fn bytes(&self) -> usize {
        24 * self.len as usize
    }

    #[inline]
    fn of(&self, provisional: u32) -> u32 {
        self.of_provisional.get(provisional as usize).copied().unwrap_or(provisional)
    }
}

/// Who is told how far things are.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a>(pub &'a ProgressBar);

impl Told<'_> {
    /// What takes long does so here, too: Ctrl-C makes it fail.
    fn inc(&self, n: u64) -> io::Result<()> {
        self.0.inc(n);
        interrupt::check_io()
    }
}

/// Why there is no model.
#[derive(Debug)]
pub enum Error {
    /// The text cannot be read.
    Input(io::Error),
    /// A temporary file cannot be written or read, or an output cannot be written.
    File(io::Error),
    /// A special word in the text.
    Symbol { word: String, line: u64 },
    /// A number that is no id of the vocabulary.
    Id { word: String, line: u64 },
    /// Counts made elsewhere that cannot be read.
    Counts(String),
    /// A text that the tokenizer does not take.
    Encode(String),
    /// A word that is longer than a vocabulary's may be.
    LongWord { line: u64 },
    /// A line that is longer than a text may be.
    LongLine,
    /// More than the format has ids for.
    TooManyWords,
    /// More than the format has room for.
    TooManyGrams { order: usize },
    /// There is nothing to count.
    Empty,
    /// Counts give no discounts.
    NoDiscount { order: usize, why: NoDiscount },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Input(error) => write!(f, "cannot read the text: {error}"),
            Error::File(error) => write!(f, "cannot use a temporary or output file: {error}"),
            Error::Symbol { word, line } => write!(
                f,
                "line {line}: the text has the word {word}, which stands for something else: \
                 remove it, or let --skip-symbols take it as a blank"
            ),
            Error::Id { word, line } => {
                write!(f, "line {line}: '{}' is no token id", word.escape_debug())
            }
            Error::Counts(what) => write!(f, "counts: {what}"),
            Error::Encode(error) => write!(f, "the tokenizer does not take the text: {error}"),
            Error::LongWord { line } => {
                write!(f, "line {line}: a word of more than {MAX_TOKEN_BYTES} bytes")
            }
            Error::LongLine => write!(f, "a line of more than {MAX_TEXT_BYTES} bytes"),
            Error::TooManyWords => {
                write!(f, "more than {} different words", vocabulary::MAX_WORDS)
            }
            Error::TooManyGrams { order } => write!(f, "too many {order}-grams: 2^32 or more"),
            Error::Empty => f.write_str("the text has no words"),
            Error::NoDiscount { order, why } => {
                write!(f, "the {order}-grams give no discounts: {why}; is the text very small?")
            }
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Error::File(error)
    }
}

/// An estimated model, whose n-grams wait to be read.
pub struct Estimated {
    /// By order from 1 on.
    pub tallies: Vec<Tally>,
    /// By order from 1 on; none for stupid backoff.
    pub discounts: Vec<Discounts>,
    /// Orders that have the fallback's discounts, and why.
    pub fallen_back: Vec<(usize, NoDiscount)>,
    /// N-grams of each order that are in the model.
    pub counts: Vec<u64>,
    /// log10 of each id's probability; none where it is not in the model.
    pub unigrams: Vec<Option<f32>>,
    /// log10 p(<unk>)
    pub unknown: f32,
    grams: Box<dyn Emit>,
    settings: Settings,
}

/// [`Grams`] of any width.
trait Emit {
    fn emit(
        self: Box<Self>,
        settings: &Settings,
        sink: &mut dyn Sink,
        told: &Told<'_>,
    ) -> io::Result<Unigrams>;
}

impl<const W: usize> Emit for Grams<W> {
    fn emit(
        self: Box<Self>,
        settings: &Settings,
        sink: &mut dyn Sink,
        told: &Told<'_>,
    ) -> io::Result<Unigrams> {
        emit::emit(*self, settings, settings.memory_beside(0) / 2, sink, told)
    }
}

impl Estimated {
    /// Hands all n-grams to `sink`.
    pub fn emit(self, sink: &mut dyn Sink, told: &Told<'_>) -> Result<Unigrams, Error> {
        Ok(self.grams.emit(&self.settings, sink, told)?)
    }
}

/// Calls a function for the least of the listed widths that is enough. Each costs 60 KB of code: trigrams take
/// a seventh longer in three words than they would in two.
macro_rules! with_width {
    ($width:expr, [$($w:literal)*], $function:ident $arguments:tt) => {
        match $width {
            $(w if w <= $w => $function::<$w> $arguments,)*
            _ => Err(Error::TooManyWords),
        }
    };
}

/// Counts, discounts, probabilities. `bar` makes a progress bar of so many steps and a name.
pub fn estimate(
    source: Source,
    ids: &Ids,
    settings: &Settings,
    values: &mut Histograms,
    bar: &dyn Fn(&'static str, u64) -> ProgressBar,
) -> Result<Estimated, Error> {
    if source.predicted() == 0 {
        return Err(Error::Empty);
    }
    let layout = match source {
        Source::Tokens(_) => count::Layout::new(settings.order, ids.len),
        Source::Counts(_) => count::Layout::of_counts(settings.order, ids.len),
    };
    let adjusted = with_width!(
        layout.width(),
        [3 4 10],
        counts(source, ids, layout, settings, bar)
    )?;
    for (i, tally) in adjusted.tallies.iter().enumerate() {
        if tally.different >= u64::from(u32::MAX) {
            return Err(Error::TooManyGrams { order: i + 1 });
        }
    }
    let (discounts, fallen_back) = discounts(&adjusted.tallies, settings)?;
    let width = gram::Layout::width(settings.order, ids.len);
    let estimated = with_width!(
        width,
        [3 4 10],
        probabilities(adjusted, ids, discounts, settings, values, bar)
    )?;
    Ok(Estimated { fallen_back, ..estimated })
}

fn counts<const W: usize>(
    source: Source,
    ids: &Ids,
    layout: count::Layout,
    settings: &Settings,
    bar: &dyn Fn(&'static str, u64) -> ProgressBar,
) -> Result<Adjusted, Error> {
    let memory = settings.memory_beside(0);
    let broken = settings.smoothing == Smoothing::Stupid;
    let predicted = source.predicted();
    let counting = bar("counting", predicted);
    let told = Told(&counting);
    let sorted = match source {
        Source::Tokens(tokens) => {
            count::count::<W>(&tokens, ids, layout, settings, memory, broken, &told)?
        }
        Source::Counts(shards) => shards.count::<W>(ids, layout, settings, memory, &told)?,
    };
    counting.finish_and_clear();
    let raw = settings.needs_raw();
    let dense = settings.order * (ids.len as usize + 1) * if raw { 16 } else { 8 };
    let records = sorted.read(settings.memory_beside(dense) / 4, settings.threads > 1)?;
    let adjusting = bar("adjusting", predicted);
    let told = Told(&adjusting);
    let adjusted = adjust::adjust(records, layout, ids.len, raw, settings, &told)?;
    adjusting.finish_and_clear();
    Ok(adjusted)
}

type FallenBack = Vec<(usize, NoDiscount)>;

fn discounts(
    tallies: &[Tally],
    settings: &Settings,
) -> Result<(Vec<Discounts>, FallenBack), Error> {
    let (mut discounts, mut fallen_back) = (Vec::new(), Vec::new());
    for (i, tally) in tallies.iter().enumerate() {
        let found = match settings.smoothing {
            Smoothing::Modified => Discounts::modified(tally),
            Smoothing::Plain => Discounts::plain(tally),
            Smoothing::Stupid => return Ok((discounts, fallen_back)),
        };
        discounts.push(match (found, settings.fallback) {
            (Ok(found), _) => found,
            (Err(why), Fallback::Off) => return Err(Error::NoDiscount { order: i + 1, why }),
            (Err(why), Fallback::Discounts(fallback)) => {
                fallen_back.push((i + 1, why));
                match settings.smoothing {
                    Smoothing::Plain => Discounts([fallback.0[0]; 3]),
                    _ => fallback,
                }
            }
        });
    }
    Ok((discounts, fallen_back))
}

fn probabilities<const W: usize>(
    adjusted: Adjusted,
    ids: &Ids,
    discounts: Vec<Discounts>,
    settings: &Settings,
    values: &mut Histograms,
    bar: &dyn Fn(&'static str, u64) -> ProgressBar,
) -> Result<Estimated, Error> {
    let memory = settings.memory_beside(0);
    let total = adjusted.tallies.iter().map(|tally| tally.different).sum();
    let bar = bar("smoothing", total);
    let told = Told(&bar);
    let mut grams =
        probability::walk::<W>(&adjusted, ids, &discounts, settings, memory, values, &told)?;
    bar.finish_and_clear();
    Ok(Estimated {
        tallies: adjusted.tallies,
        discounts,
        fallen_back: Vec::new(),
        counts: std::mem::take(&mut grams.counts),
        unigrams: std::mem::take(&mut grams.unigrams),
        unknown: grams.unknown,
        grams: Box::new(grams),
        settings: settings.clone(),
    })
}
