//! A panel times many tokens (its layout: see `unpack`). Rows lie in lanes, so a sum is complete
//! without any horizontal step.
//!
//! Sixteen rows meet six tokens: twelve sums of a unit stay in registers, with two vectors of codes,
//! one of activations and one of products. Each unit ends with one conversion to floats; the chains
//! lie in the cache (see `chains`). Three ways to multiply ([`Panel`]s say which):
//!
//! * [`PLAIN`], codes of 4 bits: sixteen products of bytes fit the i16 of a lane, so a unit of 32
//!   is eight `vpmaddubsw` and one `vpmaddwd`.
//! * [`CENTRED`], up to 6 bits: the same, but the sums begin with what makes every code count as
//!   `code - centre`. Then sixteen products fit, too, after however many of them the sum is looked
//!   at: those still missing count as `-centre` each.
//! * [`WORDS`], signed bytes and activations of 16 bits: both sides are widened to i16, eight
//!   products for each instruction, four tokens at a time. (The alternatives, two planes one after
//!   the other or moving the signs to the activations, need as many instructions or more.)

use core::arch::asm;
use core::arch::x86_64::*;

use super::chains::{self, Unit, add, products_of_tokens};
use super::segment::Segment;
use crate::activation::Activations;
use crate::arch::x86_64::tiles::{TOKENS, tiles};
use crate::cast::Tile;
use crate::quant::IntegerFacts;
use crate::table::{PANEL_ROWS, Panel};

/// Rows of a tile, in two vectors.
pub(in crate::arch::x86_64) const ROWS: usize = 16;

/// Ways to multiply.
pub(super) const PLAIN: u8 = 0;
pub(super) const CENTRED: u8 = 1;
pub(super) const WORDS: u8 = 2;

/// What the codes of a [`CENTRED`] product count from. The products of half a unit fit an i16.
pub(super) const fn centre(facts: IntegerFacts) -> i32 {
    if facts.bias > 0 { facts.bias } else { 1 << facts.bits >> 1 }
}

/// Signed bytes: the panel keeps them as the file has them.
pub(super) const fn signed(facts: IntegerFacts) -> bool {
    facts.bits == 8
}

/// See [`crate::Kernels`].
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn gemm(panel: &Panel<'_>, x: &Activations<'_>, out: &mut Tile<'_>) {
    let facts = panel.facts;
    let units = panel.k / facts.unit;
    // What the loads below rely on.
    assert!(panel.codes.len() >= PANEL_ROWS * panel.k && panel.rows <= PANEL_ROWS);
    assert!(panel.scales.len().min(panel.minima.len()) >= PANEL_ROWS * units);
    assert_eq!((x.k, out.rows()), (panel.k, panel.rows));
    assert!(x.tokens >= TOKENS);
    let words = x.low.is_some() || signed(facts);
    match (facts.unit, facts.minimum, words) {
        (32, false, false) => all_tokens::<32, false, CENTRED>(panel, x, out),
        (32, true, false) if facts.bits <= 4 => all_tokens::<32, true, PLAIN>(panel, x, out),
        (32, true, false) => all_tokens::<32, true, CENTRED>(panel, x, out),
        (32, false, true) => all_tokens::<32, false, WORDS>(panel, x, out),
        (32, true, true) => all_tokens::<32, true, WORDS>(panel, x, out),
        (_, false, false) => all_tokens::<16, false, CENTRED>(panel, x, out),
        (_, true, false) => all_tokens::<16, true, PLAIN>(panel, x, out),
        (_, false, true) => all_tokens::<16, false, WORDS>(panel, x, out),
        (_, true, true) => all_tokens::<16, true, WORDS>(panel, x, out),
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn all_tokens<const UNIT: usize, const MINIMUM: bool, const HOW: u8>(
    panel: &Panel<'_>,
    x: &Activations<'_>,
    out: &mut Tile<'_>,
) {
    let mut segment = Segment::new();
    for (first, count) in tiles(x.tokens, HOW == WORDS) {
        let x = x.part(first, count);
        let out = &mut out.part(first, count, 0, panel.rows);
        if count == 4 {
            all_rows::<4, UNIT, MINIMUM, HOW>(panel, &x, &mut segment, out);
        } else {
            all_rows::<TOKENS, UNIT, MINIMUM, HOW>(panel, &x, &mut segment, out);
        }
    }
}

/// What a tile adds up: two vectors of rows for each token.
pub(in crate::arch::x86_64) type Floats<const T: usize> = [[__m256; 2]; T];
pub(in crate::arch::x86_64) type Sums<const T: usize> = [[__m256i; 2]; T];

/// All rows times `T` tokens.
#[target_feature(enable = "avx2,fma,f16c")]
fn all_rows<const T: usize, const UNIT: usize, const MINIMUM: bool, const HOW: u8>(
    panel: &Panel<'_>,
    x: &Activations<'_>,
    segment: &mut Segment,
    out: &mut Tile<'_>,
) {
    let mut tiles = [[[[_mm256_setzero_ps(); 2]; T]; 4]; PANEL_ROWS / ROWS];
    let units = panel.k / UNIT;
    let mut first = 0;
    while first < units {
        let count = segment.fill::<UNIT, HOW>(x, first, units, panel.facts);
        for (tile, chains) in tiles.iter_mut().enumerate().take(panel.rows.div_ceil(ROWS)) {
            for u in 0..count {
                let column = (first + u) * UNIT;
                let row = (first + u) * PANEL_ROWS + ROWS * tile;
                // SAFETY: the unit lies in the panel, in every token's row and in the segment.
                unsafe {
                    let codes = panel.codes.as_ptr().add(ROWS * (panel.k * tile + column));
                    let sums = match HOW {
                        WORDS => words::<T, UNIT>(codes, segment, u),
                        _ => bytes::<T, UNIT, MINIMUM, HOW>(codes, x, column, segment, u),
                    };
                    let unit = Unit {
                        scales: panel.scales.as_ptr().add(row),
                        minima: panel.minima.as_ptr().add(row),
                        token_scales: x.scales.as_ptr().add(column / 32),
                        token_sums: match UNIT {
                            32 => x.scaled_sums.as_ptr().add(column / 32).cast(),
                            _ => x.sums.as_ptr().add(column / 16),
                        },
                        stride: x.stride / 8,
                        shift: _mm_setzero_si128(),
                    };
                    let chain = &mut chains[u % 4];
                    if MINIMUM {
                        add::<T, UNIT, { chains::MINIMUM }>(&unit, &sums, chain);
                    } else {
                        add::<T, UNIT, { chains::NOTHING }>(&unit, &sums, chain);
                    }
                }
            }
        }
        first += count;
    }
    for (tile, chains) in tiles.iter().enumerate().take(panel.rows.div_ceil(ROWS)) {
        store(chains, ROWS * tile, out);
    }
}

/// Ends the chains of a tile and writes the rows that exist.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(in crate::arch::x86_64) fn store<const T: usize>(
    [c0, c1, c2, c3]: &[Floats<T>; 4],
    first: usize,
    out: &mut Tile<'_>,
) {
    for token in 0..T {
        let mut rows = [0.0; ROWS];
        for (half, rows) in rows.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let left = _mm256_add_ps(c0[token][half], c1[token][half]);
            let right = _mm256_add_ps(c2[token][half], c3[token][half]);
            // SAFETY: eight floats.
            unsafe { _mm256_storeu_ps(rows.as_mut_ptr(), _mm256_add_ps(left, right)) };
        }
        let out = &mut out.token(token)[first..];
        let n = out.len().min(ROWS);
        out[..n].copy_from_slice(&rows[..n]);
    }
}

/// The exact sums of one unit, whose codes begin at `codes` and whose activations at `column`.
///
/// # Safety
/// The unit lies in the panel and in every token's row.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn bytes<const T: usize, const UNIT: usize, const MINIMUM: bool, const HOW: u8>(
    codes: *const u8,
    x: &Activations<'_>,
    column: usize,
    segment: &Segment,
    u: usize,
) -> Sums<T> {
    let mut sums = [[_mm256_setzero_si256(); 2]; T];
    if HOW == CENTRED {
        for (sums, starts) in sums.iter_mut().zip(&segment.starts) {
            *sums = [_mm256_set1_epi32(starts[u]); 2];
        }
    }
    // SAFETY: the caller's promise.
    unsafe {
        let x_start = x.high.as_ptr().add(column);
        if T == TOKENS {
            six_tokens::<UNIT>(codes, x_start, x.stride, &mut sums);
        } else {
            four_tokens::<UNIT>(codes, x_start, x.stride, &mut sums);
        }
    }
    // Where there is a minimum, codes have no bias: what was taken out comes back.
    if HOW == CENTRED && MINIMUM {
        for (sums, rests) in sums.iter_mut().zip(&segment.rests) {
            let rest = _mm256_set1_epi32(rests[u]);
            *sums = [_mm256_add_epi32(sums[0], rest), _mm256_add_epi32(sums[1], rest)];
        }
    }
    sums
}

macro_rules! multiply {
    ($sum:ident $codes:literal) => {
        concat!(
            "vpmaddubsw {product}, {",
            $codes,
            "}, {values}\n",
            "vpaddw {",
            stringify!($sum),
            "}, {",
            stringify!($sum),
            "}, {product}"
        )
    };
}
macro_rules! end {
    ($sum:ident) => {
        concat!("vpmaddwd {", stringify!($sum), "}, {", stringify!($sum), "}, [{ones}]")
    };
}
products_of_tokens!(six_tokens four_tokens multiply end);

/// The exact sums of one unit, whose codes begin at `codes`.
///
/// # Safety
/// The unit lies in the panel.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn words<const T: usize, const UNIT: usize>(
    codes: *const u8,
    segment: &Segment,
    u: usize,
) -> Sums<T> {
    let mut sums = [[_mm256_setzero_si256(); 2]; T];
    for (sums, starts) in sums.iter_mut().zip(&segment.starts) {
        *sums = [_mm256_set1_epi32(starts[u]); 2];
    }
    for four in 0..UNIT / 4 {
        // SAFETY: the caller's promise.
        let [a, b] = unsafe {
            let codes = codes.add(4 * ROWS * four).cast::<__m256i>();
            [_mm256_loadu_si256(codes), _mm256_loadu_si256(codes.add(1))]
        };
        for odd in 0..2 {
            let codes = if odd == 0 {
                [even_bytes(a), even_bytes(b)]
            } else {
                [odd_bytes(a), odd_bytes(b)]
            };
            for (sums, pairs) in sums.iter_mut().zip(&segment.pairs) {
                let x = _mm256_set1_epi32(pairs[u * UNIT / 2 + 2 * four + odd]);
                for (sum, codes) in sums.iter_mut().zip(codes) {
                    *sum = add_dwords(*sum, _mm256_madd_epi16(codes, x));
                }
            }
        }
    }
    sums
}

/// The bytes at even places, as words.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn even_bytes(x: __m256i) -> __m256i {
    _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(x))
}

/// The bytes at odd places, as words.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn odd_bytes(x: __m256i) -> __m256i {
    _mm256_srai_epi16::<8>(x)
}

/// `a + b` in this order and place: given the choice, the compiler adds the products in a tree of
/// its own and spills half of them.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_dwords(mut a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: arithmetic on registers, of a feature that is enabled here.
    unsafe {
        asm!("vpaddd {0}, {0}, {1}", inout(ymm_reg) a, in(ymm_reg) b,
            options(pure, nomem, nostack, preserves_flags));
    }
    a
}

/// What the ways to multiply rely on: with [`CENTRED`] eight products of each unit of 16 fit an i16, or
/// sixteen of 32; codes with a minimum have no bias, and at most 4 bits in units of 16. Where there is no
/// minimum the bias is a power of two (for avxvnni). A failure of the build for other encodings.
pub(super) const fn check_promises(facts: Option<IntegerFacts>) {
    let Some(facts) = facts else { panic!("an encoding of integers") };
    let centre = centre(facts);
    let above = (1 << facts.bits) - 1 - centre;
    let largest = if above > centre { above } else { centre };
    assert!(signed(facts) || largest * 127 * facts.unit as i32 / 2 <= i16::MAX as i32);
    assert!(!facts.minimum || facts.bias == 0 && (facts.unit == 32 || facts.bits <= 4));
    assert!(facts.unit == 32 || facts.unit == 16);
    assert!(facts.minimum || signed(facts) || (facts.bias as u32).is_power_of_two());
}
