//! How this target reads integer encodings: groups of 128 weights as four vectors of codes, and
//! the scales of two rows side by side. `gemv` and `unpack` are written once over [`Groups`].
//!
//! The vectors of a group, by quarters Q0..Q3 of 32 weights (each in halves of 16, a and b):
//!
//! ```text
//! codes[0] = Q0a | Q2a    codes[1] = Q0b | Q2b    codes[2] = Q1a | Q3a    codes[3] = Q1b | Q3b
//! ```
//!
//! Every encoding comes into this order without a shuffle across lanes. The horizontal sums of two
//! rows A and B end in one vector, `A0 B0 A1 B1 | A2 B2 A3 B3` for four units of 32; units of 16 give
//! two of them, the second with units 4 to 7. A lane is a chain of a row.

use core::arch::x86_64::*;

use crate::QuantType;
use crate::quant::IntegerFacts;

/// Weights in a group.
pub(super) const GROUP: usize = 128;

/// What the codes of an encoding allow in 16-bit sums, whose products have at most 127 times a code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::arch::x86_64) enum Codes {
    /// Unsigned, at most 15: sixteen products fit an i16.
    Four,
    /// Unsigned, at most 31: eight products fit.
    Five,
    /// Unsigned, at most 63: four products fit.
    Six,
    /// Signed bytes, -128 included.
    Signed,
}

/// Scales and minima of two rows, in the lanes of the sums. Units of 32 use the first of each.
pub(in crate::arch::x86_64) struct Scales {
    pub scales: [__m256; 2],
    pub minima: [__m256; 2],
}

/// An encoding of integers, read in chunks: the least whole blocks that are whole groups, which is
/// four blocks of 32 or one of 256.
pub(in crate::arch::x86_64) trait Groups {
    const KIND: QuantType;

    const BLOCK_BYTES: usize = Self::KIND.block_bytes();
    const BLOCK_LEN: usize = Self::KIND.block_len();
    /// Groups in a chunk.
    const PARTS: usize = if Self::BLOCK_LEN > GROUP { Self::BLOCK_LEN / GROUP } else { 1 };
    const CHUNK_BLOCKS: usize = Self::PARTS * GROUP / Self::BLOCK_LEN;
    const CHUNK_BYTES: usize = Self::CHUNK_BLOCKS * Self::BLOCK_BYTES;
    const UNIT: usize = match Self::KIND.integer() {
        Some(facts) => facts.unit,
        None => 0,
    };
    const MINIMUM: bool = match Self::KIND.integer() {
        Some(facts) => facts.minimum,
        None => false,
    };
    const CODES: Codes = match Self::KIND.integer() {
        // The other forms have no sums of 16.
        Some(IntegerFacts { unit: 16, bits: ..=6, .. }) => Codes::Six,
        Some(IntegerFacts { bits: ..=4, .. }) => Codes::Four,
        Some(IntegerFacts { bits: 5, .. }) => Codes::Five,
        Some(IntegerFacts { bits: 6, .. }) => Codes::Six,
        _ => Codes::Signed,
    };
    /// What codes are above the weights.
    const BIAS: i32 = match (Self::KIND.integer(), Self::CODES) {
        (None, _) | (_, Codes::Signed) => 0,
        (Some(facts), _) => facts.bias,
    };

    /// The codes of group `part` of a chunk.
    ///
    /// # Safety
    /// The CPU has the features, and `chunk` starts `CHUNK_BYTES` readable bytes.
    unsafe fn codes(chunk: *const u8, part: usize) -> [__m256i; 4];

    /// The scales of group `part` of the chunks of two rows.
    ///
    /// # Safety
    /// As for `codes`, both chunks.
    unsafe fn scales(a: *const u8, b: *const u8, part: usize) -> Scales;
}

/// The most bytes of a chunk.
pub(super) const MAX_CHUNK_BYTES: usize = 210;

/// Two runs of 16 bytes as the halves of a vector.
///
/// # Safety
/// Both are readable.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn load_halves(low: *const u8, high: *const u8) -> __m256i {
    // SAFETY: the caller's promise.
    let (low, high) = unsafe { (_mm_loadu_si128(low.cast()), _mm_loadu_si128(high.cast())) };
    _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high)
}

/// 16 bytes in both halves.
///
/// # Safety
/// They are readable.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn load_twice(bytes: *const u8) -> __m256i {
    // SAFETY: the caller's promise.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(bytes.cast()) })
}

/// Four bytes in the first lane.
///
/// # Safety
/// They are readable.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn load_4(bytes: *const u8) -> __m128i {
    // SAFETY: the caller's promise.
    _mm_cvtsi32_si128(unsafe { bytes.cast::<i32>().read_unaligned() })
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn low_nibbles(x: __m256i) -> __m256i {
    _mm256_and_si256(x, _mm256_set1_epi8(15))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn high_nibbles(x: __m256i) -> __m256i {
    low_nibbles(_mm256_srli_epi16::<4>(x))
}

/// Shifts the first half right by `low` bits and the second by `high` (within dwords: the caller
/// masks what comes over from the neighbouring byte).
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn shift_halves(x: __m256i, low: i32, high: i32) -> __m256i {
    let counts = _mm256_setr_epi32(low, low, low, low, high, high, high, high);
    _mm256_srlv_epi32(x, counts)
}

/// Four blocks of 32 nibbles, `at` bytes into each block of `size` bytes.
///
/// # Safety
/// Sixteen bytes are readable there.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn nibble_blocks(chunk: *const u8, size: usize, at: usize) -> [__m256i; 4] {
    // SAFETY: the caller's promise.
    let (even, odd) = unsafe {
        let block = |i: usize| chunk.add(i * size + at);
        (load_halves(block(0), block(2)), load_halves(block(1), block(3)))
    };
    [low_nibbles(even), high_nibbles(even), low_nibbles(odd), high_nibbles(odd)]
}

/// Adds 16 to the codes whose bit is set in the u32 that is `at` bytes into each block.
///
/// # Safety
/// Four bytes are readable there.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add_fifth_bits(codes: &mut [__m256i; 4], chunk: *const u8, size: usize, at: usize) {
    const LOW: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1];
    for odd in 0..2 {
        // SAFETY: the caller's promise.
        let (first, second) = unsafe {
            let block = |i: usize| chunk.add(i * size + at);
            (load_4(block(odd)), load_4(block(odd + 2)))
        };
        let first = _mm256_castsi128_si256(_mm_broadcastd_epi32(first));
        let bits = _mm256_inserti128_si256::<1>(first, _mm_broadcastd_epi32(second));
        // SAFETY: sixteen bytes of a constant.
        let bytes = unsafe { load_twice(LOW.as_ptr()) };
        let mask = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
        for half in 0..2 {
            let bytes = _mm256_add_epi8(bytes, _mm256_set1_epi8(2 * half as i8));
            let spread = _mm256_and_si256(_mm256_shuffle_epi8(bits, bytes), mask);
            let fifth = _mm256_and_si256(_mm256_cmpeq_epi8(spread, mask), _mm256_set1_epi8(16));
            let codes = &mut codes[2 * odd + half];
            *codes = _mm256_or_si256(*codes, fifth);
        }
    }
}

/// The dwords at the start of a row's four blocks.
///
/// # Safety
/// The blocks are readable, and larger than a dword.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn block_heads(row: *const u8, size: usize) -> __m128i {
    // So loaded, the head of block i is dword i; nothing before or behind the blocks is read.
    // SAFETY: the caller's promise.
    let (a, b, c, d) = unsafe {
        let at = |i: usize| _mm_loadu_si128(row.add(i * (size - 4)).cast());
        (at(0), at(1), at(2), at(3))
    };
    let (ab, cd) = (_mm_blend_epi32::<0b0010>(a, b), _mm_blend_epi32::<0b1000>(c, d));
    _mm_blend_epi32::<0b1100>(ab, cd)
}

/// The f16 in the low words of the dwords of `a` and in the high words of those of `b`, in turns.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn halves_in_turns(a: __m128i, b: __m128i) -> __m256 {
    _mm256_cvtph_ps(_mm_blend_epi16::<0b1010_1010>(a, b))
}

/// Blocks of 32 that start with an f16 scale.
///
/// # Safety
/// As [`Groups::scales`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn scale_blocks(a: *const u8, b: *const u8, size: usize) -> Scales {
    // SAFETY: the caller's promise.
    let (a, b) = unsafe { (block_heads(a, size), block_heads(b, size)) };
    let zero = _mm256_setzero_ps();
    Scales { scales: [halves_in_turns(a, _mm_slli_epi32::<16>(b)), zero], minima: [zero, zero] }
}

/// Blocks of 32 that start with an f16 scale and an f16 minimum.
///
/// # Safety
/// As [`Groups::scales`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn scale_and_minimum_blocks(a: *const u8, b: *const u8, size: usize) -> Scales {
    // SAFETY: the caller's promise.
    let (a, b) = unsafe { (block_heads(a, size), block_heads(b, size)) };
    let scales = halves_in_turns(a, _mm_slli_epi32::<16>(b));
    let minima = halves_in_turns(_mm_srli_epi32::<16>(a), b);
    let zero = _mm256_setzero_ps();
    Scales { scales: [scales, zero], minima: [minima, zero] }
}

/// Four 6-bit scales and four 6-bit minima of a Q4_K or Q5_K block, a byte each.
///
/// # Safety
/// Twelve bytes are readable at `packed`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn six_bit_scales(packed: *const u8, part: usize) -> (u32, u32) {
    // SAFETY: the caller's promise.
    let [low, middle, high] =
        unsafe { [0, 4, 8].map(|at| packed.add(at).cast::<u32>().read_unaligned()) };
    if part == 0 {
        return (low & 0x3f3f_3f3f, middle & 0x3f3f_3f3f);
    }
    let top = |x: u32| x >> 2 & 0x3030_3030;
    (high & 0x0f0f_0f0f | top(low), high >> 4 & 0x0f0f_0f0f | top(middle))
}

/// Q4_K and Q5_K.
///
/// # Safety
/// As [`Groups::scales`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn k_scales(a: *const u8, b: *const u8, part: usize) -> Scales {
    // SAFETY: the caller's promise; a block starts with two f16 and twelve bytes of scales.
    let (factors, (scales_a, minima_a), (scales_b, minima_b)) = unsafe {
        (
            _mm_unpacklo_epi32(load_4(a), load_4(b)),
            six_bit_scales(a.add(4), part),
            six_bit_scales(b.add(4), part),
        )
    };
    let factors = _mm_cvtph_ps(factors); // d, dmin of A; of B
    let twice = |x: __m128| _mm256_set_m128(x, x);
    let d = twice(_mm_permute_ps::<0b10_00_10_00>(factors));
    let dmin = twice(_mm_xor_ps(_mm_permute_ps::<0b11_01_11_01>(factors), _mm_set1_ps(-0.0)));
    let lanes = |a: u32, b: u32| {
        let (a, b) = (_mm_cvtsi32_si128(a as i32), _mm_cvtsi32_si128(b as i32));
        _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_unpacklo_epi8(a, b)))
    };
    let zero = _mm256_setzero_ps();
    Scales {
        scales: [_mm256_mul_ps(d, lanes(scales_a, scales_b)), zero],
        minima: [_mm256_mul_ps(dmin, lanes(minima_a, minima_b)), zero],
    }
}

/// The f16 at `a` and that at `b`, in turns.
///
/// # Safety
/// They are readable.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn factors(a: *const u8, b: *const u8) -> __m256 {
    // SAFETY: the caller's promise.
    let half = |row: *const u8| unsafe { row.cast::<u16>().read_unaligned() as i32 };
    let factors = _mm_cvtph_ps(_mm_set1_epi32(half(a) | half(b) << 16));
    _mm256_set_m128(factors, factors)
}

/// Eight signed bytes of each row, times the rows' factors.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn pair_of_scales(a: __m128i, b: __m128i, factors: __m256) -> [__m256; 2] {
    let bytes = _mm_unpacklo_epi8(a, b);
    let lanes = |x: __m128i| _mm256_mul_ps(factors, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(x)));
    [lanes(bytes), lanes(_mm_unpackhi_epi64(bytes, bytes))]
}

/// Group `part` of the 128 bytes of nibbles of Q4_K and Q5_K.
///
/// # Safety
/// They are readable.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn k_nibbles(nibbles: *const u8, part: usize) -> [__m256i; 4] {
    // SAFETY: the caller's promise.
    let (first, second) = unsafe {
        let at = |i: usize| nibbles.add(64 * part + i);
        (load_halves(at(0), at(32)), load_halves(at(16), at(48)))
    };
    [low_nibbles(first), low_nibbles(second), high_nibbles(first), high_nibbles(second)]
}

/// Implements [`Groups`] for a unit type of the encoding's name.
macro_rules! groups {
    ($name:ident, |$chunk:ident, $part:ident| $load:expr, |$a:ident, $b:ident, $scales_part:ident| $scales:expr) => {
        #[allow(non_camel_case_types)]
        pub(in crate::arch::x86_64) struct $name;

        impl Groups for $name {
            const KIND: QuantType = QuantType::$name;

            #[inline]
            #[target_feature(enable = "avx2,fma,f16c")]
            unsafe fn codes($chunk: *const u8, $part: usize) -> [__m256i; 4] {
                // SAFETY: all inside the chunk.
                unsafe { $load }
            }

            #[inline]
            #[target_feature(enable = "avx2,fma,f16c")]
            unsafe fn scales($a: *const u8, $b: *const u8, $scales_part: usize) -> Scales {
                // SAFETY: all inside the chunks.
                unsafe { $scales }
            }
        }
    };
}

pub(super) use groups;

groups!(Q4_0, |chunk, _part| nibble_blocks(chunk, Self::BLOCK_BYTES, 2), |a, b, _part| {
    scale_blocks(a, b, Self::BLOCK_BYTES)
});
groups!(Q4_1, |chunk, _part| nibble_blocks(chunk, Self::BLOCK_BYTES, 4), |a, b, _part| {
    scale_and_minimum_blocks(a, b, Self::BLOCK_BYTES)
});
groups!(
    Q5_0,
    |chunk, _part| {
        let mut codes = nibble_blocks(chunk, Self::BLOCK_BYTES, 6);
        add_fifth_bits(&mut codes, chunk, Self::BLOCK_BYTES, 2);
        codes
    },
    |a, b, _part| scale_blocks(a, b, Self::BLOCK_BYTES)
);
groups!(
    Q5_1,
    |chunk, _part| {
        let mut codes = nibble_blocks(chunk, Self::BLOCK_BYTES, 8);
        add_fifth_bits(&mut codes, chunk, Self::BLOCK_BYTES, 4);
        codes
    },
    |a, b, _part| scale_and_minimum_blocks(a, b, Self::BLOCK_BYTES)
);
groups!(
    Q8_0,
    |chunk, _part| {
        let block = |i: usize, at: usize| chunk.add(i * Self::BLOCK_BYTES + 2 + at);
        let halves = |i: usize, at: usize| load_halves(block(i, at), block(i + 2, at));
        [halves(0, 0), halves(0, 16), halves(1, 0), halves(1, 16)]
    },
    |a, b, _part| scale_blocks(a, b, Self::BLOCK_BYTES)
);
groups!(Q4_K, |chunk, part| k_nibbles(chunk.add(16), part), |a, b, part| k_scales(a, b, part));
groups!(
    Q5_K,
    |chunk, part| {
        let mut codes = k_nibbles(chunk.add(48), part);
        for half in 0..2 {
            // Bits 0 and 1 of each byte are now the fifth bits of Q0 and Q1, or of Q2 and Q3.
            let unit = 4 * part as i32;
            let bits = shift_halves(load_twice(chunk.add(16 + 16 * half)), unit, unit + 2);
            let sixteen = _mm256_set1_epi8(16);
            let even = _mm256_and_si256(_mm256_slli_epi16::<4>(bits), sixteen);
            let odd = _mm256_and_si256(_mm256_slli_epi16::<3>(bits), sixteen);
            codes[half] = _mm256_or_si256(codes[half], even);
            codes[2 + half] = _mm256_or_si256(codes[2 + half], odd);
        }
        codes
    },
    |a, b, part| k_scales(a, b, part)
);
groups!(
    Q6_K,
    |chunk, part| {
        // Q0 and Q2 share bytes of the low part, as do Q1 and Q3; all four share the high part.
        let mut codes = [_mm256_setzero_si256(); 4];
        for half in 0..2 {
            let bits = shift_halves(load_twice(chunk.add(128 + 32 * part + 16 * half)), 0, 4);
            for odd in 0..2 {
                let low = load_twice(chunk.add(64 * part + 32 * odd + 16 * half));
                let low = low_nibbles(shift_halves(low, 0, 4));
                let bits = match odd {
                    0 => _mm256_slli_epi16::<4>(bits),
                    _ => _mm256_slli_epi16::<2>(bits),
                };
                let high = _mm256_and_si256(bits, _mm256_set1_epi8(0x30));
                codes[2 * odd + half] = _mm256_or_si256(low, high);
            }
        }
        codes
    },
    |a, b, part| {
        let load = |row: *const u8| _mm_loadl_epi64(row.add(192 + 8 * part).cast());
        let zero = _mm256_setzero_ps();
        Scales {
            scales: pair_of_scales(load(a), load(b), factors(a.add(208), b.add(208))),
            minima: [zero, zero],
        }
    }
);
