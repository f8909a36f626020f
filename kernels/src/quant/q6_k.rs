//! Q6_K: 256 weights in 16 units of 16; 8-bit scales under one f16 factor; 6 bits each.
//!
//! ```text
//! byte  0                  128                 192            208  210
//!       | 128 low nibbles' bytes | 64 bytes of high pairs | 16 x i8 scale | d |
//! for each half of 128 weights, with l in 0..32 and q in 0..4, weight 32q + l has
//!   low  = nibble q / 2 of low byte 32 (q % 2) + l, high = bits 2q, 2q + 1 of high byte l
//! weight = (d * scale) * (q - 32)
//! ```

use super::search::{EQUAL, Integers, Symmetric, half, search_symmetric};
use super::{Encode, Encoding, Integer, Unpacked};

/// The encoding.
#[allow(non_camel_case_types)]
pub struct Q6_K;

/// Bytes as the file has them.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Block {
    low: [u8; 128],
    high: [u8; 64],
    scales: [i8; 16],
    d: [u8; 2],
}
const _: () = assert!(size_of::<Block>() == 210);

impl Encoding for Q6_K {
    const ID: u32 = 14;
    const NAME: &'static str = "q6_k";
    const LEN: usize = 256;
    type Block = Block;
}

impl Integer for Q6_K {
    const UNIT: usize = 16;
    const BITS: u32 = 6;
    const BIAS: i32 = 32;
    const MINIMUM: bool = false;

    #[inline(always)]
    fn unpack(block: &Block, out: &mut Unpacked) {
        for part in 0..2 {
            for l in 0..32 {
                let (a, b) = (block.low[64 * part + l], block.low[64 * part + 32 + l]);
                let high = block.high[32 * part + l];
                let codes = &mut out.codes[128 * part..][..128];
                codes[l] = a & 15 | (high & 3) << 4;
                codes[l + 32] = b & 15 | (high >> 2 & 3) << 4;
                codes[l + 64] = a >> 4 | (high >> 4 & 3) << 4;
                codes[l + 96] = b >> 4 | (high >> 6) << 4;
            }
        }
        let d = half(block.d);
        for (scale, &s) in out.scales.iter_mut().zip(&block.scales) {
            *scale = d * s as f32;
        }
    }
}

impl Encode for Q6_K {
    fn encode(x: &[f32], block: &mut Block) {
        Self::encode_weighted(x, &EQUAL, block);
    }

    fn encode_weighted(x: &[f32], weights: &[f32], block: &mut Block) {
        let Symmetric { d, scales, codes } =
            search_symmetric::<16, 16, _>(x, weights, Integers::new(32), 128);
        (block.d, block.scales) = (d, scales);
        for part in 0..2 {
            for l in 0..32 {
                let code = |q: usize| codes[128 * part + 32 * q + l];
                block.low[64 * part + l] = code(0) & 15 | (code(2) & 15) << 4;
                block.low[64 * part + 32 + l] = code(1) & 15 | (code(3) & 15) << 4;
                block.high[32 * part + l] =
                    code(0) >> 4 | (code(1) >> 4) << 2 | (code(2) >> 4) << 4 | (code(3) >> 4) << 6;
            }
        }
    }
}
