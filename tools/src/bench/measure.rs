//! What is timed: loading, prefill, decoding.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use mote_kernels::{CacheType, QuantType};
use mote_runtime::weights::required;
use mote_runtime::{Model, Options, Origin, Session, SessionError};
use serde::Serialize;

use crate::failure::Result;
use crate::host::{Engine, with_decoder, with_session};
use crate::interrupt;

use super::report::Limit;

/// A test, by the names that llama-bench gave them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// "pp": this many tokens are fed at once, into an empty context.
    Prefill(usize),
    /// "tg": tokens are fed one by one, with logits after each.
    Decode {
        /// This many.
        tokens: usize,
        /// Behind this many others, which are fed before the time is taken.
        depth: usize,
    },
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Test::Prefill(n) => write!(f, "pp{n}"),
            Test::Decode { tokens, depth: 0 } => write!(f, "tg{tokens}"),
            Test::Decode { tokens, depth } => write!(f, "tg{tokens}@d{depth}"),
        }
    }
}

impl Serialize for Test {
    fn serialize<S: serde::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl Test {
    /// Tokens whose feeding is timed.
    pub fn tokens(self) -> usize {
        match self {
            Test::Prefill(tokens) | Test::Decode { tokens, .. } => tokens,
        }
    }

    /// Tokens in the context before them.
    pub fn depth(self) -> usize {
        match self {
            Test::Prefill(_) => 0,
            Test::Decode { depth, .. } => depth,
        }
    }

    /// Fills the context as deep as the test wants it, for all of its runs.
    pub fn prepare(self, session: &mut Session<'_>) -> Result<()> {
        session.rewind(0);
        if self.depth() > 0 {
            let before = ids(self.depth(), session.model());
            session.feed_with(&before, Origin::Prompt, interrupt::not_pressed)?;
            interrupt::check()?;
        }
        Ok(())
    }

    /// Once, after [`Test::prepare`]: how long each feeding took.
    pub fn run(self, session: &mut Session<'_>) -> Result<Vec<Duration>> {
        let ids = ids(self.tokens(), session.model());
        session.rewind(self.depth());
        let timed = |feed: &mut dyn FnMut() -> std::result::Result<(), SessionError>| {
            let start = Instant::now();
            feed()?;
            Ok(start.elapsed())
        };
        let mut feed = |ids: &[u32], origin| {
            interrupt::check()?;
            timed(&mut || session.feed_with(ids, origin, interrupt::not_pressed).map(|_| ()))
        };
        let times = match self {
            Test::Prefill(_) => vec![feed(&ids, Origin::Prompt)?],
            Test::Decode { .. } => {
                let feed = |id: &u32| feed(&[*id], Origin::Generated);
                ids.iter().map(feed).collect::<Result<_>>()?
            }
        };
        interrupt::check()?;
        Ok(times)
    }
}

/// Ids spread over the vocabulary, the same in every run. Speed depends on them only as far as
/// rows of the embedding lie apart.
fn ids(n: usize, model: &Model<'_>) -> Vec<u32> {
    let n_vocab = model.config().n_vocab as u64;
    // Fibonacci hashing; the upper half of the product, scaled to the vocabulary.
    let hash = |i: usize| (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (0..n).map(|i| ((hash(i) * n_vocab) >> 32) as u32).collect()
}

/// From the file's name to a session, and to the first logits.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Opened, checked, tables filled, session made.
    pub session: Duration,
    /// The same, and one token fed.
    pub first_token: Duration,
}

impl Start {
    /// Loads the model once more.
    pub fn time(
        path: &Path,
        options: impl FnOnce(&Model<'_>) -> Options,
        engine: impl FnOnce() -> Engine,
    ) -> Result<Start> {
        let start = Instant::now();
        let engine = engine();
        with_decoder(path, None, |model| {
            with_session(model, &options(model), &engine, |session, _| {
                let made = start.elapsed();
                session.feed(&ids(1, model))?;
                Ok(Start { session: made, first_token: start.elapsed() })
            })
        })
    }
}

/// How long the tokens of a test took, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// The middle.
    pub median: f64,
    /// All but one in a hundred took no longer.
    pub p99: f64,
}

impl Latency {
    /// `None` of nothing.
    pub fn of(times: impl Iterator<Item = Duration>) -> Option<Latency> {
        let mut times: Vec<f64> = times.map(|time| time.as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        let p99 = *times.get((times.len() * 99).div_ceil(100).checked_sub(1)?)?;
        Some(Latency { median: Spread::of(times)?.median, p99 })
    }
}

/// Values of the repetitions of one test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// `None` of nothing.
    pub fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        // The mean of the two in the middle, which are one if their number is odd.
        let median = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0;
        Some(Spread { median, min, max })
    }
}

/// What a token asks of the machine, as far as the weights are concerned.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    /// Bytes of weights that decoding it reads: all layers and the head.
    pub decode_bytes: usize,
    /// Those of the layers alone that prefill reads once for each batch.
    pub layer_bytes: usize,
    /// Multiply-adds of weights that prefill does for it: those layers. The head is computed for the
    /// last token alone.
    pub prefill_macs: usize,
    /// Multiply-adds of weights that decoding it does: the head, too.
    pub decode_macs: usize,
    /// Encodings of the layers' matrices.
    pub kinds: Vec<QuantType>,
    /// For each layer, how many positions of the cache a token sees at most, and the bytes of one
    /// position's keys and values.
    windows: Vec<(usize, usize)>,
}

impl Cost {
    /// Of a token of this model, with this type of cache.
    pub fn of(model: &Model<'_>, cache: CacheType) -> Cost {
        let (config, weights) = (model.config(), model.weights());
        let head = weights.output();
        let window = |layer| match config.recurrent.contains(layer) {
            true => (0, 0),
            false => {
                let size = config.window(layer).map_or(usize::MAX, |window| window.size);
                (size, 2 * cache.bytes(config.kv_dim_of(layer)))
            }
        };
        let (mut bytes, mut macs, mut kinds) = (0, 0, Vec::new());
        // Behind the last layer with keys of its own only the last token goes on in prefill.
        let (mut layer_bytes, mut prefill_macs) = (0, 0);
        for layer in 0..config.n_layers {
            for slot in required(config, layer) {
                let matrix = weights.layer(layer).matrix(slot);
                bytes += matrix.data().len();
                // One row is the vector of a norm.
                if matrix.rows() > 1 {
                    macs += matrix.rows() * matrix.cols();
                    if !kinds.contains(&matrix.kind()) {
                        kinds.push(matrix.kind());
                    }
                }
            }
            if layer < config.n_own() {
                (layer_bytes, prefill_macs) = (bytes, macs);
            }
        }
        Cost {
            decode_bytes: bytes + head.data().len(),
            layer_bytes,
            prefill_macs,
            decode_macs: macs + head.rows() * head.cols(),
            kinds,
            windows: (0..config.n_layers).map(window).collect(),
        }
    }

    /// Bytes that a token of a test reads: its share of the weights, which a whole `batch` reads
    /// together, and in decoding what the test's depth has left in the cache. The positions of the
    /// test itself are not counted: a limit that leaves something out is still a limit.
    pub fn bytes(&self, test: Test, batch: usize) -> f64 {
        match test {
            Test::Prefill(n) => (self.layer_bytes * n.div_ceil(batch)) as f64 / n as f64,
            Test::Decode { depth, .. } => {
                let seen = self.windows.iter().map(|&(window, bytes)| window.min(depth) * bytes);
                (self.decode_bytes + seen.sum::<usize>()) as f64
            }
        }
    }

    /// Multiply-adds that a token of a test does with weights.
    pub fn macs(&self, test: Test) -> f64 {
        match test {
            Test::Prefill(_) => self.prefill_macs as f64,
            Test::Decode { .. } => self.decode_macs as f64,
        }
    }

    /// Tokens a second that a machine with these limits admits: one cannot prefill faster than it
    /// multiplies, nor decode faster than it reads.
    pub fn tokens_per_second(&self, test: Test, limit: &Limit) -> Option<f64> {
        let rate = match test {
            Test::Prefill(_) => limit.multiply_adds_per_second / self.macs(test),
            Test::Decode { .. } => limit.read_bytes_per_second / self.bytes(test, 1),
        };
        Some(rate).filter(|rate| rate.is_normal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_one_in_a_hundred() {
        let times = |n: u64| (1..=n).rev().map(Duration::from_millis);
        assert_eq!(Latency::of(times(0)), None);
        assert_eq!(Latency::of(times(1)), Some(Latency { median: 1.0, p99: 1.0 }));
        assert_eq!(Latency::of(times(100)), Some(Latency { median: 50.5, p99: 99.0 }));
        assert_eq!(Latency::of(times(101)), Some(Latency { median: 51.0, p99: 100.0 }));
    }

    #[test]
    fn a_window_bounds_what_the_depth_costs() {
        let cost = Cost {
            decode_bytes: 1000,
            layer_bytes: 800,
            prefill_macs: 1600,
            decode_macs: 2000,
            kinds: vec![],
            windows: vec![(8, 4), (usize::MAX, 4)],
        };
        let bytes = |depth| cost.bytes(Test::Decode { tokens: 1, depth }, 512);
        assert_eq!([bytes(0), bytes(5), bytes(20)], [1000.0, 1040.0, 1112.0]);
        // Two batches read the layers twice.
        assert_eq!(cost.bytes(Test::Prefill(8), 4), 200.0);
        let limit =
            Limit { threads: 1, read_bytes_per_second: 1e4, multiply_adds_per_second: 3.2e3 };
        assert_eq!(cost.tokens_per_second(Test::Prefill(8), &limit), Some(2.0));
        let decode = Test::Decode { tokens: 1, depth: 0 };
        assert_eq!(cost.tokens_per_second(decode, &limit), Some(10.0));
    }

    #[test]
    fn spread_of_few_and_of_many() {
        assert_eq!(Spread::of(vec![]), None);
        let spread = |median, min, max| Some(Spread { median, min, max });
        assert_eq!(Spread::of(vec![3.0]), spread(3.0, 3.0, 3.0));
        assert_eq!(Spread::of(vec![4.0, 1.0]), spread(2.5, 1.0, 4.0));
        assert_eq!(Spread::of(vec![9.0, 1.0, 2.0]), spread(2.0, 1.0, 9.0));
    }
}
