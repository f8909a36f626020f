//! `mote bench kernels`: every entry of every kernel table this CPU can run, at three sizes.

mod operation;
mod prepare;

use std::hint::black_box;
use std::time::{Duration, Instant};

use clap::Args;
use mote_kernels::{Kernels, arch};
use serde::Serialize;

use crate::cli::write_json;
use crate::failure::Result;
use crate::host;
use crate::streams::Streams;

use operation::{Operation, Size};
use prepare::{Prepared, prepare};

/// Least length of a timing; shorter passes are repeated.
const SPAN: Duration = Duration::from_millis(1);

/// A figure is the best of several timings, because other work on the machine only lowers it; no
/// more of them begin after this time.
const TIMINGS: usize = 7;
const PATIENCE: Duration = Duration::from_millis(100);

/// Measure every kernel on one thread, for every target of this CPU, at three sizes
#[derive(Args, Debug)]
#[command(after_help = "\
Sizes: cache (first and second level), layer (as in a model of a billion weights), memory (far
more than any cache). gemv multiplies raw rows with 1 or 4 tokens; gemm unpacks rows and
multiplies them with 64. GB/s counts weights, the keys and values visited, or what a vector
operation reads and writes. G/s counts multiply-adds, or elements of a vector; per cycle is the
same divided by the clock, which a chain of multiplications measures (x86-64 only).

JSON keys: clock_hz (null where unknown); kernels (each: target, kernel, size, bytes_per_second,
operations_per_second, operations_per_cycle).

Example:
  mote bench kernels --target avx2 --kernel gemv/q4")]
pub struct Command {
    /// Only this instruction set: scalar, avx2, avxvnni, avx512, ... [default: all that this CPU has]
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Only kernels whose names contain this text
    #[arg(long, value_name = "FILTER", default_value = "")]
    kernel: String,
    /// Run each kernel once at the smallest size and time nothing: for profilers and for counters of
    /// instructions. Prints target, kernel and operations
    #[arg(long, conflicts_with = "json")]
    once: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report {
    clock_hz: Option<f64>,
    kernels: Vec<Measured>,
}

#[derive(Serialize)]
struct Measured {
    target: &'static str,
    kernel: String,
    size: &'static str,
    bytes_per_second: f64,
    operations_per_second: f64,
    operations_per_cycle: Option<f64>,
}

/// Measures.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    let tables: Vec<&'static Kernels> = match &command.target {
        Some(name) => vec![host::kernels(Some(name))?],
        None => arch::available().collect(),
    };
    let operations: Vec<Operation> = Operation::all()
        .into_iter()
        .filter(|operation| operation.to_string().contains(&command.kernel))
        .collect();
    if command.once {
        return run_once(&tables, &operations, streams);
    }
    let clock_hz = super::clock::hertz();
    let mut kernels = Vec::new();
    if !command.json {
        header(clock_hz, streams)?;
    }
    for &table in &tables {
        for &operation in &operations {
            for size in Size::ALL {
                let measured = measure(table, operation, size, clock_hz);
                if !command.json {
                    measured.print(streams)?;
                }
                kernels.push(measured);
            }
        }
    }
    if command.json { write_json(&Report { clock_hz, kernels }, streams) } else { Ok(()) }
}

/// See [`Command::once`].
fn run_once(
    tables: &[&'static Kernels],
    operations: &[Operation],
    streams: &mut Streams<'_>,
) -> Result<()> {
    for table in tables {
        for &operation in operations {
            let mut prepared = prepare(operation, Size::Cache);
            counted_pass(&mut prepared, table);
            let operations = prepared.operations;
            writeln!(streams.output, "{} {operation} {operations}", table.name())?;
        }
    }
    Ok(())
}

/// tests/guards/instructions.py counts the instructions between this function's call and return.
#[inline(never)]
fn counted_pass(prepared: &mut Prepared, kernels: &Kernels) {
    (prepared.pass)(kernels);
    // Otherwise the call would be a jump, and this function would have returned before it.
    black_box(());
}

fn measure(
    kernels: &'static Kernels,
    operation: Operation,
    size: Size,
    clock_hz: Option<f64>,
) -> Measured {
    let mut prepared = prepare(operation, size);
    let seconds = best_time(|| (prepared.pass)(kernels)).as_secs_f64();
    let operations_per_second = prepared.operations as f64 / seconds;
    Measured {
        target: kernels.name(),
        kernel: operation.to_string(),
        size: size.name(),
        bytes_per_second: prepared.bytes as f64 / seconds,
        operations_per_second,
        operations_per_cycle: clock_hz.map(|clock| operations_per_second / clock),
    }
}

/// The shortest time of a pass, after one that warms up.
fn best_time(mut pass: impl FnMut()) -> Duration {
    let start = Instant::now();
    pass();
    let passes = (SPAN.as_nanos() / start.elapsed().as_nanos().max(1) + 1) as u32;
    let mut best = Duration::MAX;
    for _ in 0..TIMINGS {
        let timing = Instant::now();
        (0..passes).for_each(|_| pass());
        best = best.min(timing.elapsed() / passes);
        if start.elapsed() > PATIENCE {
            break;
        }
    }
    best.max(Duration::from_nanos(1))
}

fn header(clock_hz: Option<f64>, streams: &mut Streams<'_>) -> Result<()> {
    if let Some(clock) = clock_hz {
        streams.fact("clock", format_args!("{:.2} GHz", clock / 1e9));
    }
    let [target, kernel, size] = ["target", "kernel", "size"];
    Ok(writeln!(
        streams.output,
        "{target:<8} {kernel:<20} {size:<7}     GB/s       G/s  per cycle"
    )?)
}

impl Measured {
    /// One line of the table, as soon as it is known.
    fn print(&self, streams: &mut Streams<'_>) -> Result<()> {
        let Measured { target, kernel, size, .. } = self;
        let [bytes, operations] = [self.bytes_per_second, self.operations_per_second];
        let out = &mut *streams.output;
        write!(out, "{target:<8} {kernel:<20} {size:<7}")?;
        write!(out, " {:>8.2} {:>9.3}", bytes / 1e9, operations / 1e9)?;
        match self.operations_per_cycle {
            Some(per_cycle) => writeln!(out, " {per_cycle:>10.3}")?,
            None => writeln!(out)?,
        }
        Ok(out.flush()?)
    }
}
