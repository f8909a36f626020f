//! [`Format`]s of the encodings of 2 and 3 bits without minima, and of 4 bits that choose a level.

#![allow(non_camel_case_types)] // encodings have their names

use core::arch::aarch64::*;

use super::formats::{Codes, Factors, Format, four_halves, load, nibbles, signed, times};
use super::neon::lanes::widen_f16;
use crate::quant::{QuantType, iq4_nl, mxfp4};

/// The levels of 64 bytes of nibbles, of which each `stride` bytes begin 32 codes: low nibbles first.
/// Levels stand `raised` above what they are.
#[inline(always)]
unsafe fn levels(from: *const u8, stride: usize, raised: &[u8; 16], by: u8) -> Codes {
    // SAFETY: the caller has 16 bytes in each of four places.
    unsafe {
        let levels = vsubq_u8(load(raised.as_ptr()), vdupq_n_u8(by));
        let mut codes = [vdupq_n_s8(0); 8];
        for unit in 0..4 {
            let [low, high] = nibbles(load(from.add(unit * stride)));
            codes[2 * unit] = signed(vqtbl1q_u8(levels, low));
            codes[2 * unit + 1] = signed(vqtbl1q_u8(levels, high));
        }
        codes
    }
}

/// Codes of 2 bits from 32 bytes of which each has four that are 32 weights apart.
#[inline(always)]
unsafe fn pairs_of_bits(from: *const u8) -> [uint8x16_t; 8] {
    // SAFETY: the caller has them there.
    unsafe {
        let mut codes = [vdupq_n_u8(0); 8];
        for half in 0..2 {
            let (bytes, three) = (load(from.add(16 * half)), vdupq_n_u8(3));
            codes[half] = vandq_u8(bytes, three);
            codes[2 + half] = vandq_u8(vshrq_n_u8::<2>(bytes), three);
            codes[4 + half] = vandq_u8(vshrq_n_u8::<4>(bytes), three);
            codes[6 + half] = vshrq_n_u8::<6>(bytes);
        }
        codes
    }
}

/// The f16 there, in every lane.
#[inline(always)]
unsafe fn half(from: *const u8) -> float32x4_t {
    // SAFETY: the caller has it there.
    unsafe {
        let bits = from.cast::<u16>().read_unaligned();
        vdupq_laneq_f32::<0>(widen_f16(vcreate_u16(bits as u64)))
    }
}

/// Eight scales of 6 bits in bytes, less 32, times `factor`.
#[inline(always)]
unsafe fn six_bits(bytes: u64, factor: float32x4_t) -> Factors {
    // SAFETY: the caller's CPU has NEON.
    unsafe { times(vsub_s8(vcreate_s8(bytes), vdup_n_s8(32)), factor) }
}

pub(super) struct IQ4_NL;

impl Format for IQ4_NL {
    const KIND: QuantType = QuantType::IQ4_NL;
    type Head = float32x4_t;

    #[inline(always)]
    unsafe fn head(from: *const u8) -> Self::Head {
        // SAFETY: the caller's step.
        unsafe { four_halves(from, 18) }
    }

    #[inline(always)]
    unsafe fn codes(from: *const u8, _: usize) -> Codes {
        // SAFETY: the caller's step.
        unsafe { levels(from.add(2), 18, &iq4_nl::RAISED, 128) }
    }

    #[inline(always)]
    unsafe fn scales(head: &Self::Head, _: usize) -> Factors {
        [*head; 2]
    }
}

pub(super) struct MXFP4;

impl Format for MXFP4 {
    const KIND: QuantType = QuantType::MXFP4;
    type Head = float32x4_t;

    #[inline(always)]
    unsafe fn head(from: *const u8) -> Self::Head {
        // SAFETY: the caller's step.
        unsafe {
            let scale = |i: usize| mxfp4::scale(*from.add(17 * i));
            vld1q_f32([scale(0), scale(1), scale(2), scale(3)].as_ptr())
        }
    }

    #[inline(always)]
    unsafe fn codes(from: *const u8, _: usize) -> Codes {
        // SAFETY: the caller's step.
        unsafe { levels(from.add(1), 17, &mxfp4::RAISED, 16) }
    }

    #[inline(always)]
    unsafe fn scales(head: &Self::Head, _: usize) -> Factors {
        [*head; 2]
    }
}

pub(super) struct IQ4_XS;

impl Format for IQ4_XS {
    const KIND: QuantType = QuantType::IQ4_XS;
    type Head = Factors;

    #[inline(always)]
    unsafe fn head(from: *const u8) -> Self::Head {
        // SAFETY: the caller's step: two bytes of `d`, two of upper bits, four of low ones.
        unsafe {
            let high = from.add(2).cast::<u16>().read_unaligned() as u64;
            let low = from.add(4).cast::<u32>().read_unaligned() as u64;
            // Nibbles and pairs of bits, spread over bytes.
            let low = (low | low << 16) & 0x0000_ffff_0000_ffff;
            let low = (low | low << 8) & 0x00ff_00ff_00ff_00ff;
            let low = (low | low << 4) & 0x0f0f_0f0f_0f0f_0f0f;
            let high = (high | high << 24) & 0x0000_00ff_0000_00ff;
            let high = (high | high << 12) & 0x000f_000f_000f_000f;
            let high = (high | high << 6) & 0x0303_0303_0303_0303;
            six_bits(low | high << 4, half(from))
        }
    }

    #[inline(always)]
    unsafe fn codes(from: *const u8, group: usize) -> Codes {
        // SAFETY: the caller's step.
        unsafe { levels(from.add(8 + 64 * group), 16, &iq4_nl::RAISED, 128) }
    }

    #[inline(always)]
    unsafe fn scales(head: &Self::Head, group: usize) -> Factors {
        [head[group]; 2]
    }
}

pub(super) struct TQ2_0;

impl Format for TQ2_0 {
    const KIND: QuantType = QuantType::TQ2_0;
    type Head = float32x4_t;

    #[inline(always)]
    unsafe fn head(from: *const u8) -> Self::Head {
        // SAFETY: the caller's step.
        unsafe { half(from.add(64)) }
    }

    #[inline(always)]
    unsafe fn codes(from: *const u8, group: usize) -> Codes {
        // SAFETY: the caller's step.
        unsafe {
            let pairs = pairs_of_bits(from.add(32 * group));
            let mut codes = [vdupq_n_s8(0); 8];
            for (codes, pairs) in codes.iter_mut().zip(pairs) {
                *codes = signed(pairs);
            }
            codes
        }
    }

    #[inline(always)]
    unsafe fn scales(head: &Self::Head, _: usize) -> Factors {
        [*head; 2]
    }
}

pub(super) struct Q3_K;

impl Format for Q3_K {
    const KIND: QuantType = QuantType::Q3_K;
    type Head = [Factors; 2];

    #[inline(always)]
    unsafe fn head(from: *const u8) -> Self::Head {
        // SAFETY: the caller's step: twelve bytes of scales, then `d`.
        unsafe {
            let low = from.add(96).cast::<u64>().read_unaligned();
            let high = from.add(104).cast::<u32>().read_unaligned() as u64;
            let d = half(from.add(108));
            let scales = |part: usize| {
                let pairs = |shift: usize| high >> shift & 0x0303_0303;
                let upper = pairs(4 * part) | pairs(4 * part + 2) << 32;
                low >> (4 * part) & 0x0f0f_0f0f_0f0f_0f0f | upper << 4
            };
            [six_bits(scales(0), d), six_bits(scales(1), d)]
        }
    }

    #[inline(always)]
    unsafe fn codes(from: *const u8, group: usize) -> Codes {
        // SAFETY: the caller's step.
        unsafe {
            let pairs = pairs_of_bits(from.add(32 + 32 * group));
            let thirds = [load(from), load(from.add(16))];
            let mut codes = [vdupq_n_s8(0); 8];
            for (i, (codes, pairs)) in codes.iter_mut().zip(pairs).enumerate() {
                // Bit `4 * group + quarter`, as 4 where it is set.
                let bit = vtstq_u8(thirds[i % 2], vdupq_n_u8(1 << (4 * group + i / 2)));
                *codes = signed(vorrq_u8(pairs, vandq_u8(bit, vdupq_n_u8(4))));
            }
            codes
        }
    }

    #[inline(always)]
    unsafe fn scales(head: &Self::Head, group: usize) -> Factors {
        head[group]
    }
}
