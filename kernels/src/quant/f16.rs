//! F16: IEEE half precision, little-endian. 5 exponent bits: overflows at 65,520.

use super::{Encoding, Float};

/// The encoding.
pub struct F16;

impl Encoding for F16 {
    const ID: u32 = 1;
    const NAME: &'static str = "f16";
    const LEN: usize = 1;
    type Block = [u8; 2];
}

impl Float for F16 {
    #[inline(always)]
    fn decode(block: &[u8; 2]) -> f32 {
        half::f16::from_le_bytes(*block).to_f32()
    }
    fn encode(x: f32) -> [u8; 2] {
        half::f16::from_f32(x).to_le_bytes()
    }
    /// All exponent bits set: infinite or NaN.
    #[inline(always)]
    fn is_finite(block: &[u8; 2]) -> bool {
        block[1] & 0x7c != 0x7c
    }
}
