//! Q5_0: 32 weights, one f16 scale, 5 bits each; the fifth bits lie together.
//!
//! ```text
//! byte  0   2      6                             22
//!       | d | high | q0|q16<<4 ... q15|q31<<4 |      weight = d * (q - 16)
//! bit i of `high` (u32) is the fifth bit of weight i
//! ```

use super::search::{Integers, extreme, fit_symmetric, half, nearest, to_half};
use super::{Encode, Encoding, Integer, Unpacked};

/// The encoding.
#[allow(non_camel_case_types)]
pub struct Q5_0;

/// Bytes as the file has them.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Block {
    d: [u8; 2],
    high: [u8; 4],
    codes: [u8; 16],
}
const _: () = assert!(size_of::<Block>() == 22);

impl Encoding for Q5_0 {
    const ID: u32 = 6;
    const NAME: &'static str = "q5_0";
    const LEN: usize = 32;
    type Block = Block;
}

impl Integer for Q5_0 {
    const UNIT: usize = 32;
    const BITS: u32 = 5;
    const BIAS: i32 = 16;
    const MINIMUM: bool = false;

    #[inline(always)]
    fn unpack(block: &Block, out: &mut Unpacked) {
        unpack_codes(&block.codes, block.high, out);
        out.scales[0] = half(block.d);
    }
}

impl Encode for Q5_0 {
    fn encode(x: &[f32], block: &mut Block) {
        store(x, extreme(x) / -16.0, block);
    }

    fn encode_weighted(x: &[f32], weights: &[f32], block: &mut Block) {
        store(x, fit_symmetric(x, weights, Integers::new(16)), block);
    }
}

/// The scale and the nearest codes.
fn store(x: &[f32], scale: f32, block: &mut Block) {
    let (d, scale) = to_half(scale);
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    block.d = d;
    (block.codes, block.high) = pack_codes(|i| (nearest(x[i] * inverse, -16, 15) + 16) as u8);
}

/// Low four bits in halves of the block, fifth bits in a u32: shared with Q5_1.
#[inline(always)]
pub(super) fn unpack_codes(low: &[u8; 16], high: [u8; 4], out: &mut Unpacked) {
    let high = u32::from_le_bytes(high);
    for (i, &byte) in low.iter().enumerate() {
        out.codes[i] = byte & 15 | ((high >> i) as u8 & 1) << 4;
        out.codes[i + 16] = byte >> 4 | ((high >> (i + 16)) as u8 & 1) << 4;
    }
}

/// The inverse of [`unpack_codes`].
pub(super) fn pack_codes(code: impl Fn(usize) -> u8) -> ([u8; 16], [u8; 4]) {
    let (mut low, mut high) = ([0; 16], 0u32);
    for (i, byte) in low.iter_mut().enumerate() {
        let (a, b) = (code(i), code(i + 16));
        *byte = a & 15 | (b & 15) << 4;
        high |= (a as u32 >> 4) << i | (b as u32 >> 4) << (i + 16);
    }
    (low, high.to_le_bytes())
}
