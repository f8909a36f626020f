//! IQ4_NL: 32 weights, one f16 scale, 4 bits each that choose one of sixteen levels.
//!
//! ```text
//! byte  0   2                             18
//!       | d | q0|q16<<4 ... q15|q31<<4 |      weight = d * LEVELS[q]
//! ```
//!
//! The levels are denser around 0, where most weights are. They go beside the activations as bytes: the
//! codes of the common form are the levels themselves, 128 above.

use super::search::{EQUAL, Grid, Levels, fit_symmetric, half, inverse, to_half};
use super::{Encode, Encoding, Integer, Unpacked};

/// What the codes stand for, here and in IQ4_XS.
const LEVELS: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// The levels 128 above.
pub(crate) const RAISED: [u8; 16] = {
    let mut raised = [0; 16];
    let mut i = 0;
    while i < 16 {
        raised[i] = (LEVELS[i] as u8) ^ 0x80;
        i += 1;
    }
    raised
};

/// For the search of scales: the weight of largest magnitude near either end of the levels.
pub(super) static GRID: Grid<16> = Grid::new(
    &LEVELS,
    [
        -146.0, -139.0, -133.0, -128.0, -123.0, -117.0, -110.0, -100.0, //
        131.0, 125.0, 120.0, 115.0, 110.0, 104.0, 97.0, 90.0,
    ],
);

/// The encoding.
#[allow(non_camel_case_types)]
pub struct IQ4_NL;

/// Bytes as the file has them.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Block {
    d: [u8; 2],
    codes: [u8; 16],
}
const _: () = assert!(size_of::<Block>() == 18);

impl Encoding for IQ4_NL {
    const ID: u32 = 20;
    const NAME: &'static str = "iq4_nl";
    const LEN: usize = 32;
    type Block = Block;
}

impl Integer for IQ4_NL {
    const UNIT: usize = 32;
    const BITS: u32 = 8;
    const BIAS: i32 = 128;
    const MINIMUM: bool = false;

    #[inline(always)]
    fn unpack(block: &Block, out: &mut Unpacked) {
        for (i, &byte) in block.codes.iter().enumerate() {
            out.codes[i] = RAISED[usize::from(byte & 15)];
            out.codes[i + 16] = RAISED[usize::from(byte >> 4)];
        }
        out.scales[0] = half(block.d);
    }
}

impl Encode for IQ4_NL {
    fn encode(x: &[f32], block: &mut Block) {
        Self::encode_weighted(x, &EQUAL, block);
    }

    fn encode_weighted(x: &[f32], weights: &[f32], block: &mut Block) {
        let (d, scale) = to_half(fit_symmetric(x, weights, &GRID));
        let inverse = inverse(scale);
        let code = |v: f32| (&GRID).code(v * inverse);
        block.d = d;
        for i in 0..16 {
            block.codes[i] = code(x[i]) | code(x[i + 16]) << 4;
        }
    }
}
