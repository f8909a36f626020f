//! TQ2_0: 256 weights, one f16 scale, each -1, 0 or 1 times it; 2 bits each.
//!
//! ```text
//! byte  0                   64  66
//!       | 64 bytes of codes | d |
//! byte 32h + l holds weights 128h + 32q + l, q in 0..4, in its bits 2q and 2q + 1
//! weight = d * (q - 1)
//! ```
//!
//! The fourth code would be 2; the encoder leaves it out, as the format is for ternary weights.

use super::search::{EQUAL, half, search_ternary};
use super::{Encode, Encoding, Integer, Unpacked};

/// The encoding.
#[allow(non_camel_case_types)]
pub struct TQ2_0;

/// Bytes as the file has them.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Block {
    codes: [u8; 64],
    d: [u8; 2],
}
const _: () = assert!(size_of::<Block>() == 66);

impl Encoding for TQ2_0 {
    const ID: u32 = 35;
    const NAME: &'static str = "tq2_0";
    const LEN: usize = 256;
    type Block = Block;
}

impl Integer for TQ2_0 {
    const UNIT: usize = 32;
    const BITS: u32 = 2;
    const BIAS: i32 = 1;
    const MINIMUM: bool = false;

    #[inline(always)]
    fn unpack(block: &Block, out: &mut Unpacked) {
        for (i, &byte) in block.codes.iter().enumerate() {
            for q in 0..4 {
                out.codes[i / 32 * 128 + 32 * q + i % 32] = byte >> (2 * q) & 3;
            }
        }
        out.scales[..8].fill(half(block.d));
    }
}

impl Encode for TQ2_0 {
    fn encode(x: &[f32], block: &mut Block) {
        Self::encode_weighted(x, &EQUAL, block);
    }

    fn encode_weighted(x: &[f32], weights: &[f32], block: &mut Block) {
        let (d, codes) = search_ternary(x, weights);
        block.d = d;
        for (i, byte) in block.codes.iter_mut().enumerate() {
            let code = |q: usize| codes[i / 32 * 128 + 32 * q + i % 32] << (2 * q);
            *byte = code(0) | code(1) | code(2) | code(3);
        }
    }
}
