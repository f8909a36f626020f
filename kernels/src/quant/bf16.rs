//! BF16: the upper half of an f32, little-endian.

use super::{Encoding, Float};

/// The encoding.
pub struct BF16;

impl Encoding for BF16 {
    const ID: u32 = 30;
    const NAME: &'static str = "bf16";
    const LEN: usize = 1;
    type Block = [u8; 2];
}

impl Float for BF16 {
    #[inline(always)]
    fn decode(block: &[u8; 2]) -> f32 {
        half::bf16::from_le_bytes(*block).to_f32()
    }
    fn encode(x: f32) -> [u8; 2] {
        half::bf16::from_f32(x).to_le_bytes()
    }
}
