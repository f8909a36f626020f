//! Encodings of 256 weights to a block, of 2 and 3 bits, and of 4 bits that choose a level.
#![allow(non_camel_case_types)]

use core::arch::x86_64::*;

use super::gemv::{Format, Four};
use super::gemv_blocks::{Bytes, looked_up};
use super::gemv_super::{quarter, quarters, transposed};
use crate::quant::{QuantType, iq4_nl};

/// Four blocks.
pub(super) struct Step {
    rows: Four,
    /// `d` and `dmin` of row `r` in lane `4q + r`.
    d: __m512,
    dmin: __m512,
    /// Byte `4u + r` is the scale of unit `u` of row `r`.
    scales: __m512i,
    minima: __m512i,
}

impl Step {
    /// Without minima; a factor is `at` bytes into each block.
    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn symmetric(rows: Four, at: usize, scales: __m512i) -> Self {
        // SAFETY: the caller's place lies inside the blocks.
        let d = unsafe { halves(rows, at) };
        Step { rows, d, dmin: d, scales, minima: scales }
    }

    /// `d * (scale - 32)` of a group's units.
    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    fn signed_scales(&self, group: usize) -> __m512 {
        let scales = _mm512_cvtepu8_epi32(quarter_of(self.scales, group));
        let scales = _mm512_sub_epi32(scales, _mm512_set1_epi32(32));
        _mm512_mul_ps(self.d, _mm512_cvtepi32_ps(scales))
    }

    /// The codes of 2 bits of a group of 64 weights, from 32 bytes of which each has four codes that
    /// are 32 weights apart.
    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn pairs_of_bits(&self, row: usize, group: usize, at: usize) -> __m512i {
        // SAFETY: the caller's 64 bytes of codes lie inside the block.
        let bytes = unsafe { _mm256_loadu_si256(self.rows.0[row].add(at + group / 2 * 32).cast()) };
        let shifts = if group.is_multiple_of(2) {
            _mm512_setr_epi64(0, 0, 0, 0, 2, 2, 2, 2)
        } else {
            _mm512_setr_epi64(4, 4, 4, 4, 6, 6, 6, 6)
        };
        let pairs = _mm512_srlv_epi64(_mm512_broadcast_i64x4(bytes), shifts);
        _mm512_and_si512(pairs, _mm512_set1_epi8(3))
    }
}

/// The f16 that is `at` bytes into the block of row `r`, in lane `4q + r`.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn halves(rows: Four, at: usize) -> __m512 {
    // SAFETY: the caller's place lies inside the blocks.
    let half = |r: usize| unsafe { rows.0[r].add(at).cast::<u16>().read_unaligned() as i64 };
    let four = half(0) | half(1) << 16 | half(2) << 32 | half(3) << 48;
    _mm512_broadcast_f32x4(_mm_cvtph_ps(_mm_cvtsi64_si128(four)))
}

/// Quarter `group` of a register.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn quarter_of(v: __m512i, group: usize) -> __m128i {
    match group {
        0 => quarter::<0>(v),
        1 => quarter::<1>(v),
        2 => quarter::<2>(v),
        _ => quarter::<3>(v),
    }
}

/// 6-bit scales, byte `4u + r` that of unit `u` of row `r`: for each the byte of `heads` with its low
/// four bits, and from which bit; the same of its upper two bits.
struct SixBits {
    low: Bytes,
    low_shift: Bytes,
    high: Bytes,
    high_shift: Bytes,
}

impl SixBits {
    const EMPTY: SixBits = SixBits {
        low: Bytes([0; 64]),
        low_shift: Bytes([0; 64]),
        high: Bytes([0; 64]),
        high_shift: Bytes([0; 64]),
    };

    /// Scale `i / 4` of row `i % 4` has its low bits in byte `low.0` from bit `low.1` on.
    const fn with(mut self, i: usize, low: (usize, usize), high: (usize, usize)) -> Self {
        let (row, here) = (i % 4 * 16, i % 8 * 8);
        self.low.0[i] = (row + low.0) as u8;
        self.low_shift.0[i] = (here + low.1) as u8;
        self.high.0[i] = (row + high.0) as u8;
        // They come to bits 4 and 5: taken from four bits before.
        self.high_shift.0[i] = ((here + high.1 + 64 - 4) % 64) as u8;
        self
    }

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    fn scales(&self, heads: __m512i) -> __m512i {
        let bits = |index: &Bytes, shift: &Bytes| {
            let bytes = _mm512_permutexvar_epi8(index.register(), heads);
            _mm512_multishift_epi64_epi8(shift.register(), bytes)
        };
        let low = _mm512_and_si512(bits(&self.low, &self.low_shift), _mm512_set1_epi8(15));
        let high = bits(&self.high, &self.high_shift);
        // low | (high & 0x30)
        _mm512_ternarylogic_epi64::<0xf8>(low, high, _mm512_set1_epi8(0x30))
    }
}

pub(super) struct Q2_K;

impl Format for Q2_K {
    const KIND: QuantType = QuantType::Q2_K;
    type Step = Step;

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn open<const WHOLE: bool>(rows: Four, _: usize) -> Step {
        // SAFETY: a step is one whole block: sixteen bytes of scales, and two f16 at its end.
        let (bytes, d, dmin) = unsafe { (transposed(rows, 0), halves(rows, 80), halves(rows, 82)) };
        let low_bits = _mm512_set1_epi8(15);
        Step {
            rows,
            d,
            dmin,
            scales: _mm512_and_si512(bytes, low_bits),
            minima: _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), low_bits),
        }
    }

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn codes(step: &Step, row: usize, group: usize) -> [__m512i; 2] {
        // SAFETY: bytes 16 to 80 of the block.
        [unsafe { step.pairs_of_bits(row, group, 16) }, _mm512_setzero_si512()]
    }

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn factors(step: &Step, group: usize) -> (__m512, __m512) {
        let floats = |bytes| _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(quarter_of(bytes, group)));
        let minima = _mm512_mul_ps(step.dmin, floats(step.minima));
        let minus = _mm512_set1_ps(-0.0);
        (_mm512_mul_ps(step.d, floats(step.scales)), _mm512_xor_ps(minima, minus))
    }
}

pub(super) struct Q3_K;

impl Format for Q3_K {
    const KIND: QuantType = QuantType::Q3_K;
    type Step = Step;

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn open<const WHOLE: bool>(rows: Four, _: usize) -> Step {
        /// The block's last 16 bytes: two of codes, twelve of scales, `d`.
        const SCALES: SixBits = {
            let mut bits = SixBits::EMPTY;
            let mut i = 0;
            while i < 64 {
                let unit = i / 4;
                bits = bits.with(i, (2 + unit % 8, unit / 8 * 4), (10 + unit % 4, unit / 4 * 2));
                i += 1;
            }
            bits
        };
        // SAFETY: a step is one whole block.
        unsafe { Step::symmetric(rows, 108, SCALES.scales(quarters(rows, 94))) }
    }

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn codes(step: &Step, row: usize, group: usize) -> [__m512i; 2] {
        // SAFETY: bytes 32 to 96 of the block, and 0 to 32.
        let (low, thirds) = unsafe {
            let thirds = _mm256_loadu_si256(step.rows.0[row].cast());
            (step.pairs_of_bits(row, group, 32), _mm512_broadcast_i64x4(thirds))
        };
        // The halves have bits `2 * group` and `2 * group + 1`; they go to bit 2.
        let bit_2 = match group {
            0 => _mm512_sllv_epi64(thirds, _mm512_setr_epi64(2, 2, 2, 2, 1, 1, 1, 1)),
            1 => _mm512_srlv_epi64(thirds, _mm512_setr_epi64(0, 0, 0, 0, 1, 1, 1, 1)),
            2 => _mm512_srlv_epi64(thirds, _mm512_setr_epi64(2, 2, 2, 2, 3, 3, 3, 3)),
            _ => _mm512_srlv_epi64(thirds, _mm512_setr_epi64(4, 4, 4, 4, 5, 5, 5, 5)),
        };
        // low | (bits & 4)
        let codes = _mm512_ternarylogic_epi64::<0xf8>(low, bit_2, _mm512_set1_epi8(4));
        [codes, _mm512_setzero_si512()]
    }

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn factors(step: &Step, group: usize) -> (__m512, __m512) {
        let scales = step.signed_scales(group);
        (scales, scales)
    }
}

pub(super) struct IQ4_XS;

impl Format for IQ4_XS {
    const KIND: QuantType = QuantType::IQ4_XS;
    type Step = Step;

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn open<const WHOLE: bool>(rows: Four, _: usize) -> Step {
        /// In the first eight bytes: two of `d`, two of upper bits, four of low ones.
        const SCALES: SixBits = {
            let mut bits = SixBits::EMPTY;
            let mut i = 0;
            while i < 32 {
                let unit = i / 4;
                bits = bits.with(i, (4 + unit / 2, unit % 2 * 4), (2 + unit / 4, unit % 4 * 2));
                i += 1;
            }
            bits
        };
        // SAFETY: a step is one whole block.
        unsafe { Step::symmetric(rows, 0, SCALES.scales(quarters(rows, 0))) }
    }

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn codes(step: &Step, row: usize, group: usize) -> [__m512i; 2] {
        // SAFETY: bytes 8 to 136 of the block.
        let bytes = unsafe { _mm512_loadu_si512(step.rows.0[row].add(8 + 64 * group).cast()) };
        let low_bits = _mm512_set1_epi8(15);
        let high = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), low_bits);
        let levels = |codes| looked_up(&iq4_nl::RAISED, codes);
        [levels(_mm512_and_si512(bytes, low_bits)), levels(high)]
    }

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn factors(step: &Step, group: usize) -> (__m512, __m512) {
        let scales = step.signed_scales(group);
        (scales, scales)
    }
}

pub(super) struct TQ2_0;

impl Format for TQ2_0 {
    const KIND: QuantType = QuantType::TQ2_0;
    type Step = Step;

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn open<const WHOLE: bool>(rows: Four, _: usize) -> Step {
        // SAFETY: a step is one whole block.
        unsafe { Step::symmetric(rows, 64, _mm512_setzero_si512()) }
    }

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn codes(step: &Step, row: usize, group: usize) -> [__m512i; 2] {
        // Unit `q` has bits 2q and 2q + 1 of 32 bytes.
        let codes = |half: usize| {
            // SAFETY: bytes 0 to 64 of the block.
            let bytes = unsafe {
                let from = step.rows.0[row].add(32 * group + 16 * half);
                _mm512_broadcast_i32x4(_mm_loadu_si128(from.cast()))
            };
            let units = _mm512_srlv_epi64(bytes, _mm512_setr_epi64(0, 0, 2, 2, 4, 4, 6, 6));
            _mm512_and_si512(units, _mm512_set1_epi8(3))
        };
        [codes(0), codes(1)]
    }

    #[inline]
    #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn factors(step: &Step, _: usize) -> (__m512, __m512) {
        (step.d, step.d)
    }
}
