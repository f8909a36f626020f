//! Panels of 32 integer rows × any number of tokens.
//!
//! In a panel, four consecutive codes of all 32 rows lie side by side in two registers, and the
//! scales (and minima) of one unit in two more; so a register of codes meets four activations
//! broadcast, and the rows' sums grow in its lanes without any adding up across lanes. Units lie in
//! the order in which they are read: those of chain 0, then those of chain 1, and so on.

use core::arch::asm;
use core::arch::x86_64::*;
use core::mem::MaybeUninit;

use crate::activation::Activations;
use crate::arch::generic::chain_starts;
use crate::arch::x86_64::tiles::{TOKENS, tiles};
use crate::cast::Tile;
use crate::table::Panel;

/// Rows in half a panel: floats in a register.
pub(super) const HALF: usize = 16;

/// See [`crate::scalar::integer::gemm`].
///
/// # Safety
/// The caller's panel was written by [`super::unpack::unpack`] for the same columns, and there are
/// at least six tokens (fewer than nine are rows as the file has them).
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
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

/// 16-bit activations have twice the dots, so that four tokens do.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn all_tokens<const UNIT: usize, const MINIMUM: bool>(
    panel: &Panel<'_>,
    x: &Activations<'_>,
    out: &mut Tile<'_>,
) {
    for (first, count) in tiles(x.tokens, x.low.is_some()) {
        // SAFETY: the same promise; the tokens exist.
        unsafe {
            match (count, x.low.is_some()) {
                (4, true) => tile::<4, UNIT, MINIMUM, true>(panel, x, first, out),
                (4, false) => tile::<4, UNIT, MINIMUM, false>(panel, x, first, out),
                _ => tile::<TOKENS, UNIT, MINIMUM, false>(panel, x, first, out),
            }
        }
    }
}

/// The floats of a tile: both halves of the rows for every token.
type Sums<const T: usize> = [[__m512; 2]; T];

/// All rows × `T` tokens from token `first`.
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn tile<const T: usize, const UNIT: usize, const MINIMUM: bool, const WIDE: bool>(
    panel: &Panel<'_>,
    x: &Activations<'_>,
    first: usize,
    out: &mut Tile<'_>,
) {
    let starts = chain_starts(panel.k / UNIT);
    // Not zeros to begin with: for each tile they would be a call of memset.
    let mut pairs = [const { MaybeUninit::<Sums<T>>::uninit() }; 2];
    for chain in 0..4 {
        let mut sums = [[_mm512_setzero_ps(); 2]; T];
        for (i, place) in (starts[chain]..starts[chain + 1]).enumerate() {
            let column = (chain + 4 * i) * UNIT;
            // SAFETY: the unit exists in the panel and in every token.
            unsafe {
                let dots = dots::<T, UNIT, WIDE>(panel, x, place, first, column);
                add::<T, UNIT, MINIMUM>(panel, x, place, first, column, dots, &mut sums);
            }
        }
        let pair = &mut pairs[chain / 2];
        if chain % 2 == 0 {
            pair.write(sums);
        } else {
            // SAFETY: the chain before wrote it.
            plus(unsafe { pair.assume_init_mut() }, &sums);
        }
    }
    // SAFETY: chains 0 and 2 wrote them.
    let [mut result, last] = pairs.map(|pair| unsafe { pair.assume_init() });
    plus(&mut result, &last);
    store(&result, first, out);
}

#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn plus<const T: usize>(sums: &mut Sums<T>, others: &Sums<T>) {
    for (sums, others) in sums.iter_mut().zip(others) {
        for (sum, &other) in sums.iter_mut().zip(others) {
            *sum = _mm512_add_ps(*sum, other);
        }
    }
}

/// Writes the rows that exist.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn store<const T: usize>(sums: &Sums<T>, first: usize, out: &mut Tile<'_>) {
    let rows = out.rows();
    let masks = [u32::MAX >> (32 - rows), u32::MAX >> (32 - rows) >> HALF].map(|m| m as u16);
    for (t, sums) in sums.iter().enumerate() {
        let out = out.token(first + t);
        for (half, (mask, &sum)) in masks.into_iter().zip(sums).enumerate() {
            // SAFETY: the mask keeps to the rows of the tile.
            unsafe { _mm512_mask_storeu_ps(out.as_mut_ptr().wrapping_add(HALF * half), mask, sum) };
        }
    }
}

/// Exact dots of the codes, without their bias, of the unit at `place` of the panel, which begins
/// at `column` of a token.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn dots<const T: usize, const UNIT: usize, const WIDE: bool>(
    panel: &Panel<'_>,
    x: &Activations<'_>,
    place: usize,
    first: usize,
    column: usize,
) -> [[__m512i; 2]; T] {
    let codes = panel.codes.as_ptr().wrapping_add(place * UNIT * 2 * HALF);
    let at = first * x.stride + column;
    // SAFETY: the unit exists in the panel and in every token.
    let times = |plane: &[i8]| unsafe {
        let plane = plane.as_ptr().add(at);
        let mut dots = [[_mm512_setzero_si512(); 2]; T];
        if T == TOKENS {
            six_tokens::<UNIT>(codes, plane, x.stride, &mut dots);
        } else {
            four_tokens::<UNIT>(codes, plane, x.stride, &mut dots);
        }
        dots
    };
    let mut dots = times(x.low.filter(|_| WIDE).unwrap_or(x.high));
    if WIDE {
        let times_255 = |v| _mm512_sub_epi32(_mm512_slli_epi32::<8>(v), v);
        for (dots, high) in dots.iter_mut().zip(times(x.high)) {
            for (dots, high) in dots.iter_mut().zip(high) {
                *dots = _mm512_add_epi32(*dots, times_255(high));
            }
        }
    }
    dots
}

/// Products of one unit of 32 rows and some tokens, `stride` bytes apart. In assembly, because
/// compilers load activations ahead until the sums of the tile no longer fit the registers.
macro_rules! unit_products {
    ($name:ident, $($times:ident = $n:literal),*: $($a:ident $b:ident $address:literal),*) => {
        #[inline]
        #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
        unsafe fn $name<const UNIT: usize>(
            codes: *const u8,
            x: *const i8,
            stride: usize,
            dots: &mut [[__m512i; 2]],
        ) {
            let [$([$a, $b]),*] = dots else { return };
            // Named because the compiler gives registers of nothing the wrong width.
            let (first, second, values): (__m512i, __m512i, __m512i);
            // SAFETY: reads UNIT columns of 32 codes and of each token, which the caller has.
            unsafe {
                asm!(
                    "2:",
                    ".rept 2",
                    "vmovdqu64 {first}, [{codes}]",
                    "vmovdqu64 {second}, [{codes} + 64]",
                    $(
                        concat!("vpbroadcastd {values}, [{x}", $address, "]"),
                        concat!("vpdpbusd {", stringify!($a), "}, {first}, {values}"),
                        concat!("vpdpbusd {", stringify!($b), "}, {second}, {values}"),
                    )*
                    "add {codes}, 128",
                    "add {x}, 4",
                    ".endr",
                    "dec {eights}",
                    "jnz 2b",
                    eights = inout(reg) UNIT / 8 => _,
                    codes = inout(reg) codes => _,
                    x = inout(reg) x => _,
                    $($times = in(reg) $n * stride,)*
                    first = out(zmm_reg) first,
                    second = out(zmm_reg) second,
                    values = out(zmm_reg) values,
                    $($a = inout(zmm_reg) *$a, $b = inout(zmm_reg) *$b,)*
                    options(nostack),
                );
            }
            let _ = (first, second, values);
        }
    };
}

unit_products!(six_tokens, one = 1, three = 3, five = 5:
    a0 b0 "", a1 b1 " + {one}", a2 b2 " + 2*{one}", a3 b3 " + {three}", a4 b4 " + 4*{one}",
    a5 b5 " + {five}");
unit_products!(four_tokens, one = 1, three = 3:
    a0 b0 "", a1 b1 " + {one}", a2 b2 " + 2*{one}", a3 b3 " + {three}");

/// Adds one unit to a chain: the dots, and what makes numbers of them.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn add<const T: usize, const UNIT: usize, const MINIMUM: bool>(
    panel: &Panel<'_>,
    x: &Activations<'_>,
    place: usize,
    first: usize,
    column: usize,
    dots: [[__m512i; 2]; T],
    sums: &mut Sums<T>,
) {
    let at = first * x.stride + column;
    // SAFETY: the unit exists in the panel and in every token.
    unsafe {
        let unit = Unit {
            scales: panel.scales.as_ptr().add(place * 2 * HALF),
            minima: panel.minima.as_ptr().wrapping_add(place * 2 * HALF),
            token_scales: x.scales.as_ptr().add(at / 32),
            token_sums: if MINIMUM && UNIT == 32 {
                x.scaled_sums.as_ptr().add(at / 32).cast()
            } else {
                x.sums.as_ptr().add(at / 16)
            },
            stride: x.stride / 8,
            shift: _mm512_set1_epi32(panel.facts.bias.trailing_zeros() as i32),
        };
        if T == TOKENS {
            add_six::<UNIT, MINIMUM>(&unit, &dots, sums);
        } else {
            add_four::<UNIT, MINIMUM>(&unit, &dots, sums);
        }
    }
}

/// Where the numbers of a unit lie.
struct Unit {
    scales: *const f32,
    minima: *const f32,
    token_scales: *const f32,
    /// With minima of units of 32 their factors, otherwise the sums of activations.
    token_sums: *const i32,
    /// Bytes from one token's scale to the next one's; twice as many for sums.
    stride: usize,
    /// The bias of the codes is two to the power of it.
    shift: __m512i,
}

/// As for [`unit_products`], of which this is the second half: compilers would load the numbers of
/// all tokens first.
macro_rules! unit_sums {
    ($name:ident, $($times:ident = $n:literal),*:
     $($a:ident $b:ident $sum_a:ident $sum_b:ident $scale:literal $sum:literal),*) => {
        #[inline]
        #[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
        unsafe fn $name<const UNIT: usize, const MINIMUM: bool>(
            unit: &Unit,
            dots: &[[__m512i; 2]],
            sums: &mut [[__m512; 2]],
        ) {
            let (&[$([mut $a, mut $b]),*], [$([$sum_a, $sum_b]),*]) = (dots, sums) else { return };
            let (first, second, scale, factor): (__m512, __m512, __m512, __m512);
            // SAFETY: reads what `unit` points to, which the caller has for every token.
            unsafe {
                asm!(
                    "vmovups {first}, [{scales}]",
                    "vmovups {second}, [{scales} + 64]",
                    $(
                        concat!("vbroadcastss {scale}, [{token_scales}", $scale, "]"),
                        ".if {minimum} == 0",
                        concat!("vpbroadcastd {factor}, [{token_sums}", $sum, "]"),
                        ".if {unit_len} == 32",
                        concat!("vpaddd {factor}, {factor}, [{token_sums}", $sum, " + 4]{{1to16}}"),
                        ".endif",
                        "vpsllvd {factor}, {factor}, {shift}",
                        concat!("vpsubd {", stringify!($a), "}, {", stringify!($a), "}, {factor}"),
                        concat!("vpsubd {", stringify!($b), "}, {", stringify!($b), "}, {factor}"),
                        ".endif",
                        concat!("vcvtdq2ps {", stringify!($a), "}, {", stringify!($a), "}"),
                        "vmulps {factor}, {first}, {scale}",
                        concat!("vfmadd231ps {", stringify!($sum_a), "}, {", stringify!($a), "}, {factor}"),
                        concat!("vcvtdq2ps {", stringify!($b), "}, {", stringify!($b), "}"),
                        "vmulps {factor}, {second}, {scale}",
                        concat!("vfmadd231ps {", stringify!($sum_b), "}, {", stringify!($b), "}, {factor}"),
                    )*
                    ".if {minimum}",
                    "vmovups {first}, [{minima}]",
                    "vmovups {second}, [{minima} + 64]",
                    $(
                        ".if {unit_len} == 32",
                        concat!("vbroadcastss {factor}, [{token_sums}", $scale, "]"),
                        ".else",
                        concat!("vcvtdq2ps {factor}, [{token_sums}", $sum, "]{{1to16}}"),
                        concat!("vmulps {factor}, {factor}, [{token_scales}", $scale, "]{{1to16}}"),
                        ".endif",
                        concat!("vfmadd231ps {", stringify!($sum_a), "}, {first}, {factor}"),
                        concat!("vfmadd231ps {", stringify!($sum_b), "}, {second}, {factor}"),
                    )*
                    ".endif",
                    unit_len = const UNIT,
                    minimum = const MINIMUM as usize,
                    scales = in(reg) unit.scales,
                    minima = in(reg) unit.minima,
                    token_scales = in(reg) unit.token_scales,
                    token_sums = in(reg) unit.token_sums,
                    $($times = in(reg) $n * unit.stride,)*
                    shift = in(zmm_reg) unit.shift,
                    first = out(zmm_reg) first,
                    second = out(zmm_reg) second,
                    scale = out(zmm_reg) scale,
                    factor = out(zmm_reg) factor,
                    $($a = inout(zmm_reg) $a, $b = inout(zmm_reg) $b,)*
                    $($sum_a = inout(zmm_reg) *$sum_a, $sum_b = inout(zmm_reg) *$sum_b,)*
                    options(nostack),
                );
            }
            let _ = (first, second, scale, factor, $($a, $b),*);
        }
    };
}

unit_sums!(add_six, one = 1, three = 3, five = 5:
    a0 b0 c0 d0 "" "",
    a1 b1 c1 d1 " + {one}" " + 2*{one}",
    a2 b2 c2 d2 " + 2*{one}" " + 4*{one}",
    a3 b3 c3 d3 " + {three}" " + 2*{three}",
    a4 b4 c4 d4 " + 4*{one}" " + 8*{one}",
    a5 b5 c5 d5 " + {five}" " + 2*{five}");
unit_sums!(add_four, one = 1, three = 3:
    a0 b0 c0 d0 "" "",
    a1 b1 c1 d1 " + {one}" " + 2*{one}",
    a2 b2 c2 d2 " + 2*{one}" " + 4*{one}",
    a3 b3 c3 d3 " + {three}" " + 2*{three}");

#[cfg(all(test, feature = "std"))]
mod tests {
    use std::vec;

    use crate::{ActivationsMut, Kernels, Matrix, QuantType, Rows, Tile};

    /// Rows of many units, in chains of different lengths, for every encoding and both precisions.
    #[test]
    fn long_rows_equal_scalar() {
        let Some(kernels) = super::super::kernels() else { return };
        const TOKENS: usize = 9;
        let k = 4096 + 256;
        let wave = |i: usize| ((i * 7919 % 1009) as f32 - 504.0) * 0.01;
        for &kind in QuantType::ALL.iter().filter(|kind| kind.integer().is_some()) {
            let weights: vec::Vec<f32> = (0..3 * k).map(wave).collect();
            let mut data = vec![0; 3 * kind.row_bytes(k).unwrap()];
            if kind.is_written() {
                kind.encode(&weights, &mut data);
            } else {
                // Any codes; scales stay finite.
                let byte = |i: usize| (2_654_435_761_u32.wrapping_mul(i as u32) >> 24) as u8 & 0xbf;
                data.iter_mut().enumerate().for_each(|(i, to)| *to = byte(i));
            }
            let w = Matrix::new(kind, 3, k, &data).unwrap();
            for wide in [false, true] {
                let n = TOKENS * ActivationsMut::stride(k);
                let (mut high, mut low) = (vec![0; n], vec![0; n]);
                let (mut scales, mut scaled_sums) = (vec![0.0; n / 32], vec![0.0; n / 32]);
                let mut sums = vec![0; n / 16];
                let mut x = ActivationsMut::new(
                    (TOKENS, k),
                    (&mut high, wide.then_some(&mut low)),
                    &mut scales,
                    &mut sums,
                    &mut scaled_sums,
                );
                for t in 0..TOKENS {
                    let row: vec::Vec<f32> = (0..k).map(|i| wave(i * 3 + t * 31)).collect();
                    Kernels::SCALAR.quantize(&row, &mut x, t);
                }
                let x = Rows::new((TOKENS, k), None, Some(x.freeze()));
                let product = |kernels: &Kernels| {
                    let mut out = vec![0.0; 3 * TOKENS];
                    let mut scratch = vec![0.0; Kernels::panel_bytes(k) / 4];
                    kernels.matmul(&w, &x, &mut Tile::new(&mut out, TOKENS, 3), &mut scratch);
                    out
                };
                assert_eq!(product(kernels), product(&Kernels::SCALAR), "{}", kind.name());
            }
        }
    }
}
