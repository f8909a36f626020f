//! The results, as a table and as JSON.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cli::write_json;
use crate::facts::Bytes;
use crate::failure::Result;
use crate::streams::Streams;

use super::measure::{Cost, Latency, Spread, Start, Test};

/// What a process may have in memory beside the file and the session: itself.
const PROCESS_BYTES: u64 = 15_000_000;

/// All that was measured. Its fields are the keys of the JSON object.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The kernel table.
    target: &'static str,
    results: Vec<Measured>,
    /// From the file's name to a session, in milliseconds: the median.
    load_ms: Option<f64>,
    /// From the file's name to the first logits, with a prompt of one token: the median.
    first_token_ms: Option<f64>,
    /// The most memory in use; the pages of the mapped file that were touched are part of it.
    peak_rss_bytes: Option<u64>,
    /// What it should not exceed.
    memory: Memory,
    limits: Limits,
}

/// Memory that a model may need.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Memory {
    file_bytes: u64,
    /// Of the largest session.
    plan_bytes: u64,
    /// The file, the session and [`PROCESS_BYTES`]; the model's tables are to fit the last.
    allowed_bytes: u64,
}

impl Memory {
    /// Of a file and a session of these sizes.
    pub fn new(file_bytes: usize, plan_bytes: usize) -> Self {
        let (file_bytes, plan_bytes) = (file_bytes as u64, plan_bytes as u64);
        Memory { file_bytes, plan_bytes, allowed_bytes: file_bytes + plan_bytes + PROCESS_BYTES }
    }
}

/// One test on some number of threads.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    test: Test,
    threads: usize,
    /// Threads that did nothing but keep the CPUs busy.
    busy: u32,
    tokens_per_second: Spread,
    /// Of decoding.
    token_ms: Option<Latency>,
    /// The median's share of what [`Limits`] admit, on an idle machine.
    share_of_limit: Option<f64>,
    /// The median's share of that on an idle machine, on a busy one.
    share_of_idle: Option<f64>,
}

/// What a token costs, and what the machine can do.
#[derive(Clone, Debug, Serialize)]
pub struct Limits {
    /// Bytes of weights that decoding a token reads.
    decode_bytes_per_token: usize,
    /// Multiply-adds of weights in the prefill of a token.
    prefill_multiply_adds_per_token: usize,
    measured: Vec<Limit>,
}

/// What some number of threads can do.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// The number.
    pub threads: usize,
    /// Plainly reading the model file's bytes where they are mapped.
    pub read_bytes_per_second: f64,
    /// The matrix product in cache.
    pub multiply_adds_per_second: f64,
}

impl Measured {
    /// A result that is not yet compared, of the times that each feeding of each run took; `None` of
    /// nothing.
    pub fn new(test: Test, threads: usize, busy: u32, runs: &[Vec<Duration>]) -> Option<Self> {
        let rate =
            |run: &Vec<Duration>| test.tokens() as f64 / run.iter().sum::<Duration>().as_secs_f64();
        let token_ms = match test {
            Test::Prefill(_) => None,
            Test::Decode { .. } => Latency::of(runs.iter().flatten().copied()),
        };
        Some(Measured {
            test,
            threads,
            busy,
            tokens_per_second: Spread::of(runs.iter().map(rate).collect())?,
            token_ms,
            share_of_limit: None,
            share_of_idle: None,
        })
    }

    fn is_of(&self, other: &Measured) -> bool {
        self.test == other.test && self.threads == other.threads
    }
}

impl Limits {
    /// Of this machine, for tokens of this cost.
    pub fn new(cost: &Cost, measured: Vec<Limit>) -> Self {
        Limits {
            decode_bytes_per_token: cost.decode_bytes,
            prefill_multiply_adds_per_token: cost.prefill_macs,
            measured,
        }
    }

    fn on(&self, threads: usize) -> Option<&Limit> {
        self.measured.iter().find(|limit| limit.threads == threads)
    }
}

impl Report {
    /// Compares the results with the limits.
    pub fn new(
        target: &'static str,
        mut results: Vec<Measured>,
        starts: &[Start],
        (peak_rss_bytes, memory): (Option<u64>, Memory),
        cost: &Cost,
        limits: Vec<Limit>,
    ) -> Self {
        let limits = Limits::new(cost, limits);
        let idle: Vec<_> = results.iter().filter(|result| result.busy == 0).cloned().collect();
        for result in &mut results {
            let median = result.tokens_per_second.median;
            if result.busy == 0 {
                let limit = limits.on(result.threads);
                let limit = limit.and_then(|limit| cost.tokens_per_second(result.test, limit));
                result.share_of_limit = limit.map(|limit| median / limit);
            } else {
                let idle = idle.iter().find(|idle| idle.is_of(result));
                result.share_of_idle = idle.map(|idle| median / idle.tokens_per_second.median);
            }
        }
        let median = |time: fn(&Start) -> Duration| {
            let times = starts.iter().map(|start| time(start).as_secs_f64() * 1e3);
            Spread::of(times.collect()).map(|spread| spread.median)
        };
        Report {
            target,
            results,
            load_ms: median(|start| start.session),
            first_token_ms: median(|start| start.first_token),
            peak_rss_bytes,
            memory,
            limits,
        }
    }

    /// JSON, or a table on the output and facts on the errors.
    pub fn print(&self, json: bool, streams: &mut Streams<'_>) -> Result<()> {
        if json {
            return write_json(self, streams);
        }
        self.facts(streams);
        let out = &mut *streams.output;
        writeln!(out, "test         threads  tokens/s       min       max  p99/median  of limit")?;
        for result in &self.results {
            let Spread { median, min, max } = result.tokens_per_second;
            // Padding is for strings: `Display` of the test does not know it.
            let test = result.test.to_string();
            write!(out, "{test:<12} {:>7} {median:>9.1} {min:>9.1} {max:>9.1}", result.threads)?;
            match result.token_ms {
                Some(Latency { median, p99 }) => write!(out, " {:>11.2}", p99 / median)?,
                None => write!(out, " {:>11}", "")?,
            }
            match (result.share_of_limit, result.share_of_idle) {
                (Some(share), _) => writeln!(out, " {:>7.0} %", share * 100.0)?,
                (_, Some(share)) => {
                    let percent = share * 100.0;
                    writeln!(out, " {percent:>7.0} % of idle, beside {} busy", result.busy)?;
                }
                _ => writeln!(out)?,
            }
        }
        Ok(())
    }

    fn facts(&self, streams: &mut Streams<'_>) {
        streams.fact("target", self.target);
        if let (Some(load), Some(first)) = (self.load_ms, self.first_token_ms) {
            streams.fact(
                "load",
                format_args!("{load:.1} ms, to the first token {first:.1} ms (warm)"),
            );
        }
        if let Some(bytes) = self.peak_rss_bytes {
            let Memory { file_bytes, plan_bytes, allowed_bytes } = self.memory;
            streams.fact(
                "memory",
                format_args!(
                    "{} at most, of {} allowed: file {}, session {}, and {}",
                    Bytes(bytes),
                    Bytes(allowed_bytes),
                    Bytes(file_bytes),
                    Bytes(plan_bytes),
                    Bytes(PROCESS_BYTES)
                ),
            );
        }
        let limits = &self.limits;
        streams.fact(
            "token",
            format_args!(
                "decoding reads {:.1} MB of weights, prefill multiplies {:.1} million",
                limits.decode_bytes_per_token as f64 / 1e6,
                limits.prefill_multiply_adds_per_token as f64 / 1e6
            ),
        );
        for limit in &limits.measured {
            streams.fact(
                "limit",
                format_args!(
                    "{} threads: read {:.1} GB/s, multiply-add in cache {:.1} G/s",
                    limit.threads,
                    limit.read_bytes_per_second / 1e9,
                    limit.multiply_adds_per_second / 1e9
                ),
            );
        }
    }
}
