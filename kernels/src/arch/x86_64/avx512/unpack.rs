//! Rows into the panel that [`super::gemm`] describes.

use core::arch::x86_64::*;

use super::gemm::HALF;
use super::gemv::{Facts, Format, Four};
use crate::arch::generic::chain_starts;
use crate::arch::x86_64::ahead::next_panel;
use crate::quant::IntegerFacts;
use crate::table::Panel;

/// See [`crate::table::Panel`].
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) unsafe fn unpack<F: Format>(w: &[u8], panel: &mut Panel<'_>) {
    const {
        // The product takes the bias away by a shift, and has no code for one beside minima.
        let IntegerFacts { unit, bias, minimum, .. } = Facts::<F>::FACTS;
        assert!(bias == 0 || (bias as u32).is_power_of_two() && !minimum);
        assert!(unit == 32 || unit == 16);
    }
    let stride = w.len() / panel.rows;
    for at in (0..stride).step_by(Facts::<F>::STEP_BYTES) {
        let column = at / Facts::<F>::STEP_BYTES * Facts::<F>::STEP;
        let bytes = stride - at;
        let step = bytes.min(Facts::<F>::STEP_BYTES);
        for first in (0..panel.rows).step_by(4) {
            next_panel(w, at * panel.rows + first * step, 4 * step);
            let row = |r: usize| w[(first + r).min(panel.rows - 1) * stride + at..].as_ptr();
            let rows = Four([row(0), row(1), row(2), row(3)]);
            // SAFETY: each of the rows has these bytes left.
            unsafe {
                if !Facts::<F>::RESTS || bytes >= Facts::<F>::STEP_BYTES {
                    four_rows::<F>(&F::open::<true>(rows, bytes), column, first, panel);
                } else {
                    four_rows::<F>(&F::open::<false>(rows, bytes), column, first, panel);
                }
            }
        }
    }
}

/// One step of four rows.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
pub(super) unsafe fn four_rows<F: Format>(
    step: &F::Step,
    column: usize,
    first: usize,
    panel: &mut Panel<'_>,
) {
    let unit_len = Facts::<F>::FACTS.unit;
    let units = panel.k / unit_len;
    let [starts @ .., _] = chain_starts(units);
    for group in 0..Facts::<F>::GROUPS {
        let unit = column / unit_len + 4 * group;
        // The last step of a row may have fewer than four units. Unit `q` of four is of chain `q`.
        let count = units.saturating_sub(unit).min(4);
        let places = starts.map(|start| start + unit / 4);
        // SAFETY: the caller's step is open.
        let (codes, (scales, minima)) = unsafe {
            let row = |r| F::codes(step, r, group);
            ([row(0), row(1), row(2), row(3)], F::factors(step, group))
        };
        // SAFETY: a panel has room for all units of 32 rows.
        unsafe {
            let floats = |p: *mut f32| p.add(first).cast::<u8>();
            let bytes = 4 * 2 * HALF;
            let scale_bytes = floats(panel.scales.as_mut_ptr());
            store_quarters(scale_bytes, places, bytes, count, _mm512_castps_si512(scales));
            if Facts::<F>::FACTS.minimum {
                let minimum_bytes = floats(panel.minima.as_mut_ptr());
                store_quarters(minimum_bytes, places, bytes, count, _mm512_castps_si512(minima));
            }
            for part in 0..unit_len / 16 {
                let fours = transpose(codes.map(|codes| codes[part]));
                for (four, codes) in fours.into_iter().enumerate() {
                    let at = (16 * part + 4 * four) * 2 * HALF + 4 * first;
                    let place = panel.codes.as_mut_ptr().add(at);
                    store_quarters(place, places, unit_len * 2 * HALF, count, codes);
                }
            }
        }
    }
}

/// Register `i` of the result has lane `i` of every quarter of the four operands, side by side.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
fn transpose([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    let (ab_low, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let (cd_low, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    [
        _mm512_unpacklo_epi64(ab_low, cd_low),
        _mm512_unpackhi_epi64(ab_low, cd_low),
        _mm512_unpacklo_epi64(ab_high, cd_high),
        _mm512_unpackhi_epi64(ab_high, cd_high),
    ]
}

/// The first `count` quarters of a register, each at its place, in steps of `step` bytes.
#[inline]
#[target_feature(enable = "avx512dq,avx512vl,avx512vnni,avx512vbmi")]
unsafe fn store_quarters(p: *mut u8, places: [usize; 4], step: usize, count: usize, v: __m512i) {
    let quarters = [
        _mm512_castsi512_si128(v),
        _mm512_extracti32x4_epi32::<1>(v),
        _mm512_extracti32x4_epi32::<2>(v),
        _mm512_extracti32x4_epi32::<3>(v),
    ];
    for (quarter, place) in quarters.into_iter().zip(places).take(count) {
        // SAFETY: the caller has these places.
        unsafe { _mm_storeu_si128(p.add(place * step).cast(), quarter) }
    }
}
