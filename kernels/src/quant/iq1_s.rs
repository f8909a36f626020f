//! IQ1_S: 256 weights in 8 units of 32; 3-bit scales under one f16 factor; eight weights are a point of a
//! grid, a little up or down.
//!
//! ```text
//! byte  0   2                            34                                    50
//!       | d | 32 low bytes of points | 8 x 2 bytes: high bits, scale, sign |
//! of a unit's two bytes: bits 3i to 3i + 2 are the high bits of its i-th point, 12 to 14 its scale, and bit
//! 15 says that an eighth is taken away, not added
//! weight = (d * (2 scale + 1) / 8) * (8 (digit - 1) +- 1)
//! ```

use super::grids::{IQ1_S as POINTS, thirds, write};
use super::search::half;
use super::{Encoding, Integer, Unpacked};

/// The encoding.
#[allow(non_camel_case_types)]
pub struct IQ1_S;

/// Bytes as the file has them.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Block {
    d: [u8; 2],
    low: [u8; 32],
    units: [[u8; 2]; 8],
}
const _: () = assert!(size_of::<Block>() == 50);

impl Encoding for IQ1_S {
    const ID: u32 = 19;
    const NAME: &'static str = "iq1_s";
    const LEN: usize = 256;
    type Block = Block;
}

impl Integer for IQ1_S {
    const UNIT: usize = 32;
    const BITS: u32 = 8;
    const BIAS: i32 = 128;
    const MINIMUM: bool = false;

    #[inline(always)]
    fn unpack(block: &Block, out: &mut Unpacked) {
        let d = half(block.d);
        let (mut points, mut less) = ([0; 32], [0; 32]);
        for (u, (&unit, scale)) in block.units.iter().zip(&mut out.scales).enumerate() {
            let unit = u16::from_le_bytes(unit);
            for i in 0..4 {
                let high = usize::from(unit >> (3 * i) & 7);
                points[4 * u + i] = POINTS[usize::from(block.low[4 * u + i]) | high << 8].into();
                less[4 * u + i] = (unit >> 15).into();
            }
            *scale = d * ((2 * (unit >> 12 & 7) + 1) as f32 / 8.0);
        }
        write(out, |i| thirds(points[i], less[i]));
    }
}
