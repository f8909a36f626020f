//! IQ1_M: 256 weights in 16 units of 16; 3-bit scales under one f16 factor; eight weights are a point of a
//! grid, a little up or down.
//!
//! ```text
//! byte  0                         32                                          48                     56
//!       | 32 low bytes of points | 32 nibbles: 3 high bits and a sign of points | 4 x 2 bytes: scales |
//! nibble i: of byte i / 2, the even one in the low half; its fourth bit says that an eighth is taken away
//! from the eight weights, not added
//! scale u: bits 3 (u % 4) to 3 (u % 4) + 2 of the two bytes u / 4; their upper nibbles are the four of `d`, the
//! lowest first
//! weight = (d * (2 scale + 1) / 8) * (8 (digit - 1) +- 1)
//! ```

use super::grids::{IQ1_S as POINTS, thirds, write};
use super::search::half;
use super::{Encoding, Integer, Unpacked};

/// The encoding.
#[allow(non_camel_case_types)]
pub struct IQ1_M;

/// Bytes as the file has them.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Block {
    low: [u8; 32],
    high: [u8; 16],
    scales: [[u8; 2]; 4],
}
const _: () = assert!(size_of::<Block>() == 56);

impl Encoding for IQ1_M {
    const ID: u32 = 29;
    const NAME: &'static str = "iq1_m";
    const LEN: usize = 256;
    type Block = Block;
}

impl Integer for IQ1_M {
    const UNIT: usize = 16;
    const BITS: u32 = 8;
    const BIAS: i32 = 128;
    const MINIMUM: bool = false;

    #[inline(always)]
    fn unpack(block: &Block, out: &mut Unpacked) {
        let (mut points, mut less) = ([0; 32], [0; 32]);
        for i in 0..32 {
            let high = block.high[i / 2] >> (i % 2 * 4);
            points[i] = POINTS[usize::from(block.low[i]) | usize::from(high & 7) << 8].into();
            less[i] = (high >> 3 & 1).into();
        }
        write(out, |i| thirds(points[i], less[i]));
        let scales = block.scales.map(u16::from_le_bytes);
        let [a, b, c, d] = scales.map(|scales| scales >> 12);
        let d = half((a | b << 4 | c << 8 | d << 12).to_le_bytes());
        for (u, out) in out.scales.iter_mut().enumerate() {
            let scale = scales[u / 4] >> (u % 4 * 3) & 7;
            *out = d * ((2 * scale + 1) as f32 / 8.0);
        }
    }
}
