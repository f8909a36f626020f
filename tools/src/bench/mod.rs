//! `mote bench`: how fast, how soon, how large, and how near to what the machine could do.

mod busy;
mod clock;
mod compare;
mod fallback;
mod kernels;
mod limits;
mod machine;
mod measure;
mod report;
mod source;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use mote_runtime::threads::ThreadPool;
use mote_runtime::{Model, Options, Origin, Session};

use crate::failure::Result;
use crate::host::{self, Engine, available_threads, with_decoder, with_session};
use crate::interrupt;
use crate::options::{ComputeOptions, Purpose};
use crate::streams::Streams;

use compare::{CompareOptions, Request};
use measure::{Cost, Start, Test};
use report::{Limit, Measured, Memory, Report};
use source::Source;

/// Most tokens of a test, and most repetitions.
const MOST: i64 = 1 << 20;

/// Most threads that keep the CPUs busy.
const MOST_BUSY: i64 = 1 << 10;

/// Measure speed, load time and memory of a model, and what this machine admits
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
ppN feeds N tokens at once into an empty context (prefill), tgN feeds N tokens one by one and
computes the logits after each (decoding), tgN@dD the same with D tokens already in the context,
as llama-bench does.

The limits are measured, too, as the best of some tries: how fast the same threads read the
model's bytes where they are mapped (decoding reads each weight once for a token, and the cache of
D), and how fast they multiply one panel of weights with some tokens in cache (prefill multiplies
each weight with each token). The latter is mote's own matrix product, not the processor's peak.

A busy machine is one where other programs compute, too: with --busy 1,2 each test is done again
beside one, then two threads of this process that only count, and its speed is given as a share of
that without.

--synthetic needs no download: seeded random weights in the shape of a model, in any encoding or
mix. They write no text, but cost what a real model's cost. The vocabulary is llama's: every
program that reads GGUF can measure the file that --output keeps. Without --output the file is
temporary; a process that is killed leaves it (mote-synthetic-*.gguf).

JSON keys: target; results (each: test, threads, busy, tokens_per_second {median, min, max},
token_ms {median, p99} (over all tokens; null of prefill), share_of_limit, share_of_idle (one of
them is null)); load_ms (to a session); first_token_ms (to the first logits, with one token);
peak_rss_bytes (null where it cannot be told); memory {file_bytes, plan_bytes (the largest
session), allowed_bytes (both and 15 MB)}; limits {decode_bytes_per_token,
prefill_multiply_adds_per_token, measured (each: threads, read_bytes_per_second,
multiply_adds_per_second)}.

With other programs to compare with, or several models, all of them run in turns, each in a
process of its own, and a table in Markdown shows the medians, mote's ratio to the best of
--compare, and its share of the limit that was measured beside it. A process does its test twice,
and the second time counts. What fails leaves its cells empty, and the reason is among the errors
and in the JSON, whose keys then are: target; rounds; programs (each: name, path, flags, counts
(for the ratio), build); results (each: model, test, threads, speeds (each: program,
tokens_per_second {median, min, max}, samples), best_peer, ratio, read_bytes_per_second,
multiply_adds_per_second, limit_tokens_per_second, share_of_limit, bytes_per_token,
multiply_adds_per_token); failures (each: program, model, test, threads, reason).

Examples:
  mote bench -m model.gguf -p 512 -n 128 -t 1,2
  mote bench --synthetic 1b --type q4_k_m -o 1b.gguf
  mote bench -m a.gguf -m b.gguf -p 512,4096 -n 128 -d 0,4096 -t 1,2 \\
    --compare llama.cpp=PATH/llama-bench --compare ik_llama.cpp=PATH/llama-bench \\
    --beside 'ik -rtr 1=PATH/llama-bench,-rtr,1' --json-file bench.json --svg bench.svg"
)]
pub struct Command {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    source: Source,
    /// Prefill: tokens fed at once, such as 512,4096 (0: none)
    #[arg(short = 'p', long, value_name = "LIST", default_value = "512", value_delimiter = ',',
          value_parser = clap::value_parser!(u32).range(..=MOST))]
    prefill: Vec<u32>,
    /// Decoding: tokens fed one by one (0: none)
    #[arg(short = 'n', long, value_name = "LIST", default_value = "128", value_delimiter = ',',
          value_parser = clap::value_parser!(u32).range(..=MOST))]
    decode: Vec<u32>,
    /// Decoding: tokens that are in the context before, such as 0,4096
    #[arg(short = 'd', long, value_name = "LIST", default_value = "0", value_delimiter = ',',
          value_parser = clap::value_parser!(u32).range(..=MOST))]
    depth: Vec<u32>,
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
    compare: CompareOptions,
    #[command(flatten)]
    compute: ComputeOptions,
}

/// What else than a model can be measured.
#[derive(Subcommand, Debug)]
enum What {
    Fallback(fallback::Command),
    Kernels(kernels::Command),
    Machine(machine::Command),
}

impl Command {
    /// Whether the results, and a failure, are to be JSON.
    pub fn json(&self) -> bool {
        match &self.what {
            Some(What::Fallback(command)) => command.json,
            Some(What::Kernels(command)) => command.json,
            Some(What::Machine(command)) => command.json,
            None => self.json,
        }
    }
}

/// Measures.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    match &command.what {
        Some(What::Fallback(command)) => fallback::execute(command, streams),
        Some(What::Kernels(command)) => kernels::execute(command, streams),
        Some(What::Machine(command)) => machine::execute(command, streams),
        None => command
            .source
            .with_files(streams, |models, streams| execute_models(command, models, streams)),
    }
}

fn execute_models(command: &Command, models: &[PathBuf], streams: &mut Streams<'_>) -> Result<()> {
    let threads = threads(command, streams);
    match models {
        [model] if !command.compare.is_asked() => alone(command, model, &threads, streams),
        models => compare::execute(
            &Request {
                models,
                tests: &tests(command),
                threads: &threads,
                rounds: command.repetitions as usize,
                compute: &command.compute,
                options: &command.compare,
            },
            command.json,
            streams,
        ),
    }
}

/// One model, in this process.
fn alone(
    command: &Command,
    path: &Path,
    threads: &[usize],
    streams: &mut Streams<'_>,
) -> Result<()> {
    let kernels = host::kernels(command.compute.target.as_deref())?;
    let engine = |threads| Engine { kernels, pool: ThreadPool::new(threads) };
    let most = threads.iter().copied().max().unwrap_or(1);
    let starts = starts(command, path, most, &engine)?;
    let report = with_decoder(path, None, |model| {
        let results = results(command, model, threads, &engine, streams)?;
        // Before the limits are measured: that takes memory, too.
        let peak_rss_bytes = peak_memory();
        let options = session_options(command, model, most);
        let plan = Session::plan(model, &options)?;
        let memory = Memory::new(model.gguf().bytes().len(), plan.total_bytes);
        let cost = Cost::of(model, options.cache);
        let precision = options.precision.of(Origin::Prompt);
        let multiply = |n| limits::multiply_rate(kernels, precision, &cost.kinds, n);
        let limit = |&threads: &usize| Limit {
            threads,
            read_bytes_per_second: limits::read_rate(model.gguf().bytes(), threads),
            multiply_adds_per_second: multiply(threads),
        };
        let limits = threads.iter().map(limit).collect();
        let memory = (peak_rss_bytes, memory);
        Ok(Report::new(kernels.name(), results, &starts, memory, &cost, limits))
    })?;
    report.print(command.json, streams)
}

/// What was asked for, nothing twice.
fn tests(command: &Command) -> Vec<Test> {
    let count = |&n: &u32| n as usize;
    let decodes = |depth| {
        let test = move |tokens| Test::Decode { tokens, depth };
        command.decode.iter().map(count).map(test)
    };
    let prefills = command.prefill.iter().map(count).map(Test::Prefill);
    let asked = prefills.chain(command.depth.iter().map(count).flat_map(decodes));
    let mut tests = Vec::new();
    for test in asked.filter(|test| test.tokens() > 0) {
        if !tests.contains(&test) {
            tests.push(test);
        }
    }
    tests
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
    let needed = tests(command).iter().map(|test| test.depth() + test.tokens()).max();
    let n_ctx = command.compute.ctx.map_or(needed.unwrap_or(1), NonZeroUsize::get);
    command.compute.session(model.weights().all_float(), Purpose::Generate, n_ctx, threads)
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
    (0..command.repetitions).map(|_| interrupt::check().and_then(|()| start())).collect()
}

/// Runs every test on every number of threads.
fn results(
    command: &Command,
    model: &Model<'_>,
    threads: &[usize],
    engine: &impl Fn(usize) -> Engine,
    streams: &mut Streams<'_>,
) -> Result<Vec<Measured>> {
    let tests = tests(command);
    let tokens: usize = tests.iter().map(|test| test.tokens()).sum();
    let busy: Vec<_> = [0].into_iter().chain(command.busy.iter().copied()).collect();
    // The first run warms up.
    let runs = 1 + command.repetitions as usize;
    let passes = runs.saturating_mul(busy.len()).saturating_mul(threads.len());
    let progress = streams.progress(tokens.saturating_mul(passes));
    let mut results = Vec::new();
    for &threads in threads {
        let plan = session_options(command, model, threads);
        with_session(model, &plan, &engine(threads), |session, _| {
            for (&test, &busy) in tests.iter().flat_map(|test| busy.iter().map(move |n| (test, n)))
            {
                test.prepare(session)?;
                let timed = busy::beside(busy as usize, || {
                    let run = |_| test.run(session).inspect(|_| progress.inc(test.tokens() as u64));
                    (0..runs).map(run).collect::<Result<Vec<_>>>()
                })?;
                results.extend(Measured::new(test, threads, busy, &timed[1..]));
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
