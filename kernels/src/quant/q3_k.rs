//! Q3_K: 256 weights in 16 units of 16; 6-bit scales under one f16 factor; 3 bits each.
//!
//! ```text
//! byte  0                  32                  96                      108 110
//!       | 32 bytes of third bits | 64 bytes of low pairs | 12 bytes: 16 scales | d |
//! low byte 32h + l holds weights 128h + 32q + l, q in 0..4, in its bits 2q and 2q + 1
//! bit 4h + q of third-bits byte l belongs to the same weight
//! scale u: its low nibble is in byte u % 8 of the twelve (the low one for u < 8), its upper two
//! bits are bits 2 (u / 4) and 2 (u / 4) + 1 of byte 8 + u % 4
//! weight = (d * (scale - 32)) * (q - 4)
//! ```

use super::search::{EQUAL, Integers, Symmetric, half, search_symmetric};
use super::{Encode, Encoding, Integer, Unpacked};

/// The encoding.
#[allow(non_camel_case_types)]
pub struct Q3_K;

/// Bytes as the file has them.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Block {
    high: [u8; 32],
    low: [u8; 64],
    scales: [u8; 12],
    d: [u8; 2],
}
const _: () = assert!(size_of::<Block>() == 110);

impl Encoding for Q3_K {
    const ID: u32 = 11;
    const NAME: &'static str = "q3_k";
    const LEN: usize = 256;
    type Block = Block;
}

impl Integer for Q3_K {
    const UNIT: usize = 16;
    const BITS: u32 = 3;
    const BIAS: i32 = 4;
    const MINIMUM: bool = false;

    #[inline(always)]
    fn unpack(block: &Block, out: &mut Unpacked) {
        for (i, &byte) in block.low.iter().enumerate() {
            let (part, lane) = (i / 32, i % 32);
            for q in 0..4 {
                let third = block.high[lane] >> (4 * part + q) & 1;
                out.codes[128 * part + 32 * q + lane] = byte >> (2 * q) & 3 | third << 2;
            }
        }
        let d = half(block.d);
        for u in 0..16 {
            let low = block.scales[u % 8] >> (u / 8 * 4) & 15;
            let high = block.scales[8 + u % 4] >> (u / 4 * 2) & 3;
            out.scales[u] = d * ((low | high << 4) as i32 - 32) as f32;
        }
    }
}

impl Encode for Q3_K {
    const EMPHASIS: bool = true;

    fn encode(x: &[f32], block: &mut Block) {
        Self::encode_weighted(x, &EQUAL, block);
    }

    fn encode_weighted(x: &[f32], weights: &[f32], block: &mut Block) {
        let Symmetric { d, scales, codes } =
            search_symmetric::<16, 16, _>(x, weights, Integers::new(4), 32);
        block.d = d;
        block.scales = [0; 12];
        for (u, &scale) in scales.iter().enumerate() {
            let scale = (scale + 32) as u8;
            block.scales[u % 8] |= (scale & 15) << (u / 8 * 4);
            block.scales[8 + u % 4] |= (scale >> 4) << (u / 4 * 2);
        }
        block.high = [0; 32];
        for (i, byte) in block.low.iter_mut().enumerate() {
            let (part, lane) = (i / 32, i % 32);
            *byte = 0;
            for q in 0..4 {
                let code = codes[128 * part + 32 * q + lane];
                *byte |= (code & 3) << (2 * q);
                block.high[lane] |= (code >> 2) << (4 * part + q);
            }
        }
    }
}
