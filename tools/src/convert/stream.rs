//! From a tensor of the checkpoint to its bytes in the output, piece by piece.

use std::io;

use mote_formats::hf::weights::{Source, Weights};
use mote_kernels::QuantType;

use super::arch::Transform;
use super::plan::{Origin, Output, Stored};

/// Elements of a piece, about: 8 MB of f32. Three such buffers are alive at a time.
const PIECE: u64 = 1 << 21;

/// Rows and columns of a tensor as it is stored, and what happens to it.
struct Job<'a> {
    source: &'a Source,
    stored: Stored,
    transform: Transform,
    kind: QuantType,
    /// Of the output.
    rows: u64,
    cols: u64,
    /// Bytes of an element, as stored.
    element: usize,
    /// Rows of a head.
    head: u64,
}

/// Gives a tensor's bytes to `sink`, in pieces. At most about three pieces are in memory, and the whole
/// tensor if it must be transposed. `threads` encode; the bytes do not depend on them.
pub fn stream<E: From<io::Error>>(
    weights: &Weights,
    output: &Output<'_>,
    head_dim: u64,
    threads: usize,
    sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let (source, stored, transform) = match &output.origin {
        Origin::Computed(values) => {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            return sink(&bytes);
        }
        Origin::Stored { source, stored, transform } => (*source, *stored, *transform),
    };
    let (rows, cols) = match (output.dims.as_slice(), transform) {
        // An interleaved vector is a column.
        ([n], Transform::Interleave) => (*n, 1),
        ([n], _) => (1, *n),
        ([cols, rows @ ..], _) => (rows.iter().product(), *cols),
        ([], _) => (1, 1),
    };
    let element = source.dtype().bytes() as usize;
    let kind = output.kind;
    let job = Job { source, stored, transform, kind, rows, cols, element, head: head_dim };
    match transform {
        Transform::Transpose => job.transposed(weights, threads, sink),
        _ => job.in_order(weights, threads, sink),
    }
}

impl Job<'_> {
    /// Rows of a piece, a multiple of `unit`.
    fn piece_rows(&self, unit: u64) -> u64 {
        (PIECE / self.cols / unit).max(1).saturating_mul(unit)
    }

    fn row_bytes(&self) -> usize {
        self.cols as usize * self.element
    }

    /// Rows whose place depends on their neighbours' alone.
    fn in_order<E: From<io::Error>>(
        &self,
        weights: &Weights,
        threads: usize,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let interleaved = self.transform == Transform::Interleave;
        let step = self.piece_rows(if interleaved { self.head } else { 1 });
        let (mut raw, mut moved, mut encoded) = (Vec::new(), Vec::new(), Vec::new());
        for first in (0..self.rows).step_by(step as usize) {
            let rows = step.min(self.rows - first) as usize;
            raw.resize(rows * self.row_bytes(), 0);
            weights.read(self.source, first * self.row_bytes() as u64, &mut raw)?;
            let piece = if interleaved {
                interleave(&raw, self.row_bytes(), self.head as usize, &mut moved);
                &moved
            } else {
                &raw
            };
            sink(self.encode(piece, rows, threads, &mut encoded))?;
        }
        Ok(())
    }

    /// The output's rows are the stored columns.
    fn transposed<E: From<io::Error>>(
        &self,
        weights: &Weights,
        threads: usize,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut stored = vec![0; self.rows as usize * self.row_bytes()];
        weights.read(self.source, 0, &mut stored)?;
        let stored_row = self.rows as usize * self.element;
        let step = self.piece_rows(1);
        let (mut piece, mut encoded) = (Vec::new(), Vec::new());
        for first in (0..self.rows).step_by(step as usize) {
            let rows = step.min(self.rows - first) as usize;
            piece.resize(rows * self.row_bytes(), 0);
            for (col, line) in stored.chunks_exact(stored_row).enumerate() {
                let line = line.chunks_exact(self.element).skip(first as usize);
                for (row, element) in piece.chunks_exact_mut(self.row_bytes()).zip(line) {
                    let at = col * self.element;
                    row[at..at + self.element].copy_from_slice(element);
                }
            }
            sink(self.encode(&piece, rows, threads, &mut encoded))?;
        }
        Ok(())
    }

    /// Rows as they stand in the output: `piece` itself if nothing changes.
    fn encode<'p>(
        &self,
        piece: &'p [u8],
        rows: usize,
        threads: usize,
        encoded: &'p mut Vec<u8>,
    ) -> &'p [u8] {
        if self.stored == Stored::As(self.kind) && self.transform != Transform::PlusOne {
            return piece;
        }
        let cols = self.cols as usize;
        // The plan chose an encoding of which the rows are whole blocks; a column is f32.
        let row_bytes = cols / self.kind.block_len() * self.kind.block_bytes();
        encoded.resize(rows * row_bytes, 0);
        let share = rows.div_ceil(threads.max(1));
        let of_thread = |(input, output): (&[u8], &mut [u8])| {
            let mut row = vec![0.0_f32; cols];
            let inputs = input.chunks_exact(self.row_bytes());
            for (input, output) in inputs.zip(output.chunks_exact_mut(row_bytes)) {
                self.decode(input, &mut row);
                self.kind.encode(&row, output);
            }
        };
        let shares = piece.chunks(share * self.row_bytes());
        let mut shares = shares.zip(encoded.chunks_mut(share * row_bytes));
        std::thread::scope(|scope| {
            let mine = shares.next();
            shares.for_each(|share| {
                scope.spawn(|| of_thread(share));
            });
            mine.map(of_thread);
        });
        encoded
    }

    fn decode(&self, input: &[u8], row: &mut [f32]) {
        match self.stored {
            Stored::As(kind) => kind.decode(input, row),
            Stored::F64 => {
                let (numbers, _) = input.as_chunks();
                for (x, bytes) in row.iter_mut().zip(numbers) {
                    *x = f64::from_le_bytes(*bytes) as f32;
                }
            }
        }
        if self.transform == Transform::PlusOne {
            row.iter_mut().for_each(|x| *x += 1.0);
        }
    }
}

/// In each head of `head` rows: 0, head / 2, 1, head / 2 + 1, ...
fn interleave(raw: &[u8], row_bytes: usize, head: usize, moved: &mut Vec<u8>) {
    moved.clear();
    for rows in raw.chunks_exact(head * row_bytes) {
        let (first, second) = rows.split_at(rows.len() / 2);
        for (a, b) in first.chunks_exact(row_bytes).zip(second.chunks_exact(row_bytes)) {
            moved.extend_from_slice(a);
            moved.extend_from_slice(b);
        }
    }
}
