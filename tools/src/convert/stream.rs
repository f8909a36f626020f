//! From a tensor of the checkpoint to its bytes in the output, piece by piece.

use std::io;
use std::sync::Mutex;
use std::thread;

use mote_formats::hf::weights::{Source, Weights};
use mote_kernels::QuantType;

use super::arch::{Sizes, Tile, Transform};
use super::plan::{Origin, Output, Part, Stored};

/// Elements of a piece, about: 8 MB of f32. Three such buffers are alive at a time.
const PIECE: u64 = 1 << 21;

/// A tensor as it is stored, the rows and columns that it becomes, and what happens to it.
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
    sizes: &'a Sizes,
}

/// Gives a tensor's bytes to `sink`, in pieces. At most about three pieces are in memory, and a whole
/// matrix if it must be transposed. `threads` encode; the bytes do not depend on them.
pub fn stream<E: From<io::Error>>(
    weights: &Weights,
    output: &Output<'_>,
    sizes: &Sizes,
    threads: usize,
    sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let (parts, transform) = match &output.origin {
        Origin::Computed(values) => {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            return sink(&bytes);
        }
        Origin::Stored { parts, transform } => (parts, *transform),
    };
    let (rows, cols) = match (output.dims.as_slice(), transform) {
        // A vector whose elements change places is a column.
        ([n], Transform::Interleave | Transform::Ungroup | Transform::Tile(_)) => (*n, 1),
        ([n], _) => (1, *n),
        ([cols, rows @ ..], _) => (rows.iter().product(), *cols),
        ([], _) => (1, 1),
    };
    let kind = output.kind;
    if let (Transform::Packed { step, first }, [blocks, scales]) = (transform, parts.as_slice()) {
        let (source, stored) = (blocks.source, blocks.stored);
        // Elements have no whole bytes, and are not asked for theirs.
        let job = Job { source, stored, transform, kind, rows, cols, element: 1, sizes };
        return job.packed(weights, scales.source, (step.into(), first.into()), threads, sink);
    }
    let rows = rows / parts.len().max(1) as u64;
    for &Part { source, stored } in parts {
        let element = source.dtype().bytes() as usize;
        let job = Job { source, stored, transform, kind, rows, cols, element, sizes };
        match transform {
            Transform::Transpose { step, first } => {
                let (step, first) = (step.into(), first.into());
                let matrices = output.dims.get(2).copied().unwrap_or(1) / parts.len().max(1) as u64;
                for matrix in 0..matrices.max(1) {
                    let from = matrix * rows * cols / matrices.max(1) * step;
                    job.transposed(weights, (step, first), (from, matrices), threads, sink)?;
                }
            }
            Transform::Blocks { count, transposed: true, .. } => {
                let count = count.of(sizes);
                for block in 0..count {
                    let from = job.block_row(block) * rows / count.max(1);
                    job.transposed(weights, (1, 0), (from, count), threads, sink)?;
                }
            }
            _ => job.in_order(weights, threads, sink)?,
        }
    }
    Ok(())
}

impl Job<'_> {
    /// Rows of a piece, a multiple of `unit`.
    fn piece_rows(&self, unit: u64) -> u64 {
        (PIECE / self.cols / unit).max(1).saturating_mul(unit)
    }

    /// Of a row as it is stored.
    fn row_bytes(&self) -> usize {
        let step = if matches!(self.transform, Transform::Half(_)) { 2 } else { 1 };
        self.cols as usize * self.element * step
    }

    /// Rows of blocks whose codes and scales are stored apart.
    fn packed<E: From<io::Error>>(
        &self,
        weights: &Weights,
        scales: &Source,
        (step, taken): (u64, u64),
        threads: usize,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let units = self.cols / 32;
        let row = units as usize * CODES;
        let (mut codes, mut exponents) = (Vec::new(), Vec::new());
        let (mut blocks, mut encoded) = (Vec::new(), Vec::new());
        let pieces = self.piece_rows(1);
        for first in (0..self.rows).step_by(pieces as usize) {
            let rows = pieces.min(self.rows - first);
            codes.resize((rows * step) as usize * row, 0);
            exponents.resize((rows * step * units) as usize, 0);
            weights.read(self.source, first * step * row as u64, &mut codes)?;
            weights.read(scales, first * step * units, &mut exponents)?;
            blocks.clear();
            let stored = codes.chunks_exact(row).zip(exponents.chunks_exact(units as usize));
            for (codes, exponents) in stored.skip(taken as usize).step_by(step as usize) {
                for (codes, &exponent) in codes.chunks_exact(CODES).zip(exponents) {
                    blocks.push(exponent);
                    blocks.extend(in_halves(codes));
                }
            }
            sink(self.encode(&blocks, rows as usize, threads, &mut encoded))?;
        }
        Ok(())
    }

    /// Rows whose place depends on their neighbours' alone, or on their head's.
    fn in_order<E: From<io::Error>>(
        &self,
        weights: &Weights,
        threads: usize,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let head = self.sizes.head_dim;
        let step = match self.transform {
            Transform::Interleave => self.piece_rows(head),
            // Heads come from different places.
            Transform::Ungroup => head,
            Transform::Blocks { rows, .. } => rows.of(self.sizes),
            Transform::Tile(_) | Transform::OfKeyHeads { .. } => 1,
            _ => self.piece_rows(1),
        };
        let (mut raw, mut moved, mut encoded) = (Vec::new(), Vec::new(), Vec::new());
        for first in (0..self.rows).step_by(step as usize) {
            let rows = step.min(self.rows - first) as usize;
            raw.resize(rows * self.row_bytes(), 0);
            let from = match self.transform {
                Transform::Ungroup => self.grouped(first / head) * head,
                Transform::Skip(rows) => first + u64::from(rows),
                Transform::Blocks { .. } => self.block_row(first / step.max(1)),
                Transform::Tile(tile) => self.tiled_row(tile, first),
                Transform::OfKeyHeads { gates } => self.row_of_key_head(gates, first),
                _ => first,
            };
            weights.read(self.source, from * self.row_bytes() as u64, &mut raw)?;
            let piece = match self.transform {
                Transform::Interleave => {
                    interleave(&raw, self.row_bytes(), head as usize, &mut moved);
                    &moved
                }
                Transform::Half(first) => {
                    moved.clear();
                    let pairs = raw.chunks_exact(2 * self.element);
                    let halves = pairs.flat_map(|pair| {
                        pair.iter().skip(first as usize * self.element).take(self.element)
                    });
                    moved.extend(halves);
                    &moved
                }
                Transform::Tile(Tile::Columns) => {
                    let source = |column: u64| {
                        let at = self.tiled(column, self.sizes.mixer.group) as usize * self.element;
                        &raw[at..at + self.element]
                    };
                    moved.clear();
                    (0..self.cols).for_each(|column| moved.extend_from_slice(source(column)));
                    &moved
                }
                _ => &raw,
            };
            sink(self.encode(piece, rows, threads, &mut encoded))?;
        }
        Ok(())
    }

    /// The stored row that is the first one taken of a block.
    fn block_row(&self, block: u64) -> u64 {
        let Transform::Blocks { count, before, .. } = self.transform else { return 0 };
        let all =
            self.source.tensor.shape().split_last().map_or(1, |(_, rows)| rows.iter().product());
        let before = before.map_or(0, |width| width.of(self.sizes));
        block * (all / count.of(self.sizes).max(1)) + before
    }

    /// Which of the stored rows becomes this one of the output.
    fn tiled_row(&self, tile: Tile, row: u64) -> u64 {
        let mixer = &self.sizes.mixer;
        match tile {
            Tile::Columns => row,
            Tile::Heads | Tile::Rates => self.tiled(row, 1),
            Tile::Values => self.tiled(row, mixer.group),
            Tile::Channels => {
                let others = mixer.channels - mixer.inner;
                row.checked_sub(others).map_or(row, |row| others + self.tiled(row, mixer.group))
            }
        }
    }

    /// The same where all rows of a head of keys are together.
    fn row_of_key_head(&self, gates: bool, row: u64) -> u64 {
        let mixer = &self.sizes.mixer;
        let heads = mixer.key_heads;
        let (of_keys, of_values) = (mixer.channels - mixer.inner, mixer.inner / heads);
        let of_key = of_keys / (2 * heads);
        let head_rows = 2 * (of_key + of_values);
        let (head, place) = match row.checked_sub(of_keys) {
            _ if gates => (row / of_values, 2 * of_key + of_values + row % of_values),
            Some(row) => (row / of_values, 2 * of_key + row % of_values),
            // All queries, all keys.
            None => {
                let (kind, row) = (row / (of_keys / 2), row % (of_keys / 2));
                (row / of_key, kind * of_key + row % of_key)
            }
        };
        head * head_rows + place
    }

    /// The same of rows of heads of values alone, so many for each.
    fn tiled(&self, row: u64, of_head: u64) -> u64 {
        let mixer = &self.sizes.mixer;
        let (head, rest) = (row / of_head, row % of_head);
        let (key_head, place) = (head % mixer.key_heads, head / mixer.key_heads);
        (key_head * (mixer.steps / mixer.key_heads) + place) * of_head + rest
    }

    /// Which head of the stored order is this one of the output: all queries, all keys, all values.
    fn grouped(&self, head: u64) -> u64 {
        let Sizes { n_heads, n_kv_heads, .. } = *self.sizes;
        let queries = n_heads / n_kv_heads;
        let (group, place) = match head.checked_sub(n_heads) {
            None => (head / queries, head % queries),
            Some(rest) => (rest % n_kv_heads, queries + rest / n_kv_heads),
        };
        group * (queries + 2) + place
    }

    /// The output's rows are stored columns: of one of several matrices, which begins with element
    /// `from`, every `step`-th.
    fn transposed<E: From<io::Error>>(
        &self,
        weights: &Weights,
        (step, column): (u64, u64),
        (from, matrices): (u64, u64),
        threads: usize,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let all_rows = self.rows / matrices.max(1);
        let stored_row = (all_rows * step) as usize * self.element;
        let mut stored = vec![0; self.cols as usize * stored_row];
        weights.read(self.source, from * self.element as u64, &mut stored)?;
        let pieces = self.piece_rows(1);
        let (mut piece, mut encoded) = (Vec::new(), Vec::new());
        for first in (0..all_rows).step_by(pieces as usize) {
            let rows = pieces.min(all_rows - first) as usize;
            piece.resize(rows * self.row_bytes(), 0);
            let skipped = (first * step + column) as usize;
            for (col, line) in stored.chunks_exact(stored_row).enumerate() {
                let line = line.chunks_exact(self.element).skip(skipped).step_by(step as usize);
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
        if self.stored == Stored::As(self.kind) && !self.transform.is_arithmetic() {
            return piece;
        }
        let cols = self.cols as usize;
        // The plan chose an encoding of which the rows are whole blocks; a column is f32.
        let row_bytes = cols / self.kind.block_len() * self.kind.block_bytes();
        let stored_row = match self.transform {
            Transform::Packed { .. } => cols / 32 * (1 + CODES),
            _ => cols * self.element,
        };
        encoded.resize(rows * row_bytes, 0);
        let share = rows.div_ceil(threads.max(1));
        let of_thread = |(input, output): (&[u8], &mut [u8])| {
            let mut row = vec![0.0_f32; cols];
            let inputs = input.chunks_exact(stored_row);
            for (input, output) in inputs.zip(output.chunks_exact_mut(row_bytes)) {
                self.decode(input, &mut row);
                self.kind.encode(&row, output);
            }
        };
        let shares = piece.chunks(share * stored_row);
        let n_shares = shares.len();
        let shares = Mutex::new(shares.zip(encoded.chunks_mut(share * row_bytes)));
        let work = || {
            // A thread that panics holds no lock.
            let next = || shares.lock().ok().and_then(|mut shares| shares.next());
            while let Some(share) = next() {
                of_thread(share);
            }
        };
        thread::scope(|scope| {
            // Fewer threads do it, too, where the system has no more.
            let others =
                (1..n_shares).map_while(|_| thread::Builder::new().spawn_scoped(scope, work).ok());
            others.for_each(drop);
            work();
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
        match self.transform {
            Transform::PlusOne => row.iter_mut().for_each(|x| *x += 1.0),
            Transform::Complement => row.iter_mut().for_each(|x| *x = 1.0 - *x),
            Transform::Rate | Transform::Tile(Tile::Rates) => {
                row.iter_mut().for_each(|x| *x = -libm::exp((*x).into()) as f32);
            }
            _ => {}
        }
    }
}

/// Bytes of the codes of a block of MXFP4.
const CODES: usize = 16;

/// Codes that lie in pairs of neighbours, each with the one half a block behind it.
fn in_halves(codes: &[u8]) -> impl Iterator<Item = u8> {
    let code = |i: usize| codes[i / 2] >> (i % 2 * 4) & 15;
    (0..CODES).map(move |i| code(i) | code(i + CODES) << 4)
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
