//! Reading all of a file with all CPUs: each tensor, and each piece of the whole.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use blake3::Hash;
use indicatif::ProgressBar;
use mote_formats::gguf::{Gguf, Tensor, checksum};

use super::hash::{self, Piece};
use crate::failure::{Code, Failure, Result};
use crate::interrupt;

/// What there is to do.
pub struct Task<'a> {
    file: &'a [u8],
    tensors: Vec<Tensor<'a>>,
    /// Places in `tensors`, the largest first: nobody waits for a large one that was begun last.
    order: Vec<usize>,
}

/// What was found.
pub struct Findings {
    /// In the order of the file.
    pub tensors: Vec<Found>,
    /// Of the whole file.
    pub blake3: Hash,
}

/// Types without numbers that could be infinite.
const INTEGERS: [&str; 4] = ["i8", "i16", "i32", "i64"];

/// What was found of a tensor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Found {
    /// Of its data.
    pub checksum: u64,
    /// The first block with a number that is infinite or NaN.
    pub not_finite: Option<usize>,
    /// Whether nobody looked: an encoding of numbers that mote does not compute with.
    pub unknown: bool,
}

/// What an item gave.
enum Outcome {
    Tensor(usize, Found),
    Piece(usize, Piece),
}

impl<'a> Task<'a> {
    /// Of a file.
    pub fn new(gguf: &Gguf<'a>) -> Self {
        let tensors: Vec<_> = gguf.tensors().collect();
        let mut order: Vec<usize> = (0..tensors.len()).collect();
        order.sort_by_key(|&i| core::cmp::Reverse(tensors[i].data().len()));
        Task { file: gguf.bytes(), tensors, order }
    }

    /// Bytes that will be read, for the progress: those of tensors twice.
    pub fn bytes(gguf: &Gguf<'_>) -> u64 {
        let tensors: usize = gguf.tensors().map(|tensor| tensor.data().len()).sum();
        (gguf.bytes().len() + tensors) as u64
    }

    /// Does it.
    pub fn run(&self, threads: usize, bar: &ProgressBar) -> Result<Findings> {
        let next = AtomicUsize::new(0);
        let outcomes = thread::scope(|scope| {
            let others: Vec<_> = (1..threads)
                .map(|_| scope.spawn(|| self.take_items(&next, bar, &|| Ok(()))))
                .collect();
            // Tests answer for their own thread alone; an end is the end for all.
            let mine = self.take_items(&next, bar, &interrupt::check);
            if mine.is_err() {
                next.store(usize::MAX / 2, Ordering::Relaxed);
            }
            let mut all = mine?;
            for other in others {
                let panicked = |_| Failure::new(Code::Io, "a thread that reads the file ended");
                all.extend(other.join().map_err(panicked)??);
            }
            Ok::<_, Failure>(all)
        })?;
        Ok(self.gather(outcomes))
    }

    fn take_items(
        &self,
        next: &AtomicUsize,
        bar: &ProgressBar,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        while let Some(outcome) = self.item(next.fetch_add(1, Ordering::Relaxed), bar) {
            outcomes.push(outcome);
            go_on()?;
        }
        Ok(outcomes)
    }

    /// Tensors first, then pieces; `None` behind the last.
    fn item(&self, index: usize, bar: &ProgressBar) -> Option<Outcome> {
        if let Some(&i) = self.order.get(index) {
            let tensor = self.tensors.get(i)?;
            let data = tensor.data();
            let kind = tensor.tensor_type();
            let not_finite = kind.quant_type().and_then(|kind| kind.first_not_finite(data));
            let unknown = kind.quant_type().is_none() && !INTEGERS.contains(&kind.name());
            let found = Found { checksum: checksum::checksum(data), not_finite, unknown };
            bar.inc(data.len() as u64);
            return Some(Outcome::Tensor(i, found));
        }
        let i = index - self.order.len();
        (i < hash::n_pieces(self.file.len())).then(|| {
            let piece = hash::hash_piece(self.file, i);
            bar.inc(hash::PIECE as u64);
            Outcome::Piece(i, piece)
        })
    }

    fn gather(&self, outcomes: Vec<Outcome>) -> Findings {
        let mut tensors = vec![Found::default(); self.tensors.len()];
        let mut pieces = Vec::new();
        for outcome in outcomes {
            match outcome {
                Outcome::Tensor(i, found) => tensors[i] = found,
                Outcome::Piece(i, piece) => pieces.push((i, piece)),
            }
        }
        pieces.sort_by_key(|(i, _)| *i);
        let pieces: Vec<Piece> = pieces.into_iter().map(|(_, piece)| piece).collect();
        Findings { tensors, blake3: hash::join(&pieces, self.file.len() as u64) }
    }
}
