//! `mote bench fallback`: how soon an n-gram model answers in a Transformer's place.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use mote_kernels::{Candidate, Kernels};
use mote_runtime::sample::{Options as Sampling, uniform};
use mote_runtime::{
    AnySession, Deadline, Fallback, LanguageModel, Options, Session, SessionError, sample,
};
use serde::Serialize;

use crate::cli::write_json;
use crate::failure::{Code, Failure, Result};
use crate::host::{Engine, Memory, with_any_model, with_decoder};
use crate::options::{ModelOption, SessionOptions};
use crate::streams::Streams;

/// Measure how soon an n-gram model answers in a Transformer's place
#[derive(Args, Debug)]
#[command(after_help = "\
Each time a token is fed, and a deadline strikes at some moment of the Transformer's work on it.
The switch is the time from the question of the Transformer whether to go on, to which the answer
was no, until a token has been drawn from the n-gram model's distribution. The overrun is the time
from the deadline itself: it has the rest of the layer in it that the Transformer was at.

JSON keys: strikes; switch_ms and overrun_ms {median, p99, max}; n_vocab; valid (tokens that are
in the vocabulary).

Example:
  mote bench fallback -m model.gguf --fallback lm.gguf")]
pub struct Command {
    #[command(flatten)]
    model: ModelOption,
    /// An n-gram model of the same vocabulary
    #[arg(long, value_name = "FILE")]
    fallback: PathBuf,
    /// How often the deadline strikes
    #[arg(short = 'n', long, value_name = "N", default_value = "10000",
          value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    strikes: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    session: SessionOptions,
}

#[derive(Serialize)]
struct Report {
    strikes: usize,
    switch_ms: Times,
    overrun_ms: Times,
    n_vocab: usize,
    valid: usize,
}

#[derive(Serialize)]
struct Times {
    median: f64,
    p99: f64,
    max: f64,
}

impl Times {
    /// Of nanoseconds, in milliseconds.
    fn of(mut times: Vec<u64>) -> Times {
        times.sort_unstable();
        let at = |share: usize| times[(times.len() - 1) * share / 100] as f64 / 1e6;
        Times { median: at(50), p99: at(99), max: at(100) }
    }
}

/// Tokens of the context.
const CONTEXT: usize = 4;

/// Measures.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    let engine = Engine::new(&command.session, streams)?;
    let report = with_decoder(&command.model.model, None, |main| {
        with_any_model(&command.fallback, |spare| {
            let n_ctx = CONTEXT + 1;
            let options =
                Options { n_ctx, batch: n_ctx, threads: engine.threads(), ..Options::default() };
            let mut memory = Memory::new(Session::plan(main, &options)?.total_bytes)?;
            let mut main = Session::new(main, &options, engine.kernels, &engine.pool, &mut memory)?;
            let mut memory = Memory::new(AnySession::plan(spare, &options)?.total_bytes)?;
            let mut spare =
                AnySession::new(spare, &options, engine.kernels, &engine.pool, &mut memory)?;
            let strikes = Strikes::new(engine.kernels, spare.as_model_mut())?;
            strikes.time(command.strikes as usize, &mut main, spare.as_model_mut(), streams)
        })
    })?;
    if command.json {
        return write_json(&report, streams);
    }
    let out = &mut *streams.output;
    for (name, times) in [("switch", &report.switch_ms), ("overrun", &report.overrun_ms)] {
        let Times { median, p99, max } = times;
        writeln!(out, "{name:<8} median {median:.4} ms, p99 {p99:.4} ms, max {max:.4} ms")?;
    }
    let Report { strikes, n_vocab, valid, .. } = report;
    Ok(writeln!(out, "{valid} of {strikes} tokens are in the vocabulary of {n_vocab}")?)
}

/// What each strike begins with.
struct Strikes {
    kernels: &'static Kernels,
    context: Vec<u32>,
    candidates: Vec<Candidate>,
}

impl Strikes {
    /// A context that the n-gram model wrote.
    fn new(kernels: &'static Kernels, spare: &mut dyn LanguageModel<'_>) -> Result<Strikes> {
        let candidates =
            vec![Candidate::default(); Sampling::default().candidates(spare.n_vocab())];
        let mut strikes = Strikes { kernels, context: Vec::new(), candidates };
        let first = spare.tokenizer().bos().unwrap_or(0);
        spare.feed(&[first])?;
        while spare.position() < CONTEXT {
            let id = strikes.draw(spare, 0)?;
            spare.feed_generated(&[id])?;
        }
        strikes.context = spare.tokens().to_vec();
        Ok(strikes)
    }

    fn draw(&mut self, model: &mut dyn LanguageModel<'_>, seed: u64) -> Result<u32> {
        let (logits, recent) = model.logits_and_tokens().ok_or(SessionError::Empty)?;
        let options = Sampling { seed, ..Sampling::default() };
        Ok(sample::pick(self.kernels, &options, logits, recent, &mut self.candidates)?)
    }

    fn time<'m>(
        mut self,
        strikes: usize,
        main: &mut Session<'m>,
        spare: &mut (dyn LanguageModel<'m> + '_),
        streams: &Streams<'_>,
    ) -> Result<Report> {
        let n_vocab = spare.n_vocab();
        main.rewind(0);
        main.feed(&self.context)?;
        let token_ns = shortest(main)?;
        let clock_start = Instant::now();
        let refused = Cell::new(0);
        let end = Cell::new(0);
        let clock = || {
            let now = clock_start.elapsed().as_nanos() as u64;
            if now >= end.get() {
                refused.set(now);
            }
            now
        };
        let (mut switches, mut overruns, mut valid) = (Vec::new(), Vec::new(), 0);
        let bar = streams.progress(strikes);
        let mut id = 0;
        main.rewind(CONTEXT);
        let mut both = Fallback::new(main, spare)?;
        for seed in 0..4 * strikes as u64 {
            if switches.len() == strikes {
                break;
            }
            both.set_deadline(None);
            both.rewind(CONTEXT);
            let moment = clock() + (uniform(seed, 0) * token_ns) as u64;
            end.set(moment);
            both.set_deadline(Some(Deadline { clock: &clock, each: u64::MAX, moment }));
            both.feed_generated(&[id])?;
            if both.degraded().is_none() {
                // It was done before.
                continue;
            }
            id = self.draw(&mut both, seed)?;
            let now = clock_start.elapsed().as_nanos() as u64;
            switches.push(now - refused.get());
            overruns.push(now - moment);
            valid += usize::from((id as usize) < n_vocab);
            bar.inc(1);
        }
        bar.finish_and_clear();
        if switches.is_empty() {
            return Err(Failure::new(Code::Usage, "no deadline struck in time"));
        }
        let (strikes, switch_ms) = (switches.len(), Times::of(switches));
        Ok(Report { strikes, switch_ms, overrun_ms: Times::of(overruns), n_vocab, valid })
    }
}

/// Nanoseconds that a token takes, at best: deadlines are to strike within it.
fn shortest(main: &mut Session<'_>) -> Result<f64> {
    let mut shortest = f64::INFINITY;
    for _ in 0..20 {
        main.rewind(CONTEXT);
        let begin = Instant::now();
        main.feed_generated(&[0])?;
        shortest = shortest.min(begin.elapsed().as_nanos() as f64);
    }
    Ok(shortest)
}
