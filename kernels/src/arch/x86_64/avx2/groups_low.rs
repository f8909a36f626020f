//! [`Groups`] of the encodings of 2 and 3 bits, and of 4 bits that choose a level.

use core::arch::x86_64::*;

use super::groups::{
    Groups, Scales, factors, groups, load_twice, nibble_blocks, pair_of_scales, scale_blocks,
    shift_halves,
};
use crate::QuantType;
use crate::quant::{iq4_nl, mxfp4};

/// The level of each code below 16.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn looked_up(levels: &[u8; 16], codes: [__m256i; 4]) -> [__m256i; 4] {
    // SAFETY: sixteen bytes.
    let levels = unsafe { load_twice(levels.as_ptr()) };
    let [a, b, c, d] = codes;
    let level = |codes| _mm256_shuffle_epi8(levels, codes);
    [level(a), level(b), level(c), level(d)]
}

/// The levels of IQ4_NL as they are: signed.
const NON_LINEAR: [u8; 16] = {
    let mut levels = iq4_nl::RAISED;
    let mut i = 0;
    while i < 16 {
        levels[i] ^= 0x80;
        i += 1;
    }
    levels
};

/// Codes of 2 bits from 32 bytes of which each has four that are 32 weights apart.
///
/// # Safety
/// They are readable.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn pairs_of_bits(bytes: *const u8) -> [__m256i; 4] {
    // SAFETY: the caller's promise.
    let halves = unsafe { [load_twice(bytes), load_twice(bytes.add(16))] };
    let pairs = |half: usize, first: i32| {
        let shifted = shift_halves(halves[half], first, first + 4);
        _mm256_and_si256(shifted, _mm256_set1_epi8(3))
    };
    [pairs(0, 0), pairs(1, 0), pairs(0, 2), pairs(1, 2)]
}

/// 2^(e - 128) of four blocks of each row, which begin with the byte `e`; NaN for 255.
///
/// # Safety
/// As [`Groups::scales`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn power_blocks(a: *const u8, b: *const u8, size: usize) -> Scales {
    // SAFETY: the caller's promise; the blocks are readable.
    let exponents = |row: *const u8| unsafe {
        let at = |i: usize| i32::from(*row.add(i * size));
        _mm_setr_epi32(at(0), at(1), at(2), at(3))
    };
    let (a, b) = (exponents(a), exponents(b));
    let e = _mm256_set_m128i(_mm_unpackhi_epi32(a, b), _mm_unpacklo_epi32(a, b));
    let normal = _mm256_slli_epi32::<23>(_mm256_sub_epi32(e, _mm256_set1_epi32(1)));
    let small = _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e);
    let subnormal = _mm256_sllv_epi32(_mm256_set1_epi32(1 << 21), e);
    let bits = _mm256_blendv_epi8(normal, subnormal, small);
    let last = _mm256_cmpeq_epi32(e, _mm256_set1_epi32(255));
    let nan = _mm256_and_si256(last, _mm256_set1_epi32(0x7fc0_0000));
    let zero = _mm256_setzero_ps();
    Scales { scales: [_mm256_castsi256_ps(_mm256_or_si256(bits, nan)), zero], minima: [zero, zero] }
}

/// Four 6-bit scales of group `part` of an IQ4_XS block, a byte each.
///
/// # Safety
/// The block is readable.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn non_linear_scales(block: *const u8, part: usize) -> i32 {
    // SAFETY: the caller's promise.
    let (high, low) = unsafe {
        let low = block.add(4 + 2 * part).cast::<u16>().read_unaligned();
        (u32::from(*block.add(2 + part)), u32::from(low))
    };
    // Nibbles and pairs of bits, spread over bytes.
    let low = (low | low << 8) & 0x00ff_00ff;
    let low = (low | low << 4) & 0x0f0f_0f0f;
    let high = (high | high << 12) & 0x000f_000f;
    let high = (high | high << 6) & 0x0303_0303;
    (low | high << 4) as i32
}

/// Eight 6-bit scales of group `part` of a Q3_K block, less 32, a byte each.
///
/// # Safety
/// The block is readable.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn three_bit_scales(block: *const u8, part: usize) -> __m128i {
    // SAFETY: the caller's promise.
    let (low, high) = unsafe {
        let at = block.add(96);
        (at.cast::<u64>().read_unaligned(), at.add(8).cast::<u32>().read_unaligned())
    };
    let low = low >> (4 * part) & 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = |shift: usize| u64::from(high >> shift & 0x0303_0303);
    let high = pairs(4 * part) | pairs(4 * part + 2) << 32;
    let scales = _mm_cvtsi64_si128((low | high << 4) as i64);
    _mm_sub_epi8(scales, _mm_set1_epi8(32))
}

/// Eight unsigned scales or minima of 4 bits of each row, times the rows' factors.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn nibble_scales(a: __m128i, b: __m128i, factors: __m256) -> [__m256; 2] {
    let low_bits = _mm_set1_epi8(15);
    pair_of_scales(_mm_and_si128(a, low_bits), _mm_and_si128(b, low_bits), factors)
}

groups!(
    IQ4_NL,
    |chunk, _part| looked_up(&NON_LINEAR, nibble_blocks(chunk, Self::BLOCK_BYTES, 2)),
    |a, b, _part| scale_blocks(a, b, Self::BLOCK_BYTES)
);
groups!(
    IQ4_XS,
    |chunk, part| looked_up(&NON_LINEAR, nibble_blocks(chunk.add(8 + 64 * part), 16, 0)),
    |a, b, part| {
        let load = |row: *const u8| _mm_cvtsi32_si128(non_linear_scales(row, part));
        let bytes = _mm_unpacklo_epi8(load(a), load(b));
        let scales = _mm256_sub_epi32(_mm256_cvtepu8_epi32(bytes), _mm256_set1_epi32(32));
        let zero = _mm256_setzero_ps();
        let scales = _mm256_mul_ps(factors(a, b), _mm256_cvtepi32_ps(scales));
        Scales { scales: [scales, zero], minima: [zero, zero] }
    }
);
groups!(
    MXFP4,
    |chunk, _part| looked_up(&mxfp4::RAISED, nibble_blocks(chunk, Self::BLOCK_BYTES, 1)),
    |a, b, _part| power_blocks(a, b, Self::BLOCK_BYTES)
);
groups!(TQ2_0, |chunk, part| pairs_of_bits(chunk.add(32 * part)), |a, b, _part| {
    let zero = _mm256_setzero_ps();
    Scales { scales: [factors(a.add(64), b.add(64)), zero], minima: [zero, zero] }
});
groups!(Q2_K, |chunk, part| pairs_of_bits(chunk.add(16 + 32 * part)), |a, b, part| {
    let load = |row: *const u8| _mm_loadl_epi64(row.add(8 * part).cast());
    let (heads_a, heads_b) = (load(a), load(b));
    let high = |heads| _mm_srli_epi16::<4>(heads);
    let minus = _mm256_set1_ps(-0.0);
    let dmin = _mm256_xor_ps(factors(a.add(82), b.add(82)), minus);
    Scales {
        scales: nibble_scales(heads_a, heads_b, factors(a.add(80), b.add(80))),
        minima: nibble_scales(high(heads_a), high(heads_b), dmin),
    }
});
groups!(
    Q3_K,
    |chunk, part| {
        let mut codes = pairs_of_bits(chunk.add(32 + 32 * part));
        for half in 0..2 {
            // Bits 0 and 1 of each byte are now the third bits of Q0 and Q1, or of Q2 and Q3.
            let quarter = 4 * part as i32;
            let bits = shift_halves(load_twice(chunk.add(16 * half)), quarter, quarter + 2);
            let four = _mm256_set1_epi8(4);
            let even = _mm256_and_si256(_mm256_slli_epi16::<2>(bits), four);
            let odd = _mm256_and_si256(_mm256_slli_epi16::<1>(bits), four);
            codes[half] = _mm256_or_si256(codes[half], even);
            codes[2 + half] = _mm256_or_si256(codes[2 + half], odd);
        }
        codes
    },
    |a, b, part| {
        let (scales_a, scales_b) = (three_bit_scales(a, part), three_bit_scales(b, part));
        let zero = _mm256_setzero_ps();
        Scales {
            scales: pair_of_scales(scales_a, scales_b, factors(a.add(108), b.add(108))),
            minima: [zero, zero],
        }
    }
);
