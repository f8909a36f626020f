//! IQ2_XXS: 256 weights in 8 units of 32; 4-bit scales under one f16 factor; eight weights are a point of
//! a grid and their signs.
//!
//! ```text
//! byte  0   2                                                    66
//!       | d | 8 x (4 bytes: points of 8 weights each, 4 bytes: signs) |
//! signs: bits 7i to 7i + 6 belong to the first seven of eight weights, and make the eighth; bits 28 to 31
//! are the scale
//! weight = (d * (2 scale + 1) / 8) * level
//! ```

use super::grids::{IQ2_XXS as POINTS, eight, even_signs, signed, two_bit_levels, write};
use super::search::half;
use super::{Encoding, Integer, Unpacked};

/// The encoding.
#[allow(non_camel_case_types)]
pub struct IQ2_XXS;

/// Bytes as the file has them.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Block {
    d: [u8; 2],
    units: [Unit; 8],
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Unit {
    points: [u8; 4],
    signs: [u8; 4],
}
const _: () = assert!(size_of::<Block>() == 66);

impl Encoding for IQ2_XXS {
    const ID: u32 = 16;
    const NAME: &'static str = "iq2_xxs";
    const LEN: usize = 256;
    type Block = Block;
}

impl Integer for IQ2_XXS {
    const UNIT: usize = 32;
    const BITS: u32 = 8;
    const BIAS: i32 = 128;
    const MINIMUM: bool = false;

    #[inline(always)]
    fn unpack(block: &Block, out: &mut Unpacked) {
        let d = half(block.d);
        let (mut points, mut signs) = ([0; 32], [0; 32]);
        for (u, (unit, scale)) in block.units.iter().zip(&mut out.scales).enumerate() {
            let bits = u32::from_le_bytes(unit.signs);
            for i in 0..4 {
                points[4 * u + i] = POINTS[usize::from(unit.points[i])].into();
                signs[4 * u + i] = (bits >> (7 * i)).into();
            }
            *scale = d * ((2 * (bits >> 28) + 1) as f32 / 8.0);
        }
        write(out, |i| signed(two_bit_levels(eight(points[i])), even_signs(signs[i])));
    }
}
