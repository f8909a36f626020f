//! MXFP4 (OCP Microscaling, 2023): 32 weights, one power of two, floats of 4 bits each.
//!
//! ```text
//! byte  0   1                             17
//!       | e | q0|q16<<4 ... q15|q31<<4 |      weight = 2^(e - 128) * LEVELS[q]
//! ```
//!
//! A code has a sign, two bits of exponent and one of fraction; the levels are twice that number, so
//! that they are integers. `e` = 255 is NaN.

use super::search::{EQUAL, Grid, Levels, extreme};
use super::{Encode, Encoding, Integer, Unpacked};

/// What the codes stand for; two of them for 0.
const LEVELS: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// The levels 16 above.
pub(crate) const RAISED: [u8; 16] = {
    let mut raised = [0; 16];
    let mut i = 0;
    while i < 16 {
        raised[i] = (LEVELS[i] + 16) as u8;
        i += 1;
    }
    raised
};

static GRID: Grid<0> = Grid::new(&LEVELS, []);

/// The encoding.
pub struct MXFP4;

/// Bytes as the file has them.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Block {
    exponent: u8,
    codes: [u8; 16],
}
const _: () = assert!(size_of::<Block>() == 17);

impl Encoding for MXFP4 {
    const ID: u32 = 39;
    const NAME: &'static str = "mxfp4";
    const LEN: usize = 32;
    type Block = Block;
}

impl Integer for MXFP4 {
    const UNIT: usize = 32;
    const BITS: u32 = 5;
    const BIAS: i32 = 16;
    const MINIMUM: bool = false;

    #[inline(always)]
    fn unpack(block: &Block, out: &mut Unpacked) {
        for (i, &byte) in block.codes.iter().enumerate() {
            out.codes[i] = RAISED[usize::from(byte & 15)];
            out.codes[i + 16] = RAISED[usize::from(byte >> 4)];
        }
        out.scales[0] = scale(block.exponent);
    }
}

impl Encode for MXFP4 {
    fn encode(x: &[f32], block: &mut Block) {
        Self::encode_weighted(x, &EQUAL, block);
    }

    fn encode_weighted(x: &[f32], weights: &[f32], block: &mut Block) {
        // Between 2^n and 2^(n + 1): from 8 to 16 in the scale that is tried first. With half of it
        // levels end below the largest weight, with twice as much the smallest ones are unused.
        let n = i32::from((extreme(x).abs().to_bits() >> 23) as u8);
        let tried = [n - 2, n - 3, n - 1].map(|e| e.clamp(0, 254) as u8);
        let mut least = f32::INFINITY;
        for e in tried {
            let error = error(x, weights, e);
            if error < least {
                (least, block.exponent) = (error, e);
            }
        }
        if least == f32::INFINITY {
            block.exponent = tried[0];
        }
        let inverse = inverse(block.exponent);
        let code = |v: f32| (&GRID).code(v * inverse);
        for i in 0..16 {
            block.codes[i] = code(x[i]) | code(x[i + 16]) << 4;
        }
    }
}

/// 2^(e - 128).
#[inline(always)]
pub(crate) fn scale(e: u8) -> f32 {
    let bits = u32::from(e);
    f32::from_bits(match e {
        0 | 1 => 1 << (21 + bits),
        255 => 0x7fc0_0000,
        _ => (bits - 1) << 23,
    })
}

/// 2^(128 - e), or what comes near where that is no finite number.
fn inverse(e: u8) -> f32 {
    if e < 1 { f32::from_bits(254 << 23) } else { 1.0 / scale(e) }
}

/// The squared error with an exponent.
fn error(x: &[f32], weights: &[f32], e: u8) -> f32 {
    let (scale, inverse) = (scale(e), inverse(e));
    let mut errors = [0.0; 8];
    for (x, w) in x.chunks_exact(8).zip(weights.chunks_exact(8)) {
        for l in 0..8 {
            let miss = scale * (&GRID).nearest(x[l] * inverse) - x[l];
            errors[l] += w[l] * (miss * miss);
        }
    }
    errors.iter().sum()
}
