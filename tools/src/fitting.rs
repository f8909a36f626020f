//! Encodings for rows that are no whole blocks, as llama-quantize chooses them.

use mote_kernels::QuantType::{self, *};

/// What takes the place of an encoding whose blocks do not fit a row of so many numbers.
pub fn fitting(kind: QuantType, row: u64) -> QuantType {
    let fits = |kind: QuantType| row.is_multiple_of(kind.block_len() as u64);
    let shorter = match kind {
        IQ4_XS => IQ4_NL,
        Q2_K | Q3_K | TQ1_0 | TQ2_0 => Q4_0,
        Q4_K => Q5_0,
        Q5_K => Q5_1,
        Q6_K => Q8_0,
        other => other,
    };
    match () {
        _ if fits(kind) => kind,
        _ if fits(shorter) => shorter,
        _ => F16,
    }
}
