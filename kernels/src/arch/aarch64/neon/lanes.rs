//! Sixteen lanes in four registers.

use core::arch::aarch64::*;
use core::arch::asm;

use crate::arch::generic::Lanes;

/// Lanes 0 to 3, 4 to 7, 8 to 11 and 12 to 15.
#[derive(Clone, Copy)]
pub(super) struct Quads(float32x4_t, float32x4_t, float32x4_t, float32x4_t);

/// The same instruction on all quarters.
macro_rules! all {
    ($op:ident($a:expr $(, $b:expr)*)) => {
        Quads(
            $op($a.0 $(, $b.0)*),
            $op($a.1 $(, $b.1)*),
            $op($a.2 $(, $b.2)*),
            $op($a.3 $(, $b.3)*),
        )
    };
}

impl Lanes for Quads {
    const WIDE: bool = false;

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn splat(x: f32) -> Self {
        let x = vdupq_n_f32(x);
        Quads(x, x, x, x)
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller promises 16 floats.
        unsafe {
            Quads(
                vld1q_f32(from),
                vld1q_f32(from.add(4)),
                vld1q_f32(from.add(8)),
                vld1q_f32(from.add(12)),
            )
        }
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        // SAFETY: the caller promises n floats; the copy has 16.
        unsafe { Self::load(copy_first(from, n).as_ptr()) }
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller promises 16 floats.
        unsafe {
            vst1q_f32(to, self.0);
            vst1q_f32(to.add(4), self.1);
            vst1q_f32(to.add(8), self.2);
            vst1q_f32(to.add(12), self.3);
        }
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn store_first(self, to: *mut f32, n: usize) {
        let mut floats = [0.0f32; 16];
        // SAFETY: the caller promises n floats.
        unsafe {
            self.store(floats.as_mut_ptr());
            core::ptr::copy_nonoverlapping(floats.as_ptr(), to, n);
        }
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_f16(from: *const u16) -> Self {
        // SAFETY: the caller promises 16 halves.
        unsafe {
            let (low, high) = (halves(from), halves(from.add(8)));
            let (low, low_top) = (vget_low_u16(low), vget_high_u16(low));
            let (high, high_top) = (vget_low_u16(high), vget_high_u16(high));
            Quads(widen_f16(low), widen_f16(low_top), widen_f16(high), widen_f16(high_top))
        }
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_first_f16(from: *const u16, n: usize) -> Self {
        // SAFETY: the caller promises n halves; the copy has 16.
        unsafe { Self::load_f16(copy_first(from, n).as_ptr()) }
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn splat_f16(from: *const u16) -> Self {
        // SAFETY: the caller promises a half.
        let x = widen_f16(vdup_n_u16(unsafe { from.read_unaligned() }));
        Quads(x, x, x, x)
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_i8(from: *const i8) -> Self {
        // SAFETY: the caller promises 16 bytes.
        let bytes = unsafe { vld1q_s8(from) };
        let (low, high) = (vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes));
        Quads(
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
            vcvtq_f32_s32(vmovl_high_s16(low)),
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
            vcvtq_f32_s32(vmovl_high_s16(high)),
        )
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_bf16(from: *const u16) -> Self {
        // SAFETY: the caller promises 16 halves.
        unsafe {
            let (low, high) = (halves(from), halves(from.add(8)));
            Quads(
                vreinterpretq_f32_u32(vshll_n_u16::<16>(vget_low_u16(low))),
                vreinterpretq_f32_u32(vshll_high_n_u16::<16>(low)),
                vreinterpretq_f32_u32(vshll_n_u16::<16>(vget_low_u16(high))),
                vreinterpretq_f32_u32(vshll_high_n_u16::<16>(high)),
            )
        }
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_first_bf16(from: *const u16, n: usize) -> Self {
        // SAFETY: the caller promises n halves; the copy has 16.
        unsafe { Self::load_bf16(copy_first(from, n).as_ptr()) }
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn store_f16(self, to: *mut u16) {
        let low = vcombine_u16(narrow_f16(self.0), narrow_f16(self.1));
        let high = vcombine_u16(narrow_f16(self.2), narrow_f16(self.3));
        // SAFETY: the caller promises 16 halves.
        unsafe {
            vst1q_u16(to, low);
            vst1q_u16(to.add(8), high);
        }
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn store_first_f16(self, to: *mut u16, n: usize) {
        let mut halves = [0u16; 16];
        // SAFETY: the caller promises n halves.
        unsafe {
            self.store_f16(halves.as_mut_ptr());
            core::ptr::copy_nonoverlapping(halves.as_ptr(), to, n);
        }
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn add(self, b: Self) -> Self {
        all!(vaddq_f32(self, b))
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn sub(self, b: Self) -> Self {
        all!(vsubq_f32(self, b))
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn mul(self, b: Self) -> Self {
        all!(vmulq_f32(self, b))
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn div(self, b: Self) -> Self {
        all!(vdivq_f32(self, b))
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn fma(self, b: Self, c: Self) -> Self {
        all!(vfmaq_f32(c, self, b))
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn fnma(self, b: Self, c: Self) -> Self {
        all!(vfmsq_f32(c, self, b))
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn neg(self) -> Self {
        all!(vnegq_f32(self))
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn max(self, m: Self) -> Self {
        // No maximum instruction treats all NaN like this. (Of signalling NaN, which no arithmetic gives,
        // the compiler may choose one that does not either.)
        all!(larger(self, m))
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn select(self, mask: u16, rest: Self) -> Self {
        Quads(
            vbslq_f32(lane_masks::<0>(mask), self.0, rest.0),
            vbslq_f32(lane_masks::<4>(mask), self.1, rest.1),
            vbslq_f32(lane_masks::<8>(mask), self.2, rest.2),
            vbslq_f32(lane_masks::<12>(mask), self.3, rest.3),
        )
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn if_greater(self, limit: Self, yes: Self, no: Self) -> Self {
        all!(if_greater(self, limit, yes, no))
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn exp_scale(p: Self, _n: Self, shifted: Self, x: Self, low: Self) -> Self {
        all!(exp_scale(p, shifted, x, low))
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn tree(self) -> f32 {
        let sum = vaddq_f32(vaddq_f32(self.0, self.2), vaddq_f32(self.1, self.3));
        vpadds_f32(vadd_f32(vget_low_f32(sum), vget_high_f32(sum)))
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn largest(self) -> f32 {
        vmaxvq_f32(vmaxq_f32(vmaxq_f32(self.0, self.1), vmaxq_f32(self.2, self.3)))
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn unzip(low: Self, high: Self) -> (Self, Self) {
        (
            Quads(
                vuzp1q_f32(low.0, low.1),
                vuzp1q_f32(low.2, low.3),
                vuzp1q_f32(high.0, high.1),
                vuzp1q_f32(high.2, high.3),
            ),
            Quads(
                vuzp2q_f32(low.0, low.1),
                vuzp2q_f32(low.2, low.3),
                vuzp2q_f32(high.0, high.1),
                vuzp2q_f32(high.2, high.3),
            ),
        )
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn zip(a: Self, b: Self) -> (Self, Self) {
        (
            Quads(
                vzip1q_f32(a.0, b.0),
                vzip2q_f32(a.0, b.0),
                vzip1q_f32(a.1, b.1),
                vzip2q_f32(a.1, b.1),
            ),
            Quads(
                vzip1q_f32(a.2, b.2),
                vzip2q_f32(a.2, b.2),
                vzip1q_f32(a.3, b.3),
                vzip2q_f32(a.3, b.3),
            ),
        )
    }
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn prefetch(address: *const u8, near: bool) {
        // SAFETY: a prefetch accesses nothing.
        unsafe {
            if near {
                asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, preserves_flags));
            } else {
                asm!("prfm pldl2keep, [{}]", in(reg) address, options(nostack, preserves_flags));
            }
        }
    }
}

/// The first `n` values, then zeros.
#[inline(always)]
unsafe fn copy_first<T: Copy + Default>(from: *const T, n: usize) -> [T; 16] {
    let mut values = [T::default(); 16];
    // As bytes, because weights may be unaligned.
    // SAFETY: the caller promises `n <= 16` values.
    unsafe {
        let to = values.as_mut_ptr().cast::<u8>();
        core::ptr::copy_nonoverlapping(from.cast::<u8>(), to, n * size_of::<T>());
    }
    values
}

/// Eight halves; they may be unaligned.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn halves(from: *const u16) -> uint16x8_t {
    // SAFETY: the caller promises eight halves.
    vreinterpretq_u16_u8(unsafe { vld1q_u8(from.cast()) })
}

/// Four halves to floats. (The intrinsic is younger than our oldest compiler.)
#[inline]
#[target_feature(enable = "neon")]
pub(in crate::arch::aarch64) fn widen_f16(halves: uint16x4_t) -> float32x4_t {
    let floats;
    // SAFETY: registers only.
    unsafe {
        asm!("fcvtl {0:v}.4s, {1:v}.4h", out(vreg) floats, in(vreg) halves,
            options(pure, nomem, nostack, preserves_flags));
    }
    floats
}

/// Four floats to the nearest halves.
#[inline]
#[target_feature(enable = "neon")]
fn narrow_f16(floats: float32x4_t) -> uint16x4_t {
    let halves;
    // SAFETY: registers only.
    unsafe {
        asm!("fcvtn {0:v}.4h, {1:v}.4s", out(vreg) halves, in(vreg) floats,
            options(pure, nomem, nostack, preserves_flags));
    }
    halves
}

/// All ones in the lanes whose bit of `mask`, from bit `FIRST` on, is set.
#[inline]
#[target_feature(enable = "neon")]
fn lane_masks<const FIRST: u32>(mask: u16) -> uint32x4_t {
    let bits = [1u32 << FIRST, 2 << FIRST, 4 << FIRST, 8 << FIRST];
    // SAFETY: four values.
    vtstq_u32(vdupq_n_u32(mask as u32), unsafe { vld1q_u32(bits.as_ptr()) })
}

/// See [`Lanes::max`].
#[inline]
#[target_feature(enable = "neon")]
fn larger(x: float32x4_t, m: float32x4_t) -> float32x4_t {
    vbslq_f32(vcgtq_f32(x, m), x, m)
}

/// See [`Lanes::if_greater`].
#[inline]
#[target_feature(enable = "neon")]
fn if_greater(
    x: float32x4_t,
    limit: float32x4_t,
    yes: float32x4_t,
    no: float32x4_t,
) -> float32x4_t {
    vbslq_f32(vcgtq_f32(x, limit), yes, no)
}

/// See [`Lanes::exp_scale`]: n stands in the low bits of `shifted` and is added to the exponent.
#[inline]
#[target_feature(enable = "neon")]
fn exp_scale(
    p: float32x4_t,
    shifted: float32x4_t,
    x: float32x4_t,
    low: float32x4_t,
) -> float32x4_t {
    let n = vshlq_n_s32::<23>(vreinterpretq_s32_f32(shifted));
    let scaled = vaddq_s32(vreinterpretq_s32_f32(p), n);
    let below = vreinterpretq_s32_u32(vcltq_f32(x, low));
    let scaled = vreinterpretq_f32_s32(vbicq_s32(scaled, below));
    vbslq_f32(vceqq_f32(x, x), scaled, x)
}
