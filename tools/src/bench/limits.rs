//! What this machine could do at most: how fast threads read the model's bytes, and how fast they
//! multiply with everything in cache.
//!
//! Decoding reads every weight once for each token, so its limit is the first; prefill multiplies
//! every weight with every token, so its limit is the second. The second is the best rate of this
//! target's own matrix product, not the processor's peak: what lies between that and a prefill is
//! lost outside of the products, or because their shapes are small.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use mote_kernels::{ActivationsMut, Kernels, Matrix, PANEL_ROWS, Precision, QuantType, Rows, Tile};
use mote_runtime::memory::{Carver, Measure, TooSmall};

/// A limit is the best of several timings: other work on the machine only lowers them.
const TIMINGS: usize = 5;

/// Least length of a timing.
const SPAN: Duration = Duration::from_millis(8);

/// Threads take pieces of this many bytes in turns, so that together they stream.
const PIECE: usize = 256 << 10;

/// The product that is timed, one panel of weights by some tokens: the panel (64 KiB and its
/// scales) and the activations (192 KiB) stay in a second-level cache.
const ROWS: usize = PANEL_ROWS;
const COLS: usize = 2048;
const TOKENS: usize = 96;

/// Bytes a second at which `threads` threads read `bytes` from end to end, each its own part.
pub fn read_rate(bytes: &[u8], threads: usize) -> f64 {
    let read = |thread: usize, clock: Clock<'_>| {
        clock.rate(|| {
            let pieces = bytes.chunks(PIECE).skip(thread).step_by(threads);
            pieces.fold(0, |done, piece| {
                black_box(sum(piece));
                done + piece.len()
            })
        })
    };
    best((0..TIMINGS).map(|_| together(threads, read)))
}

/// The sum of all whole words, in enough chains to keep the loads busy.
fn sum(bytes: &[u8]) -> u64 {
    const CHAINS: usize = 32;
    let mut sums = [0_u64; CHAINS];
    for words in bytes.as_chunks::<{ 8 * CHAINS }>().0 {
        for (sum, word) in sums.iter_mut().zip(words.as_chunks::<8>().0) {
            *sum = sum.wrapping_add(u64::from_ne_bytes(*word));
        }
    }
    sums.iter().fold(0, |all, &sum| all.wrapping_add(sum))
}

/// Multiply-adds a second of the matrix product on `threads` threads, each with one of its own, in
/// that one of the encodings which is fastest.
pub fn multiply_rate(
    kernels: &'static Kernels,
    precision: Precision,
    kinds: &[QuantType],
    threads: usize,
) -> f64 {
    best(kinds.iter().map(|&kind| {
        let multiply = |_, clock: Clock<'_>| {
            // The sizes are right, and the same for all threads.
            product(kernels, precision, kind, clock).unwrap_or(0.0)
        };
        best((0..TIMINGS).map(|_| together(threads, multiply)))
    }))
}

/// The rate of one thread.
fn product(
    kernels: &Kernels,
    precision: Precision,
    kind: QuantType,
    clock: Clock<'_>,
) -> Result<f64, TooSmall> {
    let n = TOKENS * ActivationsMut::stride(COLS);
    let low = if precision == Precision::Bits16 { n } else { 0 };
    let panel = Kernels::panel_bytes(COLS) / 4;
    let mut measure = Measure::default();
    measure.add::<i8>(n).add::<i8>(low).add::<f32>(n / 32).add::<i32>(n / 16).add::<f32>(n / 32);
    let mut memory = vec![0; measure.add::<f32>(ROWS * TOKENS).add::<f32>(panel).bytes()];
    let mut carver = Carver::new(&mut memory);
    let planes = (carver.take(n)?, Some(carver.take(low)?).filter(|low| !low.is_empty()));
    let (scales, sums) = (carver.take(n / 32)?, carver.take(n / 16)?);
    let mut input = ActivationsMut::new((TOKENS, COLS), planes, scales, sums, carver.take(n / 32)?);
    let (out, scratch) = (carver.take(ROWS * TOKENS)?, carver.take(panel)?);

    let values: Vec<f32> = (0..COLS).map(|i| (i as f32).sin()).collect();
    (0..TOKENS).for_each(|token| kernels.quantize(&values, &mut input, token));
    // Which form of the input is used depends on the encoding.
    let floats = values.repeat(TOKENS);
    let input = Rows::new((TOKENS, COLS), Some(&floats), Some(input.freeze()));
    let mut row = vec![0; COLS / kind.block_len() * kind.block_bytes()];
    kind.encode(&values, &mut row);
    let data = row.repeat(ROWS);
    // A row is whole blocks of any encoding.
    let Some(weights) = Matrix::new(kind, ROWS, COLS, &data) else { return Ok(0.0) };
    Ok(clock.rate(|| {
        kernels.matmul(&weights, &input, &mut Tile::new(out, TOKENS, ROWS), scratch);
        ROWS * COLS * TOKENS
    }))
}

/// Multiply-adds a second on registers alone, on `threads` threads: `pass` does some, and says how
/// many.
pub fn peak_rate(threads: usize, pass: impl Fn() -> usize + Sync) -> f64 {
    best((0..TIMINGS).map(|_| together(threads, |_, clock| clock.rate(&pass))))
}

/// Lets the threads of a timing begin together.
struct Clock<'a>(&'a Barrier);

impl Clock<'_> {
    /// Repeats `work`, which says how much it did, for a while: how much a second?
    fn rate(self, mut work: impl FnMut() -> usize) -> f64 {
        work();
        self.0.wait();
        let start = Instant::now();
        let mut done = 0;
        loop {
            done += work();
            let passed = start.elapsed();
            if passed >= SPAN {
                return done as f64 / passed.as_secs_f64();
            }
        }
    }
}

/// The rates of all threads, added. Every thread must use its clock, or the others wait for it.
fn together(threads: usize, work: impl Fn(usize, Clock<'_>) -> f64 + Sync) -> f64 {
    let barrier = Barrier::new(threads);
    let work = &|thread| work(thread, Clock(&barrier));
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        let own = work(0);
        own + others.into_iter().filter_map(|other| other.join().ok()).sum::<f64>()
    })
}

fn best(rates: impl Iterator<Item = f64>) -> f64 {
    rates.fold(0.0, f64::max)
}
