//! Random numbers by counting, and blocks of random weights.

use mote_kernels::QuantType;

/// Weights of a piece, unless a block has more: floats are not drawn one by one.
const MIN_PIECE: usize = 32;
/// Pieces to draw from: so few that they stay in cache, so many that no two rows are alike.
const PIECES: usize = 2048;

/// Random numbers, each a function of a key and of its place: SplitMix64 (Steele, Lea and Flood
/// 2014). The same everywhere.
#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The number at a place.
    pub fn at(self, place: u64) -> u64 {
        let mut z = self.0.wrapping_add(place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Other numbers for each place.
    pub fn branch(self, place: u64) -> Self {
        Random(self.at(place))
    }

    /// Nearly normal, deviation 1: the sum of twelve uniform values (Irwin-Hall), exact in f32.
    fn normal(self, place: u64) -> f32 {
        let sum: u32 = (0..3)
            .map(|i| {
                let bits = self.at(3 * place + i);
                (0..4).map(|part| (bits >> (16 * part) & 0xffff) as u32).sum::<u32>()
            })
            .sum();
        (sum as f32 + 6.0) / 65536.0 - 6.0
    }
}

/// Some thousand pieces of weights, each whole blocks as the encoding makes them from normal values
/// with deviation `1 / sqrt(row)`: what a row makes of activations has about their size, so that
/// they neither explode nor vanish.
///
/// Matrices are rows of such pieces in random order. To the kernels that is as good as weights that
/// were drawn one by one, and a billion of them takes seconds.
#[derive(Debug)]
pub struct Pool {
    pub kind: QuantType,
    pub row: u32,
    piece_bytes: usize,
    bytes: Vec<u8>,
}

impl Pool {
    /// The pool of one encoding and one length of rows.
    pub fn new(kind: QuantType, row: u32, seed: Random) -> Self {
        let random = seed.branch(kind.gguf_id().into()).branch(row.into());
        let piece = kind.block_len().max(MIN_PIECE);
        let piece_bytes = piece / kind.block_len() * kind.block_bytes();
        let deviation = 1.0 / (row as f32).sqrt();
        let mut bytes = vec![0; PIECES * piece_bytes];
        let mut weights = vec![0.0; piece];
        let mut places = 0..;
        for encoded in bytes.chunks_exact_mut(piece_bytes) {
            for (weight, place) in weights.iter_mut().zip(&mut places) {
                *weight = random.normal(place) * deviation;
            }
            kind.encode(&weights, encoded);
        }
        Pool { kind, row, piece_bytes, bytes }
    }

    /// Bytes of a piece.
    pub fn piece_bytes(&self) -> usize {
        self.piece_bytes
    }

    /// Appends the piece that `random` draws at a place.
    pub fn draw(&self, random: Random, place: u64, out: &mut Vec<u8>) {
        let at = random.at(place) as usize % PIECES * self.piece_bytes;
        out.extend_from_slice(&self.bytes[at..at + self.piece_bytes]);
    }
}
