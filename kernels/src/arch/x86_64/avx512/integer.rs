//! The integer operations of the target.

use super::apart;
use super::gemm::gemm;
use super::gemv::{Format, gemv};
use super::gemv_blocks::{IQ4_NL, Legacy, MXFP4, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
use super::gemv_low::{IQ4_XS, Q2_K, Q3_K, TQ2_0};
use super::gemv_super::{Q4_K, Q5_K, Q6_K};
use super::peak::peak_integer;
use super::quantize::quantize;
use super::unpack::unpack;
use crate::Kernels;
use crate::arch::x86_64::avx2;
use crate::quant::{Integer, kind, with_apart};

/// `table` with the entries of integer encodings and of activations.
pub(super) const fn with_integers(table: Kernels) -> Kernels {
    let table = Kernels { quantize, gemm, peak_integer, ..table };
    let table = with::<Legacy<Q4_1>>(with::<Legacy<Q4_0>>(table));
    let table = with::<Legacy<Q5_1>>(with::<Legacy<Q5_0>>(table));
    let table = with::<Q3_K>(with::<Q2_K>(with::<Q8_0>(table)));
    let table = with::<Q6_K>(with::<Q5_K>(with::<Q4_K>(table)));
    let table = with::<IQ4_XS>(with::<Legacy<IQ4_NL>>(table));
    let table = with::<TQ2_0>(with::<Legacy<MXFP4>>(table));
    with_apart!(with_unpacked, table)
}

const fn with_unpacked<E: Integer>(table: Kernels) -> Kernels {
    table
        .with_gemv(kind::<E>(), avx2::apart::gemv::<E>)
        .with_unpack(kind::<E>(), apart::unpack::<E>)
}

const fn with<F: Format>(table: Kernels) -> Kernels {
    table.with_gemv(F::KIND, gemv::<F>).with_unpack(F::KIND, unpack::<F>)
}
