//! Weights and activations that reach the corners of the encodings, made without naming any.

use mote_kernels::{Activations, ActivationsMut, Kernels, Precision, QuantType};
use mote_tests::guard::Guarded;
use mote_tests::random::Random;

/// Makes encoded rows of one encoding.
pub struct Weights {
    kind: QuantType,
    /// For each byte of a block: whether it holds codes only. Its change then changes few weights;
    /// that of a scale changes sixteen or more.
    is_code: Vec<bool>,
}

impl Weights {
    pub fn new(kind: QuantType) -> Self {
        let mut is_code = vec![true; kind.block_bytes()];
        let (mut before, mut after) = (vec![0.0; kind.block_len()], vec![0.0; kind.block_len()]);
        for seed in 0..4 {
            let mut block = random_block(kind, &mut Random::new(seed));
            kind.decode(&block, &mut before);
            for (i, is_code) in is_code.iter_mut().enumerate() {
                for bit in 0..8 {
                    block[i] ^= 1 << bit;
                    kind.decode(&block, &mut after);
                    block[i] ^= 1 << bit;
                    let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
                    *is_code &= changed <= 8;
                }
            }
        }
        Weights { kind, is_code }
    }

    /// Whether all values of a block's byte are as good as others: it holds nothing of a scale.
    pub fn is_code(&self, byte: usize) -> bool {
        self.is_code[byte]
    }

    /// `rows` rows of `k` weights. By the row's number: encoded normal values, random bytes with
    /// scales of ordinary size, all codes at one extreme, and bytes that are wholly random, where
    /// scales are zero, subnormal, infinite or NaN.
    pub fn rows(&self, rows: usize, k: usize, random: &mut Random) -> Vec<u8> {
        let (len, bytes) = (self.kind.block_len(), self.kind.block_bytes());
        let mut data = vec![0; k / len * bytes * rows];
        for (row, data) in data.chunks_exact_mut(k / len * bytes).enumerate() {
            if row % 8 == 1 && self.kind.is_written() {
                let x: Vec<_> = (0..k).map(|_| random.normal() * 0.05).collect();
                self.kind.encode(&x, data);
                continue;
            }
            for block in data.chunks_exact_mut(bytes) {
                match row % 8 {
                    7 => random.fill(block),
                    // 0x80 is -128 where codes are signed bytes.
                    3 => self.extreme(block, [0x80, 0x7f, 0x81, 0x08][random.below(4)], random),
                    5 => self.extreme(block, [0x00, 0xff][random.below(2)], random),
                    _ => block.copy_from_slice(&random_block(self.kind, random)),
                }
            }
        }
        data
    }

    fn extreme(&self, block: &mut [u8], code: u8, random: &mut Random) {
        block.copy_from_slice(&random_block(self.kind, random));
        if self.kind.integer().is_some() {
            let codes = block.iter_mut().zip(&self.is_code).filter(|(_, is_code)| **is_code);
            codes.for_each(|(byte, _)| *byte = code);
        }
    }
}

/// Random bytes whose weights have ordinary sizes, so that no term hides the others.
fn random_block(kind: QuantType, random: &mut Random) -> Vec<u8> {
    let (mut block, mut out) = (vec![0; kind.block_bytes()], vec![0.0; kind.block_len()]);
    loop {
        random.fill(&mut block);
        kind.decode(&block, &mut out);
        let largest = out.iter().fold(0.0f32, |m, v| if v.abs() <= m { m } else { v.abs() });
        if (1e-3..1e3).contains(&largest) {
            return block;
        }
    }
}

/// `tokens` rows of `k` activations. By the row's number: normal values, blocks of zeros and of
/// values too small to quantise, blocks at the ends of the code range, and blocks with NaN or
/// infinity.
pub fn activations(tokens: usize, k: usize, random: &mut Random) -> Vec<f32> {
    let mut x = vec![0.0; tokens * k];
    for (t, row) in x.chunks_exact_mut(k).enumerate() {
        let one_bad = random.below(k.div_ceil(32));
        for (b, block) in row.chunks_mut(32).enumerate() {
            let scale = match (t % 8, random.below(4)) {
                (1 | 5, 0) => 0.0,
                (1, 1) => 1e-35,
                (1, 2) => 7.9e-31, // about 2^-100
                (1, 3) => 1e20,
                _ => 1.0,
            };
            for v in block.iter_mut() {
                *v = scale
                    * match t % 8 {
                        2 => [1.0, -1.0][random.below(2)],
                        6 => [-1.0, 1.0][b % 2],
                        _ => random.normal(),
                    };
            }
            if t % 8 == 7 && b == one_bad {
                let bad = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][random.below(3)];
                block[random.below(block.len())] = bad;
            }
        }
    }
    x
}

/// Memory for quantised rows, each plane before a guard page.
pub struct Planes {
    shape: (usize, usize),
    pub high: Guarded<i8>,
    pub low: Option<Guarded<i8>>,
    pub scales: Guarded<f32>,
    pub sums: Guarded<i32>,
    pub scaled_sums: Guarded<f32>,
}

impl Planes {
    /// Filled with nonsense: whatever `quantize` leaves out is seen.
    pub fn new(tokens: usize, k: usize, precision: Precision) -> Self {
        let n = tokens * ActivationsMut::stride(k);
        Planes {
            shape: (tokens, k),
            high: Guarded::new(&vec![77; n]),
            low: (precision == Precision::Bits16).then(|| Guarded::new(&vec![77; n])),
            scales: Guarded::new(&vec![77.0; n / 32]),
            sums: Guarded::new(&vec![77; n / 16]),
            scaled_sums: Guarded::new(&vec![77.0; n / 32]),
        }
    }

    pub fn quantized(x: &[f32], shape: (usize, usize), by: &Kernels, precision: Precision) -> Self {
        let mut planes = Planes::new(shape.0, shape.1, precision);
        let mut rows = planes.rows();
        for (token, x) in x.chunks_exact(shape.1).enumerate() {
            by.quantize(x, &mut rows, token);
        }
        planes
    }

    fn rows(&mut self) -> ActivationsMut<'_> {
        let low = self.low.as_mut().map(Guarded::as_mut_slice);
        ActivationsMut::new(
            self.shape,
            (self.high.as_mut_slice(), low),
            self.scales.as_mut_slice(),
            self.sums.as_mut_slice(),
            self.scaled_sums.as_mut_slice(),
        )
    }

    pub fn view(&mut self) -> Activations<'_> {
        self.rows().freeze()
    }
}
