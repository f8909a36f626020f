//! IQ2_XS: 256 weights in 16 units of 16; 4-bit scales under one f16 factor; eight weights are a point of
//! a grid and their signs.
//!
//! ```text
//! byte  0   2                                   66                74
//!       | d | 32 x 2 bytes: point, signs << 9 | 16 x 4-bit scale |
//! signs: seven bits of the first seven of eight weights, which make the eighth
//! scale u: a nibble of byte u / 2, the even one in the low half
//! weight = (d * (2 scale + 1) / 8) * level
//! ```

use super::grids::{IQ2_XS as POINTS, eight, even_signs, signed, two_bit_levels, write};
use super::search::half;
use super::{Encoding, Integer, Unpacked};

/// The encoding.
#[allow(non_camel_case_types)]
pub struct IQ2_XS;

/// Bytes as the file has them.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Block {
    d: [u8; 2],
    points: [[u8; 2]; 32],
    scales: [u8; 8],
}
const _: () = assert!(size_of::<Block>() == 74);

impl Encoding for IQ2_XS {
    const ID: u32 = 17;
    const NAME: &'static str = "iq2_xs";
    const LEN: usize = 256;
    type Block = Block;
}

impl Integer for IQ2_XS {
    const UNIT: usize = 16;
    const BITS: u32 = 8;
    const BIAS: i32 = 128;
    const MINIMUM: bool = false;

    #[inline(always)]
    fn unpack(block: &Block, out: &mut Unpacked) {
        let d = half(block.d);
        let (mut points, mut signs) = ([0; 32], [0; 32]);
        for (i, &both) in block.points.iter().enumerate() {
            let both = u16::from_le_bytes(both);
            points[i] = POINTS[usize::from(both & 511)].into();
            signs[i] = u64::from(both) >> 9;
        }
        write(out, |i| signed(two_bit_levels(eight(points[i])), even_signs(signs[i])));
        for (u, scale) in out.scales.iter_mut().enumerate() {
            let nibble = block.scales[u / 2] >> (u % 2 * 4) & 15;
            *scale = d * ((2 * nibble + 1) as f32 / 8.0);
        }
    }
}
