//! Q2_K: 256 weights in 16 units of 16; 4-bit scales and minima under two f16 factors; 2 bits each.
//!
//! ```text
//! byte  0                                       16                  80  82     84
//!       | 16 x (4-bit scale, 4-bit minimum) | 64 bytes of codes | d | dmin |
//! byte 32h + l holds weights 128h + 32q + l, q in 0..4, in its bits 2q and 2q + 1
//! the scale is a byte's low nibble
//! weight = (d * scale) * q - (dmin * minimum)
//! ```

use super::search::{Affine, EQUAL, half, search_affine};
use super::{Encode, Encoding, Integer, Unpacked};

/// The encoding.
#[allow(non_camel_case_types)]
pub struct Q2_K;

/// Bytes as the file has them.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Block {
    scales: [u8; 16],
    codes: [u8; 64],
    d: [u8; 2],
    dmin: [u8; 2],
}
const _: () = assert!(size_of::<Block>() == 84);

impl Encoding for Q2_K {
    const ID: u32 = 10;
    const NAME: &'static str = "q2_k";
    const LEN: usize = 256;
    type Block = Block;
}

impl Integer for Q2_K {
    const UNIT: usize = 16;
    const BITS: u32 = 2;
    const BIAS: i32 = 0;
    const MINIMUM: bool = true;

    #[inline(always)]
    fn unpack(block: &Block, out: &mut Unpacked) {
        for (i, &byte) in block.codes.iter().enumerate() {
            for q in 0..4 {
                out.codes[i / 32 * 128 + 32 * q + i % 32] = byte >> (2 * q) & 3;
            }
        }
        let (d, dmin) = (half(block.d), half(block.dmin));
        for (u, &byte) in block.scales.iter().enumerate() {
            out.scales[u] = d * (byte & 15) as f32;
            out.minima[u] = -(dmin * (byte >> 4) as f32);
        }
    }
}

impl Encode for Q2_K {
    const EMPHASIS: bool = true;

    fn encode(x: &[f32], block: &mut Block) {
        Self::encode_weighted(x, &EQUAL, block);
    }

    fn encode_weighted(x: &[f32], weights: &[f32], block: &mut Block) {
        let Affine { d, dmin, scales, minima, codes } = search_affine::<16, 16>(x, weights, 3, 15);
        (block.d, block.dmin) = (d, dmin);
        for (byte, (scale, minimum)) in block.scales.iter_mut().zip(scales.iter().zip(&minima)) {
            *byte = scale | minimum << 4;
        }
        for (i, byte) in block.codes.iter_mut().enumerate() {
            let code = |q: usize| codes[i / 32 * 128 + 32 * q + i % 32] << (2 * q);
            *byte = code(0) | code(1) | code(2) | code(3);
        }
    }
}
