//! F32: IEEE single precision, little-endian.

use super::{Encoding, Float};

/// The encoding.
pub struct F32;

impl Encoding for F32 {
    const ID: u32 = 0;
    const NAME: &'static str = "f32";
    const LEN: usize = 1;
    type Block = [u8; 4];
}

impl Float for F32 {
    #[inline(always)]
    fn decode(block: &[u8; 4]) -> f32 {
        f32::from_le_bytes(*block)
    }
    fn encode(x: f32) -> [u8; 4] {
        x.to_le_bytes()
    }
}
