//! IQ3_XXS: 256 weights in 8 units of 32; 4-bit scales under one f16 factor; four weights are a point of a
//! grid.
//!
//! ```text
//! byte  0   2                              66                                98
//!       | d | 64 x point of 4 weights | 8 x 4 bytes: signs and scale |
//! signs: bits 7i to 7i + 6 belong to the first seven of eight weights, and make the eighth; bits 28 to 31
//! are the scale
//! level of digit q = 4 + 8q, but 62 of 7
//! weight = (d * (2 scale + 1) / 4) * level
//! ```

use super::grids::{Eight, IQ3_XXS as POINTS, ONES, even_signs, four, signed, write};
use super::search::half;
use super::{Encoding, Integer, Unpacked};

/// The encoding.
#[allow(non_camel_case_types)]
pub struct IQ3_XXS;

/// Bytes as the file has them.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Block {
    d: [u8; 2],
    points: [[u8; 8]; 8],
    signs: [[u8; 4]; 8],
}
const _: () = assert!(size_of::<Block>() == 98);

impl Encoding for IQ3_XXS {
    const ID: u32 = 18;
    const NAME: &'static str = "iq3_xxs";
    const LEN: usize = 256;
    type Block = Block;
}

impl Integer for IQ3_XXS {
    const UNIT: usize = 32;
    const BITS: u32 = 8;
    const BIAS: i32 = 128;
    const MINIMUM: bool = false;

    #[inline(always)]
    fn unpack(block: &Block, out: &mut Unpacked) {
        let d = half(block.d);
        let (mut points, mut signs) = ([0; 32], [0; 32]);
        for (u, (&unit, scale)) in block.signs.iter().zip(&mut out.scales).enumerate() {
            let bits = u32::from_le_bytes(unit);
            for i in 0..4 {
                let point = |i: usize| u64::from(POINTS[usize::from(block.points[u][i])]);
                points[4 * u + i] = point(2 * i) | point(2 * i + 1) << 32;
                signs[4 * u + i] = (bits >> (7 * i)).into();
            }
            *scale = d * ((2 * (bits >> 28) + 1) as f32 / 4.0);
        }
        write(out, |i| signed(levels(four(points[i])), even_signs(signs[i])));
    }
}

#[inline(always)]
fn levels(digits: Eight) -> Eight {
    let seven = digits & digits >> 1 & digits >> 2 & ONES;
    4 * ONES + (digits << 3) + (seven << 1)
}
