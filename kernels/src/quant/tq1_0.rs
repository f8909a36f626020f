//! TQ1_0: 256 weights, one f16 scale, each -1, 0 or 1 times it; five of them in a byte.
//!
//! ```text
//! byte  0                    48                  52  54
//!       | 48 bytes of fives | 4 bytes of fours | d |
//! byte l < 32 holds weights 32n + l, byte 32 + l the weights 160 + 16n + l, n in 0..5; byte 48 + l
//! the weights 240 + 4n + l, n in 0..4
//! a byte is the fraction 0.q0 q1 q2 q3 q4 in base 3, times 256, rounded up:
//! digit n is the whole part of 3 * ((byte * 3^n) mod 256) / 256
//! weight = d * (digit - 1)
//! ```

use super::search::{EQUAL, half, search_ternary};
use super::{Encode, Encoding, Integer, Unpacked};

/// The encoding.
#[allow(non_camel_case_types)]
pub struct TQ1_0;

/// Bytes as the file has them.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Block {
    fives: [u8; 48],
    fours: [u8; 4],
    d: [u8; 2],
}
const _: () = assert!(size_of::<Block>() == 54);

impl Encoding for TQ1_0 {
    const ID: u32 = 34;
    const NAME: &'static str = "tq1_0";
    const LEN: usize = 256;
    type Block = Block;
}

impl Integer for TQ1_0 {
    const UNIT: usize = 32;
    const BITS: u32 = 8;
    const BIAS: i32 = 128;
    const MINIMUM: bool = false;

    #[inline(always)]
    fn unpack(block: &Block, out: &mut Unpacked) {
        let (long, short) = block.fives.split_at(32);
        digits(long, &mut out.codes[..160]);
        digits(short, &mut out.codes[160..240]);
        digits(&block.fours, &mut out.codes[240..]);
        out.scales[..8].fill(half(block.d));
    }
}

impl Encode for TQ1_0 {
    fn encode(x: &[f32], block: &mut Block) {
        Self::encode_weighted(x, &EQUAL, block);
    }

    fn encode_weighted(x: &[f32], weights: &[f32], block: &mut Block) {
        let (d, codes) = search_ternary(x, weights);
        let (long, short) = block.fives.split_at_mut(32);
        pack(&codes[..160], long);
        pack(&codes[160..240], short);
        pack(&codes[240..], &mut block.fours);
        block.d = d;
    }
}

/// The digits of all bytes: first digits, second digits, and so on.
#[inline(always)]
fn digits(bytes: &[u8], codes: &mut [u8]) {
    let mut power = 1u8;
    for codes in codes.chunks_exact_mut(bytes.len()) {
        for (code, &byte) in codes.iter_mut().zip(bytes) {
            *code = 127 + (3 * u16::from(byte.wrapping_mul(power)) / 256) as u8;
        }
        power = power.wrapping_mul(3);
    }
}

/// The inverse of [`digits`].
fn pack(codes: &[u8], bytes: &mut [u8]) {
    let n = bytes.len();
    for (i, byte) in bytes.iter_mut().enumerate() {
        let digit = |n_th: usize| u32::from(codes.get(n * n_th + i).copied().unwrap_or(0));
        let number = (0..5).fold(0, |number, n_th| 3 * number + digit(n_th));
        *byte = (256 * number).div_ceil(243) as u8;
    }
}
