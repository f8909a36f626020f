//! Encodings whose codes are numbers of points in a grid (`quant/grids.rs`): as `integer`, but they are not
//! written.

use crate::quant::Integer;

pub(crate) use super::integer::{decode, facts, first_not_finite, gemv, unpack};

/// See [`crate::QuantType::is_written`].
pub(crate) const IS_WRITTEN: bool = false;

/// See [`crate::QuantType::encode`].
pub(crate) fn encode<E: Integer>(_: &[f32], _: &mut [u8]) {
    panic!("{} is read only", E::NAME);
}

/// See [`crate::QuantType::encode_weighted`].
pub(crate) fn encode_weighted<E: Integer>(x: &[f32], _: &[f32], data: &mut [u8]) {
    encode::<E>(x, data);
}
