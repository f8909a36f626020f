//! Dot products of float encodings with f32 activations (NUMERICS.md, "Float dots").

use super::{LANES, tree};
use crate::cast::Tile;
use crate::fma;
use crate::quant::{Float, IntegerFacts};
use crate::table::{FLOAT_PANEL_ROWS, Panel};

/// See [`crate::QuantType::is_written`].
pub(crate) const IS_WRITTEN: bool = true;

/// See [`crate::QuantType::integer`].
#[allow(clippy::extra_unused_type_parameters)] // called beside the integer family's, which uses it
pub(crate) const fn facts<E: Float>() -> Option<IntegerFacts> {
    None
}

/// See [`crate::QuantType::decode`].
pub(crate) fn decode<E: Float>(data: &[u8], out: &mut [f32]) {
    let blocks: &[E::Block] = bytemuck::cast_slice(data);
    assert_eq!(blocks.len(), out.len());
    for (out, block) in out.iter_mut().zip(blocks) {
        *out = E::decode(block);
    }
}

/// Weights of a step of [`first_not_finite`], whose inside has no branch.
const STEP: usize = 256;

/// See [`crate::QuantType::first_not_finite`].
pub(crate) fn first_not_finite<E: Float>(data: &[u8]) -> Option<usize> {
    let blocks: &[E::Block] = bytemuck::cast_slice(data);
    let all_finite = |step: &[E::Block]| step.iter().fold(true, |all, b| all & E::is_finite(b));
    let step = blocks.chunks(STEP).position(|step| !all_finite(step))? * STEP;
    Some(step + blocks[step..].iter().position(|block| !E::is_finite(block))?)
}

/// See [`crate::QuantType::encode`].
pub(crate) fn encode<E: Float>(x: &[f32], data: &mut [u8]) {
    let blocks: &mut [E::Block] = bytemuck::cast_slice_mut(data);
    assert_eq!(blocks.len(), x.len());
    for (block, &x) in blocks.iter_mut().zip(x) {
        *block = E::encode(x);
    }
}

/// See [`crate::QuantType::encode_weighted`].
pub(crate) fn encode_weighted<E: Float>(x: &[f32], _: &[f32], data: &mut [u8]) {
    encode::<E>(x, data);
}

/// Sixteen chains by index modulo 16, the last group padded with zeros, then the tree.
#[inline(always)]
fn dot(x: &[f32], weight: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    for (group, x) in x.chunks(LANES).enumerate() {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            let (w, a) = match x.get(lane) {
                Some(&a) => (weight(group * LANES + lane), a),
                None => (0.0, 0.0),
            };
            *sum = fma(w, a, *sum);
        }
    }
    tree(lanes)
}

/// Every row of `w` times every token of `x`.
pub(crate) fn gemv<E: Float>(w: &[u8], x: &crate::Rows<'_>, out: &mut Tile<'_>) {
    let Some(float) = x.float else { return };
    let weights: &[E::Block] = bytemuck::cast_slice(w);
    for token in 0..x.tokens {
        let x = &float[token * x.k..][..x.k];
        for (out, row) in out.token(token).iter_mut().zip(weights.chunks_exact(x.len())) {
            *out = dot(x, |i| E::decode(&row[i]));
        }
    }
}

/// Up to [`FLOAT_PANEL_ROWS`] rows of `w` into a panel of f32, row after row.
pub(crate) fn unpack<E: Float>(w: &[u8], panel: &mut Panel<'_>) {
    let weights: &[E::Block] = bytemuck::cast_slice(w);
    for (out, block) in panel.floats[..FLOAT_PANEL_ROWS * panel.k].iter_mut().zip(weights) {
        *out = E::decode(block);
    }
}

/// The panel's rows times every token of `x` (tokens × k): the same dot as [`gemv`].
pub(crate) fn gemm(panel: &Panel<'_>, x: &[f32], out: &mut Tile<'_>) {
    for (token, x) in x.chunks_exact(panel.k).enumerate() {
        for (row, out) in out.token(token).iter_mut().enumerate() {
            let row = &panel.floats[row * panel.k..][..panel.k];
            *out = dot(x, |i| row[i]);
        }
    }
}
