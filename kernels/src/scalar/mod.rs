//! The definition of every operation beside the encodings, one family a file. The scalar table is
//! made of these functions; every other target equals them bit for bit.

pub mod activation;
pub mod attend;
pub mod codebook;
pub mod exp;
pub mod float;
pub mod integer;
pub mod norm;
pub mod peak;
pub mod rope;
pub mod rows;
pub mod top;

/// Lanes of every float sum: partial sums by index modulo 16.
pub(crate) const LANES: usize = 16;

/// The fixed tree over sixteen partial sums: + 8, + 4, + 2, + 1.
#[inline(always)]
pub(crate) fn tree(mut lanes: [f32; LANES]) -> f32 {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    lanes[0]
}

/// The bits of the nearest halves, ties to even; overflow is infinite, subnormals stay.
pub(crate) fn narrow(x: &[f32], out: &mut [u16]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = half::f16::from_f32(x).to_bits();
    }
}
