//! From a tensor of the input to its bytes in the output, some rows at a time.

use std::sync::Mutex;
use std::thread;

use mote_formats::gguf::Tensor;
use mote_kernels::{QuantType, arch};

use crate::failure::{Code, Failure, Result};
use crate::interrupt;

/// Numbers that are encoded before they are written, about: 8 MB of the largest encoding.
const BATCH: usize = 1 << 21;

/// Numbers that a thread encodes at a time, about.
const PORTION: usize = 1 << 14;

/// Bytes that are copied at a time.
const COPIED: usize = 1 << 22;

/// Rows of one encoding become rows of another.
pub struct Job<'a> {
    /// What they are of.
    pub tensor: &'a Tensor<'a>,
    /// What they are.
    pub from: QuantType,
    /// What they become.
    pub to: QuantType,
    /// How much a column's squared error counts, for each matrix of the tensor; or nothing.
    pub importance: Option<&'a [f32]>,
}

/// Gives a tensor's bytes to `sink` as they are.
pub fn copy(tensor: &Tensor<'_>, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    tensor.data().chunks(COPIED).try_for_each(|bytes| {
        interrupt::check()?;
        sink(bytes)
    })
}

impl Job<'_> {
    /// Gives the new bytes to `sink`. The threads decide who encodes a row, never how.
    pub fn run(&self, threads: usize, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let [cols, rows, ..] = self.tensor.shape().map(|n| n as usize);
        let sizes = self.from.row_bytes(cols).zip(self.to.row_bytes(cols));
        let Some((row_from, row_to)) = sizes else {
            return Err(Failure::new(Code::Model, "rows that are no whole blocks"));
        };
        let matrices = self.tensor.data().chunks(row_from * rows);
        let mut encoded = Vec::new();
        for (m, matrix) in matrices.enumerate() {
            let importance = self.importance.map(|all| match all.len() > cols {
                true => &all[m % (all.len() / cols) * cols..][..cols],
                false => all,
            });
            for batch in matrix.chunks((BATCH / cols).max(1) * row_from) {
                interrupt::check()?;
                encoded.resize(batch.len() / row_from * row_to, 0);
                self.encode(batch, &mut encoded, cols, importance, threads)?;
                sink(&encoded)?;
            }
        }
        Ok(())
    }

    fn encode(
        &self,
        from: &[u8],
        to: &mut [u8],
        cols: usize,
        importance: Option<&[f32]>,
        threads: usize,
    ) -> Result<()> {
        let rows = (PORTION / cols).max(1);
        let row_bytes = |kind: QuantType| kind.row_bytes(cols).unwrap_or(1);
        let portions = from.chunks(rows * row_bytes(self.from));
        let portions = Mutex::new(portions.zip(to.chunks_mut(rows * row_bytes(self.to))));
        let finite = arch::best();
        let work = || {
            let mut numbers = vec![0.0; rows * cols];
            loop {
                // A thread that panics holds no lock.
                let next = portions.lock().ok().and_then(|mut portions| portions.next());
                let Some((from, to)) = next else { return true };
                let numbers = &mut numbers[..from.len() / row_bytes(self.from) * cols];
                self.from.decode(from, numbers);
                if !finite.is_finite(numbers) {
                    return false;
                }
                match importance {
                    Some(importance) => self.to.encode_weighted(numbers, importance, to),
                    None => self.to.encode(numbers, to),
                }
                // Scales are of 16 bits: they end at 65504.
                if self.to.first_not_finite(to).is_some() {
                    return false;
                }
            }
        };
        let others = threads.min(from.len() / (rows * row_bytes(self.from)) + 1) - 1;
        let all_finite = thread::scope(|scope| {
            // Fewer threads do it, too, where the system has no more.
            let others: Vec<_> = (0..others)
                .map_while(|_| thread::Builder::new().spawn_scoped(scope, work).ok())
                .collect();
            let mine = work();
            others.into_iter().fold(mine, |all, other| other.join().unwrap_or(false) && all)
        });
        if all_finite {
            return Ok(());
        }
        let name = mote_formats::gguf::Text::from(self.tensor.name());
        Err(Failure::new(
            Code::NotFinite,
            format_args!("{name} has numbers that are not finite, or too large for the encoding"),
        ))
    }
}
