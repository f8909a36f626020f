//! Q4_K: 256 weights in 8 units of 32; 6-bit scales and minima under two f16 factors; 4 bits each.
//!
//! ```text
//! byte  0   2      4                16                                     144
//!       | d | dmin | 12 bytes: 8 x (6-bit scale, 6-bit minimum) | 4 x 32 bytes of codes |
//! byte i of the j-th 32: weight 64j + i in the low nibble, weight 64j + 32 + i in the high one
//! weight = (d * scale) * q - (dmin * minimum)
//! ```

use super::search::{Affine, EQUAL, half, k_scales, pack_k_scales, search_affine};
use super::{Encode, Encoding, Integer, Unpacked};

/// The encoding.
#[allow(non_camel_case_types)]
pub struct Q4_K;

/// Bytes as the file has them.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Block {
    d: [u8; 2],
    dmin: [u8; 2],
    scales: [u8; 12],
    codes: [u8; 128],
}
const _: () = assert!(size_of::<Block>() == 144);

impl Encoding for Q4_K {
    const ID: u32 = 12;
    const NAME: &'static str = "q4_k";
    const LEN: usize = 256;
    type Block = Block;
}

impl Integer for Q4_K {
    const UNIT: usize = 32;
    const BITS: u32 = 4;
    const BIAS: i32 = 0;
    const MINIMUM: bool = true;

    #[inline(always)]
    fn unpack(block: &Block, out: &mut Unpacked) {
        for (i, &byte) in block.codes.iter().enumerate() {
            let at = i / 32 * 64 + i % 32;
            out.codes[at] = byte & 15;
            out.codes[at + 32] = byte >> 4;
        }
        k_scales(half(block.d), half(block.dmin), &block.scales, out);
    }
}

impl Encode for Q4_K {
    fn encode(x: &[f32], block: &mut Block) {
        Self::encode_weighted(x, &EQUAL, block);
    }

    fn encode_weighted(x: &[f32], weights: &[f32], block: &mut Block) {
        let Affine { d, dmin, scales, minima, codes } = search_affine::<32, 8>(x, weights, 15, 63);
        (block.d, block.dmin) = (d, dmin);
        block.scales = pack_k_scales(&scales, &minima);
        for (i, byte) in block.codes.iter_mut().enumerate() {
            let at = i / 32 * 64 + i % 32;
            *byte = codes[at] | codes[at + 32] << 4;
        }
    }
}
