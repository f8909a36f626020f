//! IQ2_S: 256 weights in 16 units of 16; 4-bit scales under one f16 factor; eight weights are a point of a
//! grid and their signs.
//!
//! ```text
//! byte  0   2                            34                        66            74                82
//!       | d | 32 low bytes of points | 32 x signs of 8 weights | 8 x high bits | 16 x 4-bit scale |
//! high bits of point i: bits 2 (i % 4) and 2 (i % 4) + 1 of byte i / 4
//! scale u: a nibble of byte u / 2, the even one in the low half
//! weight = (d * (2 scale + 1) / 8) * level
//! ```

use super::grids::{IQ2_S as POINTS, eight, signed, two_bit_levels, write};
use super::search::half;
use super::{Encoding, Integer, Unpacked};

/// The encoding.
#[allow(non_camel_case_types)]
pub struct IQ2_S;

/// Bytes as the file has them.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Block {
    d: [u8; 2],
    low: [u8; 32],
    signs: [u8; 32],
    high: [u8; 8],
    scales: [u8; 8],
}
const _: () = assert!(size_of::<Block>() == 82);

impl Encoding for IQ2_S {
    const ID: u32 = 22;
    const NAME: &'static str = "iq2_s";
    const LEN: usize = 256;
    type Block = Block;
}

impl Integer for IQ2_S {
    const UNIT: usize = 16;
    const BITS: u32 = 8;
    const BIAS: i32 = 128;
    const MINIMUM: bool = false;

    #[inline(always)]
    fn unpack(block: &Block, out: &mut Unpacked) {
        let d = half(block.d);
        let mut points = [0; 32];
        for (i, point) in points.iter_mut().enumerate() {
            let high = usize::from(block.high[i / 4] >> (i % 4 * 2) & 3);
            *point = POINTS[usize::from(block.low[i]) | high << 8].into();
        }
        write(out, |i| signed(two_bit_levels(eight(points[i])), block.signs[i].into()));
        for (u, scale) in out.scales.iter_mut().enumerate() {
            let nibble = block.scales[u / 2] >> (u % 2 * 4) & 15;
            *scale = d * ((2 * nibble + 1) as f32 / 8.0);
        }
    }
}
