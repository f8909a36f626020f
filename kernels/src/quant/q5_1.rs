//! Q5_1: 32 weights, f16 scale and minimum, 5 bits each; the fifth bits lie together.
//!
//! ```text
//! byte  0   2   4      8                             24
//!       | d | m | high | q0|q16<<4 ... q15|q31<<4 |      weight = d * q + m
//! bit i of `high` (u32) is the fifth bit of weight i
//! ```

use super::q5_0::{pack_codes, unpack_codes};
use super::search::{fit_affine, half, nearest, range, to_half};
use super::{Encode, Encoding, Integer, Unpacked};

/// The encoding.
#[allow(non_camel_case_types)]
pub struct Q5_1;

/// Bytes as the file has them.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Block {
    d: [u8; 2],
    m: [u8; 2],
    high: [u8; 4],
    codes: [u8; 16],
}
const _: () = assert!(size_of::<Block>() == 24);

impl Encoding for Q5_1 {
    const ID: u32 = 7;
    const NAME: &'static str = "q5_1";
    const LEN: usize = 32;
    type Block = Block;
}

impl Integer for Q5_1 {
    const UNIT: usize = 32;
    const BITS: u32 = 5;
    const BIAS: i32 = 0;
    const MINIMUM: bool = true;

    #[inline(always)]
    fn unpack(block: &Block, out: &mut Unpacked) {
        unpack_codes(&block.codes, block.high, out);
        out.scales[0] = half(block.d);
        out.minima[0] = half(block.m);
    }
}

impl Encode for Q5_1 {
    fn encode(x: &[f32], block: &mut Block) {
        let (low, high) = range(x);
        let (_, low) = to_half(low);
        store(x, (high - low) / 31.0, low, block);
    }

    fn encode_weighted(x: &[f32], weights: &[f32], block: &mut Block) {
        let (scale, offset) = fit_affine(x, weights, 31);
        store(x, scale, offset, block);
    }
}

/// The scale, the offset, and the nearest codes.
fn store(x: &[f32], scale: f32, offset: f32, block: &mut Block) {
    let (m, low) = to_half(offset);
    let (d, scale) = to_half(scale);
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    (block.d, block.m) = (d, m);
    (block.codes, block.high) = pack_codes(|i| nearest((x[i] - low) * inverse, 0, 31) as u8);
}
