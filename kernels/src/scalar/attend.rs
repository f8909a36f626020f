//! Attention over a cache (NUMERICS.md, "Attention"): for each query, chunks of 256 absolute
//! positions, each a softmax-weighted sum of values, merged left to right (the online softmax of
//! Milakov and Gimelshein 2018; chunks as in FlashAttention, Dao et al. 2022).
//!
//! Keys lie in tiles of 16 positions, transposed: `[position / 16][kv head][dimension]
//! [position % 16]`, so that 16 scores are one vector and a score is one fma chain over the
//! dimensions, without any horizontal sum. (The alternative, 16 lanes over the dimensions, needs
//! about three shuffles for each score.) Values lie as they come: `[position][kv head][dimension]`.
//!
//! In a Q8_0 cache 32 dimensions make a block: codes with a scale, a half, in front of them. Of keys
//! it has the scales of the tile's 16 positions, then 32 dimensions × 16 codes; of values one scale,
//! then 32 codes.

use core::ops::Range;

use super::exp::{exp, softcap};
use super::{LANES, tree};
use crate::cast::Tile;
use crate::fma;

/// Positions in a tile of keys.
pub const KEY_TILE: usize = 16;

/// Positions in a chunk of the softmax.
pub const CHUNK: usize = 256;

/// Queries that a kernel may take together.
pub(crate) const MAX_QUERIES: usize = 16;

/// How the cache stores keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheType {
    /// As computed.
    F32,
    /// Rounded to the nearest half.
    F16,
    /// A code of 8 bits, of which 32 dimensions share a scale: heads are a multiple of 32 wide.
    Q8_0,
}

/// Dimensions that share a scale in a Q8_0 cache.
pub const Q8_BLOCK: usize = 32;

/// Bytes of their codes and the scale.
pub const Q8_BYTES: usize = Q8_BLOCK + 2;

impl CacheType {
    /// What the width of a head must be a multiple of.
    pub const fn block(self) -> usize {
        match self {
            CacheType::F32 | CacheType::F16 => 1,
            CacheType::Q8_0 => Q8_BLOCK,
        }
    }

    /// Bytes of `n` values, whole blocks.
    pub const fn bytes(self, n: usize) -> usize {
        match self {
            CacheType::F32 => n.saturating_mul(4),
            CacheType::F16 => n.saturating_mul(2),
            CacheType::Q8_0 => (n / Q8_BLOCK).saturating_mul(Q8_BYTES),
        }
    }
}

/// One layer's keys or values, the whole context.
#[derive(Clone, Copy, Debug)]
pub enum Cache<'a> {
    /// See [`CacheType::F32`].
    F32(&'a [f32]),
    /// See [`CacheType::F16`]; the bits of halves.
    F16(&'a [u16]),
    /// See [`CacheType::Q8_0`]; blocks.
    Q8_0(&'a [u8]),
}

impl Cache<'_> {
    /// Values stored.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        match self {
            Cache::F32(c) => c.len(),
            Cache::F16(c) => c.len(),
            Cache::Q8_0(c) => c.len() / Q8_BYTES * Q8_BLOCK,
        }
    }
}

/// The query heads of one key-value head, for consecutive tokens.
#[derive(Clone, Copy, Debug)]
pub struct Attend<'a> {
    /// Token t's heads lie at `t * query_stride ..+ heads * head_dim`.
    pub queries: &'a [f32],
    /// Floats from one token's query heads to the next token's.
    pub query_stride: usize,
    /// Query tokens.
    pub tokens: usize,
    /// Query heads that share this key-value head.
    pub heads: usize,
    /// Dimensions of a head.
    pub head_dim: usize,
    /// The layer's keys.
    pub keys: Cache<'a>,
    /// The layer's values, of the same type.
    pub values: Cache<'a>,
    /// Key-value heads in the cache.
    pub kv_heads: usize,
    /// The one to attend to.
    pub kv_head: usize,
    /// Absolute position of the first query token; that of token t is `first + t`.
    pub first: usize,
    /// Positions behind its own that a query sees, as far as there are any: 0 where each token sees
    /// the past alone.
    pub ahead: usize,
    /// Positions in the cache, those of all query tokens among them.
    pub end: usize,
    /// How many positions a query sees, itself and those behind it included (more than `ahead`).
    pub window: usize,
    /// Multiplies each dot product.
    pub scale: f32,
    /// Scores become `softcap * tanh(score / softcap)` (Gemma 2); 0: they stay.
    pub softcap: f32,
    /// For each head what a position's distance takes from its score (ALiBi, Press et al. 2022);
    /// empty: nothing.
    pub slopes: &'a [f32],
    /// For each head a score that takes part in the softmax and has no value; empty: none.
    pub sinks: &'a [f32],
}

impl Attend<'_> {
    /// The positions that token `t` sees.
    #[inline]
    pub(crate) fn visible(&self, t: usize) -> Range<usize> {
        let end = (self.first + t + 1).saturating_add(self.ahead);
        end.saturating_sub(self.window)..end.min(self.end)
    }

    /// The chunks that have some of them, for the first token.
    pub fn chunks(&self) -> Range<usize> {
        let visible = self.visible(0);
        visible.start / CHUNK..visible.end.div_ceil(CHUNK)
    }

    /// Those of them that lie in a chunk, for the first token.
    #[inline]
    pub(crate) fn visible_in_chunk(&self, index: usize) -> Range<usize> {
        let visible = self.visible(0);
        visible.start.max(index * CHUNK)..visible.end.min((index + 1) * CHUNK)
    }

    /// Whether a score is more than a scaled dot product.
    #[inline]
    #[allow(dead_code)] // unused on CPUs that have only the scalar table
    pub(crate) fn is_adjusted(&self) -> bool {
        self.softcap != 0.0 || !self.slopes.is_empty()
    }

    /// Index in `keys` of dimension 0 of the tile that holds `position`, its lane 0.
    #[inline]
    pub(crate) fn key_tile(&self, position: usize) -> usize {
        (position / KEY_TILE * self.kv_heads + self.kv_head) * self.head_dim * KEY_TILE
    }

    /// Index in `values` of dimension 0 of `position`.
    #[inline]
    pub(crate) fn value_row(&self, position: usize) -> usize {
        (position * self.kv_heads + self.kv_head) * self.head_dim
    }
}

/// Floats of scratch that [`crate::Kernels::attend`] needs.
pub const fn attend_scratch_len(head_dim: usize) -> usize {
    MAX_QUERIES * (CHUNK + head_dim + LANES)
}

/// Floats of what one chunk contributes to one head: the unnormalised sum of values, then the
/// largest score and the sum of exponentials.
pub const fn attend_part_len(head_dim: usize) -> usize {
    head_dim + 2
}

/// A value of a cache.
trait Stored: Copy {
    fn wide(self) -> f32;
}

impl Stored for f32 {
    fn wide(self) -> f32 {
        self
    }
}

/// The bits of a half.
impl Stored for u16 {
    fn wide(self) -> f32 {
        half::f16::from_bits(self).to_f32()
    }
}

/// Keys or values, whatever they are stored as.
trait Cells: Copy {
    /// Dimension `d` of the key in a lane of the tile that begins at value `tile`.
    fn key(self, tile: usize, d: usize, lane: usize) -> f32;
    /// Dimension `d` of the value that begins at value `row`.
    fn value(self, row: usize, d: usize) -> f32;
}

impl<S: Stored> Cells for &[S] {
    fn key(self, tile: usize, d: usize, lane: usize) -> f32 {
        self[tile + d * KEY_TILE + lane].wide()
    }

    fn value(self, row: usize, d: usize) -> f32 {
        self[row + d].wide()
    }
}

/// The bytes of a Q8_0 cache.
#[derive(Clone, Copy)]
struct Blocks<'a>(&'a [u8]);

impl Blocks<'_> {
    fn cell(self, scale: usize, code: usize) -> f32 {
        let bits = u16::from_le_bytes([self.0[scale], self.0[scale + 1]]);
        bits.wide() * (self.0[code] as i8) as f32
    }
}

impl Cells for Blocks<'_> {
    fn key(self, tile: usize, d: usize, lane: usize) -> f32 {
        let block = (tile + d / Q8_BLOCK * Q8_BLOCK * KEY_TILE) / Q8_BLOCK * Q8_BYTES;
        let codes = block + 2 * KEY_TILE;
        self.cell(block + 2 * lane, codes + d % Q8_BLOCK * KEY_TILE + lane)
    }

    fn value(self, row: usize, d: usize) -> f32 {
        let block = (row + d) / Q8_BLOCK * Q8_BYTES;
        self.cell(block, block + 2 + d % Q8_BLOCK)
    }
}

/// Attention of every token and head into `out` (tokens × heads * head_dim).
pub(crate) fn attend(job: &Attend<'_>, out: &mut Tile<'_>, scratch: &mut [f32]) {
    let dim = job.head_dim;
    let (scores, chunk_out) = scratch.split_at_mut(CHUNK);
    let chunk_out = &mut chunk_out[..dim];
    for t in 0..job.tokens {
        let visible = job.visible(t);
        for head in 0..job.heads {
            let query = &job.queries[t * job.query_stride + head * dim..][..dim];
            let out = &mut out.token(t)[head * dim..][..dim];
            let mut state = Running { largest: f32::NEG_INFINITY, sum: 0.0 };
            out.fill(0.0);
            let mut from = visible.start;
            while from < visible.end {
                let to = visible.end.min((from / CHUNK + 1) * CHUNK);
                let part = chunk(job, (t, head), from..to, query, scores, chunk_out);
                state.merge(part, out, chunk_out);
                from = to;
            }
            let inverse = inverse_sum(state.largest, state.sum, job.sinks.get(head).copied());
            out.iter_mut().for_each(|o| *o *= inverse);
        }
    }
}

/// What the positions of chunk `index` that the one token sees contribute to each head: a part
/// (see [`attend_part_len`]) for each, in `parts`.
pub(crate) fn attend_chunk(job: &Attend<'_>, index: usize, parts: &mut [f32], scratch: &mut [f32]) {
    let dim = job.head_dim;
    let range = job.visible_in_chunk(index);
    for (head, part) in parts.chunks_exact_mut(attend_part_len(dim)).enumerate() {
        let query = &job.queries[head * dim..][..dim];
        let (out, state) = part.split_at_mut(dim);
        let running = chunk(job, (0, head), range.clone(), query, scratch, out);
        (state[0], state[1]) = (running.largest, running.sum);
    }
}

/// Merges one head's parts, `stride` floats apart, those of consecutive chunks from left to right:
/// `out` is what [`attend`] gives.
pub(crate) fn merge_chunks(parts: &[f32], stride: usize, sink: Option<f32>, out: &mut [f32]) {
    let dim = out.len();
    let mut state = Running { largest: f32::NEG_INFINITY, sum: 0.0 };
    out.fill(0.0);
    for part in parts.chunks(stride) {
        state.merge(Running { largest: part[dim], sum: part[dim + 1] }, out, &part[..dim]);
    }
    let inverse = inverse_sum(state.largest, state.sum, sink);
    out.iter_mut().for_each(|o| *o *= inverse);
}

/// What a head's sum of values is multiplied by in the end. A sink is merged like a chunk of one
/// position whose value is zero.
#[inline(always)]
pub(crate) fn inverse_sum(largest: f32, sum: f32, sink: Option<f32>) -> f32 {
    let Some(sink) = sink else { return 1.0 / sum };
    let merged = if sink > largest { sink } else { largest };
    let (a, b) = (exp(largest - merged), exp(sink - merged));
    a / fma(sum, a, b)
}

/// Largest score and sum of exponentials of the keys seen so far.
#[derive(Clone, Copy)]
struct Running {
    largest: f32,
    sum: f32,
}

impl Running {
    /// `self` stands to the left of `next`: both are brought to the larger maximum.
    fn merge(&mut self, next: Running, out: &mut [f32], next_out: &[f32]) {
        let largest = if next.largest > self.largest { next.largest } else { self.largest };
        let (a, b) = (exp(self.largest - largest), exp(next.largest - largest));
        self.sum = fma(self.sum, a, next.sum * b);
        self.largest = largest;
        for (o, &n) in out.iter_mut().zip(next_out) {
            *o = fma(*o, a, n * b);
        }
    }
}

/// One query, that of a token and head, and the keys of `range`, which lies in one chunk: `out` gets
/// the unnormalised sum.
fn chunk(
    job: &Attend<'_>,
    of: (usize, usize),
    range: Range<usize>,
    query: &[f32],
    scores: &mut [f32],
    out: &mut [f32],
) -> Running {
    match (job.keys, job.values) {
        (Cache::F32(k), Cache::F32(v)) => chunk_of(job, (k, v), of, range, query, scores, out),
        (Cache::F16(k), Cache::F16(v)) => chunk_of(job, (k, v), of, range, query, scores, out),
        (Cache::Q8_0(k), Cache::Q8_0(v)) => {
            chunk_of(job, (Blocks(k), Blocks(v)), of, range, query, scores, out)
        }
        // The table refuses such a pair.
        _ => Running { largest: f32::NEG_INFINITY, sum: 0.0 },
    }
}

fn chunk_of<C: Cells>(
    job: &Attend<'_>,
    (keys, values): (C, C),
    (token, head): (usize, usize),
    range: Range<usize>,
    query: &[f32],
    scores: &mut [f32],
    out: &mut [f32],
) -> Running {
    for position in range.clone() {
        let (tile, lane) = (job.key_tile(position), position % KEY_TILE);
        let mut dot = 0.0;
        for (d, &q) in query.iter().enumerate() {
            dot = fma(q, keys.key(tile, d, lane), dot);
        }
        let mut score = dot * job.scale;
        if job.softcap != 0.0 {
            score = softcap(score, job.softcap);
        }
        if let Some(&slope) = job.slopes.get(head) {
            let distance = position as f32 - (job.first + token) as f32;
            score = fma(slope, distance, score);
        }
        scores[position % CHUNK] = score;
    }
    let scores = &mut scores[range.start % CHUNK..][..range.len()];
    let largest = super::norm::maximum(scores);
    let mut lanes = [0.0f32; LANES];
    out.fill(0.0);
    for (position, score) in range.zip(scores) {
        let p = exp(*score - largest);
        lanes[position % LANES] += p;
        let row = job.value_row(position);
        for (d, o) in out.iter_mut().enumerate() {
            *o = fma(p, values.value(row, d), *o);
        }
    }
    Running { largest, sum: tree(lanes) }
}
