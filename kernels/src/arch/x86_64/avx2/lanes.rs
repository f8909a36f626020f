//! Sixteen lanes in two ymm registers.

use core::arch::x86_64::*;

use crate::arch::generic::{Lanes, first_lanes};

/// Lanes 0 to 7 and 8 to 15.
#[derive(Clone, Copy)]
pub(super) struct Ymm2(__m256, __m256);

/// The same instruction on both halves.
macro_rules! both {
    ($op:ident($a:expr $(, $b:expr)*)) => {
        Ymm2($op($a.0 $(, $b.0)*), $op($a.1 $(, $b.1)*))
    };
}

impl Lanes for Ymm2 {
    const WIDE: bool = false;

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn splat(x: f32) -> Self {
        Ymm2(_mm256_set1_ps(x), _mm256_set1_ps(x))
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller promises 16 floats.
        unsafe { Ymm2(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        let (low, high) = lane_masks(first_lanes(n));
        // SAFETY: masked lanes are not read; the caller promises the others.
        unsafe {
            Ymm2(_mm256_maskload_ps(from, low), _mm256_maskload_ps(from.wrapping_add(8), high))
        }
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller promises 16 floats.
        unsafe {
            _mm256_storeu_ps(to, self.0);
            _mm256_storeu_ps(to.add(8), self.1);
        }
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn store_first(self, to: *mut f32, n: usize) {
        let (low, high) = lane_masks(first_lanes(n));
        // SAFETY: masked lanes are not written; the caller promises the others.
        unsafe {
            _mm256_maskstore_ps(to, low, self.0);
            _mm256_maskstore_ps(to.wrapping_add(8), high, self.1);
        }
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn load_f16(from: *const u16) -> Self {
        // SAFETY: the caller promises 16 halves.
        unsafe {
            Ymm2(
                _mm256_cvtph_ps(_mm_loadu_si128(from.cast())),
                _mm256_cvtph_ps(_mm_loadu_si128(from.add(8).cast())),
            )
        }
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn load_first_f16(from: *const u16, n: usize) -> Self {
        // SAFETY: the caller promises n halves; the copy has 16.
        unsafe { Self::load_f16(copy_first(from, n).as_ptr()) }
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn splat_f16(from: *const u16) -> Self {
        // SAFETY: the caller promises a half.
        let half = unsafe { from.read_unaligned() } as i16;
        let x = _mm256_cvtph_ps(_mm_set1_epi16(half));
        Ymm2(x, x)
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn load_i8(from: *const i8) -> Self {
        // SAFETY: the caller promises 16 bytes.
        unsafe {
            let (low, high) = (_mm_loadl_epi64(from.cast()), _mm_loadl_epi64(from.add(8).cast()));
            Ymm2(
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(low)),
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(high)),
            )
        }
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn load_bf16(from: *const u16) -> Self {
        // SAFETY: the caller promises 16 halves.
        unsafe {
            Ymm2(
                widen_bf16(_mm_loadu_si128(from.cast())),
                widen_bf16(_mm_loadu_si128(from.add(8).cast())),
            )
        }
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn load_first_bf16(from: *const u16, n: usize) -> Self {
        // SAFETY: the caller promises n halves; the copy has 16.
        unsafe { Self::load_bf16(copy_first(from, n).as_ptr()) }
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn store_f16(self, to: *mut u16) {
        // SAFETY: the caller promises 16 halves.
        unsafe {
            _mm_storeu_si128(to.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0));
            let high = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.1);
            _mm_storeu_si128(to.add(8).cast(), high);
        }
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn store_first_f16(self, to: *mut u16, n: usize) {
        let mut halves = [0u16; 16];
        // SAFETY: the caller promises n halves.
        unsafe {
            self.store_f16(halves.as_mut_ptr());
            core::ptr::copy_nonoverlapping(halves.as_ptr(), to, n);
        }
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn add(self, b: Self) -> Self {
        both!(_mm256_add_ps(self, b))
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn sub(self, b: Self) -> Self {
        both!(_mm256_sub_ps(self, b))
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn mul(self, b: Self) -> Self {
        both!(_mm256_mul_ps(self, b))
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn div(self, b: Self) -> Self {
        both!(_mm256_div_ps(self, b))
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn fma(self, b: Self, c: Self) -> Self {
        both!(_mm256_fmadd_ps(self, b, c))
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn fnma(self, b: Self, c: Self) -> Self {
        both!(_mm256_fnmadd_ps(self, b, c))
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn neg(self) -> Self {
        let sign = _mm256_set1_ps(-0.0);
        Ymm2(_mm256_xor_ps(self.0, sign), _mm256_xor_ps(self.1, sign))
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn max(self, m: Self) -> Self {
        // The instruction gives its second operand if either is NaN.
        both!(_mm256_max_ps(self, m))
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn select(self, mask: u16, rest: Self) -> Self {
        let (low, high) = lane_masks(mask);
        Ymm2(
            _mm256_blendv_ps(rest.0, self.0, _mm256_castsi256_ps(low)),
            _mm256_blendv_ps(rest.1, self.1, _mm256_castsi256_ps(high)),
        )
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn if_greater(self, limit: Self, yes: Self, no: Self) -> Self {
        let low = _mm256_cmp_ps::<_CMP_GT_OQ>(self.0, limit.0);
        let high = _mm256_cmp_ps::<_CMP_GT_OQ>(self.1, limit.1);
        Ymm2(_mm256_blendv_ps(no.0, yes.0, low), _mm256_blendv_ps(no.1, yes.1, high))
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn exp_scale(p: Self, _n: Self, shifted: Self, x: Self, low: Self) -> Self {
        both!(exp_scale(p, shifted, x, low))
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn tree(self) -> f32 {
        let sum = _mm256_add_ps(self.0, self.1);
        let sum = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
        let sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
        _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)))
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn largest(self) -> f32 {
        let m = _mm256_max_ps(self.0, self.1);
        let m = _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps::<1>(m));
        let m = _mm_max_ps(m, _mm_movehl_ps(m, m));
        _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)))
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn unzip(low: Self, high: Self) -> (Self, Self) {
        let (a0, b0) = unzip(low.0, low.1);
        let (a1, b1) = unzip(high.0, high.1);
        (Ymm2(a0, a1), Ymm2(b0, b1))
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn zip(a: Self, b: Self) -> (Self, Self) {
        let (a0, b0) = zip(a.0, b.0);
        let (a1, b1) = zip(a.1, b.1);
        (Ymm2(a0, b0), Ymm2(a1, b1))
    }
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn prefetch(address: *const u8, near: bool) {
        // SAFETY: a prefetch accesses nothing. (Older compilers say unsafe here.)
        #[allow(unused_unsafe)]
        unsafe {
            if near {
                _mm_prefetch::<_MM_HINT_T0>(address.cast());
            } else {
                _mm_prefetch::<_MM_HINT_T1>(address.cast());
            }
        }
    }
}

/// All ones in the lanes whose bit of `mask` is set.
#[inline]
#[target_feature(enable = "avx2")]
fn lane_masks(mask: u16) -> (__m256i, __m256i) {
    let mask = _mm256_set1_epi32(mask as i32);
    let low = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    let high = _mm256_slli_epi32::<8>(low);
    (
        _mm256_cmpeq_epi32(_mm256_and_si256(mask, low), low),
        _mm256_cmpeq_epi32(_mm256_and_si256(mask, high), high),
    )
}

/// The first `n` values, then zeros.
#[inline]
unsafe fn copy_first(from: *const u16, n: usize) -> [u16; 16] {
    let mut values = [0u16; 16];
    // As bytes, because weights may be unaligned.
    // SAFETY: the caller promises `n <= 16` values.
    unsafe { core::ptr::copy_nonoverlapping(from.cast::<u8>(), values.as_mut_ptr().cast(), 2 * n) };
    values
}

#[inline]
#[target_feature(enable = "avx2")]
fn widen_bf16(halves: __m128i) -> __m256 {
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves)))
}

/// See [`Lanes::exp_scale`]: n stands in the low bits of `shifted` and is added to the exponent.
#[inline]
#[target_feature(enable = "avx2")]
fn exp_scale(p: __m256, shifted: __m256, x: __m256, low: __m256) -> __m256 {
    let n = _mm256_slli_epi32::<23>(_mm256_castps_si256(shifted));
    let scaled = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), n));
    let scaled = _mm256_andnot_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(x, low), scaled);
    _mm256_blendv_ps(scaled, x, _mm256_cmp_ps::<_CMP_UNORD_Q>(x, x))
}

/// 16 floats `[a0, b0, a1, b1, ...]` into `(a, b)`.
#[inline]
#[target_feature(enable = "avx2")]
fn unzip(low: __m256, high: __m256) -> (__m256, __m256) {
    // Within 128-bit halves first: a0 a1 a4 a5, a2 a3 a6 a7; then the middle pairs change places.
    let a = _mm256_shuffle_ps::<0b10_00_10_00>(low, high);
    let b = _mm256_shuffle_ps::<0b11_01_11_01>(low, high);
    (swap_middle(a), swap_middle(b))
}

/// The inverse of [`unzip`].
#[inline]
#[target_feature(enable = "avx2")]
fn zip(a: __m256, b: __m256) -> (__m256, __m256) {
    let (a, b) = (swap_middle(a), swap_middle(b));
    (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b))
}

#[inline]
#[target_feature(enable = "avx2")]
fn swap_middle(x: __m256) -> __m256 {
    _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(x)))
}
