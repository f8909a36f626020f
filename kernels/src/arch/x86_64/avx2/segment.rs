//! What a panel's rows have in common: the activations of a few tokens in the form that `gemm`
//! multiplies, prepared once for all of them.

use core::arch::x86_64::*;

use super::gemm::{CENTRED, WORDS, centre, even_bytes, odd_bytes, signed};
use crate::activation::Activations;
use crate::arch::x86_64::tiles::TOKENS;
use crate::quant::IntegerFacts;

/// Units of a segment: few, so that it stays in the nearest cache. A multiple of the four chains.
const UNITS: usize = 32;

/// Some units of every token of a tile, one value a unit except for `pairs`.
pub(super) struct Segment {
    /// What the integer sums begin with: a dword, or two words ([`CENTRED`]).
    pub starts: [[i32; UNITS]; TOKENS],
    /// What a [`CENTRED`] sum is less than the sum of the codes' products.
    pub rests: [[i32; UNITS]; TOKENS],
    /// For [`WORDS`]: of each four activations the even two as words in one dword, then the odd two.
    pub pairs: [[i32; 16 * UNITS]; TOKENS],
}

impl Segment {
    pub(super) fn new() -> Self {
        Segment {
            starts: [[0; UNITS]; TOKENS],
            rests: [[0; UNITS]; TOKENS],
            pairs: [[0; 16 * UNITS]; TOKENS],
        }
    }

    /// Takes the units from `first` on, of at most `units`, and returns how many.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn fill<const UNIT: usize, const HOW: u8>(
        &mut self,
        x: &Activations<'_>,
        first: usize,
        units: usize,
        facts: IntegerFacts,
    ) -> usize {
        let count = UNITS.min(units - first);
        for token in 0..x.tokens {
            let at = token * x.stride + first * UNIT;
            // Rows are padded to 128 values, and a segment begins at a multiple of that.
            let values = (count * UNIT).next_multiple_of(128);
            let sums = &x.sums[at / 16..][..values / 16];
            let high = &x.high[at..at + values];
            if HOW == WORDS {
                let bias = if signed(facts) { 0 } else { facts.bias };
                unit_sums::<UNIT>(sums, -bias, &mut self.starts[token]);
                let low = x.low.map(|low| &low[at..at + values]);
                widen(high, low, &mut self.pairs[token]);
            } else if HOW == CENTRED {
                unit_sums::<UNIT>(sums, centre(facts), &mut self.rests[token]);
                lane_sums::<UNIT>(high, -centre(facts), &mut self.starts[token]);
            }
        }
        count
    }
}

/// `factor` times the sum of the activations of each unit.
#[inline]
fn unit_sums<const UNIT: usize>(sums: &[i32], factor: i32, units: &mut [i32; UNITS]) {
    if UNIT == 32 {
        let (pairs, _) = sums.as_chunks::<2>();
        units.iter_mut().zip(pairs).for_each(|(unit, [a, b])| *unit = factor * (a + b));
    } else {
        units.iter_mut().zip(sums).for_each(|(unit, sum)| *unit = factor * sum);
    }
}

/// `factor` times the sums of the activations of each unit that meet in one word of a sum: those at
/// 0 and 1 modulo 4 in the low word, those at 2 and 3 in the high word. 128 activations at a time.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn lane_sums<const UNIT: usize>(x: &[i8], factor: i32, units: &mut [i32; UNITS]) {
    let factor = _mm256_set1_epi16(factor as i16);
    let (groups, _) = x.as_chunks::<128>();
    for (x, units) in groups.iter().zip(units.chunks_exact_mut(128 / UNIT)) {
        // Sums of two, for each 32 activations: eight dwords.
        let mut pairs = [_mm256_setzero_si256(); 4];
        for (pairs, x) in pairs.iter_mut().zip(x.as_chunks::<32>().0) {
            // SAFETY: 32 bytes.
            let x = unsafe { _mm256_loadu_si256(x.as_ptr().cast()) };
            *pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), x);
        }
        let [a, b, c, d] = pairs;
        let ab = _mm256_add_epi16(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
        let cd = _mm256_add_epi16(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
        // Of the first 16 of each 32: a b c d; of the last 16.
        let sums = _mm256_add_epi16(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
        let sums = _mm256_mullo_epi16(sums, factor);
        let (first, last) = (_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
        let units = units.as_mut_ptr().cast::<__m128i>();
        // SAFETY: four units of 32, or eight of 16.
        unsafe {
            if UNIT == 32 {
                _mm_storeu_si128(units, _mm_add_epi16(first, last));
            } else {
                _mm_storeu_si128(units, _mm_unpacklo_epi32(first, last));
                _mm_storeu_si128(units.add(1), _mm_unpackhi_epi32(first, last));
            }
        }
    }
}

/// Activations as words, in the order of [`Segment::pairs`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn widen(high: &[i8], low: Option<&[i8]>, pairs: &mut [i32; 16 * UNITS]) {
    // SAFETY: 32 bytes.
    let load = |x: &[i8; 32]| unsafe { _mm256_loadu_si256(x.as_ptr().cast()) };
    let (blocks, _) = high.as_chunks::<32>();
    for (i, (high, pairs)) in blocks.iter().zip(pairs.as_chunks_mut::<16>().0).enumerate() {
        let high = load(high);
        let (mut even, mut odd) = (even_bytes(high), odd_bytes(high));
        if let Some(low) = low {
            let low = load(&low.as_chunks::<32>().0[i]);
            let times_255 = |x| _mm256_sub_epi16(_mm256_slli_epi16::<8>(x), x);
            even = _mm256_add_epi16(times_255(even), even_bytes(low));
            odd = _mm256_add_epi16(times_255(odd), odd_bytes(low));
        }
        // The dwords of both in turns.
        let (a, b) = (_mm256_unpacklo_epi32(even, odd), _mm256_unpackhi_epi32(even, odd));
        let to = pairs.as_mut_ptr().cast::<__m256i>();
        // SAFETY: sixteen dwords.
        unsafe {
            _mm256_storeu_si256(to, _mm256_permute2x128_si256::<0x20>(a, b));
            _mm256_storeu_si256(to.add(1), _mm256_permute2x128_si256::<0x31>(a, b));
        }
    }
}
