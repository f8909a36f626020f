//! The integer operations of the target.

use super::gemm::gemm;
use super::gemv::gemv;
use super::gemv_blocks::{Legacy, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
use super::gemv_super::{Q4_K, Q5_K, Q6_K};
use super::peak::peak_integer;
use super::quantize::quantize;
use super::unpack::unpack;
use crate::{Kernels, QuantType};

/// `table` with the entries of integer encodings and of activations.
pub(super) const fn with_integers(table: Kernels) -> Kernels {
    Kernels { quantize, gemm, peak_integer, ..table }
        .with_gemv(QuantType::Q4_0, gemv::<Legacy<Q4_0>>)
        .with_gemv(QuantType::Q4_1, gemv::<Legacy<Q4_1>>)
        .with_gemv(QuantType::Q5_0, gemv::<Legacy<Q5_0>>)
        .with_gemv(QuantType::Q5_1, gemv::<Legacy<Q5_1>>)
        .with_gemv(QuantType::Q8_0, gemv::<Q8_0>)
        .with_gemv(QuantType::Q4_K, gemv::<Q4_K>)
        .with_gemv(QuantType::Q5_K, gemv::<Q5_K>)
        .with_gemv(QuantType::Q6_K, gemv::<Q6_K>)
        .with_unpack(QuantType::Q4_0, unpack::<Legacy<Q4_0>>)
        .with_unpack(QuantType::Q4_1, unpack::<Legacy<Q4_1>>)
        .with_unpack(QuantType::Q5_0, unpack::<Legacy<Q5_0>>)
        .with_unpack(QuantType::Q5_1, unpack::<Legacy<Q5_1>>)
        .with_unpack(QuantType::Q8_0, unpack::<Q8_0>)
        .with_unpack(QuantType::Q4_K, unpack::<Q4_K>)
        .with_unpack(QuantType::Q5_K, unpack::<Q5_K>)
        .with_unpack(QuantType::Q6_K, unpack::<Q6_K>)
}
