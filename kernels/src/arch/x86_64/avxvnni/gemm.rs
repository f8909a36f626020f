//! A panel (avx2's layout) times many tokens.
//!
//! Sixteen rows meet six tokens: twelve sums of a unit stay in registers, with two vectors of codes
//! and one of activations. The chains lie in the cache.

use core::arch::asm;
use core::arch::x86_64::*;

use crate::activation::Activations;
use crate::arch::x86_64::avx2::chains::{self, Unit, add, products_of_tokens};
use crate::arch::x86_64::avx2::gemm::{Floats, ROWS, Sums, store};
use crate::arch::x86_64::tiles::{TOKENS, tiles};
use crate::cast::Tile;
use crate::table::{PANEL_ROWS, Panel};

/// See [`crate::scalar::integer::gemm`].
///
/// # Safety
/// The CPU has AVX-VNNI; the caller's panel was written by this target's unpack for the same columns,
/// and there are at least six tokens (fewer than nine are rows as the file has them).
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn gemm(panel: &Panel<'_>, x: &Activations<'_>, out: &mut Tile<'_>) {
    // SAFETY: the same promise.
    unsafe {
        match (panel.facts.unit, panel.facts.minimum) {
            (32, false) => all_tokens::<32, false>(panel, x, out),
            (32, true) => all_tokens::<32, true>(panel, x, out),
            (_, false) => all_tokens::<16, false>(panel, x, out),
            (_, true) => all_tokens::<16, true>(panel, x, out),
        }
    }
}

/// 16-bit activations have twice the sums, so that four tokens do.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn all_tokens<const UNIT: usize, const MINIMUM: bool>(
    panel: &Panel<'_>,
    x: &Activations<'_>,
    out: &mut Tile<'_>,
) {
    for (first, count) in tiles(x.tokens, x.low.is_some()) {
        for half in 0..out.rows().div_ceil(ROWS) {
            // SAFETY: the same promise; the tokens exist.
            unsafe {
                match (count, x.low.is_some()) {
                    (4, true) => tile::<4, UNIT, MINIMUM, true>(panel, x, half, first, out),
                    (4, false) => tile::<4, UNIT, MINIMUM, false>(panel, x, half, first, out),
                    _ => tile::<TOKENS, UNIT, MINIMUM, false>(panel, x, half, first, out),
                }
            }
        }
    }
}

/// Half of the rows times `T` tokens from token `first`.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn tile<const T: usize, const UNIT: usize, const MINIMUM: bool, const WIDE: bool>(
    panel: &Panel<'_>,
    x: &Activations<'_>,
    half: usize,
    first: usize,
    out: &mut Tile<'_>,
) {
    let mut sums: [Floats<T>; 4] = [[[_mm256_setzero_ps(); 2]; T]; 4];
    let shift = _mm_cvtsi32_si128(bias(panel).trailing_zeros() as i32);
    for u in 0..panel.k / UNIT {
        let column = u * UNIT;
        let codes = panel.codes.as_ptr().wrapping_add(ROWS * (panel.k * half + column));
        let at = first * x.stride + column;
        let row = u * PANEL_ROWS + ROWS * half;
        // SAFETY: the unit exists in the panel and in every token.
        unsafe {
            let dots = dots::<T, UNIT, WIDE>(codes, x, at);
            let unit = Unit {
                scales: panel.scales.as_ptr().add(row),
                minima: panel.minima.as_ptr().wrapping_add(row),
                token_scales: x.scales.as_ptr().add(at / 32),
                token_sums: if MINIMUM && UNIT == 32 {
                    x.scaled_sums.as_ptr().add(at / 32).cast()
                } else {
                    x.sums.as_ptr().add(at / 16)
                },
                stride: x.stride / 8,
                shift,
            };
            if MINIMUM {
                add::<T, UNIT, { chains::MINIMUM }>(&unit, &dots, &mut sums[u % 4]);
            } else {
                add::<T, UNIT, { chains::BIAS }>(&unit, &dots, &mut sums[u % 4]);
            }
        }
    }
    store(&sums, ROWS * half, &mut out.part(first, T, 0, panel.rows));
}

/// What the codes of the panel are above the weights: a power of two where there is no minimum.
#[inline]
fn bias(panel: &Panel<'_>) -> i32 {
    if panel.facts.bits == 8 { 128 } else { panel.facts.bias }
}

/// Exact dots of the codes of a unit, without their bias, with the activations `at` and on.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn dots<const T: usize, const UNIT: usize, const WIDE: bool>(
    codes: *const u8,
    x: &Activations<'_>,
    at: usize,
) -> Sums<T> {
    // SAFETY: the unit exists in the panel and in every token.
    let times = |plane: &[i8]| unsafe {
        let plane = plane.as_ptr().add(at);
        let mut dots = [[_mm256_setzero_si256(); 2]; T];
        if T == TOKENS {
            six_tokens::<UNIT>(codes, plane, x.stride, &mut dots);
        } else {
            four_tokens::<UNIT>(codes, plane, x.stride, &mut dots);
        }
        dots
    };
    let mut dots = times(x.low.filter(|_| WIDE).unwrap_or(x.high));
    if WIDE {
        let times_255 = |v| _mm256_sub_epi32(_mm256_slli_epi32::<8>(v), v);
        for (dots, high) in dots.iter_mut().zip(times(x.high)) {
            for (dots, high) in dots.iter_mut().zip(high) {
                *dots = _mm256_add_epi32(*dots, times_255(high));
            }
        }
    }
    dots
}

macro_rules! multiply {
    ($sum:ident $codes:literal) => {
        concat!("{{vex}} vpdpbusd {", stringify!($sum), "}, {", $codes, "}, {values}")
    };
}
macro_rules! end {
    ($sum:ident) => {
        ""
    };
}
products_of_tokens!(six_tokens four_tokens multiply end);
