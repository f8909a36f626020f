//! The encodings in registers, in groups of 128 weights, for every target: base NEON has the
//! instructions. Those that are missing here are computed by the scalar table.
//!
//! Functions are `inline(always)` and without target features, as in `arch::generic`.

#![allow(non_camel_case_types)] // encodings have their names

use core::arch::aarch64::*;
use core::arch::asm;
use core::marker::PhantomData;

use super::neon::lanes::widen_f16;
use crate::quant::{IntegerFacts, QuantType};

/// Weights of a group: four blocks of 32, or half a block of 256.
pub(super) const GROUP: usize = 128;

/// The codes of one row's group, 16 to a register, in the order of the weights. Unsigned with their
/// bias; only those of 8 bits are signed, and those of 5 bits, which are 16 smaller (see
/// [`with_fifth`]).
pub(super) type Codes = [int8x16_t; 8];

/// Scales (or minima) of a group's units: four, or eight where units have 16 weights. Unit `i`
/// stands in lane `i % 4`, which is its chain.
pub(super) type Factors = [float32x4_t; 2];

/// An encoding.
///
/// # Safety
/// Of every method: [`Facts::BYTES`] are readable from `from`, and the CPU has NEON.
pub(super) trait Format {
    const KIND: QuantType;
    /// What the groups of a block share.
    type Head: Copy;

    unsafe fn head(from: *const u8) -> Self::Head;
    /// `group` counts from the block's first.
    unsafe fn codes(from: *const u8, group: usize) -> Codes;
    unsafe fn scales(head: &Self::Head, group: usize) -> Factors;
    /// Only where units have a minimum.
    #[inline(always)]
    unsafe fn minima(_: &Self::Head, _: usize) -> float32x4_t {
        // SAFETY: the caller's CPU has NEON.
        unsafe { vdupq_n_f32(0.0) }
    }
}

/// What follows from a format.
pub(super) struct Facts<F>(PhantomData<F>);

impl<F: Format> Facts<F> {
    pub const FACTS: IntegerFacts = match F::KIND.integer() {
        Some(facts) => facts,
        None => panic!("an integer encoding"),
    };
    pub const UNIT: usize = Self::FACTS.unit;
    /// What the codes of [`Format::codes`] are above the integer weights.
    pub const BIAS: i32 = match Self::FACTS.bits {
        8 => 0,
        5 => Self::FACTS.bias - 16,
        _ => Self::FACTS.bias,
    };
    /// Groups that are opened together: one of four blocks, or the two of a block of 256.
    pub const GROUPS: usize = if F::KIND.block_len() == 256 { 2 } else { 1 };
    /// Weights that are opened together.
    pub const STEP: usize = GROUP * Self::GROUPS;
    /// Their bytes.
    pub const BYTES: usize = Self::STEP / F::KIND.block_len() * F::KIND.block_bytes();
}

/// Most bytes of a step.
pub(super) const MAX_BYTES: usize = 210;

#[inline(always)]
pub(super) unsafe fn load(from: *const u8) -> uint8x16_t {
    // SAFETY: the caller has 16 bytes there.
    unsafe { vld1q_u8(from) }
}

#[inline(always)]
pub(super) unsafe fn signed(codes: uint8x16_t) -> int8x16_t {
    // SAFETY: the caller's CPU has NEON.
    unsafe { vreinterpretq_s8_u8(codes) }
}

/// The low nibbles, and the high ones.
#[inline(always)]
pub(super) unsafe fn nibbles(bytes: uint8x16_t) -> [uint8x16_t; 2] {
    // SAFETY: the caller's CPU has NEON.
    unsafe { [vandq_u8(bytes, vdupq_n_u8(15)), vshrq_n_u8::<4>(bytes)] }
}

/// Four halves, `stride` bytes apart, as floats.
#[inline(always)]
pub(super) unsafe fn four_halves(from: *const u8, stride: usize) -> float32x4_t {
    // Gathered in a general register, because the vector pipes have enough to do; the empty assembly
    // keeps compilers from loading lane by lane.
    // SAFETY: the caller has them there.
    unsafe {
        let half = |i: usize| from.add(i * stride).cast::<u16>().read_unaligned() as u64;
        let mut bits = half(0) | half(1) << 16 | half(2) << 32 | half(3) << 48;
        asm!("/* {0} */", inout(reg) bits, options(pure, nomem, nostack, preserves_flags));
        widen_f16(vcreate_u16(bits))
    }
}

/// Where the parts of a block of 4 or 5 bits lie. The two bytes of the scale come first, those of
/// the minimum second.
pub(super) trait Nibbles {
    const KIND: QuantType;
    /// The fifth bits, if codes have them.
    const FIFTH: Option<usize>;
    const CODES: usize;
}

/// An encoding of [`Nibbles`].
pub(super) struct Legacy<N>(PhantomData<N>);

macro_rules! legacy {
    ($($name:ident $fifth:expr, $codes:literal;)*) => {
        $(
            pub(super) struct $name;
            impl Nibbles for $name {
                const KIND: QuantType = QuantType::$name;
                const FIFTH: Option<usize> = $fifth;
                const CODES: usize = $codes;
            }
        )*
    };
}
legacy! {
    Q4_0 None, 2;
    Q4_1 None, 4;
    Q5_0 Some(2), 6;
    Q5_1 Some(4), 8;
}

impl<N: Nibbles> Format for Legacy<N> {
    const KIND: QuantType = N::KIND;
    type Head = [float32x4_t; 2];

    #[inline(always)]
    unsafe fn head(from: *const u8) -> Self::Head {
        // SAFETY: the caller's step.
        unsafe {
            let scales = four_halves(from, N::KIND.block_bytes());
            match Facts::<Self>::FACTS.minimum {
                true => [scales, four_halves(from.add(2), N::KIND.block_bytes())],
                false => [scales, scales],
            }
        }
    }

    #[inline(always)]
    unsafe fn codes(from: *const u8, _: usize) -> Codes {
        // SAFETY: the caller's step.
        unsafe {
            let mut codes = [vdupq_n_s8(0); 8];
            let mut missing = [[vdupq_n_u8(0); 2]; 2];
            for i in 0..4 {
                let block = from.add(i * N::KIND.block_bytes());
                if let (Some(fifth), 0) = (N::FIFTH, i % 2) {
                    missing = missing_fifth(block.add(fifth), N::KIND.block_bytes());
                }
                let bytes = load(block.add(N::CODES));
                let [low, high] = match N::FIFTH {
                    Some(_) => with_fifth(bytes, missing[i % 2]),
                    None => nibbles(bytes),
                };
                (codes[2 * i], codes[2 * i + 1]) = (signed(low), signed(high));
            }
            codes
        }
    }

    #[inline(always)]
    unsafe fn scales(head: &Self::Head, _: usize) -> Factors {
        [head[0]; 2]
    }

    #[inline(always)]
    unsafe fn minima(head: &Self::Head, _: usize) -> float32x4_t {
        head[1]
    }
}

/// The low nibbles and the high ones, less 16 where all bits of `missing` are set, because the fifth
/// bit is missing there. So one instruction makes a signed code that is 16 smaller.
#[inline(always)]
unsafe fn with_fifth(bytes: uint8x16_t, missing: [uint8x16_t; 2]) -> [uint8x16_t; 2] {
    // SAFETY: the caller's CPU has NEON.
    unsafe { [vsliq_n_u8::<4>(bytes, missing[0]), vsriq_n_u8::<4>(missing[1], bytes)] }
}

/// All ones where a bit is zero, of the words of two blocks `stride` bytes apart: for the first and
/// the second half of each block.
#[inline(always)]
unsafe fn missing_fifth(from: *const u8, stride: usize) -> [[uint8x16_t; 2]; 2] {
    const LOW: [u8; 16] = [1, 2, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8];
    const HIGH: [u8; 16] = [16, 32, 64, 128, 16, 32, 64, 128, 16, 32, 64, 128, 16, 32, 64, 128];
    const BYTES: [[u8; 16]; 2] = [
        [0, 0, 0, 0, 2, 2, 2, 2, 1, 1, 1, 1, 3, 3, 3, 3],
        [4, 4, 4, 4, 6, 6, 6, 6, 5, 5, 5, 5, 7, 7, 7, 7],
    ];
    // SAFETY: the caller has the words there.
    unsafe {
        let word = |i: usize| from.add(i * stride).cast::<u32>().read_unaligned() as u64;
        let bits = word(0) | word(1) << 32;
        // Nibbles 1 and 4, and 3 and 6, of each word change places. Then the bits of code i of both
        // halves are in one byte, and a block needs one table look-up instead of two. (In a general
        // register, for the same reason as in `four_halves`.)
        let change = (bits ^ bits >> 12) & 0x0000_f0f0_0000_f0f0;
        let mut missing = !(bits ^ change) ^ change << 12;
        asm!("/* {0} */", inout(reg) missing, options(pure, nomem, nostack, preserves_flags));
        let missing = vcombine_u8(vcreate_u8(missing), vcreate_u8(0));
        BYTES.map(|bytes| {
            let bytes = vqtbl1q_u8(missing, load(bytes.as_ptr()));
            [vtstq_u8(bytes, load(LOW.as_ptr())), vtstq_u8(bytes, load(HIGH.as_ptr()))]
        })
    }
}

pub(super) struct Q8_0;

impl Format for Q8_0 {
    const KIND: QuantType = QuantType::Q8_0;
    type Head = float32x4_t;

    #[inline(always)]
    unsafe fn head(from: *const u8) -> Self::Head {
        // SAFETY: the caller's step.
        unsafe { four_halves(from, 34) }
    }

    #[inline(always)]
    unsafe fn codes(from: *const u8, _: usize) -> Codes {
        // SAFETY: the caller's step.
        unsafe {
            let mut codes = [vdupq_n_s8(0); 8];
            for (i, codes) in codes.iter_mut().enumerate() {
                *codes = signed(load(from.add(i / 2 * 34 + 2 + i % 2 * 16)));
            }
            codes
        }
    }

    #[inline(always)]
    unsafe fn scales(head: &Self::Head, _: usize) -> Factors {
        [*head; 2]
    }
}

/// Scales and minima of the eight units of a block of Q4_K or Q5_K.
#[derive(Clone, Copy)]
pub(super) struct KHead {
    scales: Factors,
    minima: Factors,
}

impl KHead {
    /// The 16 bytes that begin both blocks (see `quant::search::k_scales`).
    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller's block.
        unsafe {
            let word = |i: usize| from.add(4 * i).cast::<u32>().read_unaligned() as u64;
            let (low_scales, low_minima, nibbles) = (word(1), word(2), word(3));
            let high_scales = nibbles & 0x0f0f_0f0f | (low_scales >> 6 & 0x0303_0303) << 4;
            let high_minima = nibbles >> 4 & 0x0f0f_0f0f | (low_minima >> 6 & 0x0303_0303) << 4;
            let scales = low_scales & 0x3f3f_3f3f | high_scales << 32;
            let minima = low_minima & 0x3f3f_3f3f | high_minima << 32;
            let factors = widen_f16(vcreate_u16(word(0)));
            let d = vdupq_laneq_f32::<0>(factors);
            let minus_dmin = vnegq_f32(vdupq_laneq_f32::<1>(factors));
            // Of 6 bits: their signs are none.
            let (scales, minima) = (vcreate_s8(scales), vcreate_s8(minima));
            KHead { scales: times(scales, d), minima: times(minima, minus_dmin) }
        }
    }
}

/// Eight signed bytes times `factor`.
#[inline(always)]
pub(super) unsafe fn times(bytes: int8x8_t, factor: float32x4_t) -> Factors {
    // SAFETY: the caller's CPU has NEON.
    unsafe {
        let words = vmovl_s8(bytes);
        let low = vcvtq_f32_s32(vmovl_s16(vget_low_s16(words)));
        let high = vcvtq_f32_s32(vmovl_high_s16(words));
        [vmulq_f32(low, factor), vmulq_f32(high, factor)]
    }
}

pub(super) struct Q4_K;

impl Format for Q4_K {
    const KIND: QuantType = QuantType::Q4_K;
    type Head = KHead;

    #[inline(always)]
    unsafe fn head(from: *const u8) -> Self::Head {
        // SAFETY: the caller's step.
        unsafe { KHead::load(from) }
    }

    #[inline(always)]
    unsafe fn codes(from: *const u8, group: usize) -> Codes {
        // SAFETY: the caller's step.
        unsafe {
            let nibbles = k_nibbles(from.add(16 + 64 * group));
            let mut codes = [vdupq_n_s8(0); 8];
            for (codes, nibbles) in codes.iter_mut().zip(nibbles) {
                *codes = signed(nibbles);
            }
            codes
        }
    }

    #[inline(always)]
    unsafe fn scales(head: &Self::Head, group: usize) -> Factors {
        [head.scales[group]; 2]
    }

    #[inline(always)]
    unsafe fn minima(head: &Self::Head, group: usize) -> float32x4_t {
        head.minima[group]
    }
}

/// 64 bytes: the low nibbles of the first 32 are the first unit, the high ones the second.
#[inline(always)]
unsafe fn k_nibbles(from: *const u8) -> [uint8x16_t; 8] {
    // SAFETY: the caller has 64 bytes there.
    unsafe {
        let mut codes = [vdupq_n_u8(0); 8];
        for i in 0..4 {
            let at = i / 2 * 4 + i % 2;
            [codes[at], codes[at + 2]] = nibbles(load(from.add(16 * i)));
        }
        codes
    }
}

pub(super) struct Q5_K;

impl Format for Q5_K {
    const KIND: QuantType = QuantType::Q5_K;
    type Head = KHead;

    #[inline(always)]
    unsafe fn head(from: *const u8) -> Self::Head {
        // SAFETY: the caller's step.
        unsafe { KHead::load(from) }
    }

    #[inline(always)]
    unsafe fn codes(from: *const u8, group: usize) -> Codes {
        // SAFETY: the caller's step.
        unsafe {
            let mut codes = [vdupq_n_s8(0); 8];
            for half in 0..2 {
                // Bits 0 to 3 belong to the units of this group, or 4 to 7.
                let clear = vmvnq_u8(load(from.add(16 + 16 * half)));
                let missing = |unit: usize| vtstq_u8(clear, vdupq_n_u8(1 << (4 * group + unit)));
                for unit in [0, 2] {
                    let bytes = load(from.add(48 + 64 * group + 16 * unit + 16 * half));
                    let [low, high] = with_fifth(bytes, [missing(unit), missing(unit + 1)]);
                    (codes[2 * unit + half], codes[2 * unit + 2 + half]) =
                        (signed(low), signed(high));
                }
            }
            codes
        }
    }

    #[inline(always)]
    unsafe fn scales(head: &Self::Head, group: usize) -> Factors {
        [head.scales[group]; 2]
    }

    #[inline(always)]
    unsafe fn minima(head: &Self::Head, group: usize) -> float32x4_t {
        head.minima[group]
    }
}

pub(super) struct Q6_K;

impl Format for Q6_K {
    const KIND: QuantType = QuantType::Q6_K;
    type Head = [float32x4_t; 4];

    #[inline(always)]
    unsafe fn head(from: *const u8) -> Self::Head {
        // SAFETY: the caller's step.
        unsafe {
            let d = from.add(208).cast::<u16>().read_unaligned();
            let d = vdupq_laneq_f32::<0>(widen_f16(vcreate_u16(d as u64)));
            let bytes = vld1q_s8(from.add(192).cast());
            let [a, b] = times(vget_low_s8(bytes), d);
            let [c, d] = times(vget_high_s8(bytes), d);
            [a, b, c, d]
        }
    }

    #[inline(always)]
    unsafe fn codes(from: *const u8, group: usize) -> Codes {
        // SAFETY: the caller's step.
        unsafe {
            let mut codes = [vdupq_n_s8(0); 8];
            let (first, third) = (vdupq_n_u8(3), vdupq_n_u8(0x30));
            for half in 0..2 {
                let at = 64 * group + 16 * half;
                let (a, b) = (load(from.add(at)), load(from.add(at + 32)));
                let pairs = load(from.add(128 + 32 * group + 16 * half));
                let later = vshrq_n_u8::<2>(pairs);
                // The pairs stand beside the nibbles, inserted: shifted and masked at once.
                codes[half] = signed(vsliq_n_u8::<4>(a, vandq_u8(pairs, first)));
                codes[2 + half] = signed(vsliq_n_u8::<4>(b, vandq_u8(later, first)));
                codes[4 + half] = signed(vsriq_n_u8::<4>(vandq_u8(pairs, third), a));
                codes[6 + half] = signed(vsriq_n_u8::<4>(later, b));
            }
            codes
        }
    }

    #[inline(always)]
    unsafe fn scales(head: &Self::Head, group: usize) -> Factors {
        [head[2 * group], head[2 * group + 1]]
    }
}
