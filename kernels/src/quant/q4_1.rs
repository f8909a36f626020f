//! Q4_1: 32 weights, f16 scale and minimum, 4 bits each.
//!
//! ```text
//! byte  0   2   4                             20
//!       | d | m | q0|q16<<4 ... q15|q31<<4 |      weight = d * q + m
//! ```

use super::search::{fit_affine, half, nearest, pack_nibbles, range, to_half};
use super::{Encode, Encoding, Integer, Unpacked};

/// The encoding.
#[allow(non_camel_case_types)]
pub struct Q4_1;

/// Bytes as the file has them.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Block {
    d: [u8; 2],
    m: [u8; 2],
    codes: [u8; 16],
}
const _: () = assert!(size_of::<Block>() == 20);

impl Encoding for Q4_1 {
    const ID: u32 = 3;
    const NAME: &'static str = "q4_1";
    const LEN: usize = 32;
    type Block = Block;
}

impl Integer for Q4_1 {
    const UNIT: usize = 32;
    const BITS: u32 = 4;
    const BIAS: i32 = 0;
    const MINIMUM: bool = true;

    #[inline(always)]
    fn unpack(block: &Block, out: &mut Unpacked) {
        for (i, &byte) in block.codes.iter().enumerate() {
            out.codes[i] = byte & 15;
            out.codes[i + 16] = byte >> 4;
        }
        out.scales[0] = half(block.d);
        out.minima[0] = half(block.m);
    }
}

impl Encode for Q4_1 {
    fn encode(x: &[f32], block: &mut Block) {
        let (low, high) = range(x);
        let low = to_half(low);
        store(x, (high - low.1) / 15.0, low, block);
    }

    fn encode_weighted(x: &[f32], weights: &[f32], block: &mut Block) {
        let (scale, offset) = fit_affine(x, weights, 15);
        store(x, scale, to_half(offset), block);
    }
}

/// The scale, the minimum as [`to_half`] gives it, and the nearest codes.
fn store(x: &[f32], scale: f32, (m, low): ([u8; 2], f32), block: &mut Block) {
    let (d, scale) = to_half(scale);
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    (block.d, block.m) = (d, m);
    block.codes = pack_nibbles(x, |v| nearest((v - low) * inverse, 0, 15));
}
