//! The options of `mote ngram train`.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use mote_formats::ngram::MAX_ORDER;

use super::super::estimate::text::Rules;
use super::super::estimate::{Discounts, Fallback, Settings, Smoothing};
use crate::environment;
use crate::failure::{Code, Failure, Result};

/// Estimate an n-gram model from text
#[derive(Args, Debug)]
#[command(after_help = "\
How probable is a word after the n - 1 words before it? Counted n-grams say so for what the text
has; modified Kneser-Ney smoothing (Chen and Goodman 1998) takes a little from every count and
gives it to shorter contexts, in which a word counts by the number of different words it follows.
Stupid backoff (Brants et al. 2007) takes relative frequencies, and 0.4 of those of the shorter
context for what was not seen.

A line is a sentence: <s> before it, </s> behind it; of a last line without a newline the end is
not counted. Words are divided by spaces, tabs, carriage returns and zero bytes. Texts may be packed
by gzip. What does not fit --memory goes to temporary files; the model is the same for any --memory
and --threads.

Discounts come from how many n-grams came once, twice, three and four times. A text that is small
or artificial may give none for some order; that order then has those of --discount-fallback, with
a note (lmplz stops there).

--counts reads FOLDER/1-grams/* to FOLDER/N-grams/*, text packed by gzip or not: on each line an
n-gram's words divided by spaces, a tab, how often the text has it, a tab, its adjusted count;
every n-gram once, those that begin with <s> too. The model is the one that the text gives.

JSON keys: order; smoothing; tokens (predicted, </s> included); sentences; orders (for each:
ngrams, different (before pruning), counts_of_counts (of 1 to 4), discounts, fallback (why));
model_bytes; arpa_bytes; seconds (read; estimate: stages and
their seconds; write; arpa; total); tokens_per_second.

Examples:
  mote ngram train -n 5 --output lm.gguf text.txt
  zcat text.gz | mote ngram train -n 3 --prune 0,0,1 --arpa lm.arpa.gz
  mote ngram train -n 4 --tokenizer model.gguf --output draft.gguf text.txt")]
pub struct Command {
    /// Texts; none: standard input
    #[arg(value_name = "FILE")]
    inputs: Vec<PathBuf>,
    /// Words of the longest n-grams, 1 to 16
    #[arg(short = 'n', long, value_name = "N", default_value = "5", value_parser = order)]
    pub order: usize,
    /// The model file to write
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// An ARPA file to write, packed if it ends in .gz
    #[arg(long, value_name = "FILE")]
    pub arpa: Option<PathBuf>,
    /// Replace outputs that exist
    #[arg(long)]
    pub force: bool,
    /// Bits of a probability or backoff in the model file: 1 to 8, or 32 for exact values
    #[arg(long, value_name = "BITS", default_value = "8", value_parser = value_bits)]
    pub value_bits: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    text: TextOptions,
    #[command(flatten)]
    estimation: EstimationOptions,
    #[command(flatten)]
    means: Means,
}

/// What the text is.
#[derive(Args, Debug)]
#[command(next_help_heading = "Text")]
struct TextOptions {
    /// What is predicted [default: tokens with --tokenizer, else words]
    #[arg(long, value_enum, value_name = "UNITS")]
    units: Option<Units>,
    /// A folder of counts that were made elsewhere, in the place of texts (see below)
    #[arg(long, value_name = "FOLDER")]
    counts: Option<PathBuf>,
    /// A GGUF file whose tokenizer makes tokens of the text
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// The tokenizer's rules that cut texts into words, whatever its file says; the model's say the same
    #[arg(long, value_name = "NAME", requires = "tokenizer")]
    pre: Option<String>,
    /// The whole input is one sentence: line ends divide words; they are bytes or tokens like others
    #[arg(long)]
    stream: bool,
    /// Take <s>, </s> and <unk> in the text as blanks
    #[arg(long)]
    skip_symbols: bool,
}

/// How probabilities come from counts.
#[derive(Args, Debug)]
#[command(next_help_heading = "Estimation")]
struct EstimationOptions {
    /// Modified Kneser-Ney, Kneser-Ney, or stupid backoff
    #[arg(long, value_enum, value_name = "NAME", default_value = "mkn")]
    smoothing: SmoothingName,
    /// Leave out n-grams that the text has at most so often: for 1-grams (0), 2-grams and so on,
    /// the last number for all longer ones. As 0,0,1 or 0 0 1; texts may follow
    #[arg(long, value_name = "N", num_args = 1..)]
    prune: Vec<OsString>,
    /// Discounts for orders whose counts give none: three numbers, or `off`
    #[arg(long, value_name = "D1,D2,D3", default_value = "0.5,1,1.5", value_parser = fallback)]
    discount_fallback: FallbackChoice,
    /// Whether words, too, share what is taken from them with unknown words evenly
    #[arg(long, value_enum, value_name = "YES", default_value = "yes")]
    interpolate_unigrams: YesNo,
    /// Leave out n-grams with words that are not in this file
    #[arg(long, value_name = "FILE")]
    vocab_limit: Option<PathBuf>,
    /// Take the vocabulary for one of at least so many words
    #[arg(long, value_name = "N", default_value = "0")]
    vocab_pad: u64,
}

/// Memory, disk and threads.
#[derive(Args, Debug)]
#[command(next_help_heading = "Computation")]
struct Means {
    /// Memory at most, as 200M or 4G; the vocabulary and a few hundred kilobytes are the least
    /// [default: half of what is free]
    #[arg(long, value_name = "BYTES", value_parser = crate::run::bytes)]
    memory: Option<usize>,
    /// For temporary files: several times the text's size [default: the system's]
    #[arg(long, value_name = "FOLDER")]
    temp_dir: Option<PathBuf>,
    /// Threads [default: the CPUs that this process may use]
    #[arg(short, long, value_name = "N", env = environment::THREADS, hide_env_values = true)]
    threads: Option<NonZeroUsize>,
}

/// What is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Units {
    /// What blanks divide
    Words,
    /// Bytes
    Bytes,
    /// Token ids, in decimal
    Ids,
    /// A tokenizer's tokens
    Tokens,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SmoothingName {
    /// Interpolated modified Kneser-Ney
    Mkn,
    /// Interpolated Kneser-Ney with one discount for each order
    Kn,
    /// Stupid backoff
    Stupid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum YesNo {
    /// p(w) has its share of the discounts
    Yes,
    /// All of it goes to <unk>
    No,
}

/// Clap takes `Option` for something else.
#[derive(Clone, Copy, Debug)]
struct FallbackChoice(Fallback);

fn order(text: &str) -> std::result::Result<usize, String> {
    let order = text.parse().ok().filter(|order| (1..=MAX_ORDER).contains(order));
    order.ok_or_else(|| format!("not a number from 1 to {MAX_ORDER}"))
}

fn value_bits(text: &str) -> std::result::Result<u32, String> {
    let bits = text.parse().ok().filter(|bits| (1..=8).contains(bits) || *bits == 32);
    bits.ok_or_else(|| "not a number from 1 to 8, nor 32".to_string())
}

fn fallback(text: &str) -> std::result::Result<FallbackChoice, String> {
    if text == "off" {
        return Ok(FallbackChoice(Fallback::Off));
    }
    let numbers: Vec<f64> = text.split([',', ' ']).filter_map(|n| n.parse().ok()).collect();
    let fits = |(i, d): (usize, &f64)| (0.0..=(i + 1) as f64).contains(d);
    match <[f64; 3]>::try_from(numbers) {
        Ok(d) if d.iter().enumerate().all(fits) => {
            Ok(FallbackChoice(Fallback::Discounts(Discounts(d))))
        }
        _ => Err("not three discounts, as 0.5,1,1.5: from 0 to 1, to 2 and to 3; nor `off`".into()),
    }
}

impl EstimationOptions {
    /// The numbers of --prune, and the texts behind them.
    fn prune(&self) -> (Vec<u64>, &[OsString]) {
        let mut thresholds = Vec::new();
        for (i, word) in self.prune.iter().enumerate() {
            let word = word.to_str().unwrap_or_default();
            let numbers: std::result::Result<Vec<u64>, _> =
                word.split([',', ' ']).map(str::parse).collect();
            match numbers {
                Ok(numbers) => thresholds.extend(numbers),
                Err(_) => return (thresholds, self.prune.get(i..).unwrap_or_default()),
            }
        }
        (thresholds, &[])
    }
}

impl Command {
    /// The system's folder for temporary files, or where that is missing the output's.
    fn temporary_folder(&self) -> PathBuf {
        let folder = std::env::temp_dir();
        let output = self.output.as_ref().or(self.arpa.as_ref());
        match output.and_then(|path| path.parent()).filter(|_| !folder.is_dir()) {
            Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
            Some(parent) => parent.to_owned(),
            None => folder,
        }
    }

    /// The texts; none for standard input.
    pub fn inputs(&self) -> impl Iterator<Item = &Path> {
        let behind = self.estimation.prune().1.iter().map(Path::new);
        self.inputs.iter().map(PathBuf::as_path).chain(behind)
    }

    /// Options that each are right, but not together.
    pub fn check(&self) -> Result<()> {
        let EstimationOptions { smoothing, interpolate_unigrams, vocab_pad, vocab_limit, .. } =
            &self.estimation;
        let (prune, _) = self.estimation.prune();
        let stupid = *smoothing == SmoothingName::Stupid;
        let (units, tokenizer) = (self.units(), self.text.tokenizer.is_some());
        let counted = self.text.counts.is_some();
        let closed = units == Units::Bytes || tokenizer;
        let wrong = if self.output.is_none() && self.arpa.is_none() {
            "nothing to write: give --output, --arpa or both"
        } else if self.output.is_some() && self.output == self.arpa {
            "--output and --arpa: two files"
        } else if !self.estimation.prune.is_empty() && prune.is_empty() {
            "--prune: numbers, as 0,0,1"
        } else if prune.first().is_some_and(|first| *first > 0) {
            "--prune: single words are kept: the first number is 0"
        } else if !prune.is_sorted() {
            "--prune: the numbers rise: a longer n-gram is not kept without its parts"
        } else if prune.len() > self.order {
            "--prune: more numbers than --order"
        } else if *vocab_pad > 0 && *interpolate_unigrams == YesNo::No {
            "--vocab-pad: without --interpolate-unigrams there is nothing to share"
        } else if stupid && self.arpa.is_some() {
            "--arpa: such a file cannot say what stupid backoff does"
        } else if units == Units::Tokens && !tokenizer {
            "--units tokens: give a --tokenizer"
        } else if tokenizer && matches!(units, Units::Words | Units::Bytes) {
            "--tokenizer: it makes tokens, or reads ids"
        } else if units == Units::Ids && !tokenizer && self.output.is_some() {
            "--units ids: for a model file, give the --tokenizer that the ids are of"
        } else if counted
            && (units != Units::Words || self.inputs().next().is_some() || self.text.stream)
        {
            "--counts: of words, and in the place of texts"
        } else if vocab_limit.is_some() && closed {
            "--vocab-limit: this vocabulary is fixed"
        } else {
            return Ok(());
        };
        Err(Failure::new(Code::Usage, wrong))
    }

    /// Nothing is done for outputs that must not be written.
    pub fn check_outputs(&self) -> Result<()> {
        for path in self.output.iter().chain(&self.arpa).filter(|_| !self.force) {
            if path.symlink_metadata().is_ok() {
                let sentence = "it exists: --force replaces it";
                return Err(Failure::new(Code::Io, sentence).in_file(path));
            }
        }
        for path in self.output.iter().chain(&self.arpa) {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            if folder.is_some_and(|folder| !folder.is_dir()) {
                return Err(Failure::new(Code::Io, "there is no such folder").in_file(path));
            }
        }
        Ok(())
    }

    /// What is predicted.
    pub fn units(&self) -> Units {
        let default = if self.text.tokenizer.is_some() { Units::Tokens } else { Units::Words };
        self.text.units.unwrap_or(default)
    }

    /// How text is cut.
    pub fn rules(&self) -> Rules {
        Rules { stream: self.text.stream, skip_symbols: self.text.skip_symbols }
    }

    /// The tokenizer's file.
    pub fn tokenizer(&self) -> Option<&PathBuf> {
        self.text.tokenizer.as_ref()
    }

    /// The name of the tokenizer's rules for words, if it is not the file's.
    pub fn pre(&self) -> Option<&str> {
        self.text.pre.as_deref()
    }

    /// The folder of counts.
    pub fn counts(&self) -> Option<&PathBuf> {
        self.text.counts.as_ref()
    }

    /// The list of words that may stay.
    pub fn vocab_limit(&self) -> Option<&PathBuf> {
        self.estimation.vocab_limit.as_ref()
    }

    /// What to estimate.
    pub fn settings(&self) -> Settings {
        let EstimationOptions { smoothing, .. } = &self.estimation;
        let cpus = || std::thread::available_parallelism().map_or(1, |n| n.get());
        Settings {
            order: self.order,
            smoothing: match smoothing {
                SmoothingName::Mkn => Smoothing::Modified,
                SmoothingName::Kn => Smoothing::Plain,
                SmoothingName::Stupid => Smoothing::Stupid,
            },
            fallback: self.estimation.discount_fallback.0,
            prune: self.estimation.prune().0,
            interpolate_unigrams: self.estimation.interpolate_unigrams == YesNo::Yes,
            vocab_pad: self.estimation.vocab_pad,
            memory: self.means.memory.unwrap_or_else(half_of_free),
            threads: self.means.threads.map_or_else(cpus, |n| n.get()),
            folder: self.means.temp_dir.clone().unwrap_or_else(|| self.temporary_folder()),
        }
    }
}

/// Half of the memory that the system says is free; a gigabyte if it does not say.
fn half_of_free() -> usize {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kilobytes.map_or(1 << 30, |n| n.saturating_mul(1024) / 2)
}
