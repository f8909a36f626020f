//! The encodings of 32 weights to a block, four blocks to a step.

use core::arch::x86_64::*;
use core::marker::PhantomData;

use super::gemv::{Facts, Format, Four};
use crate::quant::{QuantType, iq4_nl, mxfp4};

/// Where the parts of a block of 4 or 5 bits lie. The two bytes of the scale come first, those of
/// the minimum second.
pub(super) trait Nibbles {
    const KIND: QuantType;
    /// The fifth bits, if codes have them.
    const FIFTH: Option<usize>;
    const CODES: usize;
    /// What the nibbles stand for, if that is not themselves.
    const LEVELS: Option<[u8; 16]> = None;
}

pub(super) struct Q4_0;
impl Nibbles for Q4_0 {
    const KIND: QuantType = QuantType::Q4_0;
    const FIFTH: Option<usize> = None;
    const CODES: usize = 2;
}

pub(super) struct Q4_1;
impl Nibbles for Q4_1 {
    const KIND: QuantType = QuantType::Q4_1;
    const FIFTH: Option<usize> = None;
    const CODES: usize = 4;
}

pub(super) struct Q5_0;
impl Nibbles for Q5_0 {
    const KIND: QuantType = QuantType::Q5_0;
    const FIFTH: Option<usize> = Some(2);
    const CODES: usize = 6;
}

pub(super) struct Q5_1;
impl Nibbles for Q5_1 {
    const KIND: QuantType = QuantType::Q5_1;
    const FIFTH: Option<usize> = Some(4);
    const CODES: usize = 8;
}

#[allow(non_camel_case_types)]
pub(super) struct IQ4_NL;
impl Nibbles for IQ4_NL {
    const KIND: QuantType = QuantType::IQ4_NL;
    const FIFTH: Option<usize> = None;
    const CODES: usize = 2;
    const LEVELS: Option<[u8; 16]> = Some(iq4_nl::RAISED);
}

/// Its scale is a byte.
pub(super) struct MXFP4;
impl Nibbles for MXFP4 {
    const KIND: QuantType = QuantType::MXFP4;
    const FIFTH: Option<usize> = None;
    const CODES: usize = 1;
    const LEVELS: Option<[u8; 16]> = Some(mxfp4::RAISED);
}

/// An encoding of [`Nibbles`].
pub(super) struct Legacy<N>(PhantomData<N>);

impl<N: Nibbles> Legacy<N> {
    const BLOCK: usize = N::KIND.block_bytes();
    /// Bytes in the second of the two registers that hold four blocks: few, because loads across
    /// cache lines are slower.
    const SECOND_LEN: usize = if 4 * Self::BLOCK <= 64 + 16 { 16 } else { 32 };
    /// Where it begins. It may overlap the first.
    const SECOND: usize = 4 * Self::BLOCK - Self::SECOND_LEN;
    const CODES: Bytes = {
        let mut index = [0; 64];
        let mut i = 0;
        while i < 64 {
            index[i] = place(i / 16 * Self::BLOCK + N::CODES + i % 16, Self::SECOND);
            i += 1;
        }
        Bytes(index)
    };
    /// Each half of a quarter gets the byte of fifth bits for its first 16 codes, then that for
    /// the second 16.
    const FIFTHS: Bytes = {
        let mut index = [0; 64];
        if let Some(fifth) = N::FIFTH {
            let mut i = 0;
            while i < 64 {
                let byte = i / 8 % 2 + 2 * (i % 2);
                index[i] = place(i / 16 * Self::BLOCK + fifth + byte, Self::SECOND);
                i += 1;
            }
        }
        Bytes(index)
    };
    const FACTORS: Words = factors(Self::BLOCK, Self::SECOND);
}

impl<N: Nibbles> Format for Legacy<N> {
    const KIND: QuantType = N::KIND;
    type Step = [[__m512i; 2]; 4];

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn open<const WHOLE: bool>(rows: Four, bytes: usize) -> Self::Step {
        // SAFETY: the second register ends where the step does.
        let row = |r| unsafe {
            let p = rows.0[r];
            let second = if !WHOLE {
                window::<false>(p, Self::SECOND, bytes)
            } else if Self::SECOND_LEN == 16 {
                _mm512_castsi128_si512(_mm_loadu_si128(p.add(Self::SECOND).cast()))
            } else {
                _mm512_castsi256_si512(_mm256_loadu_si256(p.add(Self::SECOND).cast()))
            };
            [window::<WHOLE>(p, 0, bytes), second]
        };
        [row(0), row(1), row(2), row(3)]
    }

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn codes(step: &Self::Step, row: usize, _: usize) -> [__m512i; 2] {
        let [first, second] = step[row];
        let low_bits = _mm512_set1_epi8(15);
        let bytes = _mm512_permutex2var_epi8(first, Self::CODES.register(), second);
        let low = _mm512_and_si512(bytes, low_bits);
        let high = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), low_bits);
        if let Some(levels) = &N::LEVELS {
            return [looked_up(levels, low), looked_up(levels, high)];
        }
        if N::FIFTH.is_none() {
            return [low, high];
        }
        let bits = _mm512_permutex2var_epi8(first, Self::FIFTHS.register(), second);
        // Byte i of 8 takes the eight bits of which bit 4 is bit i of the byte of fifth bits.
        let bits_low = _mm512_multishift_epi64_epi8(spread(16 - 4), bits);
        let bits_high = _mm512_multishift_epi64_epi8(spread(8 - 4), bits);
        [with_bit_4(low, bits_low), with_bit_4(high, bits_high)]
    }

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn factors(step: &Self::Step, _: usize) -> (__m512, __m512) {
        if matches!(N::KIND, QuantType::MXFP4) {
            let scales = powers_of_two(exponents(step));
            return (scales, scales);
        }
        let row = |[first, second]: [__m512i; 2]| {
            if 3 * Self::BLOCK + 4 <= 64 {
                _mm512_permutexvar_epi16(Self::FACTORS.register(), first)
            } else {
                _mm512_permutex2var_epi16(first, Self::FACTORS.register(), second)
            }
        };
        let halves = interleave([row(step[0]), row(step[1]), row(step[2]), row(step[3])]);
        let scales = _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
        if Facts::<Self>::FACTS.minimum {
            return (scales, _mm512_cvtph_ps(_mm512_extracti64x4_epi64::<1>(halves)));
        }
        (scales, scales)
    }
}

/// The exponents of MXFP4's blocks: that of block `q` of row `r` in lane `4q + r`.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn exponents(step: &[[__m512i; 2]; 4]) -> __m512i {
    const PLACES: Bytes = {
        let mut index = [0; 64];
        let mut i = 0;
        while i < 64 {
            index[i] = (i / 16 * Legacy::<MXFP4>::BLOCK) as u8;
            i += 1;
        }
        Bytes(index)
    };
    let [a, b, c, d] = [step[0][0], step[1][0], step[2][0], step[3][0]]
        .map(|row| _mm512_permutexvar_epi8(PLACES.register(), row));
    let ab = _mm512_mask_blend_epi32(0x2222, a, b);
    let abc = _mm512_mask_blend_epi32(0x4444, ab, c);
    _mm512_and_si512(_mm512_mask_blend_epi32(0x8888, abc, d), _mm512_set1_epi32(255))
}

/// 2^(e - 128); NaN for 255.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn powers_of_two(e: __m512i) -> __m512 {
    let normal = _mm512_slli_epi32::<23>(_mm512_sub_epi32(e, _mm512_set1_epi32(1)));
    let small = _mm512_cmplt_epi32_mask(e, _mm512_set1_epi32(2));
    let bits = _mm512_mask_sllv_epi32(normal, small, _mm512_set1_epi32(1 << 21), e);
    let nan = _mm512_cmpeq_epi32_mask(e, _mm512_set1_epi32(255));
    let bits = _mm512_mask_mov_epi32(bits, nan, _mm512_set1_epi32(0x7fc0_0000));
    _mm512_castsi512_ps(bits)
}

/// Signed bytes.
pub(super) struct Q8_0;

impl Q8_0 {
    const BLOCK: usize = Self::KIND.block_bytes();
    /// The same for both halves of the blocks: the registers of the second begin 8 bytes later.
    const CODES: [Bytes; 2] = {
        let mut index = [[0; 64]; 2];
        let mut i = 0;
        while i < 64 {
            let at = i / 16 * Self::BLOCK + 2 + i % 16;
            index[0][i] = place(at, 64);
            index[1][i] = place(at + 16 - 8, 64);
            i += 1;
        }
        [Bytes(index[0]), Bytes(index[1])]
    };
    const FACTORS: Words = factors(Self::BLOCK, 64);
}

impl Format for Q8_0 {
    const KIND: QuantType = QuantType::Q8_0;
    type Step = [[__m512i; 4]; 4];

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn open<const WHOLE: bool>(rows: Four, bytes: usize) -> Self::Step {
        // SAFETY: the last register ends where the step does.
        let row = |r| unsafe {
            let p = rows.0[r];
            [
                window::<WHOLE>(p, 0, bytes),
                window::<WHOLE>(p, 64, bytes),
                window::<WHOLE>(p, 8, bytes),
                window::<WHOLE>(p, 72, bytes),
            ]
        };
        [row(0), row(1), row(2), row(3)]
    }

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn codes(step: &Self::Step, row: usize, _: usize) -> [__m512i; 2] {
        let [a, b, c, d] = step[row];
        let flip = _mm512_set1_epi8(-128);
        [
            _mm512_xor_si512(_mm512_permutex2var_epi8(a, Self::CODES[0].register(), b), flip),
            _mm512_xor_si512(_mm512_permutex2var_epi8(c, Self::CODES[1].register(), d), flip),
        ]
    }

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn factors(step: &Self::Step, _: usize) -> (__m512, __m512) {
        let row = |[first, second, ..]: [__m512i; 4]| {
            _mm512_permutex2var_epi16(first, Self::FACTORS.register(), second)
        };
        let halves = interleave([row(step[0]), row(step[1]), row(step[2]), row(step[3])]);
        let scales = _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
        (scales, scales)
    }
}

/// Indices of a byte permutation.
#[repr(align(64))]
pub(super) struct Bytes(pub [u8; 64]);

/// Indices of a permutation of 16-bit words.
#[repr(align(64))]
pub(super) struct Words(pub [u16; 32]);

impl Bytes {
    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    pub fn register(&self) -> __m512i {
        // SAFETY: 64 bytes.
        unsafe { _mm512_loadu_si512(self.0.as_ptr().cast()) }
    }
}

impl Words {
    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    pub fn register(&self) -> __m512i {
        // SAFETY: 64 bytes.
        unsafe { _mm512_loadu_si512(self.0.as_ptr().cast()) }
    }
}

/// The index of byte `at` in two registers, of which the second begins at byte `second`.
const fn place(at: usize, second: usize) -> u8 {
    if at < 64 { at as u8 } else { (64 + at - second) as u8 }
}

/// Lane `4q + r`, for every `r`, gets the scale of block `q`; 16 lanes later its minimum.
const fn factors(block: usize, second: usize) -> Words {
    let mut index = [0; 32];
    let mut i = 0;
    while i < 32 {
        index[i] = place(i % 16 / 4 * block + i / 16 * 2, second) as u16 / 2;
        i += 1;
    }
    Words(index)
}

/// Word `r` of every four from row `r`.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn interleave([a, b, c, d]: [__m512i; 4]) -> __m512i {
    let ab = _mm512_mask_blend_epi16(0x2222_2222, a, b);
    let abc = _mm512_mask_blend_epi16(0x4444_4444, ab, c);
    _mm512_mask_blend_epi16(0x8888_8888, abc, d)
}

/// Shifts `first`, `first + 1`, ... in the eight bytes of each quadword.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn spread(first: u8) -> __m512i {
    const RAMP: u64 = 0x0706_0504_0302_0100;
    _mm512_set1_epi64((RAMP + 0x0101_0101_0101_0101 * first as u64) as i64)
}

/// Sets bit 4 of codes below 16 where `bits` has it.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn with_bit_4(codes: __m512i, bits: __m512i) -> __m512i {
    // codes | (bits & 0x10)
    _mm512_ternarylogic_epi64::<0xf8>(codes, bits, _mm512_set1_epi8(0x10))
}

/// The level of each code below 16.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn looked_up(levels: &[u8; 16], codes: __m512i) -> __m512i {
    // SAFETY: sixteen bytes.
    let levels = unsafe { _mm_loadu_si128(levels.as_ptr().cast()) };
    _mm512_shuffle_epi8(_mm512_broadcast_i32x4(levels), codes)
}

/// 64 bytes from `at`; if not `WHOLE`, those behind the first `bytes` from `p` are not read and
/// become zero.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) unsafe fn window<const WHOLE: bool>(p: *const u8, at: usize, bytes: usize) -> __m512i {
    if WHOLE {
        // SAFETY: the caller's step has these bytes.
        return unsafe { _mm512_loadu_si512(p.add(at).cast()) };
    }
    let inside = bytes.saturating_sub(at).min(64);
    let mask = if inside == 0 { 0 } else { u64::MAX >> (64 - inside) };
    // SAFETY: masked bytes are not read.
    unsafe { _mm512_maskz_loadu_epi8(mask, p.wrapping_add(at).cast()) }
}
