//! The entries of the integer encodings.

use super::apart;
use super::gemm::gemm;
use super::gemv::gemv;
use super::groups::{Groups, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0};
use super::groups_low::{IQ4_NL, IQ4_XS, MXFP4, Q2_K, Q3_K, TQ2_0};
use super::peak::peak_integer;
use super::quantize::quantize;
use super::unpack::unpack;
use crate::Kernels;
use crate::quant::{Integer, kind, with_apart};

/// `table` with this target's integer operations.
pub(super) const fn with_integers(table: Kernels) -> Kernels {
    let table = with::<Q4_K>(with::<Q4_1>(with::<Q4_0>(table)));
    let table = with::<Q5_K>(with::<Q5_1>(with::<Q5_0>(table)));
    let table = with::<Q8_0>(with::<Q6_K>(table));
    let table = with::<Q3_K>(with::<Q2_K>(with::<IQ4_NL>(table)));
    let table = with::<TQ2_0>(with::<MXFP4>(with::<IQ4_XS>(table)));
    let table = with_apart!(with_unpacked, table);
    Kernels { gemm, quantize, peak_integer, ..table }
}

const fn with_unpacked<E: Integer>(table: Kernels) -> Kernels {
    table.with_gemv(kind::<E>(), apart::gemv::<E>).with_unpack(kind::<E>(), apart::unpack::<E>)
}

const fn with<E: Groups>(table: Kernels) -> Kernels {
    table.with_gemv(E::KIND, gemv::<E>).with_unpack(E::KIND, unpack::<E>)
}
