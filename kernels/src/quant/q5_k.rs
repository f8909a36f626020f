//! Q5_K: 256 weights in 8 units of 32; 6-bit scales and minima under two f16 factors; 5 bits each.
//!
//! ```text
//! byte  0   2      4                16                  48                      176
//!       | d | dmin | scales, minima | 32 bytes of high bits | 4 x 32 bytes of codes |
//! low four bits as in Q4_K; bit u of high byte i is the fifth bit of weight 32u + i
//! weight = (d * scale) * q - (dmin * minimum)
//! ```

use super::search::{Affine, EQUAL, half, k_scales, pack_k_scales, search_affine};
use super::{Encode, Encoding, Integer, Unpacked};

/// The encoding.
#[allow(non_camel_case_types)]
pub struct Q5_K;

/// Bytes as the file has them.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Block {
    d: [u8; 2],
    dmin: [u8; 2],
    scales: [u8; 12],
    high: [u8; 32],
    codes: [u8; 128],
}
const _: () = assert!(size_of::<Block>() == 176);

impl Encoding for Q5_K {
    const ID: u32 = 13;
    const NAME: &'static str = "q5_k";
    const LEN: usize = 256;
    type Block = Block;
}

impl Integer for Q5_K {
    const UNIT: usize = 32;
    const BITS: u32 = 5;
    const BIAS: i32 = 0;
    const MINIMUM: bool = true;

    #[inline(always)]
    fn unpack(block: &Block, out: &mut Unpacked) {
        for (i, &byte) in block.codes.iter().enumerate() {
            let (unit, lane) = (i / 32 * 2, i % 32);
            let high = block.high[lane] >> unit;
            out.codes[unit * 32 + lane] = byte & 15 | (high & 1) << 4;
            out.codes[unit * 32 + 32 + lane] = byte >> 4 | (high >> 1 & 1) << 4;
        }
        k_scales(half(block.d), half(block.dmin), &block.scales, out);
    }
}

impl Encode for Q5_K {
    fn encode(x: &[f32], block: &mut Block) {
        Self::encode_weighted(x, &EQUAL, block);
    }

    fn encode_weighted(x: &[f32], weights: &[f32], block: &mut Block) {
        let Affine { d, dmin, scales, minima, codes } = search_affine::<32, 8>(x, weights, 31, 63);
        (block.d, block.dmin) = (d, dmin);
        block.scales = pack_k_scales(&scales, &minima);
        block.high = [0; 32];
        for (i, byte) in block.codes.iter_mut().enumerate() {
            let (unit, lane) = (i / 32 * 2, i % 32);
            let (a, b) = (codes[unit * 32 + lane], codes[unit * 32 + 32 + lane]);
            *byte = a & 15 | (b & 15) << 4;
            block.high[lane] |= (a >> 4) << unit | (b >> 4) << (unit + 1);
        }
    }
}
