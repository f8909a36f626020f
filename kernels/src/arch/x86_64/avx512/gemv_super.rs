//! The encodings of 256 weights to a block.
#![allow(non_camel_case_types)]

use core::arch::x86_64::*;

use super::gemv::{Format, Four};
use super::gemv_blocks::{Bytes, Words, with_bit_4};
use crate::quant::QuantType;

/// Four blocks with 6-bit scales and minima.
pub(super) struct KStep {
    rows: Four,
    /// `d` and `dmin` of row `r` in lane `4q + r`.
    d: __m512,
    dmin: __m512,
    /// Byte `4u + r` is the scale of unit `u` of row `r`, byte `32 + 4u + r` its minimum.
    factors: __m512i,
}

impl KStep {
    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn open(rows: Four) -> Self {
        // SAFETY: blocks have more than 16 bytes.
        let heads = unsafe { quarters(rows, 0) };
        let halves = _mm512_permutexvar_epi16(Self::HALVES.register(), heads);
        KStep {
            rows,
            d: _mm512_cvtph_ps(_mm512_castsi512_si256(halves)),
            dmin: _mm512_cvtph_ps(_mm512_extracti64x4_epi64::<1>(halves)),
            factors: Self::six_bits(heads),
        }
    }

    /// `d` is word 0 of a quarter, `dmin` word 1.
    const HALVES: Words = {
        let mut index = [0; 32];
        let mut i = 0;
        while i < 32 {
            index[i] = (i % 4 * 8 + i / 16) as u16;
            i += 1;
        }
        Words(index)
    };

    /// The byte that has the low bits, and from which bit; that with the two high bits; masks.
    /// Units 0 to 3 have theirs in the low six bits of bytes 4 to 7 of the block and 8 to 11; units
    /// 4 to 7 have nibbles in bytes 12 to 15 and the upper two bits on top of bytes 4 to 11.
    const SIX_BITS: [Bytes; 6] = {
        let mut index = [[0; 64]; 6];
        let mut i = 0;
        while i < 64 {
            let (minimum, unit, row) = (i / 32, i / 4 % 8, i % 4);
            let byte = (i % 8 * 8) as u8;
            index[1][i] = byte;
            index[3][i] = byte + 2;
            index[0][i] = (16 * row + 4 + 4 * minimum + unit) as u8;
            index[4][i] = 63;
            if unit >= 4 {
                index[0][i] = (16 * row + 8 + unit) as u8;
                index[1][i] = byte + 4 * minimum as u8;
                index[2][i] = (16 * row + 4 * minimum + unit) as u8;
                index[4][i] = 15;
                index[5][i] = 0x30;
            }
            i += 1;
        }
        let [a, b, c, d, e, f] = index;
        [Bytes(a), Bytes(b), Bytes(c), Bytes(d), Bytes(e), Bytes(f)]
    };

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    fn six_bits(heads: __m512i) -> __m512i {
        let [low, low_shift, high, high_shift, low_mask, high_mask] = &Self::SIX_BITS;
        let bits = |index: &Bytes, shift: &Bytes| {
            let bytes = _mm512_permutexvar_epi8(index.register(), heads);
            _mm512_multishift_epi64_epi8(shift.register(), bytes)
        };
        let low = _mm512_and_si512(bits(low, low_shift), low_mask.register());
        // low | (high & mask)
        _mm512_ternarylogic_epi64::<0xf8>(low, bits(high, high_shift), high_mask.register())
    }

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    fn factors(&self, group: usize) -> (__m512, __m512) {
        let (scales, minima) = if group == 0 {
            (quarter::<0>(self.factors), quarter::<2>(self.factors))
        } else {
            (quarter::<1>(self.factors), quarter::<3>(self.factors))
        };
        let scales = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(scales));
        let minima = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(minima));
        let minus = _mm512_set1_ps(-0.0);
        let minima = _mm512_xor_ps(_mm512_mul_ps(self.dmin, minima), minus);
        (_mm512_mul_ps(self.d, scales), minima)
    }

    /// The low four bits of a group of four units: 64 bytes, where the units lie in pairs.
    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn nibbles(&self, row: usize, at: usize) -> [__m512i; 2] {
        // SAFETY: the caller's place lies inside the block.
        let bytes = unsafe { _mm512_loadu_si512(self.rows.0[row].add(at).cast()) };
        // The low nibbles are even units, the high ones odd.
        let shift = _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4);
        let nibbles =
            |pairs| _mm512_and_si512(_mm512_srlv_epi64(pairs, shift), _mm512_set1_epi8(15));
        [
            nibbles(_mm512_shuffle_i64x2::<0b10_10_00_00>(bytes, bytes)),
            nibbles(_mm512_shuffle_i64x2::<0b11_11_01_01>(bytes, bytes)),
        ]
    }
}

pub(super) struct Q4_K;

impl Format for Q4_K {
    const KIND: QuantType = QuantType::Q4_K;
    type Step = KStep;

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn open<const WHOLE: bool>(rows: Four, _: usize) -> KStep {
        // SAFETY: a step is one whole block.
        unsafe { KStep::open(rows) }
    }

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn codes(step: &KStep, row: usize, group: usize) -> [__m512i; 2] {
        // SAFETY: bytes 16 to 144 of the block.
        unsafe { step.nibbles(row, 16 + 64 * group) }
    }

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn factors(step: &KStep, group: usize) -> (__m512, __m512) {
        step.factors(group)
    }
}

pub(super) struct Q5_K;

impl Format for Q5_K {
    const KIND: QuantType = QuantType::Q5_K;
    type Step = KStep;

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn open<const WHOLE: bool>(rows: Four, _: usize) -> KStep {
        // SAFETY: a step is one whole block.
        unsafe { KStep::open(rows) }
    }

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn codes(step: &KStep, row: usize, group: usize) -> [__m512i; 2] {
        // SAFETY: bytes 48 to 176 of the block, then 16 to 48.
        let (nibbles, fifths) = unsafe {
            let fifths = step.rows.0[row].add(16);
            (
                step.nibbles(row, 48 + 64 * group),
                [
                    _mm512_broadcast_i32x4(_mm_loadu_si128(fifths.cast())),
                    _mm512_broadcast_i32x4(_mm_loadu_si128(fifths.add(16).cast())),
                ],
            )
        };
        // Unit 4 * group + q has bit 4 * group + q; it goes to bit 4.
        let bit_4 = |bits| {
            if group == 0 {
                _mm512_sllv_epi64(bits, _mm512_setr_epi64(4, 4, 3, 3, 2, 2, 1, 1))
            } else {
                _mm512_srlv_epi64(bits, _mm512_setr_epi64(0, 0, 1, 1, 2, 2, 3, 3))
            }
        };
        [with_bit_4(nibbles[0], bit_4(fifths[0])), with_bit_4(nibbles[1], bit_4(fifths[1]))]
    }

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn factors(step: &KStep, group: usize) -> (__m512, __m512) {
        step.factors(group)
    }
}

pub(super) struct Q6_K;

/// Four blocks with 8-bit scales.
pub(super) struct Q6Step {
    rows: Four,
    /// `d` of row `r` in lane `4q + r`.
    d: __m512,
    /// Byte `4u + r` is the scale of unit `u` of row `r`.
    factors: __m512i,
}

impl Format for Q6_K {
    const KIND: QuantType = QuantType::Q6_K;
    type Step = Q6Step;

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn open<const WHOLE: bool>(rows: Four, _: usize) -> Q6Step {
        // SAFETY: a step is one whole block: its scales are bytes 192 to 208, and `d` the last two.
        let (factors, d) = unsafe {
            let d = |r: usize| rows.0[r].add(208).cast::<u16>().read_unaligned() as i64;
            (transposed(rows, 192), d(0) | d(1) << 16 | d(2) << 32 | d(3) << 48)
        };
        Q6Step { rows, d: _mm512_broadcast_f32x4(_mm_cvtph_ps(_mm_cvtsi64_si128(d))), factors }
    }

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn codes(step: &Q6Step, row: usize, group: usize) -> [__m512i; 2] {
        // Half a block is two groups: the low nibbles of 64 bytes, then the high ones.
        let (half, second) = (group / 2, group % 2 == 1);
        // SAFETY: bytes 0 to 192 of the block.
        let (low, high) = unsafe {
            let p = step.rows.0[row];
            (
                _mm512_loadu_si512(p.add(64 * half).cast()),
                _mm256_loadu_si256(p.add(128 + 32 * half).cast()),
            )
        };
        let high = _mm512_broadcast_i64x4(high);
        let (low, high) = if second {
            let down = _mm512_setr_epi64(0, 0, 0, 0, 2, 2, 2, 2);
            (_mm512_srli_epi16::<4>(low), _mm512_srlv_epi64(high, down))
        } else {
            let up = _mm512_setr_epi64(4, 4, 4, 4, 2, 2, 2, 2);
            (low, _mm512_sllv_epi64(high, up))
        };
        let low = _mm512_and_si512(low, _mm512_set1_epi8(15));
        // low | (high & 0x30)
        let codes = _mm512_ternarylogic_epi64::<0xf8>(low, high, _mm512_set1_epi8(0x30));
        [codes, _mm512_setzero_si512()]
    }

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn factors(step: &Q6Step, group: usize) -> (__m512, __m512) {
        let bytes = match group {
            0 => quarter::<0>(step.factors),
            1 => quarter::<1>(step.factors),
            2 => quarter::<2>(step.factors),
            _ => quarter::<3>(step.factors),
        };
        let scales = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
        let scales = _mm512_mul_ps(step.d, scales);
        (scales, scales)
    }
}

/// 16 bytes from place `at` of each row, by place: byte `4u + r` is byte `u` of row `r`.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) unsafe fn transposed(rows: Four, at: usize) -> __m512i {
    const INDEX: Bytes = {
        let mut index = [0; 64];
        let mut i = 0;
        while i < 64 {
            index[i] = (i % 4 * 16 + i / 4) as u8;
            i += 1;
        }
        Bytes(index)
    };
    // SAFETY: the caller's place lies inside the blocks.
    _mm512_permutexvar_epi8(INDEX.register(), unsafe { quarters(rows, at) })
}

/// 16 bytes from place `at` of each row.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) unsafe fn quarters(rows: Four, at: usize) -> __m512i {
    // SAFETY: the caller's place lies inside the blocks.
    let row = |r: usize| unsafe { _mm_loadu_si128(rows.0[r].add(at).cast()) };
    let registers = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(row(0)), row(1));
    _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(registers, row(2)), row(3))
}

#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn quarter<const Q: i32>(v: __m512i) -> __m128i {
    _mm512_extracti32x4_epi32::<Q>(v)
}
