//! `mote bench`: how fast, how soon, how large, and how near to what the machine could do.

mod busy;
mod kernels;
mod limits;
mod measure;
mod report;
mod source;

use std::num::NonZeroUsize;
use std::path::Path;

use clap::{Args, Subcommand};
use mote_runtime::threads::ThreadPool;
use mote_runtime::{Model, Options, Origin};

use crate::failure::Result;
use crate::host::{self, Engine, available_threads, with_model, with_session};
use crate::options::{ComputeOptions, Purpose};
use crate::streams::Streams;

use measure::{Cost, Start, Test};
use report::{Limit, Limits, Measured, Report};
use source::Source;

/// Most tokens of a test, and most repetitions.
const MOST: i64 = 1 << 20;

/// Most threads that keep the CPUs busy.
const MOST_BUSY: i64 = 1 << 10;

/// Speed, load time and memory of a model, and what this machine admits
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
ppN feeds N tokens at once into an empty context (prefill), tgN feeds N tokens one by one and computes
the logits after each (decoding), as llama-bench does.

The limits are measured, too, as the best of some tries: how fast the same threads read the model's
bytes where they are mapped (decoding reads each weight once for a token), and how fast they multiply
one panel of weights with some tokens in cache (prefill multiplies each weight with each token). The
latter is mote's own matrix product, not the processor's peak.

A busy machine is one where other programs compute, too: with --busy 1,2 each test is done again beside
one, then two threads of this process that only count, and its speed is given as a share of that without.

--synthetic needs no download: seeded random weights in the shape of a model, in any encoding or mix.
They write no text, but cost what a real model's cost. The vocabulary is llama's: every program that
reads GGUF can measure the file that --output keeps. Without --output the file is temporary; a process
that is killed leaves it (mote-synthetic-*.gguf).

JSON keys: target; results (each: test, threads, busy, tokens_per_second {median, min, max}, token_ms
{median, p99} (null of prefill), share_of_limit, share_of_idle (one of them is null)); load_ms (to a session); first_token_ms (to the first logits, with one token);
peak_rss_bytes (null where it cannot be told); limits {decode_bytes_per_token,
prefill_multiply_adds_per_token, measured (each: threads, read_bytes_per_second,
multiply_adds_per_second)}.

Examples:
  mote bench -m model.gguf -p 512 -n 128 -t 1,2
  mote bench --synthetic 1b --type q4_k_m -o 1b.gguf"
)]
pub struct Command {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    source: Source,
    /// Prefill: tokens fed at once (0: none)
    #[arg(short = 'p', long, value_name = "N", default_value = "512",
          value_parser = clap::value_parser!(u32).range(..=MOST))]
    prefill: u32,
    /// Decoding: tokens fed one by one (0: none)
    #[arg(short = 'n', long, value_name = "N", default_value = "128",
          value_parser = clap::value_parser!(u32).range(..=MOST))]
    decode: u32,
    /// Numbers of threads, such as 1,2 [default: 1, and the CPUs that this process may use]
    #[arg(short, long, value_name = "LIST", value_delimiter = ',')]
    threads: Vec<NonZeroUsize>,
    /// Repeat each test beside so many busy threads; may be a list
    #[arg(long, value_name = "LIST", value_delimiter = ',',
          value_parser = clap::value_parser!(u32).range(1..=MOST_BUSY))]
    busy: Vec<u32>,
    /// How often each test is timed, after once without
    #[arg(short, long, value_name = "N", default_value = "5",
          value_parser = clap::value_parser!(u32).range(1..=MOST))]
    repetitions: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: ComputeOptions,
}

/// What else than a model can be measured.
#[derive(Subcommand, Debug)]
enum What {
    Kernels(kernels::Command),
}

impl Command {
    /// Whether the results, and a failure, are to be JSON.
    pub fn json(&self) -> bool {
        match &self.what {
            Some(What::Kernels(command)) => command.json,
            None => self.json,
        }
    }
}

/// Measures.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    match &command.what {
        Some(What::Kernels(command)) => kernels::execute(command, streams),
        None => {
            command.source.with_file(streams, |path, streams| execute_model(command, path, streams))
        }
    }
}

fn execute_model(command: &Command, path: &Path, streams: &mut Streams<'_>) -> Result<()> {
    let kernels = host::kernels(command.compute.target.as_deref())?;
    let threads = threads(command, streams);
    let engine = |threads| Engine { kernels, pool: ThreadPool::new(threads) };
    let starts = starts(command, path, threads.iter().copied().max().unwrap_or(1), &engine)?;
    let report = with_model(path, |model| {
        let results = results(command, model, &threads, &engine, streams)?;
        // Before the limits are measured: that takes memory, too.
        let peak_rss_bytes = peak_memory();
        let cost = Cost::of(model);
        let precision = session_options(command, model, 1).precision.of(Origin::Prompt);
        let multiply = |n| limits::multiply_rate(kernels, precision, &cost.kinds, n);
        let limit = |&threads: &usize| Limit {
            threads,
            read_bytes_per_second: limits::read_rate(model.gguf().bytes(), threads),
            multiply_adds_per_second: multiply(threads),
        };
        let limits = Limits::new(&cost, threads.iter().map(limit).collect());
        Ok(Report::new(kernels.name(), results, &starts, peak_rss_bytes, limits))
    })?;
    report.print(command.json, streams)
}

/// The list as asked for, or from one thread to all CPUs; no number twice.
fn threads(command: &Command, streams: &mut Streams<'_>) -> Vec<usize> {
    let asked = match command.threads.as_slice() {
        [] => vec![1, ThreadPool::available()],
        list => list.iter().map(|&n| available_threads(Some(n.get()), streams)).collect(),
    };
    let mut threads = Vec::new();
    for n in asked {
        if !threads.contains(&n) {
            threads.push(n);
        }
    }
    threads
}

fn session_options(command: &Command, model: &Model<'_>, threads: usize) -> Options {
    let needed = command.prefill.max(command.decode).max(1) as usize;
    let n_ctx = command.compute.ctx.map_or(needed, NonZeroUsize::get);
    command.compute.session(model, Purpose::Generate, n_ctx, threads)
}

/// Loads as often as tests are repeated, after once to have the file in memory.
fn starts(
    command: &Command,
    path: &Path,
    threads: usize,
    engine: &impl Fn(usize) -> Engine,
) -> Result<Vec<Start>> {
    let start =
        || Start::time(path, |model| session_options(command, model, threads), || engine(threads));
    start()?;
    (0..command.repetitions).map(|_| start()).collect()
}

/// Runs every test on every number of threads.
fn results(
    command: &Command,
    model: &Model<'_>,
    threads: &[usize],
    engine: &impl Fn(usize) -> Engine,
    streams: &mut Streams<'_>,
) -> Result<Vec<Measured>> {
    let tests = [Test::Prefill(command.prefill as usize), Test::Decode(command.decode as usize)];
    let tests = tests.iter().filter(|test| test.tokens() > 0);
    let tokens: usize = tests.clone().map(|test| test.tokens()).sum();
    let busy: Vec<_> = [0].into_iter().chain(command.busy.iter().copied()).collect();
    // The first run warms up.
    let runs = 1 + command.repetitions as usize;
    let passes = runs.saturating_mul(busy.len()).saturating_mul(threads.len());
    let progress = streams.progress(tokens.saturating_mul(passes));
    let mut results = Vec::new();
    for &threads in threads {
        let plan = session_options(command, model, threads);
        with_session(model, &plan, &engine(threads), |session, _| {
            for (test, &busy) in tests.clone().flat_map(|test| busy.iter().map(move |n| (test, n)))
            {
                let timed = busy::beside(busy as usize, || {
                    let run = |_| test.run(session).inspect(|_| progress.inc(test.tokens() as u64));
                    (0..runs).map(run).collect::<Result<Vec<_>>>()
                })?;
                results.extend(Measured::new(*test, threads, busy, &timed[1..]));
            }
            Ok(())
        })?;
    }
    progress.finish_and_clear();
    Ok(results)
}

/// The most memory that this process ever had in use, in bytes, if the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
