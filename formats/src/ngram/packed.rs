//! A unigram's probability and backoff in 32 bits, for models whose other values are codes of 8 bits:
//! log10 in steps of 1/4096, a tenth of what a code costs.

use super::NEVER;

const PER_UNIT: f32 = 4096.0;
/// Stands for [`NEVER`].
const NEVER_CODE: u32 = 0xffff;

/// log10 of probability (0 to -15.99) and backoff (-8 to 7.99).
#[inline(always)]
pub(super) fn unpack(packed: u32) -> (f32, f32) {
    let probability = match packed & 0xffff {
        NEVER_CODE => NEVER,
        steps => -(steps as f32) / PER_UNIT,
    };
    (probability, f32::from((packed >> 16) as u16 as i16) / PER_UNIT)
}

/// The nearest that there is.
#[cfg(feature = "std")]
pub(super) fn pack(probability: f32, backoff: f32) -> u32 {
    let steps = |value: f32| libm::rintf(value * PER_UNIT);
    let probability = match probability {
        NEVER => NEVER_CODE,
        // Never the code that stands for never.
        _ => steps(-probability).clamp(0.0, (NEVER_CODE - 1) as f32) as u32,
    };
    // Saturates.
    let backoff = steps(backoff) as i16;
    probability | u32::from(backoff as u16) << 16
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn values_come_back() {
        for (probability, backoff) in [(NEVER, 0.0), (0.0, -8.0), (-3.25, 1.5), (-15.75, -0.25)] {
            assert_eq!(unpack(pack(probability, backoff)), (probability, backoff));
        }
        assert_eq!(unpack(pack(-40.0, 90.0)), (-65534.0 / 4096.0, 32767.0 / 4096.0));
        let (probability, backoff) = unpack(pack(-1.23456, -0.65432));
        assert!((probability + 1.23456).abs() < 1.3e-4 && (backoff + 0.65432).abs() < 1.3e-4);
    }
}
