//! [`Kernels`]: one function pointer for each operation. The safe methods check what the pointers
//! rely on, then make the one unsafe call.
#![allow(unsafe_code)]

use crate::activation::{Activations, ActivationsMut, RowMut, Rows};
use crate::cast::Tile;
use crate::matrix::Matrix;
use crate::quant::{self, IntegerFacts, QuantType};
use crate::scalar::attend::{
    Attend, CHUNK, Cache, KEY_TILE, Q8_BLOCK, attend_part_len, attend_scratch_len,
};
use crate::scalar::exp::Gate;
use crate::scalar::rope::RopeLayout;
use crate::scalar::top::{self, Candidate};
use crate::scalar::{self, activation, attend, exp, float, integer, norm, peak, rope};

/// Rows of integer weights that are unpacked together.
pub const PANEL_ROWS: usize = 32;

/// Rows of float weights that are unpacked together.
pub(crate) const FLOAT_PANEL_ROWS: usize = 8;

/// Most tokens for which a matrix is read raw; more of them share an unpacked panel.
const GEMV_TOKENS: usize = 8;

/// Whole rows of one encoding × every token, 1 to 8, into the tile.
///
/// Promises of the caller ([`Kernels::matmul`]): the weights are `out.rows()` rows of `x.k` values;
/// the rows of `x` have the form that the encoding needs; `x.tokens == out.tokens()`.
pub(crate) type Gemv = unsafe fn(&[u8], &Rows<'_>, &mut Tile<'_>);
/// Whole rows (at most the panel's) into a panel.
pub(crate) type Unpack = unsafe fn(&[u8], &mut Panel<'_>);
type Gemm = unsafe fn(&Panel<'_>, &Activations<'_>, &mut Tile<'_>);
type LayerNorm = unsafe fn(&[f32], &[f32], &[f32], f32, &mut [f32]);
type MergeChunks = unsafe fn(&[f32], usize, Option<f32>, &mut [f32]);
type GemmFloat = unsafe fn(&Panel<'_>, &[f32], &mut Tile<'_>);

/// Unpacked rows in a layout of the target's own, written by its `unpack` and read by its `gemm`.
///
/// Integer weights: `codes` holds 32 × k bytes, `scales` and `minima` 32 × k / 16 floats each.
/// Float weights: `floats` holds 8 × k. Rows that the matrix does not have stay as they were:
/// their outputs are not stored.
pub(crate) struct Panel<'a> {
    pub k: usize,
    #[allow(dead_code)] // the scalar gemm takes it from the tile
    pub rows: usize,
    pub facts: IntegerFacts,
    pub codes: &'a mut [u8],
    pub scales: &'a mut [f32],
    pub minima: &'a mut [f32],
    pub floats: &'a mut [f32],
}

/// The operations of one target. Obtained from [`crate::arch`], which hands out only tables that
/// this CPU can run.
#[derive(Clone, Copy)]
pub struct Kernels {
    pub(crate) name: &'static str,
    pub(crate) gemv: [Gemv; QuantType::COUNT],
    pub(crate) unpack: [Unpack; QuantType::COUNT],
    /// Which unpack entries write the layout that `gemm` reads. The others are the scalar ones, and
    /// their panels go to the scalar gemm: so a new encoding runs on every target.
    pub(crate) own_panel: [bool; QuantType::COUNT],
    pub(crate) gemm: Gemm,
    pub(crate) gemm_float: GemmFloat,
    pub(crate) quantize: unsafe fn(&[f32], &mut RowMut<'_>),
    pub(crate) rms_norm: unsafe fn(&[f32], &[f32], f32, &mut [f32]),
    pub(crate) layer_norm: LayerNorm,
    pub(crate) exp_sum: unsafe fn(&mut [f32]) -> f32,
    pub(crate) rope: unsafe fn(RopeLayout, &mut [f32], &[f32], &[f32]),
    pub(crate) gate: unsafe fn(Gate, &mut [f32], &[f32]),
    pub(crate) activate: unsafe fn(Gate, &mut [f32]),
    pub(crate) softcap: unsafe fn(f32, &mut [f32]),
    pub(crate) narrow: unsafe fn(&[f32], &mut [u16]),
    pub(crate) attend: unsafe fn(&Attend<'_>, &mut Tile<'_>, &mut [f32]),
    pub(crate) attend_chunk: unsafe fn(&Attend<'_>, usize, &mut [f32], &mut [f32]),
    pub(crate) merge_chunks: MergeChunks,
    pub(crate) is_finite: unsafe fn(&[f32]) -> bool,
    pub(crate) first_above: unsafe fn(&[f32], f32) -> usize,
    pub(crate) peak_integer: unsafe fn(usize) -> usize,
    pub(crate) peak_float: unsafe fn(usize) -> usize,
}

impl core::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Kernels({})", self.name)
    }
}

impl Kernels {
    /// The definition of everything.
    pub(crate) const SCALAR: Kernels = Kernels {
        name: "scalar",
        gemv: quant::SCALAR_GEMV,
        unpack: quant::SCALAR_UNPACK,
        own_panel: [false; QuantType::COUNT],
        gemm: integer::gemm,
        gemm_float: float::gemm,
        quantize: activation::quantize,
        rms_norm: norm::rms_norm,
        layer_norm: norm::layer_norm,
        exp_sum: norm::exp_sum,
        rope: rope::rope,
        gate: exp::gate,
        activate: exp::activate,
        softcap: exp::soften,
        narrow: scalar::narrow,
        attend: attend::attend,
        attend_chunk: attend::attend_chunk,
        merge_chunks: attend::merge_chunks,
        is_finite: top::is_finite,
        first_above: top::first_above,
        peak_integer: peak::peak_integer,
        peak_float: peak::peak_float,
    };

    #[allow(dead_code)] // unused on CPUs that have only the scalar table
    pub(crate) const fn with_gemv(mut self, kind: QuantType, entry: Gemv) -> Self {
        self.gemv[kind as usize] = entry;
        self
    }

    #[allow(dead_code)] // as above
    pub(crate) const fn with_unpack(mut self, kind: QuantType, entry: Unpack) -> Self {
        self.unpack[kind as usize] = entry;
        self.own_panel[kind as usize] = true;
        self
    }

    /// The target's name, as `target_feature` spells it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Bytes of scratch that [`Kernels::matmul`] needs for rows of `k` weights.
    pub const fn panel_bytes(k: usize) -> usize {
        // Codes, scales and minima of 32 rows in units of 16; 8 float rows need no more.
        PANEL_ROWS * k + 2 * 4 * PANEL_ROWS * k.div_ceil(16)
    }

    /// `out[t][r] = w[r] · x[t]` for every row and token. `scratch` holds
    /// [`Kernels::panel_bytes`] of `w.cols()` bytes, best aligned to 64 bytes.
    ///
    /// The result of a token does not depend on the other tokens, nor that of a row on other rows.
    /// Panics if sizes disagree or `x` lacks the form that the encoding needs.
    pub fn matmul(&self, w: &Matrix<'_>, x: &Rows<'_>, out: &mut Tile<'_>, scratch: &mut [f32]) {
        assert_eq!((w.cols(), x.tokens), (x.k, out.tokens()), "matmul");
        assert_eq!(w.rows(), out.rows(), "matmul");
        let integer = w.kind().integer().is_some();
        assert!(if integer { x.quantized.is_some() } else { x.float.is_some() });
        if w.rows() == 0 || w.cols() == 0 {
            (0..out.tokens()).for_each(|t| out.token(t).fill(0.0));
            return;
        }
        if x.tokens <= GEMV_TOKENS {
            // SAFETY: a table is handed out only to a CPU that can run it; sizes checked above.
            unsafe { self.gemv[w.kind() as usize](w.data(), x, out) };
            return;
        }
        let panel_rows = if integer { PANEL_ROWS } else { FLOAT_PANEL_ROWS };
        let mut first = 0;
        while first < w.rows() {
            let rows = panel_rows.min(w.rows() - first);
            let mut tile = out.part(0, x.tokens, first, rows);
            self.panel(&w.part(first, rows), x, &mut tile, scratch);
            first += rows;
        }
    }

    /// One panel's rows and all tokens.
    fn panel(&self, w: &Matrix<'_>, x: &Rows<'_>, out: &mut Tile<'_>, scratch: &mut [f32]) {
        let (k, rows) = (w.cols(), w.rows());
        assert!(scratch.len() * 4 >= Self::panel_bytes(k), "scratch of a panel");
        let none = IntegerFacts { unit: 16, bits: 0, bias: 0, minimum: false };
        let facts = w.kind().integer();
        let (codes, scales, minima, floats): (&mut [u8], _, _, _) = if facts.is_some() {
            let (codes, rest) = scratch.split_at_mut(PANEL_ROWS * k / 4);
            let (scales, minima) = rest.split_at_mut(PANEL_ROWS * k.div_ceil(16));
            (bytemuck::cast_slice_mut(codes), scales, minima, &mut [][..])
        } else {
            (&mut [], &mut [][..], &mut [][..], scratch)
        };
        let facts = facts.unwrap_or(none);
        let mut panel = Panel { k, rows, facts, codes, scales, minima, floats };
        // SAFETY: as in `matmul`; the panel's parts have the sizes that `Panel` states.
        unsafe {
            self.unpack[w.kind() as usize](w.data(), &mut panel);
            let own = self.own_panel[w.kind() as usize];
            match (x.quantized, x.float) {
                (Some(x), _) if panel.floats.is_empty() => match own {
                    true => (self.gemm)(&panel, &x, out),
                    false => integer::gemm(&panel, &x, out),
                },
                // Float panels have one layout.
                (_, Some(x)) => (self.gemm_float)(&panel, x, out),
                _ => {}
            }
        }
    }

    /// Quantises row `token` of `out` from `x`. Panics if `x` has not `out.k()` values.
    pub fn quantize(&self, x: &[f32], out: &mut ActivationsMut<'_>, token: usize) {
        assert_eq!(x.len(), out.k());
        // SAFETY: a table is handed out only to a CPU that can run it; row and `x` fit each other.
        unsafe { (self.quantize)(x, &mut out.row(token)) }
    }

    /// Root mean square norm: `out = x / rms(x) * weight`. Panics if lengths differ.
    pub fn rms_norm(&self, x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
        assert!(x.len() == weight.len() && x.len() == out.len());
        // SAFETY: a table is handed out only to a CPU that can run it; lengths are equal.
        unsafe { (self.rms_norm)(x, weight, epsilon, out) }
    }

    /// Layer norm: `out = (x - mean) / deviation * weight + bias`, where an empty bias is none.
    /// Panics if lengths differ.
    pub fn layer_norm(
        &self,
        x: &[f32],
        weight: &[f32],
        bias: &[f32],
        epsilon: f32,
        out: &mut [f32],
    ) {
        assert!(x.len() == weight.len() && x.len() == out.len());
        assert!(bias.is_empty() || x.len() == bias.len());
        // SAFETY: a table is handed out only to a CPU that can run it; lengths are equal.
        unsafe { (self.layer_norm)(x, weight, bias, epsilon, out) }
    }

    /// Replaces `x` by `exp(x - largest)` and returns the sum.
    pub fn exp_sum(&self, x: &mut [f32]) -> f32 {
        // SAFETY: a table is handed out only to a CPU that can run it.
        unsafe { (self.exp_sum)(x) }
    }

    /// `x` becomes probabilities.
    pub fn softmax(&self, x: &mut [f32]) {
        let sum = self.exp_sum(x);
        x.iter_mut().for_each(|p| *p /= sum);
    }

    /// Turns one head by the angles of its position. Panics unless `cos` and `sin` are equally long
    /// and at most half as long as the head.
    pub fn rope(&self, layout: RopeLayout, head: &mut [f32], cos: &[f32], sin: &[f32]) {
        assert!(cos.len() == sin.len() && 2 * cos.len() <= head.len());
        // SAFETY: a table is handed out only to a CPU that can run it; lengths checked.
        unsafe { (self.rope)(layout, head, cos, sin) }
    }

    /// `gate = activation(gate) * up`. Panics if lengths differ.
    pub fn gate(&self, kind: Gate, gate: &mut [f32], up: &[f32]) {
        assert_eq!(gate.len(), up.len());
        // SAFETY: a table is handed out only to a CPU that can run it; lengths are equal.
        unsafe { (self.gate)(kind, gate, up) }
    }

    /// `x = activation(x)`.
    pub fn activate(&self, kind: Gate, x: &mut [f32]) {
        // SAFETY: a table is handed out only to a CPU that can run it.
        unsafe { (self.activate)(kind, x) }
    }

    /// `x = cap * tanh(x / cap)`. Panics unless `cap` is above 0.
    pub fn softcap(&self, cap: f32, x: &mut [f32]) {
        assert!(cap > 0.0);
        // SAFETY: a table is handed out only to a CPU that can run it.
        unsafe { (self.softcap)(cap, x) }
    }

    /// The bits of the nearest halves. Panics if lengths differ.
    pub fn narrow(&self, x: &[f32], out: &mut [u16]) {
        assert_eq!(x.len(), out.len());
        // SAFETY: a table is handed out only to a CPU that can run it; lengths are equal.
        unsafe { (self.narrow)(x, out) }
    }

    /// Whether every value is finite. Sampling from others is refused.
    pub fn is_finite(&self, x: &[f32]) -> bool {
        // SAFETY: a table is handed out only to a CPU that can run it.
        unsafe { (self.is_finite)(x) }
    }

    /// Index of the first value that is larger than `limit`; `x.len()` if there is none.
    pub fn first_above(&self, x: &[f32], limit: f32) -> usize {
        // SAFETY: a table is handed out only to a CPU that can run it.
        unsafe { (self.first_above)(x, limit) }
    }

    /// Index of the largest value, the lowest index of equals; `None` for an empty slice. NaN is
    /// skipped.
    pub fn argmax(&self, x: &[f32]) -> Option<usize> {
        top::argmax_by(|x, limit| self.first_above(x, limit), x)
    }

    /// The `top.len()` largest values with their indices, largest first, the lower index first among
    /// equals. Returns how many there are (fewer than `top.len()` only if `x` is shorter).
    pub fn top_k(&self, x: &[f32], top: &mut [Candidate]) -> usize {
        top::top_k_by(|x, limit| self.first_above(x, limit), x, top)
    }

    /// Attention of some query heads over the cache, into `out` (tokens × heads * head_dim).
    /// Panics if the job reaches outside its slices.
    pub fn attend(&self, job: &Attend<'_>, out: &mut Tile<'_>, scratch: &mut [f32]) {
        check_attend(job, scratch);
        assert!(out.tokens() == job.tokens && out.rows() == job.heads * job.head_dim);
        // SAFETY: a table is handed out only to a CPU that can run it; every position that a query
        // sees is inside both caches.
        unsafe { (self.attend)(job, out, scratch) }
    }

    /// The part of [`Kernels::attend`] that belongs to one chunk of [`CHUNK`] positions, for a
    /// single token that sees some of them: [`attend_part_len`] floats for each head. Parts may be
    /// computed in any order, on any thread; [`Kernels::merge_chunks`] brings them together.
    /// Panics if the job reaches outside its slices.
    pub fn attend_chunk(
        &self,
        job: &Attend<'_>,
        chunk: usize,
        parts: &mut [f32],
        scratch: &mut [f32],
    ) {
        check_attend(job, scratch);
        assert!(job.tokens == 1 && chunk <= job.end / CHUNK);
        assert!(!job.visible_in_chunk(chunk).is_empty());
        assert_eq!(parts.len(), job.heads * attend_part_len(job.head_dim));
        // SAFETY: as in `attend`; there is room for every head's part.
        unsafe { (self.attend_chunk)(job, chunk, parts, scratch) }
    }

    /// One head's parts, `stride` floats apart, of consecutive chunks, all that the token sees,
    /// become what [`Kernels::attend`] gives for it, `sink` being the head's. Panics if `parts` does not end with a part for
    /// `out.len()` dimensions.
    pub fn merge_chunks(&self, parts: &[f32], stride: usize, sink: Option<f32>, out: &mut [f32]) {
        let part_len = attend_part_len(out.len());
        assert!(stride >= part_len && parts.len() >= part_len);
        assert!((parts.len() - part_len).is_multiple_of(stride));
        // SAFETY: a table is handed out only to a CPU that can run it; every part is whole.
        unsafe { (self.merge_chunks)(parts, stride, sink, out) }
    }

    /// Multiplies bytes on registers alone, `rounds` times a fixed number that fills the pipelines,
    /// and returns how many multiply-adds that were: what the instruction set admits at most.
    pub fn peak_integer(&self, rounds: usize) -> usize {
        // SAFETY: a table is handed out only to a CPU that can run it.
        unsafe { (self.peak_integer)(rounds) }
    }

    /// As [`Kernels::peak_integer`], for floats.
    pub fn peak_float(&self, rounds: usize) -> usize {
        // SAFETY: a table is handed out only to a CPU that can run it.
        unsafe { (self.peak_float)(rounds) }
    }
}

/// What every form of attention relies on.
fn check_attend(job: &Attend<'_>, scratch: &[f32]) {
    let heads = job.heads.saturating_mul(job.head_dim);
    let positions = job.end;
    let padded = positions.checked_next_multiple_of(KEY_TILE).unwrap_or(usize::MAX);
    let kv = job.kv_heads.saturating_mul(job.head_dim);
    let others = job.tokens.saturating_sub(1).saturating_mul(job.query_stride);
    assert!(job.first.saturating_add(job.tokens) <= positions);
    assert!(job.window > job.ahead || job.window == usize::MAX);
    assert!(job.kv_head < job.kv_heads);
    assert!(job.slopes.is_empty() || job.slopes.len() == job.heads);
    assert!(job.sinks.is_empty() || job.sinks.len() == job.heads);
    assert!(scratch.len() >= attend_scratch_len(job.head_dim));
    assert!(job.tokens == 0 || others.saturating_add(heads) <= job.queries.len());
    assert!(padded.saturating_mul(kv) <= job.keys.len());
    assert!(positions.saturating_mul(kv) <= job.values.len());
    assert!(matches!(
        (job.keys, job.values),
        (Cache::F32(_), Cache::F32(_))
            | (Cache::F16(_), Cache::F16(_))
            | (Cache::Q8_0(_), Cache::Q8_0(_))
    ));
    // Blocks do not reach from one head into the next.
    assert!(!matches!(job.keys, Cache::Q8_0(_)) || job.head_dim.is_multiple_of(Q8_BLOCK));
    const { assert!(CHUNK.is_multiple_of(KEY_TILE)) };
}

#[cfg(test)]
mod tests {
    use super::{Kernels, PANEL_ROWS, Panel, QuantType};
    use crate::quant::MAX_BLOCK;

    /// Targets choose the width of their sums by it.
    #[test]
    fn codes_have_as_many_bits_as_their_encoding_states() {
        for &kind in QuantType::ALL {
            let Some(facts) = kind.integer() else { continue };
            let mut data = [0u8; 2 * MAX_BLOCK];
            let data = &mut data[..kind.row_bytes(MAX_BLOCK).unwrap()];
            let (mut state, mut largest) = (1u32, 0);
            for _ in 0..50 {
                for byte in data.iter_mut() {
                    state = state.wrapping_mul(1664525).wrapping_add(1013904223);
                    *byte = (state >> 24) as u8;
                }
                let mut codes = [0; PANEL_ROWS * MAX_BLOCK];
                let mut panel = Panel {
                    k: MAX_BLOCK,
                    rows: 1,
                    facts,
                    codes: &mut codes,
                    scales: &mut [0.0; MAX_BLOCK],
                    minima: &mut [0.0; MAX_BLOCK],
                    floats: &mut [],
                };
                // SAFETY: one whole row, into a panel that has room for it.
                unsafe { Kernels::SCALAR.unpack[kind as usize](data, &mut panel) };
                largest = codes.into_iter().fold(largest, u8::max);
            }
            assert_eq!(8 - largest.leading_zeros(), facts.bits, "{}", kind.name());
        }
    }
}
