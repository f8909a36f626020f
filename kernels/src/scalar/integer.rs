//! Dot products of integer encodings with quantised activations (NUMERICS.md, "Unit and chains").

use core::num::NonZeroUsize;

use crate::activation::Activations;
use crate::cast::Tile;
use crate::fma;
use crate::quant::search::{EQUAL, emphasis, importances};
use crate::quant::{Encode, Integer, IntegerFacts, MAX_BLOCK, Unpacked};
use crate::table::{PANEL_ROWS, Panel};

/// See [`crate::QuantType::integer`].
pub(crate) const fn facts<E: Integer>() -> Option<IntegerFacts> {
    Some(IntegerFacts { unit: E::UNIT, bits: E::BITS, bias: E::BIAS, minimum: E::MINIMUM })
}

/// How an encoding is taken apart. Whatever else the bodies below need to know of it they are compiled
/// for: encodings of equal blocks, units and minima share one, which calls this for each block. (One for
/// each encoding would be faster without SIMD, and 40 KB more code.)
pub(crate) struct Blocks {
    bytes: NonZeroUsize,
    bias: i32,
    unpack: fn(&[u8], &mut Unpacked),
}

impl Blocks {
    const fn of<E: Integer>() -> Blocks {
        let Some(bytes) = NonZeroUsize::new(size_of::<E::Block>()) else {
            panic!("a block of nothing")
        };
        Blocks { bytes, bias: E::BIAS, unpack: unpack_block::<E> }
    }
}

/// [`Integer::unpack`] of exactly a block's bytes; of others nothing is made.
#[inline(always)]
pub(crate) fn unpack_block<E: Integer>(data: &[u8], out: &mut Unpacked) {
    if let Ok(block) = bytemuck::try_from_bytes(data) {
        E::unpack(block, out);
    }
}

/// `$body::<weights in a block, in a unit, whether it has a minimum>` for `E`.
macro_rules! for_shape {
    ($body:ident($($argument:expr),*)) => {{
        let blocks = &const { Blocks::of::<E>() };
        match (E::LEN, E::UNIT, E::MINIMUM) {
            (32, _, false) => $body::<32, 32, false>(blocks, $($argument),*),
            (32, _, true) => $body::<32, 32, true>(blocks, $($argument),*),
            (_, 32, false) => $body::<256, 32, false>(blocks, $($argument),*),
            (_, 32, true) => $body::<256, 32, true>(blocks, $($argument),*),
            (_, _, false) => $body::<256, 16, false>(blocks, $($argument),*),
            (_, _, true) => $body::<256, 16, true>(blocks, $($argument),*),
        }
    }};
}

/// See [`crate::QuantType::decode`].
pub(crate) fn decode<E: Integer>(data: &[u8], out: &mut [f32]) {
    for_shape!(decode_blocks(data, out))
}

fn decode_blocks<const LEN: usize, const UNIT: usize, const MINIMUM: bool>(
    by: &Blocks,
    data: &[u8],
    out: &mut [f32],
) {
    assert_eq!((data.len() / by.bytes * LEN, data.len() % by.bytes), (out.len(), 0));
    let mut unpacked = Unpacked::new();
    for (block, out) in data.chunks_exact(by.bytes.get()).zip(out.chunks_exact_mut(LEN)) {
        (by.unpack)(block, &mut unpacked);
        for (i, w) in out.iter_mut().enumerate() {
            let u = i / UNIT;
            *w = unpacked.scales[u] * (unpacked.codes[i] as i32 - by.bias) as f32;
            if MINIMUM {
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

/// See [`crate::QuantType::is_written`].
pub(crate) const IS_WRITTEN: bool = true;

/// See [`crate::QuantType::encode`].
pub(crate) fn encode<E: Encode>(x: &[f32], data: &mut [u8]) {
    let blocks: &mut [E::Block] = bytemuck::cast_slice_mut(data);
    assert_eq!(blocks.len() * E::LEN, x.len());
    let mut spare = [0.0; MAX_BLOCK];
    for (block, x) in blocks.iter_mut().zip(x.chunks_exact(E::LEN)) {
        E::encode(plain(x, &mut spare), block);
    }
}

/// The weights of a block, where each NaN has become the same one: what CPUs make of others differs.
fn plain<'a>(x: &[f32], spare: &'a mut [f32; MAX_BLOCK]) -> &'a [f32] {
    for (to, &x) in spare.iter_mut().zip(x) {
        *to = if x.is_nan() { f32::NAN } else { x };
    }
    &spare[..x.len()]
}

/// See [`crate::QuantType::encode_weighted`].
pub(crate) fn encode_weighted<E: Encode>(x: &[f32], weights: &[f32], data: &mut [u8]) {
    let blocks: &mut [E::Block] = bytemuck::cast_slice_mut(data);
    assert_eq!(blocks.len() * E::LEN, x.len());
    assert!(!weights.is_empty() || x.is_empty());
    assert!(weights.len().is_multiple_of(E::LEN) && x.len().is_multiple_of(weights.len().max(1)));
    let (mut importance, mut weighted, mut spare) = (EQUAL, EQUAL, [0.0; MAX_BLOCK]);
    let columns = weights.len() / E::LEN;
    for column in 0..columns {
        importances(&weights[column * E::LEN..][..E::LEN], &mut importance);
        let rows = blocks.chunks_exact_mut(columns).zip(x.chunks_exact(weights.len()));
        for (blocks, x) in rows {
            let x = plain(&x[column * E::LEN..][..E::LEN], &mut spare);
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
            pairs.map(|(&w, &a)| w as i32 * a as i32).sum()
        };
        let mut sum = dot(x.high);
        if let Some(low) = x.low {
            sum = 255 * sum + dot(low);
        }
        // The bias is the same for all codes.
        let sums = &x.sums[at / 16..][..facts.unit / 16];
        sum -= facts.bias * sums.iter().sum::<i32>();
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
    // A few nibbles are taken apart in less time than a call takes.
    if E::LEN == 32 && E::BITS == 4 {
        let blocks = &const { Blocks::of::<E>() };
        return match E::MINIMUM {
            false => rows::<32, 32, false>(blocks, unpack_block::<E>, w, x, out),
            true => rows::<32, 32, true>(blocks, unpack_block::<E>, w, x, out),
        };
    }
    for_shape!(rows(const { Blocks::of::<E>().unpack }, w, x, out))
}

fn rows<const LEN: usize, const UNIT: usize, const MINIMUM: bool>(
    by: &Blocks,
    unpack: impl Fn(&[u8], &mut Unpacked),
    w: &[u8],
    x: &crate::Rows<'_>,
    out: &mut Tile<'_>,
) {
    let Some(x) = x.quantized else { return };
    let facts = IntegerFacts { unit: UNIT, bits: 8, bias: by.bias, minimum: MINIMUM };
    let row_bytes = x.k / LEN * by.bytes.get();
    let mut unpacked = Unpacked::new();
    for token in 0..x.tokens {
        let row = Row::of(&x, token);
        for (out, blocks) in out.token(token).iter_mut().zip(w.chunks_exact(row_bytes)) {
            let mut chains = Chains([0.0; 4]);
            for (b, block) in blocks.chunks_exact(by.bytes.get()).enumerate() {
                unpack(block, &mut unpacked);
                for (u, codes) in unpacked.codes[..LEN].chunks_exact(UNIT).enumerate() {
                    let scale = (unpacked.scales[u], unpacked.minima[u]);
                    chains.add(facts, b * (LEN / UNIT) + u, codes, scale, &row);
                }
            }
            *out = chains.result();
        }
    }
}

/// Up to [`PANEL_ROWS`] rows of `w` into a panel, row after row.
pub(crate) fn unpack<E: Integer>(w: &[u8], panel: &mut Panel<'_>) {
    for_shape!(unpack_rows(w, panel))
}

fn unpack_rows<const LEN: usize, const UNIT: usize, const MINIMUM: bool>(
    by: &Blocks,
    w: &[u8],
    panel: &mut Panel<'_>,
) {
    let (k, per_block) = (panel.k, LEN / UNIT);
    let (units, row_bytes) = (k / UNIT, k / LEN * by.bytes.get());
    let mut unpacked = Unpacked::new();
    for (row, blocks) in w.chunks_exact(row_bytes).enumerate().take(PANEL_ROWS) {
        for (b, block) in blocks.chunks_exact(by.bytes.get()).enumerate() {
            (by.unpack)(block, &mut unpacked);
            let codes = &mut panel.codes[row * k + b * LEN..][..LEN];
            codes.copy_from_slice(&unpacked.codes[..LEN]);
            let at = row * units + b * per_block;
            panel.scales[at..][..per_block].copy_from_slice(&unpacked.scales[..per_block]);
            if MINIMUM {
                panel.minima[at..][..per_block].copy_from_slice(&unpacked.minima[..per_block]);
            }
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
