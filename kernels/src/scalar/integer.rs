//! Dot products of integer encodings with quantised activations (NUMERICS.md, "Unit and chains").

use crate::activation::Activations;
use crate::cast::Tile;
use crate::fma;
use crate::quant::search::{EQUAL, emphasis, importances};
use crate::quant::{Integer, IntegerFacts, Unpacked};
use crate::table::{PANEL_ROWS, Panel};

/// See [`crate::QuantType::integer`].
pub(crate) const fn facts<E: Integer>() -> Option<IntegerFacts> {
    Some(IntegerFacts { unit: E::UNIT, bits: E::BITS, bias: E::BIAS, minimum: E::MINIMUM })
}

/// See [`crate::QuantType::decode`].
pub(crate) fn decode<E: Integer>(data: &[u8], out: &mut [f32]) {
    let blocks: &[E::Block] = bytemuck::cast_slice(data);
    assert_eq!(blocks.len() * E::LEN, out.len());
    let mut unpacked = Unpacked::new();
    for (block, out) in blocks.iter().zip(out.chunks_exact_mut(E::LEN)) {
        E::unpack(block, &mut unpacked);
        for (i, w) in out.iter_mut().enumerate() {
            let u = i / E::UNIT;
            *w = unpacked.scales[u] * (unpacked.codes[i] as i32 - E::BIAS) as f32;
            if E::MINIMUM {
                *w += unpacked.minima[u];
            }
        }
    }
}

/// See [`crate::QuantType::first_not_finite`].
pub(crate) fn first_not_finite<E: Integer>(data: &[u8]) -> Option<usize> {
    let blocks: &[E::Block] = bytemuck::cast_slice(data);
    let units = E::LEN / E::UNIT;
    blocks.iter().position(|block| {
        // The codes that nobody looks at cost nothing once this is inlined.
        let mut unpacked = Unpacked::new();
        E::unpack(block, &mut unpacked);
        let finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        !finite(&unpacked.scales[..units]) || E::MINIMUM && !finite(&unpacked.minima[..units])
    })
}

/// See [`crate::QuantType::encode`].
pub(crate) fn encode<E: Integer>(x: &[f32], data: &mut [u8]) {
    let blocks: &mut [E::Block] = bytemuck::cast_slice_mut(data);
    assert_eq!(blocks.len() * E::LEN, x.len());
    for (block, x) in blocks.iter_mut().zip(x.chunks_exact(E::LEN)) {
        E::encode(x, block);
    }
}

/// See [`crate::QuantType::encode_weighted`].
pub(crate) fn encode_weighted<E: Integer>(x: &[f32], weights: &[f32], data: &mut [u8]) {
    let blocks: &mut [E::Block] = bytemuck::cast_slice_mut(data);
    assert_eq!(blocks.len() * E::LEN, x.len());
    assert!(!weights.is_empty() || x.is_empty());
    assert!(weights.len().is_multiple_of(E::LEN) && x.len().is_multiple_of(weights.len().max(1)));
    let (mut importance, mut weighted) = (EQUAL, EQUAL);
    let columns = weights.len() / E::LEN;
    for column in 0..columns {
        importances(&weights[column * E::LEN..][..E::LEN], &mut importance);
        let rows = blocks.chunks_exact_mut(columns).zip(x.chunks_exact(weights.len()));
        for (blocks, x) in rows {
            let x = &x[column * E::LEN..][..E::LEN];
            let weights = if E::EMPHASIS {
                emphasis(x, &importance[..E::LEN], &mut weighted);
                &weighted
            } else {
                &importance
            };
            E::encode_weighted(x, &weights[..E::LEN], &mut blocks[column]);
        }
    }
}

/// A row of activations beside one row of weights.
#[derive(Clone, Copy)]
struct Row<'a> {
    high: &'a [i8],
    low: Option<&'a [i8]>,
    scales: &'a [f32],
    sums: &'a [i32],
    scaled_sums: &'a [f32],
}

impl<'a> Row<'a> {
    fn of(x: &Activations<'a>, token: usize) -> Self {
        let n = x.stride;
        Row {
            high: &x.high[token * n..][..n],
            low: x.low.map(|low| &low[token * n..][..n]),
            scales: &x.scales[token * n / 32..][..n / 32],
            sums: &x.sums[token * n / 16..][..n / 16],
            scaled_sums: &x.scaled_sums[token * n / 32..][..n / 32],
        }
    }
}

/// The four float chains of one output.
struct Chains([f32; 4]);

impl Chains {
    /// Adds unit `unit` of the row: exact integer dot, one conversion, one scale product, one fma.
    #[inline(always)]
    fn add(
        &mut self,
        facts: IntegerFacts,
        unit: usize,
        codes: &[u8],
        (scale, minimum): (f32, f32),
        x: &Row<'_>,
    ) {
        let at = unit * facts.unit;
        let dot = |plane: &[i8]| -> i32 {
            let pairs = codes.iter().zip(&plane[at..at + facts.unit]);
            pairs.map(|(&w, &a)| (w as i32 - facts.bias) * a as i32).sum()
        };
        let mut sum = dot(x.high);
        if let Some(low) = x.low {
            sum = 255 * sum + dot(low);
        }
        let chain = &mut self.0[unit % 4];
        *chain = fma(sum as f32, scale * x.scales[at / 32], *chain);
        if facts.minimum {
            let sum = match facts.unit {
                32 => x.scaled_sums[at / 32],
                _ => x.scales[at / 32] * x.sums[at / 16] as f32,
            };
            *chain = fma(minimum, sum, *chain);
        }
    }

    fn result(&self) -> f32 {
        let [c0, c1, c2, c3] = self.0;
        (c0 + c1) + (c2 + c3)
    }
}

/// Every row of `w` times every token of `x`.
pub(crate) fn gemv<E: Integer>(w: &[u8], x: &crate::Rows<'_>, out: &mut Tile<'_>) {
    let Some(x) = x.quantized else { return };
    let row_blocks = x.k / E::LEN;
    let blocks: &[E::Block] = bytemuck::cast_slice(w);
    let facts = IntegerFacts { unit: E::UNIT, bits: E::BITS, bias: E::BIAS, minimum: E::MINIMUM };
    let mut unpacked = Unpacked::new();
    for token in 0..x.tokens {
        let row = Row::of(&x, token);
        for (out, blocks) in out.token(token).iter_mut().zip(blocks.chunks_exact(row_blocks)) {
            let mut chains = Chains([0.0; 4]);
            for (b, block) in blocks.iter().enumerate() {
                E::unpack(block, &mut unpacked);
                for (u, codes) in unpacked.codes[..E::LEN].chunks_exact(E::UNIT).enumerate() {
                    let scale = (unpacked.scales[u], unpacked.minima[u]);
                    chains.add(facts, b * (E::LEN / E::UNIT) + u, codes, scale, &row);
                }
            }
            *out = chains.result();
        }
    }
}

/// Up to [`PANEL_ROWS`] rows of `w` into a panel, row after row.
pub(crate) fn unpack<E: Integer>(w: &[u8], panel: &mut Panel<'_>) {
    let (k, units) = (panel.k, panel.k / E::UNIT);
    let blocks: &[E::Block] = bytemuck::cast_slice(w);
    let mut unpacked = Unpacked::new();
    let per_block = E::LEN / E::UNIT;
    for (row, blocks) in blocks.chunks_exact(k / E::LEN).enumerate().take(PANEL_ROWS) {
        for (b, block) in blocks.iter().enumerate() {
            E::unpack(block, &mut unpacked);
            let codes = &mut panel.codes[row * k + b * E::LEN..][..E::LEN];
            codes.copy_from_slice(&unpacked.codes[..E::LEN]);
            let at = row * units + b * per_block;
            panel.scales[at..][..per_block].copy_from_slice(&unpacked.scales[..per_block]);
            panel.minima[at..][..per_block].copy_from_slice(&unpacked.minima[..per_block]);
        }
    }
}

/// The panel's rows times every token of `x`: the same dot as [`gemv`].
pub(crate) fn gemm(panel: &Panel<'_>, x: &Activations<'_>, out: &mut Tile<'_>) {
    let (k, facts) = (panel.k, panel.facts);
    let units = k / facts.unit;
    for token in 0..x.tokens {
        let x = Row::of(x, token);
        for (row, out) in out.token(token).iter_mut().enumerate() {
            let mut chains = Chains([0.0; 4]);
            let codes = &panel.codes[row * k..][..k];
            for (u, codes) in codes.chunks_exact(facts.unit).enumerate() {
                let scale = (panel.scales[row * units + u], panel.minima[row * units + u]);
                chains.add(facts, u, codes, scale, &x);
            }
            *out = chains.result();
        }
    }
}
