//! Reading all of a file with all CPUs: each tensor, and each piece of the whole.

use blake3::Hash;
use indicatif::ProgressBar;
use mote_formats::gguf::{Gguf, Tensor, checksum};

use super::hash::{self, Piece};
use crate::failure::Result;
use crate::interrupt::Interrupted;
use crate::work::{self, Stop};

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

/// Bytes of a tensor that are read at a time, about.
const PIECE: usize = 1 << 20;

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
    Piece(Piece),
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
        let items = self.order.len() + hash::n_pieces(self.file.len());
        let outcomes = work::share(items, threads, |index, stop| self.item(index, bar, stop))?;
        Ok(self.gather(outcomes))
    }

    /// Tensors first, then pieces.
    fn item(
        &self,
        index: usize,
        bar: &ProgressBar,
        stop: &Stop,
    ) -> std::result::Result<Outcome, Interrupted> {
        if let Some(&i) = self.order.get(index) {
            return Ok(Outcome::Tensor(i, look_at(&self.tensors[i], bar, stop)?));
        }
        let i = index - self.order.len();
        let piece = hash::hash_piece(self.file, i);
        bar.inc(hash::PIECE as u64);
        Ok(Outcome::Piece(piece))
    }

    fn gather(&self, outcomes: Vec<Outcome>) -> Findings {
        let mut tensors = vec![Found::default(); self.tensors.len()];
        let mut pieces = Vec::new();
        for outcome in outcomes {
            match outcome {
                Outcome::Tensor(i, found) => tensors[i] = found,
                Outcome::Piece(piece) => pieces.push(piece),
            }
        }
        Findings { tensors, blake3: hash::join(&pieces, self.file.len() as u64) }
    }
}

/// Reads a tensor, a piece of whole blocks at a time.
fn look_at(
    tensor: &Tensor<'_>,
    bar: &ProgressBar,
    stop: &Stop,
) -> std::result::Result<Found, Interrupted> {
    let kind = tensor.tensor_type();
    let known = kind.quant_type();
    let block_bytes = known.map_or(1, |kind| kind.block_bytes());
    let blocks = PIECE / block_bytes;
    let mut checksum = checksum::Hasher::new();
    let mut not_finite = None;
    for (i, piece) in tensor.data().chunks(blocks * block_bytes).enumerate() {
        stop.check()?;
        checksum.update(piece);
        if not_finite.is_none() {
            let block = known.and_then(|kind| kind.first_not_finite(piece));
            not_finite = block.map(|block| i * blocks + block);
        }
        bar.inc(piece.len() as u64);
    }
    let unknown = known.is_none() && !INTEGERS.contains(&kind.name());
    Ok(Found { checksum: checksum.finish(), not_finite, unknown })
}

#[cfg(test)]
mod tests {
    use mote_formats::gguf::Builder;
    use mote_kernels::QuantType;

    use super::*;
    use crate::failure::Code;
    use crate::interrupt;

    /// A tensor of many pieces, the last of whose numbers are not finite.
    fn large() -> Vec<u8> {
        let blocks = 3 * PIECE / 34 + 1;
        let mut data = vec![0; blocks * 34];
        data[(blocks - 1) * 34..][..2].copy_from_slice(&[0, 0x7c]);
        let mut builder = Builder::new();
        builder.add_tensor("large", &[blocks as u64 * 32], QuantType::Q8_0).unwrap();
        let mut writer = builder.write_index(Vec::new()).unwrap();
        writer.write(&data).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn pieces_of_a_tensor_are_the_whole() {
        let file = large();
        let gguf = Gguf::parse(&file).unwrap();
        let found = Task::new(&gguf).run(2, &ProgressBar::hidden()).unwrap();
        let data = gguf.tensors().next().unwrap().data();
        assert_eq!(found.tensors[0].checksum, checksum::checksum(data));
        assert_eq!(found.tensors[0].not_finite, Some(data.len() / 34 - 1));
        assert_eq!(found.blake3, blake3::hash(&file));
    }

    #[test]
    fn a_large_tensor_is_interrupted() {
        let file = large();
        let gguf = Gguf::parse(&file).unwrap();
        let bar = ProgressBar::hidden();
        interrupt::after(Some(3));
        let outcome = Task::new(&gguf).run(1, &bar);
        interrupt::after(None);
        assert_eq!(outcome.err().map(|failure| failure.code), Some(Code::Interrupted));
        assert!(bar.position() > 0 && bar.position() < file.len() as u64 / 2);
    }
}
