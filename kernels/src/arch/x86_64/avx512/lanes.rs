//! Sixteen lanes in one zmm register.

use core::arch::x86_64::*;

use crate::arch::generic::{Lanes, first_lanes};

/// Sixteen f32.
#[derive(Clone, Copy)]
pub(super) struct Zmm(__m512);

impl Lanes for Zmm {
    const WIDE: bool = true;

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn splat(x: f32) -> Self {
        Zmm(_mm512_set1_ps(x))
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller promises 16 floats.
        Zmm(unsafe { _mm512_loadu_ps(from) })
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        // SAFETY: masked lanes are not read; the caller promises the others.
        Zmm(unsafe { _mm512_maskz_loadu_ps(first_lanes(n), from) })
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller promises 16 floats.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn store_first(self, to: *mut f32, n: usize) {
        // SAFETY: masked lanes are not written; the caller promises the others.
        unsafe { _mm512_mask_storeu_ps(to, first_lanes(n), self.0) }
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load_f16(from: *const u16) -> Self {
        // SAFETY: the caller promises 16 halves.
        widen_f16(unsafe { _mm256_loadu_si256(from.cast()) })
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn load_first_f16(from: *const u16, n: usize) -> Self {
        // SAFETY: masked lanes are not read; the caller promises the others.
        widen_f16(unsafe { _mm256_maskz_loadu_epi16(first_lanes(n), from.cast()) })
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn splat_f16(from: *const u16) -> Self {
        // SAFETY: the caller promises a half.
        widen_f16(_mm256_set1_epi16(unsafe { from.read_unaligned() } as i16))
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load_i8(from: *const i8) -> Self {
        // SAFETY: the caller promises 16 bytes.
        let bytes = unsafe { _mm_loadu_si128(from.cast()) };
        Zmm(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)))
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load_bf16(from: *const u16) -> Self {
        // SAFETY: the caller promises 16 halves.
        widen_bf16(unsafe { _mm256_loadu_si256(from.cast()) })
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn load_first_bf16(from: *const u16, n: usize) -> Self {
        // SAFETY: masked lanes are not read; the caller promises the others.
        widen_bf16(unsafe { _mm256_maskz_loadu_epi16(first_lanes(n), from.cast()) })
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn store_f16(self, to: *mut u16) {
        // SAFETY: the caller promises 16 halves.
        unsafe { _mm256_storeu_si256(to.cast(), _mm512_cvtps_ph::<NEAREST>(self.0)) }
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn store_first_f16(self, to: *mut u16, n: usize) {
        let halves = _mm512_cvtps_ph::<NEAREST>(self.0);
        // SAFETY: masked lanes are not written; the caller promises the others.
        unsafe { _mm256_mask_storeu_epi16(to.cast(), first_lanes(n), halves) }
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn add(self, b: Self) -> Self {
        Zmm(_mm512_add_ps(self.0, b.0))
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn sub(self, b: Self) -> Self {
        Zmm(_mm512_sub_ps(self.0, b.0))
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn mul(self, b: Self) -> Self {
        Zmm(_mm512_mul_ps(self.0, b.0))
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn div(self, b: Self) -> Self {
        Zmm(_mm512_div_ps(self.0, b.0))
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn fma(self, b: Self, c: Self) -> Self {
        Zmm(_mm512_fmadd_ps(self.0, b.0, c.0))
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn fnma(self, b: Self, c: Self) -> Self {
        Zmm(_mm512_fnmadd_ps(self.0, b.0, c.0))
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq")]
    unsafe fn neg(self) -> Self {
        Zmm(_mm512_xor_ps(self.0, _mm512_set1_ps(-0.0)))
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn max(self, m: Self) -> Self {
        // The instruction gives its second operand if either is NaN.
        Zmm(_mm512_max_ps(self.0, m.0))
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn select(self, mask: u16, rest: Self) -> Self {
        Zmm(_mm512_mask_mov_ps(rest.0, mask, self.0))
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn if_greater(self, limit: Self, yes: Self, no: Self) -> Self {
        let mask = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, limit.0);
        Zmm(_mm512_mask_mov_ps(no.0, mask, yes.0))
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn exp_scale(p: Self, n: Self, _shifted: Self, x: Self, low: Self) -> Self {
        // Not less: a NaN goes through, and p is NaN then. The result is normal, so scalef is exact.
        let mask = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(x.0, low.0);
        Zmm(_mm512_maskz_scalef_ps(mask, p.0, n.0))
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq")]
    unsafe fn tree(self) -> f32 {
        let high = _mm512_extractf32x8_ps::<1>(self.0);
        let sum = _mm256_add_ps(_mm512_castps512_ps256(self.0), high);
        let sum = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
        let sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
        _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)))
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn largest(self) -> f32 {
        _mm512_reduce_max_ps(self.0)
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn unzip(low: Self, high: Self) -> (Self, Self) {
        let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
        let odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
        (
            Zmm(_mm512_permutex2var_ps(low.0, even, high.0)),
            Zmm(_mm512_permutex2var_ps(low.0, odd, high.0)),
        )
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn zip(a: Self, b: Self) -> (Self, Self) {
        let first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        let second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
        (
            Zmm(_mm512_permutex2var_ps(a.0, first, b.0)),
            Zmm(_mm512_permutex2var_ps(a.0, second, b.0)),
        )
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
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

/// Rounding to nearest even, whatever MXCSR says.
const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

/// Exact, so the rounding mode does not matter; `_mm512_cvtph_ps` asks for a form of the instruction
/// that cannot read memory.
#[inline]
#[target_feature(enable = "avx512f")]
fn widen_f16(halves: __m256i) -> Zmm {
    Zmm(_mm512_cvt_roundph_ps::<_MM_FROUND_CUR_DIRECTION>(halves))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn widen_bf16(halves: __m256i) -> Zmm {
    Zmm(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves))))
}
