//! A few tokens times raw rows. Two rows at a time, one of them in each half of a vector of
//! chains; up to four tokens share the decoded weights.

use core::arch::x86_64::*;

use super::groups::{Codes, GROUP, Groups, MAX_CHUNK_BYTES, Scales, load_halves};
use crate::activation::Activations;
use crate::cast::Tile;
use crate::quant::IntegerFacts;

/// Tokens that share the decoded weights. More would spill the codes of both rows.
const TOKENS: usize = 4;

/// How far ahead of the reads weights are fetched, at least: more than one access to memory takes.
const PREFETCH: usize = 4096;

/// See [`crate::table::Gemv`].
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn gemv<E: Groups>(w: &[u8], x: &crate::Rows<'_>, out: &mut Tile<'_>) {
    const { assert!(E::CHUNK_BYTES <= MAX_CHUNK_BYTES) };
    let Some(x) = x.quantized else { return };
    let row_bytes = x.k / E::BLOCK_LEN * E::BLOCK_BYTES;
    let rows = out.rows();
    for first in (0..rows).step_by(2) {
        // The last row of an odd number stands beside itself.
        let second = (first + 1).min(rows - 1);
        let pair = Pair {
            a: &w[first * row_bytes..][..row_bytes],
            b: &w[second * row_bytes..][..row_bytes],
        };
        let mut token = 0;
        while token < x.tokens {
            let tokens = TOKENS.min(x.tokens - token);
            let part = x.part(token, tokens);
            let results = match (tokens, part.low.is_some()) {
                (1, false) => pair.dots::<E, 1, false>(&part),
                (2, false) => pair.dots::<E, 2, false>(&part),
                (3, false) => pair.dots::<E, 3, false>(&part),
                (_, false) => pair.dots::<E, 4, false>(&part),
                (1, true) => pair.dots::<E, 1, true>(&part),
                (2, true) => pair.dots::<E, 2, true>(&part),
                (3, true) => pair.dots::<E, 3, true>(&part),
                (_, true) => pair.dots::<E, 4, true>(&part),
            };
            for (t, [a, b]) in results.into_iter().enumerate().take(tokens) {
                let out = out.token(token + t);
                out[first] = a;
                out[second] = b;
            }
            token += tokens;
        }
    }
}

/// Two encoded rows.
#[derive(Clone, Copy)]
struct Pair<'a> {
    a: &'a [u8],
    b: &'a [u8],
}

impl Pair<'_> {
    /// Both rows times `T` tokens, in one plane or two.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn dots<E: Groups, const T: usize, const WIDE: bool>(
        self,
        x: &Activations<'_>,
    ) -> [[f32; 2]; TOKENS] {
        let mut chains = [_mm256_setzero_ps(); T];
        let row_bytes = self.a.len();
        let ahead = (2 * row_bytes) * PREFETCH.div_ceil(2 * row_bytes);
        // Blocks of zeros add nothing: their scales, and those of the padding, are zero.
        let mut tail = [[0; MAX_CHUNK_BYTES]; 2];
        for at in (0..row_bytes).step_by(E::CHUNK_BYTES) {
            let rest = row_bytes - at;
            let rows = if rest >= E::CHUNK_BYTES {
                self.prefetch(at + ahead, E::CHUNK_BYTES);
                [&self.a[at..], &self.b[at..]]
            } else {
                tail[0][..rest].copy_from_slice(&self.a[at..]);
                tail[1][..rest].copy_from_slice(&self.b[at..]);
                [&tail[0][..], &tail[1][..]]
            };
            let k = at / E::CHUNK_BYTES * E::PARTS * GROUP;
            // SAFETY: both have a whole chunk, and rows of activations are padded to whole groups.
            unsafe { add_chunk::<E, T, WIDE>(rows.map(<[u8]>::as_ptr), x, k, &mut chains) };
        }
        let mut results = [[0.0; 2]; TOKENS];
        for (result, chains) in results.iter_mut().zip(chains) {
            *result = sum_of_chains::<E>(chains);
        }
        results
    }

    /// Fetches `bytes` of what lies `at` bytes after the start of each row. As pairs of rows lie
    /// one after the other, every line is fetched once.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn prefetch(self, at: usize, bytes: usize) {
        for line in (0..bytes).step_by(64) {
            for row in [self.a, self.b] {
                let line = row.as_ptr().wrapping_add(at + line);
                // SAFETY: prefetching never faults. (Older compilers call it unsafe.)
                #[allow(unused_unsafe)]
                unsafe {
                    _mm_prefetch::<_MM_HINT_T0>(line.cast());
                }
            }
        }
    }
}

/// Adds a chunk of two rows, whose weights begin at column `k`, to the chains of every token.
///
/// # Safety
/// The chunks are readable, and rows of `x` have `PARTS * GROUP` values from `k` on.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add_chunk<E: Groups, const T: usize, const WIDE: bool>(
    [a, b]: [*const u8; 2],
    x: &Activations<'_>,
    k: usize,
    chains: &mut [__m256; T],
) {
    for part in 0..E::PARTS {
        // SAFETY: the caller's promise.
        let (codes_a, codes_b, scales) =
            unsafe { (E::codes(a, part), E::codes(b, part), E::scales(a, b, part)) };
        for (token, chain) in chains.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            let x = unsafe { Group::at(x, token, k + part * GROUP) };
            let one = _mm256_set1_epi16(if WIDE { 255 } else { 1 });
            // SAFETY: the group lies in the plane.
            let high = unsafe { arranged(x.high) };
            let mut sums_a = dot::<E>(&codes_a, &high, one);
            let mut sums_b = dot::<E>(&codes_b, &high, one);
            if WIDE {
                // SAFETY: `low` has the same length.
                let low = unsafe { arranged(x.low) };
                let one = _mm256_set1_epi16(1);
                let (low_a, low_b) = (dot::<E>(&codes_a, &low, one), dot::<E>(&codes_b, &low, one));
                for i in 0..2 {
                    sums_a[i] = _mm256_add_epi32(sums_a[i], low_a[i]);
                    sums_b[i] = _mm256_add_epi32(sums_b[i], low_b[i]);
                }
            }
            // SAFETY: as above.
            unsafe { add_units::<E>(sums_a, sums_b, &scales, &x, chain) };
        }
    }
}

/// One token's group of activations.
struct Group {
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
    unsafe fn at(x: &Activations<'_>, token: usize, k: usize) -> Self {
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
    [0, 16, 32, 48].map(|at| unsafe { load_halves(x.add(at), x.add(at + 64)) })
}

/// `factor` (1 or 255) times the sums of products: exact i32, two partial sums for each unit.
///
/// * units of 32: `Q0 Q0 Q1 Q1 | Q2 Q2 Q3 Q3`;
/// * units of 16: `U0 U0 U1 U1 | U4 U4 U5 U5`, `U2 U2 U3 U3 | U6 U6 U7 U7`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn dot<E: Groups>(codes: &[__m256i; 4], x: &[__m256i; 4], factor: __m256i) -> [__m256i; 2] {
    let zero = _mm256_setzero_si256();
    match E::CODES {
        Codes::Small => {
            let products = |i: usize| _mm256_maddubs_epi16(codes[i], x[i]);
            // 8 * 31 * 127 = 31496 after `hadd`.
            let even = _mm256_add_epi16(products(0), products(1));
            let odd = _mm256_add_epi16(products(2), products(3));
            [_mm256_madd_epi16(_mm256_hadd_epi16(even, odd), factor), zero]
        }
        Codes::Six => {
            let products = |i: usize| _mm256_maddubs_epi16(codes[i], x[i]);
            // 4 * 63 * 127 = 32004.
            let first = _mm256_hadd_epi16(products(0), products(1));
            let second = _mm256_hadd_epi16(products(2), products(3));
            [_mm256_madd_epi16(first, factor), _mm256_madd_epi16(second, factor)]
        }
        Codes::Signed => {
            // The weight's magnitude is the unsigned side, because only it may be 128, and its
            // sign moves to the activation: 2 * 128 * 127 = 32512.
            let products = |i: usize| {
                let x = _mm256_sign_epi8(x[i], codes[i]);
                _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8(codes[i]), x), factor)
            };
            let even = _mm256_add_epi32(products(0), products(1));
            let odd = _mm256_add_epi32(products(2), products(3));
            [_mm256_hadd_epi32(even, odd), zero]
        }
    }
}

/// Ends the sums of both rows, takes the bias out, and adds the units to the chains.
///
/// # Safety
/// The group's pointers are readable.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add_units<E: Groups>(
    a: [__m256i; 2],
    b: [__m256i; 2],
    scales: &Scales,
    x: &Group,
    chain: &mut __m256,
) {
    let bias = _mm256_set1_epi32(E::BIAS);
    let mut step = |sums: __m256i, i: usize, x_sums, x_scales, x_scaled_sums| {
        let sums = _mm256_sub_epi32(sums, _mm256_mullo_epi32(x_sums, bias));
        let scale = _mm256_mul_ps(scales.scales[i], x_scales);
        *chain = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), scale, *chain);
        if E::MINIMUM {
            *chain = _mm256_fmadd_ps(scales.minima[i], x_scaled_sums, *chain);
        }
    };
    // SAFETY: the caller's promise.
    let (x_scales, x_scaled_sums, x_sums) = unsafe {
        (
            _mm_loadu_ps(x.scales),
            _mm_loadu_ps(x.scaled_sums),
            [_mm_loadu_si128(x.sums.cast()), _mm_loadu_si128(x.sums.add(4).cast())],
        )
    };
    if E::UNIT == 32 {
        let spread = |x: __m128| {
            let x = _mm256_castps_pd(_mm256_castps128_ps256(x));
            _mm256_castpd_ps(_mm256_permute4x64_pd::<0b01_01_00_00>(x))
        };
        let x_sums = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(x_sums[0]), x_sums[1]);
        let x_sums = _mm256_hadd_epi32(x_sums, x_sums);
        let sums = _mm256_hadd_epi32(a[0], b[0]);
        step(sums, 0, x_sums, spread(x_scales), spread(x_scaled_sums));
    } else {
        let twice = |x: __m128| _mm256_set_m128(x, x);
        let (a, b) = (_mm256_hadd_epi32(a[0], a[1]), _mm256_hadd_epi32(b[0], b[1]));
        let zero = _mm256_setzero_ps();
        let first = _mm256_permute2x128_si256::<0x20>(a, b);
        let x_scale = twice(_mm_unpacklo_ps(x_scales, x_scales));
        step(first, 0, _mm256_broadcastsi128_si256(x_sums[0]), x_scale, zero);
        let second = _mm256_permute2x128_si256::<0x31>(a, b);
        let x_scale = twice(_mm_unpackhi_ps(x_scales, x_scales));
        step(second, 1, _mm256_broadcastsi128_si256(x_sums[1]), x_scale, zero);
    }
}

/// `(c0 + c1) + (c2 + c3)` of both rows.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn sum_of_chains<E: Groups>(chains: __m256) -> [f32; 2] {
    let pairs = _mm256_hadd_ps(chains, chains);
    let (low, high) = (_mm256_castps256_ps128(pairs), _mm256_extractf128_ps::<1>(pairs));
    if E::UNIT == 32 {
        let sums = _mm_add_ps(low, high);
        [_mm_cvtss_f32(sums), _mm_cvtss_f32(_mm_movehdup_ps(sums))]
    } else {
        let sum = |x: __m128| _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
        [sum(low), sum(high)]
    }
}

/// Every integer encoding that [`Groups`] reads has units of 16 or 32 and no minimum with 16.
const _: () = {
    let mut i = 0;
    while i < crate::QuantType::COUNT {
        if let Some(IntegerFacts { unit, minimum, .. }) = crate::QuantType::ALL[i].integer() {
            assert!(unit == 32 || unit == 16 && !minimum);
        }
        i += 1;
    }
};
