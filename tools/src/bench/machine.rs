//! `mote bench machine`: what bounds every model on this machine, in a few seconds.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Args;
use mote_kernels::Kernels;
use mote_runtime::executor::Executor;
use mote_runtime::threads::ThreadPool;
use serde::Serialize;

use crate::cli::write_json;
use crate::failure::Result;
use crate::host::{self, Memory};
use crate::streams::Streams;

use super::measure::Spread;
use super::{clock, limits};

/// Far more than any cache of a small machine.
const MEMORY_BYTES: usize = 256 << 20;

/// The least page that a system has.
const PAGE_BYTES: usize = 4096;

/// Rounds of multiplications between two looks at the time.
const ROUNDS: usize = 10_000;

/// Empty phases of a timing, and timings.
const PHASES: usize = 2000;
const PHASE_TIMINGS: usize = 15;

/// How often threads are woken, and how long they slept: far longer than they look for work.
const WAKE_UPS: usize = 20;
const SLEEP: Duration = Duration::from_millis(10);

/// Measure this machine: memory bandwidth, arithmetic peaks, the cost of waiting for threads
#[derive(Args, Debug)]
#[command(after_help = "\
read is how fast so many threads together read 256 MiB of memory; int8 and f32 are the
multiply-adds of the instructions that mote multiplies with, on registers alone; barrier is a
phase without work, in which all threads may take part; wake-up is the time from the call to the
work of a thread that slept.

JSON keys: target; clock_hz (null where unknown); threads (each: threads, read_bytes_per_second,
int8_multiply_adds_per_second, f32_multiply_adds_per_second, barrier_seconds, wake_up_seconds (each
{median, min, max}; null for one thread)).

Example:
  mote bench machine")]
pub struct Command {
    /// Instruction set: scalar, avx2, avxvnni, avx512, ... [default: the best that this CPU has]
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report {
    target: &'static str,
    clock_hz: Option<f64>,
    threads: Vec<Threads>,
}

/// What so many threads do together.
#[derive(Serialize)]
struct Threads {
    threads: usize,
    read_bytes_per_second: f64,
    int8_multiply_adds_per_second: f64,
    f32_multiply_adds_per_second: f64,
    barrier_seconds: Option<Spread>,
    wake_up_seconds: Option<Spread>,
}

/// Measures.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    let kernels = host::kernels(command.target.as_deref())?;
    let mut memory = Memory::new(MEMORY_BYTES)?;
    // Untouched pages would all be the same one.
    memory.iter_mut().step_by(PAGE_BYTES).for_each(|byte| *byte = 1);
    let measured = numbers(ThreadPool::available()).map(|n| threads(n, kernels, &memory)).collect();
    let report = Report { target: kernels.name(), clock_hz: clock::hertz(), threads: measured };
    match command.json {
        true => write_json(&report, streams),
        false => report.print(streams),
    }
}

/// 1, 2, 4 and so on, and all.
fn numbers(most: usize) -> impl Iterator<Item = usize> {
    let powers = (0..usize::BITS).map(|bit| 1 << bit);
    powers.take_while(move |&n| n < most).chain([most])
}

fn threads(n: usize, kernels: &Kernels, memory: &[u8]) -> Threads {
    let pool = ThreadPool::new(n);
    let several = pool.threads() > 1;
    Threads {
        threads: n,
        read_bytes_per_second: limits::read_rate(memory, n),
        int8_multiply_adds_per_second: limits::peak_rate(n, || kernels.peak_integer(ROUNDS)),
        f32_multiply_adds_per_second: limits::peak_rate(n, || kernels.peak_float(ROUNDS)),
        barrier_seconds: several.then(|| barrier(&pool)).flatten(),
        wake_up_seconds: several.then(|| wake_up(&pool)).flatten(),
    }
}

/// Seconds of a phase whose items do nothing.
fn barrier(pool: &ThreadPool) -> Option<Spread> {
    let timing = |_| {
        let start = Instant::now();
        (0..PHASES).for_each(|_| pool.run(pool.threads(), &|_, _| ()));
        start.elapsed().as_secs_f64() / PHASES as f64
    };
    Spread::of((0..PHASE_TIMINGS).map(timing).collect())
}

/// Seconds from the start of a phase to the first item that another thread works on.
fn wake_up(pool: &ThreadPool) -> Option<Spread> {
    let timing = |_| {
        std::thread::sleep(SLEEP);
        let first = Mutex::new(None);
        let start = Instant::now();
        pool.run(pool.threads(), &|_, worker| {
            let arrived = || first.lock().is_ok_and(|first| first.is_some());
            if worker > 0 {
                let passed = start.elapsed();
                if let Ok(mut first) = first.lock() {
                    first.get_or_insert(passed);
                }
                return;
            }
            // The caller leaves the other items to those who are to be woken.
            while !arrived() && start.elapsed() < SLEEP {
                std::hint::spin_loop();
            }
        });
        first.into_inner().ok().flatten().map(|passed: Duration| passed.as_secs_f64())
    };
    Spread::of((0..WAKE_UPS).filter_map(timing).collect())
}

impl Report {
    fn print(&self, streams: &mut Streams<'_>) -> Result<()> {
        let out = &mut *streams.output;
        writeln!(out, "threads  read GB/s  int8 GMAC/s  f32 GMAC/s  barrier us  wake-up us")?;
        for row in &self.threads {
            let micros = |spread: &Option<Spread>| match spread {
                Some(spread) => format!("{:.2}", spread.median * 1e6),
                None => "-".to_owned(),
            };
            writeln!(
                out,
                "{:>7} {:>10.1} {:>12.1} {:>11.1} {:>11} {:>11}",
                row.threads,
                row.read_bytes_per_second / 1e9,
                row.int8_multiply_adds_per_second / 1e9,
                row.f32_multiply_adds_per_second / 1e9,
                micros(&row.barrier_seconds),
                micros(&row.wake_up_seconds),
            )?;
        }
        streams.fact("target", self.target);
        if let (Some(hertz), Some(one)) = (self.clock_hz, self.threads.first()) {
            let cycle = |rate: f64| rate / hertz;
            streams.fact(
                "clock",
                format_args!(
                    "{:.2} GHz; multiply-adds a cycle on one thread: {:.1} int8, {:.1} f32",
                    hertz / 1e9,
                    cycle(one.int8_multiply_adds_per_second),
                    cycle(one.f32_multiply_adds_per_second)
                ),
            );
        }
        Ok(())
    }
}
