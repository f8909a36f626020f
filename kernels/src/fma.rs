//! Fused multiply-add, one rounding, on every CPU.

/// `a * b + c`, rounded once.
///
/// Uses the CPU's instruction where the build has it, and exact software elsewhere: never the
/// platform's `fmaf`, which rounds twice on some systems.
#[inline(always)]
pub fn fma(a: f32, b: f32, c: f32) -> f32 {
    crate::arch::fma(a, b, c)
}

/// The software form. The product of two f32 is exact in f64; the sum is rounded to odd, so that
/// the second rounding (to f32) is the only one that counts (Boldo and Melquiond, "Emulation of
/// FMA and correctly rounded sums: proved algorithms using rounding to odd", 2008).
#[inline(always)]
#[allow(dead_code)] // not used by builds that have the instruction
pub(crate) fn software(a: f32, b: f32, c: f32) -> f32 {
    let product = a as f64 * b as f64;
    let addend = c as f64;
    let sum = product + addend;
    // Knuth's TwoSum: sum + error is exact. An infinite sum makes the error NaN.
    let part = sum - product;
    let error = (product - (sum - part)) + (addend - part);
    let bits = sum.to_bits();
    let inexact_even = error.abs() > 0.0 && bits & 1 == 0;
    // Away from zero if the error has the sign of the sum; both neighbours of an even value are odd.
    let outward = (error > 0.0) == (sum > 0.0);
    let odd = if outward { bits.wrapping_add(1) } else { bits.wrapping_sub(1) };
    (if inexact_even { f64::from_bits(odd) } else { sum }) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_equals_the_reference_on_random_bits_and_hard_cases() {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            f32::from_bits((state >> 32) as u32)
        };
        for round in 0..2_000_000 {
            let (a, b) = (next(), next());
            // Every other case nearly cancels, where a double rounding would show.
            let c = if round % 2 == 0 { next() } else { -(a * b) * (1.0 + f32::EPSILON) };
            let (got, want) = (software(a, b, c), libm::fmaf(a, b, c));
            assert!(
                got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(),
                "{a} {b} {c}"
            );
        }
        for (a, b, c) in [(f32::INFINITY, 1.0, 1.0), (f32::MAX, f32::MAX, f32::NEG_INFINITY)] {
            assert_eq!(software(a, b, c), libm::fmaf(a, b, c));
        }
    }
}
