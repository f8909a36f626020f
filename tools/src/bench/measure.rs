//! What is timed: loading, prefill, decoding.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use mote_kernels::QuantType;
use mote_runtime::weights::REQUIRED;
use mote_runtime::{Model, Options, Session, SessionError};
use serde::Serialize;

use crate::failure::Result;
use crate::host::{Engine, with_model, with_session};

/// A test, by the names that llama-bench gave them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// "pp": this many tokens are fed at once, into an empty context.
    Prefill(usize),
    /// "tg": this many tokens are fed one by one, into an empty context, with logits after each.
    Decode(usize),
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Test::Prefill(n) => write!(f, "pp{n}"),
            Test::Decode(n) => write!(f, "tg{n}"),
        }
    }
}

impl Test {
    /// Tokens that it feeds.
    pub fn tokens(self) -> usize {
        match self {
            Test::Prefill(n) | Test::Decode(n) => n,
        }
    }

    /// Once: how long each feeding took.
    pub fn run(self, session: &mut Session<'_>) -> Result<Vec<Duration>> {
        let ids = ids(self.tokens(), session.model());
        session.rewind(0);
        let timed = |feed: &mut dyn FnMut() -> std::result::Result<(), SessionError>| {
            let start = Instant::now();
            feed()?;
            Ok(start.elapsed())
        };
        match self {
            Test::Prefill(_) => Ok(vec![timed(&mut || session.feed(&ids))?]),
            Test::Decode(_) => {
                ids.iter().map(|&id| timed(&mut || session.feed_generated(&[id]))).collect()
            }
        }
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
        with_model(path, |model| {
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
    /// Multiply-adds of weights that prefill does for it: all layers. The head is computed for the
    /// last token alone.
    pub prefill_macs: usize,
    /// Encodings of the layers' matrices.
    pub kinds: Vec<QuantType>,
}

impl Cost {
    /// Of a token of this model.
    pub fn of(model: &Model<'_>) -> Cost {
        let weights = model.weights();
        let mut cost = Cost {
            decode_bytes: weights.output().data().len(),
            prefill_macs: 0,
            kinds: Vec::new(),
        };
        for layer in 0..model.config().n_layers {
            for &slot in REQUIRED {
                let matrix = weights.layer(layer).matrix(slot);
                cost.decode_bytes += matrix.data().len();
                // One row is the vector of a norm.
                if matrix.rows() > 1 {
                    cost.prefill_macs += matrix.rows() * matrix.cols();
                    if !cost.kinds.contains(&matrix.kind()) {
                        cost.kinds.push(matrix.kind());
                    }
                }
            }
        }
        cost
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
    fn spread_of_few_and_of_many() {
        assert_eq!(Spread::of(vec![]), None);
        let spread = |median, min, max| Some(Spread { median, min, max });
        assert_eq!(Spread::of(vec![3.0]), spread(3.0, 3.0, 3.0));
        assert_eq!(Spread::of(vec![4.0, 1.0]), spread(2.5, 1.0, 4.0));
        assert_eq!(Spread::of(vec![9.0, 1.0, 2.0]), spread(2.0, 1.0, 9.0));
    }
}
