//! What a product of raw rows does with a group of 128 weights (see `groups`): codes of two rows
//! times the activations of one token, and what becomes of the sums.

use core::arch::x86_64::*;

use super::groups::{Codes, Groups, Scales, load_halves};
use crate::activation::Activations;

/// One token's group of activations.
pub(super) struct Group {
    high: *const u8,
    low: *const u8,
    /// Four, of 32 values each.
    scales: *const f32,
    scaled_sums: *const f32,
    /// Eight, of 16 values each.
    sums: *const i32,
}

impl Group {
    /// # Safety
    /// `token` has a group at column `k`.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) unsafe fn at(x: &Activations<'_>, token: usize, k: usize) -> Self {
        let at = token * x.stride + k;
        let low = x.low.unwrap_or(x.high);
        // SAFETY: inside the planes, by the invariant of `Activations::stride`.
        unsafe {
            Group {
                high: x.high.as_ptr().add(at).cast(),
                low: low.as_ptr().add(at).cast(),
                scales: x.scales.as_ptr().add(at / 32),
                scaled_sums: x.scaled_sums.as_ptr().add(at / 32),
                sums: x.sums.as_ptr().add(at / 16),
            }
        }
    }
}

/// 128 activations in the order of the codes.
///
/// # Safety
/// They are readable.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn arranged(x: *const u8) -> [__m256i; 4] {
    // SAFETY: the caller's promise.
    unsafe {
        let at = |i: usize| load_halves(x.add(i), x.add(i + 64));
        [at(0), at(16), at(32), at(48)]
    }
}

/// The exact sums of products of two rows, in the lanes of [`Scales`].
///
/// # Safety
/// The group's pointers are readable.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn pair_sums<E: Groups, const WIDE: bool>(
    codes: &[[__m256i; 4]; 2],
    x: &Group,
) -> [__m256i; 2] {
    let one = _mm256_set1_epi16(1);
    if !WIDE {
        // SAFETY: the caller's promise.
        return plane_sums::<E>(codes, &unsafe { arranged(x.high) }, one);
    }
    // SAFETY: the caller's promise; `low` is as long.
    let (high, low) = unsafe { (arranged(x.high), arranged(x.low)) };
    if matches!(E::CODES, Codes::Signed) {
        return word_sums::<E>(codes, &high, &low);
    }
    let high = plane_sums::<E>(codes, &high, _mm256_set1_epi16(255));
    let low = plane_sums::<E>(codes, &low, one);
    [_mm256_add_epi32(high[0], low[0]), _mm256_add_epi32(high[1], low[1])]
}

/// `factor` (1 or 255) times the sums of products with one plane.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn plane_sums<E: Groups>(
    codes: &[[__m256i; 4]; 2],
    x: &[__m256i; 4],
    factor: __m256i,
) -> [__m256i; 2] {
    let zero = _mm256_setzero_si256();
    let products = |row: usize, i: usize| _mm256_maddubs_epi16(codes[row][i], x[i]);
    // Four i16 for each unit of a row, Q0 Q1 | Q2 Q3: at most 8 * 31 * 127 = 31496.
    let quarters = |row: usize| {
        let even = _mm256_add_epi16(products(row, 0), products(row, 1));
        let odd = _mm256_add_epi16(products(row, 2), products(row, 3));
        add_words_by_four(even, odd)
    };
    match E::CODES {
        Codes::Four => {
            // Two i16 for each unit of both rows: 16 * 15 * 127 = 30480.
            let [a, b] = swapped_by_dwords(quarters(0), quarters(1));
            [_mm256_madd_epi16(_mm256_add_epi16(a, b), factor), zero]
        }
        Codes::Five => {
            let dwords = |row: usize| _mm256_madd_epi16(quarters(row), factor);
            [add_dwords_by_two(dwords(0), dwords(1)), zero]
        }
        Codes::Six => {
            // Four i16 for each unit of 16: 4 * 63 * 127 = 32004.
            let dwords = |row: usize, i: usize| {
                let units = add_words_by_four(products(row, i), products(row, i + 1));
                _mm256_madd_epi16(units, factor)
            };
            units_of_16(
                add_dwords_by_two(dwords(0, 0), dwords(1, 0)),
                add_dwords_by_two(dwords(0, 2), dwords(1, 2)),
            )
        }
        Codes::Signed => {
            // The weight's magnitude is the unsigned side, because only it may be 128, and its
            // sign moves to the activation: 2 * 128 * 127 = 32512.
            let products = |row: usize, i: usize| {
                let (codes, x) = (codes[row][i], _mm256_sign_epi8(x[i], codes[row][i]));
                _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8(codes), x), factor)
            };
            unit_sums::<E>(products)
        }
    }
}

/// [`pair_sums`] of signed codes and both planes at once, all of them widened to words: half of the
/// multiplications that one plane after the other needs, and no signs to move.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn word_sums<E: Groups>(
    codes: &[[__m256i; 4]; 2],
    high: &[__m256i; 4],
    low: &[__m256i; 4],
) -> [__m256i; 2] {
    // 255 * high + low, at most 32512.
    let places = _mm256_set1_epi16(0x01ff);
    let activations = |i: usize| {
        let (first, second) =
            (_mm256_unpacklo_epi8(high[i], low[i]), _mm256_unpackhi_epi8(high[i], low[i]));
        [_mm256_maddubs_epi16(places, first), _mm256_maddubs_epi16(places, second)]
    };
    let x = [activations(0), activations(1), activations(2), activations(3)];
    let products = |row: usize, i: usize| {
        let code = codes[row][i];
        let first = _mm256_srai_epi16::<8>(_mm256_unpacklo_epi8(code, code));
        let second = _mm256_srai_epi16::<8>(_mm256_unpackhi_epi8(code, code));
        _mm256_add_epi32(_mm256_madd_epi16(first, x[i][0]), _mm256_madd_epi16(second, x[i][1]))
    };
    unit_sums::<E>(products)
}

/// The sums of units of `products`: those of row `row` and vector `i` of its codes, four in a dword.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn unit_sums<E: Groups>(products: impl Fn(usize, usize) -> __m256i) -> [__m256i; 2] {
    if E::UNIT == 16 {
        let dwords = |row, i| add_dwords_by_four(products(row, i), products(row, i + 1));
        return units_of_16(
            add_dwords_by_two(dwords(0, 0), dwords(1, 0)),
            add_dwords_by_two(dwords(0, 2), dwords(1, 2)),
        );
    }
    let dwords = |row| {
        let even = _mm256_add_epi32(products(row, 0), products(row, 1));
        let odd = _mm256_add_epi32(products(row, 2), products(row, 3));
        add_dwords_by_four(even, odd)
    };
    [add_dwords_by_two(dwords(0), dwords(1)), _mm256_setzero_si256()]
}

/// `A0 B0 A1 B1 | A4 B4 A5 B5` and `A2 B2 A3 B3 | A6 B6 A7 B7`, as [`Scales`] have them.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn units_of_16(first: __m256i, second: __m256i) -> [__m256i; 2] {
    [
        _mm256_permute2x128_si256::<0x20>(first, second),
        _mm256_permute2x128_si256::<0x31>(first, second),
    ]
}

/// In each half of a vector: `a0 b1` and `a1 b0`, of two qwords each. Their sum is the horizontal
/// one of both vectors, with one shuffle; `hadd` has two.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn swapped_by_qwords(a: __m256i, b: __m256i) -> [__m256i; 2] {
    [_mm256_blend_epi32::<0b1100_1100>(a, b), _mm256_alignr_epi8::<8>(b, a)]
}

/// In each qword of a vector: `a0 b1` and `a1 b0`, of two dwords each.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn swapped_by_dwords(a: __m256i, b: __m256i) -> [__m256i; 2] {
    let turned = _mm256_blend_epi32::<0b1010_1010>(b, a);
    [_mm256_blend_epi32::<0b1010_1010>(a, b), _mm256_shuffle_epi32::<0b10_11_00_01>(turned)]
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_words_by_four(a: __m256i, b: __m256i) -> __m256i {
    let [a, b] = swapped_by_qwords(a, b);
    _mm256_add_epi16(a, b)
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_dwords_by_four(a: __m256i, b: __m256i) -> __m256i {
    let [a, b] = swapped_by_qwords(a, b);
    _mm256_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_dwords_by_two(a: __m256i, b: __m256i) -> __m256i {
    let [a, b] = swapped_by_dwords(a, b);
    _mm256_add_epi32(a, b)
}

/// Takes the bias out of the sums of two rows, and adds the units to their chains.
///
/// # Safety
/// The group's pointers are readable.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn add_units<E: Groups>(
    sums: [__m256i; 2],
    scales: &Scales,
    x: &Group,
    chain: &mut __m256,
) {
    // SAFETY: the caller's promise.
    let (x_scales, x_scaled_sums, x_sums) = unsafe {
        let four = |floats: *const f32| _mm256_broadcast_ps(&*floats.cast());
        (four(x.scales), four(x.scaled_sums), _mm256_loadu_si256(x.sums.cast()))
    };
    let bias = _mm256_set1_epi32(E::BIAS);
    let mut step = |i: usize, x_sums, x_scales, x_scaled_sums| {
        let sums = _mm256_sub_epi32(sums[i], _mm256_mullo_epi32(x_sums, bias));
        let scale = _mm256_mul_ps(scales.scales[i], x_scales);
        *chain = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), scale, *chain);
        if E::MINIMUM {
            *chain = _mm256_fmadd_ps(scales.minima[i], x_scaled_sums, *chain);
        }
    };
    if E::UNIT == 32 {
        // Both rows have the same activations.
        let spread = |x| _mm256_permutevar_ps(x, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
        let x_sums = _mm256_add_epi32(x_sums, _mm256_shuffle_epi32::<0b10_11_00_01>(x_sums));
        step(0, x_sums, spread(x_scales), spread(x_scaled_sums));
    } else {
        for i in 0..2 {
            let first = 2 * i as i32;
            let block = _mm256_add_epi32(
                _mm256_set1_epi32(first),
                _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1),
            );
            let unit = _mm256_add_epi32(
                _mm256_set1_epi32(2 * first),
                _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3),
            );
            let x_sums = _mm256_permutevar8x32_epi32(x_sums, unit);
            let x_scales = _mm256_permutevar_ps(x_scales, block);
            step(i, x_sums, x_scales, _mm256_mul_ps(x_scales, _mm256_cvtepi32_ps(x_sums)));
        }
    }
}
