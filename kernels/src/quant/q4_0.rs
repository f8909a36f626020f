//! Q4_0: 32 weights, one f16 scale, 4 bits each.
//!
//! ```text
//! byte  0   2                             18
//!       | d | q0|q16<<4 ... q15|q31<<4 |      weight = d * (q - 8)
//! ```

use super::search::{Integers, extreme, fit_symmetric, half, nearest, pack_nibbles, to_half};
use super::{Encode, Encoding, Integer, Unpacked};

/// The encoding.
#[allow(non_camel_case_types)]
pub struct Q4_0;

/// Bytes as the file has them.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Block {
    d: [u8; 2],
    codes: [u8; 16],
}
const _: () = assert!(size_of::<Block>() == 18);

impl Encoding for Q4_0 {
    const ID: u32 = 2;
    const NAME: &'static str = "q4_0";
    const LEN: usize = 32;
    type Block = Block;
}

impl Integer for Q4_0 {
    const UNIT: usize = 32;
    const BITS: u32 = 4;
    const BIAS: i32 = 8;
    const MINIMUM: bool = false;

    #[inline(always)]
    fn unpack(block: &Block, out: &mut Unpacked) {
        for (i, &byte) in block.codes.iter().enumerate() {
            out.codes[i] = byte & 15;
            out.codes[i + 16] = byte >> 4;
        }
        out.scales[0] = half(block.d);
    }
}

impl Encode for Q4_0 {
    /// The value of largest magnitude gets the code 0 (-8): the only end without a counterpart.
    fn encode(x: &[f32], block: &mut Block) {
        store(x, extreme(x) / -8.0, block);
    }

    fn encode_weighted(x: &[f32], weights: &[f32], block: &mut Block) {
        store(x, fit_symmetric(x, weights, Integers::new(8)), block);
    }
}

/// The scale and the nearest codes.
fn store(x: &[f32], scale: f32, block: &mut Block) {
    let (d, scale) = to_half(scale);
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    block.d = d;
    block.codes = pack_nibbles(x, |v| nearest(v * inverse, -8, 7) + 8);
}
