//! IQ3_S: 256 weights in 8 units of 32; 4-bit scales under one f16 factor; four weights are a point of a
//! grid.
//!
//! ```text
//! byte  0   2                            66               74                        106             110
//!       | d | 64 low bytes of points | 64 x high bit | 32 x signs of 8 weights | 8 x 4-bit scale |
//! high bit of point i: bit i % 8 of byte i / 8; scale u: a nibble of byte u / 2, the even one in the low half
//! weight = (d * (2 scale + 1)) * (2 digit + 1)
//! ```

use super::grids::{IQ3_S as POINTS, ONES, four, signed, write};
use super::search::half;
use super::{Encoding, Integer, Unpacked};

/// The encoding.
#[allow(non_camel_case_types)]
pub struct IQ3_S;

/// Bytes as the file has them.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Block {
    d: [u8; 2],
    low: [u8; 64],
    high: [u8; 8],
    signs: [u8; 32],
    scales: [u8; 4],
}
const _: () = assert!(size_of::<Block>() == 110);

impl Encoding for IQ3_S {
    const ID: u32 = 21;
    const NAME: &'static str = "iq3_s";
    const LEN: usize = 256;
    type Block = Block;
}

impl Integer for IQ3_S {
    const UNIT: usize = 32;
    const BITS: u32 = 8;
    const BIAS: i32 = 128;
    const MINIMUM: bool = false;

    #[inline(always)]
    fn unpack(block: &Block, out: &mut Unpacked) {
        let d = half(block.d);
        let mut points = [0; 32];
        for (i, points) in points.iter_mut().enumerate() {
            let point = |i: usize| {
                let high = usize::from(block.high[i / 8] >> (i % 8) & 1);
                u64::from(POINTS[usize::from(block.low[i]) | high << 8])
            };
            *points = point(2 * i) | point(2 * i + 1) << 32;
        }
        write(out, |i| signed((four(points[i]) << 1) + ONES, block.signs[i].into()));
        for (u, scale) in out.scales.iter_mut().take(8).enumerate() {
            let nibble = block.scales[u / 2] >> (u % 2 * 4) & 15;
            *scale = d * (2 * nibble + 1) as f32;
        }
    }
}
