//! Q8_0: 32 weights, one f16 scale, 8 bits each.
//!
//! ```text
//! byte  0   2                34
//!       | d | q0 ... q31 |       weight = d * q, q a signed byte (-128 occurs)
//! ```

use super::search::{half, nearest, to_half};
use super::{Encode, Encoding, Integer, Unpacked};

/// The encoding.
#[allow(non_camel_case_types)]
pub struct Q8_0;

/// Bytes as the file has them.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Block {
    d: [u8; 2],
    codes: [i8; 32],
}
const _: () = assert!(size_of::<Block>() == 34);

impl Encoding for Q8_0 {
    const ID: u32 = 8;
    const NAME: &'static str = "q8_0";
    const LEN: usize = 32;
    type Block = Block;
}

impl Integer for Q8_0 {
    const UNIT: usize = 32;
    const BITS: u32 = 8;
    const BIAS: i32 = 128;
    const MINIMUM: bool = false;

    #[inline(always)]
    fn unpack(block: &Block, out: &mut Unpacked) {
        for (code, &q) in out.codes.iter_mut().zip(&block.codes) {
            *code = q as u8 ^ 0x80;
        }
        out.scales[0] = half(block.d);
    }
}

impl Encode for Q8_0 {
    fn encode(x: &[f32], block: &mut Block) {
        let largest = x.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        // The codes belong to the exact scale: rounding it to f16 first is no better (measured on
        // normal weights), and this is what every other quantiser writes.
        let scale = largest / 127.0;
        let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        block.d = to_half(scale).0;
        for (code, &v) in block.codes.iter_mut().zip(x) {
            *code = nearest(v * inverse, -127, 127) as i8;
        }
    }

    /// 8 bits leave nothing to weigh.
    fn encode_weighted(x: &[f32], _: &[f32], block: &mut Block) {
        Self::encode(x, block);
    }
}
