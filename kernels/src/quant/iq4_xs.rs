//! IQ4_XS: 256 weights in 8 units of 32; 6-bit scales under one f16 factor; the codes of IQ4_NL.
//!
//! ```text
//! byte  0   2        4                 8                                   136
//!       | d | high   | 4 bytes: low    | 8 x 16 bytes of codes              |
//! scale u: low nibbles, two in a byte, the even one in the low half; its upper two bits are bits 2u
//! and 2u + 1 of the two bytes `high`
//! byte i of the u-th sixteen: weight 32u + i in the low nibble, weight 32u + 16 + i in the high one
//! weight = (d * (scale - 32)) * LEVELS[q]
//! ```

use super::iq4_nl::{GRID, RAISED};
use super::search::{EQUAL, Symmetric, half, search_symmetric};
use super::{Encode, Encoding, Integer, Unpacked};

/// The encoding.
#[allow(non_camel_case_types)]
pub struct IQ4_XS;

/// Bytes as the file has them.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Block {
    d: [u8; 2],
    high: [u8; 2],
    low: [u8; 4],
    codes: [u8; 128],
}
const _: () = assert!(size_of::<Block>() == 136);

impl Encoding for IQ4_XS {
    const ID: u32 = 23;
    const NAME: &'static str = "iq4_xs";
    const LEN: usize = 256;
    type Block = Block;
}

impl Integer for IQ4_XS {
    const UNIT: usize = 32;
    const BITS: u32 = 8;
    const BIAS: i32 = 128;
    const MINIMUM: bool = false;

    #[inline(always)]
    fn unpack(block: &Block, out: &mut Unpacked) {
        for (i, &byte) in block.codes.iter().enumerate() {
            let at = i / 16 * 32 + i % 16;
            out.codes[at] = RAISED[usize::from(byte & 15)];
            out.codes[at + 16] = RAISED[usize::from(byte >> 4)];
        }
        let d = half(block.d);
        let high = u16::from_le_bytes(block.high);
        for u in 0..8 {
            let low = block.low[u / 2] >> (u % 2 * 4) & 15;
            let high = (high >> (2 * u) & 3) as u8;
            out.scales[u] = d * ((low | high << 4) as i32 - 32) as f32;
        }
    }
}

impl Encode for IQ4_XS {
    fn encode(x: &[f32], block: &mut Block) {
        Self::encode_weighted(x, &EQUAL, block);
    }

    fn encode_weighted(x: &[f32], weights: &[f32], block: &mut Block) {
        let Symmetric { d, scales, codes } = search_symmetric::<32, 8, _>(x, weights, &GRID, 32);
        block.d = d;
        block.low = [0; 4];
        let mut high = 0;
        for (u, &scale) in scales.iter().enumerate() {
            let scale = (scale + 32) as u8;
            block.low[u / 2] |= (scale & 15) << (u % 2 * 4);
            high |= u16::from(scale >> 4) << (2 * u);
        }
        block.high = high.to_le_bytes();
        for (i, byte) in block.codes.iter_mut().enumerate() {
            let at = i / 16 * 32 + i % 16;
            *byte = codes[at] | codes[at + 16] << 4;
        }
    }
}
