//! Attention in register tiles. Up to 16 queries (tokens × heads of one key-value head) are taken
//! together, so that a loaded key or value serves all of them; in decode they are the heads of one
//! token. For each chunk of 256 positions:
//!
//! 1. scores: a tile of queries × 16-key vectors, one fma chain over the dimensions. Keys that some
//!    query does not see are computed for it too, as whole tiles of 16 are stored; nobody looks.
//! 2. softmax: a query's own range only, by masks at its ends.
//! 3. the merge's two factors, for all queries in one vector.
//! 4. values: a tile of queries × dimension vectors that stays in registers over the whole chunk and
//!    is merged from there. Positions that every query sees form one loop; at its two ends, where
//!    ranges differ by the token, each query checks.

use core::marker::PhantomData;
use core::ops::Range;

use super::exp::{exp_bounded, softcap};
use super::{Element, F16, F32, Lanes, first_lanes};
use crate::cast::Tile;
use crate::scalar::attend::{
    Attend, CHUNK, Cache, KEY_TILE, MAX_QUERIES, Q8_BLOCK, Q8_BYTES, attend_part_len, inverse_sum,
};

/// Floats from one query's scores to the next one's. Not a power of two, which would map all
/// queries to a few sets of the first cache.
const ROW: usize = CHUNK + KEY_TILE;

/// How many positions ahead of their use values are asked for (keys: the next tiles). In decode both
/// come from memory, in strides that the hardware does not follow; in prefill it costs nothing.
const VALUES_AHEAD: usize = 32;

/// How a cache stores keys and values. Addresses may lie behind its end, where nothing is read.
///
/// # Safety
/// Of the loads: the CPU has the features of `V`; the tile or row holds the dimensions.
trait Cells {
    type Stored: Copy;
    /// Dimensions that share a scale; 0: there are no scales.
    const BLOCK: usize;
    /// Three to five queries (seven, with wide vectors) are taken as two and two: less code, for a
    /// cache that few use.
    const IN_PAIRS: bool;
    /// As how many of [`Cells::Stored`] so many values, whole blocks, are stored.
    fn stored(values: usize) -> usize;
    /// Where dimension `d` of a tile's keys is stored.
    fn key(tile: *const Self::Stored, d: usize) -> *const Self::Stored;
    /// Where dimension `d` of a value is stored.
    fn value(row: *const Self::Stored, d: usize) -> *const Self::Stored;
    /// The scales of a tile's keys in the block that begins with dimension `d`.
    unsafe fn scales<V: Lanes>(tile: *const Self::Stored, d: usize) -> V;
    /// Dimension `d` of a tile's keys, whose scales are given.
    unsafe fn keys<V: Lanes>(tile: *const Self::Stored, d: usize, scales: V) -> V;
    /// Dimensions `d..d + 16` of a value.
    unsafe fn values<V: Lanes>(row: *const Self::Stored, d: usize) -> V;
    /// Dimensions `d..d + n`, at most 16.
    unsafe fn first_values<V: Lanes>(row: *const Self::Stored, d: usize, n: usize) -> V;
}

impl<E: Element> Cells for E {
    type Stored = E::Stored;
    const BLOCK: usize = 0;
    const IN_PAIRS: bool = size_of::<E::Stored>() == size_of::<f32>();
    #[inline(always)]
    fn stored(values: usize) -> usize {
        values
    }
    #[inline(always)]
    fn key(tile: *const E::Stored, d: usize) -> *const E::Stored {
        tile.wrapping_add(d * KEY_TILE)
    }
    #[inline(always)]
    fn value(row: *const E::Stored, d: usize) -> *const E::Stored {
        row.wrapping_add(d)
    }
    #[inline(always)]
    unsafe fn scales<V: Lanes>(_: *const E::Stored, _: usize) -> V {
        // SAFETY: the caller's promises.
        unsafe { V::splat(0.0) }
    }
    #[inline(always)]
    unsafe fn keys<V: Lanes>(tile: *const E::Stored, d: usize, _: V) -> V {
        // SAFETY: the caller's promises.
        unsafe { E::load(Self::key(tile, d)) }
    }
    #[inline(always)]
    unsafe fn values<V: Lanes>(row: *const E::Stored, d: usize) -> V {
        // SAFETY: the caller's promises.
        unsafe { E::load(Self::value(row, d)) }
    }
    #[inline(always)]
    unsafe fn first_values<V: Lanes>(row: *const E::Stored, d: usize, n: usize) -> V {
        // SAFETY: the caller's promises.
        unsafe { E::load_first(Self::value(row, d), n) }
    }
}

/// Codes of 8 bits in blocks of 32 dimensions with a scale (see `scalar::attend`).
struct Q8;

impl Cells for Q8 {
    type Stored = u8;
    const BLOCK: usize = Q8_BLOCK;
    const IN_PAIRS: bool = false;
    #[inline(always)]
    fn stored(values: usize) -> usize {
        values / Q8_BLOCK * Q8_BYTES
    }
    #[inline(always)]
    fn key(tile: *const u8, d: usize) -> *const u8 {
        let block = tile.wrapping_add(d / Q8_BLOCK * Q8_BYTES * KEY_TILE);
        block.wrapping_add(2 * KEY_TILE + d % Q8_BLOCK * KEY_TILE)
    }
    #[inline(always)]
    fn value(row: *const u8, d: usize) -> *const u8 {
        row.wrapping_add(d / Q8_BLOCK * Q8_BYTES + 2 + d % Q8_BLOCK)
    }
    #[inline(always)]
    unsafe fn scales<V: Lanes>(tile: *const u8, d: usize) -> V {
        // SAFETY: the caller's promises: 16 halves stand in front of the block's codes.
        unsafe { V::load_f16(Self::key(tile, d).sub(2 * KEY_TILE).cast()) }
    }
    #[inline(always)]
    unsafe fn keys<V: Lanes>(tile: *const u8, d: usize, scales: V) -> V {
        // SAFETY: the caller's promises.
        unsafe { V::load_i8(Self::key(tile, d).cast()).mul(scales) }
    }
    #[inline(always)]
    unsafe fn values<V: Lanes>(row: *const u8, d: usize) -> V {
        // SAFETY: the caller's promises: sixteen dimensions lie in one block, behind its scale.
        unsafe {
            let scale = V::splat_f16(row.add(d / Q8_BLOCK * Q8_BYTES).cast());
            V::load_i8(Self::value(row, d).cast()).mul(scale)
        }
    }
    #[inline(always)]
    unsafe fn first_values<V: Lanes>(row: *const u8, d: usize, _: usize) -> V {
        // SAFETY: blocks are whole, so there are sixteen.
        unsafe { Self::values(row, d) }
    }
}

/// What is asked for: [`crate::Kernels::attend`] or [`crate::Kernels::attend_chunk`].
pub(crate) enum Work<'w, 't> {
    /// Every token and head, over all that it sees.
    Whole(&'w mut Tile<'t>),
    /// Each head of the one token, over one chunk that has positions which it sees: a part for each.
    Chunk(usize, &'w mut [f32]),
}

/// Both operations in one function, so that a target has their loops once.
///
/// # Safety
/// The CPU has the features of `V`; every position that a query sees is inside both caches, keys in
/// whole tiles; `scratch` holds `attend_scratch_len(job.head_dim)` floats; a part for each head is
/// there.
#[inline(always)]
pub(crate) unsafe fn attend<V: Lanes>(job: &Attend<'_>, work: Work<'_, '_>, scratch: &mut [f32]) {
    // SAFETY: the caller's promises.
    unsafe {
        match (job.keys, job.values) {
            (Cache::F32(k), Cache::F32(v)) => {
                all_blocks::<V, F32>(job, k.as_ptr(), v.as_ptr(), work, scratch)
            }
            (Cache::F16(k), Cache::F16(v)) => {
                all_blocks::<V, F16>(job, k.as_ptr(), v.as_ptr(), work, scratch)
            }
            (Cache::Q8_0(k), Cache::Q8_0(v)) => {
                all_blocks::<V, Q8>(job, k.as_ptr(), v.as_ptr(), work, scratch)
            }
            _ => {}
        }
    }
}

#[inline(always)]
unsafe fn all_blocks<V: Lanes, C: Cells>(
    job: &Attend<'_>,
    keys: *const C::Stored,
    values: *const C::Stored,
    mut work: Work<'_, '_>,
    scratch: &mut [f32],
) {
    debug_assert!(scratch.len() >= MAX_QUERIES * ROW);
    let part_len = attend_part_len(job.head_dim);
    let queries = match &work {
        Work::Whole(_) => job.tokens * job.heads,
        Work::Chunk(_, parts) => parts.len() / part_len,
    };
    let mut first = 0;
    while first < queries {
        let count = MAX_QUERIES.min(queries - first);
        let mut block = Block::<C>::empty(job, first, keys, values, count);
        match &mut work {
            Work::Whole(out) => block.set_tokens(job, first, out),
            Work::Chunk(chunk, parts) => {
                block.set_heads(job, first, job.visible_in_chunk(*chunk), parts)
            }
        }
        // Ranges move right with the token, so the first query starts first and the last ends last.
        let (from, end) = (block.starts[0], block.ends[count - 1]);
        debug_assert!(from < end && end <= job.end);
        // SAFETY: `from..end` is seen by some query, so it lies in the caches.
        unsafe { block.attend_range::<V>(from..end, scratch.as_mut_ptr()) };
        match &mut work {
            // SAFETY: the block's results are there.
            Work::Whole(_) => (0..count).for_each(|i| unsafe { block.normalize::<V>(i) }),
            // Merging into nothing left the chunk's part as it is.
            Work::Chunk(_, parts) => {
                for i in 0..count {
                    let part = &mut parts[(first + i) * part_len..][..part_len];
                    part[job.head_dim..].copy_from_slice(&[block.largest[i], block.sums[i]]);
                }
            }
        }
        first += count;
    }
}

/// See [`crate::Kernels::merge_chunks`].
///
/// # Safety
/// The CPU has the features of `V`; `parts` are whole.
#[inline(always)]
pub(crate) unsafe fn merge_chunks<V: Lanes>(
    parts: &[f32],
    stride: usize,
    sink: Option<f32>,
    out: &mut [f32],
) {
    let dim = out.len();
    out.fill(0.0);
    // SAFETY: `n` of the dimensions from `d` on exist in `out` and in every part.
    unsafe {
        let (mut largest, mut sum) = (V::splat(f32::NEG_INFINITY), V::splat(0.0));
        for part in parts.chunks(stride) {
            let part_largest = V::splat(part[dim]);
            let merged = part_largest.max(largest);
            let old = exp_bounded(largest.sub(merged));
            let new = exp_bounded(part_largest.sub(merged));
            sum = sum.fma(old, V::splat(part[dim + 1]).mul(new));
            largest = merged;
            for d in (0..dim).step_by(16) {
                let n = 16.min(dim - d);
                let (out, part) = (out.as_mut_ptr().add(d), part.as_ptr().add(d));
                let part = V::load_first(part, n).mul(new);
                V::load_first(out, n).fma(old, part).store_first(out, n);
            }
        }
        // All lanes are equal.
        let (mut of_largest, mut of_sum) = (0.0, 0.0);
        largest.store_first(&raw mut of_largest, 1);
        sum.store_first(&raw mut of_sum, 1);
        let inverse = V::splat(inverse_sum(of_largest, of_sum, sink));
        for d in (0..dim).step_by(16) {
            let (n, out) = (16.min(dim - d), out.as_mut_ptr().add(d));
            V::load_first(out, n).mul(inverse).store_first(out, n);
        }
    }
}

/// Up to 16 queries. Entries from `count` on are unused but defined.
struct Block<'j, C: Cells> {
    job: &'j Attend<'j>,
    /// The number of the first query, token by token, head by head.
    first: usize,
    count: usize,
    /// Each query's dimension 0, and where its result goes.
    queries: [*const f32; MAX_QUERIES],
    outs: [*mut f32; MAX_QUERIES],
    /// The positions that each query sees.
    starts: [usize; MAX_QUERIES],
    ends: [usize; MAX_QUERIES],
    /// Largest score and sum of exponentials, of the chunks so far and of the present chunk.
    largest: [f32; MAX_QUERIES],
    sums: [f32; MAX_QUERIES],
    chunk_largest: [f32; MAX_QUERIES],
    chunk_sums: [f32; MAX_QUERIES],
    /// What the old and the new part of a result are multiplied by when they merge.
    old: [f32; MAX_QUERIES],
    new: [f32; MAX_QUERIES],
    /// Position 0 of this key-value head; strides in what is stored.
    keys: *const C::Stored,
    values: *const C::Stored,
    key_stride: usize,
    value_stride: usize,
    head_dim: usize,
    scale: f32,
    element: PhantomData<C>,
}

impl<'j, C: Cells> Block<'j, C> {
    /// Room for `count` queries, each of which [`Block::set`] must define.
    #[inline(always)]
    fn empty(
        job: &'j Attend<'j>,
        first: usize,
        keys: *const C::Stored,
        values: *const C::Stored,
        count: usize,
    ) -> Self {
        let dim = job.head_dim;
        Block {
            job,
            first,
            count,
            queries: [core::ptr::null(); MAX_QUERIES],
            outs: [core::ptr::null_mut(); MAX_QUERIES],
            starts: [0; MAX_QUERIES],
            ends: [0; MAX_QUERIES],
            largest: [f32::NEG_INFINITY; MAX_QUERIES],
            sums: [0.0; MAX_QUERIES],
            chunk_largest: [f32::NEG_INFINITY; MAX_QUERIES],
            chunk_sums: [0.0; MAX_QUERIES],
            old: [0.0; MAX_QUERIES],
            new: [0.0; MAX_QUERIES],
            keys: keys.wrapping_add(C::stored(job.key_tile(0))),
            values: values.wrapping_add(C::stored(job.value_row(0))),
            key_stride: C::stored(job.kv_heads * dim * KEY_TILE),
            value_stride: C::stored(job.kv_heads * dim),
            head_dim: dim,
            scale: job.scale,
            element: PhantomData,
        }
    }

    /// Query `i`, what it sees, and where its result goes, which becomes zero.
    #[inline(always)]
    fn set(&mut self, i: usize, query: &[f32], out: &mut [f32], sees: &Range<usize>) {
        out.fill(0.0);
        (self.queries[i], self.outs[i]) = (query.as_ptr(), out.as_mut_ptr());
        (self.starts[i], self.ends[i]) = (sees.start, sees.end);
    }

    /// The queries from number `first` (token by token, head by head) on.
    #[inline(always)]
    fn set_tokens(&mut self, job: &Attend<'_>, first: usize, out: &mut Tile<'_>) {
        let dim = job.head_dim;
        let (mut token, mut head) = (first / job.heads, first % job.heads);
        for i in 0..self.count {
            let query = &job.queries[token * job.query_stride + head * dim..][..dim];
            let out = &mut out.token(token)[head * dim..][..dim];
            self.set(i, query, out, &job.visible(token));
            head += 1;
            if head == job.heads {
                (token, head) = (token + 1, 0);
            }
        }
    }

    /// The one token's heads from number `first` on, which see `range`.
    #[inline(always)]
    fn set_heads(
        &mut self,
        job: &Attend<'_>,
        first: usize,
        range: Range<usize>,
        parts: &mut [f32],
    ) {
        let (dim, part_len) = (job.head_dim, attend_part_len(job.head_dim));
        for i in 0..self.count {
            let query = &job.queries[(first + i) * dim..][..dim];
            self.set(i, query, &mut parts[(first + i) * part_len..][..dim], &range);
        }
    }

    /// Chunk by chunk, merged into what the block has.
    ///
    /// # Safety
    /// As [`attend`]; `scores` points to 16 × [`ROW`] floats; the range lies in the caches.
    #[inline(always)]
    unsafe fn attend_range<V: Lanes>(&mut self, range: Range<usize>, scores: *mut f32) {
        let mut from = range.start;
        // SAFETY: the caller's promises.
        unsafe {
            while from < range.end {
                let to = range.end.min((from / CHUNK + 1) * CHUNK);
                self.scores::<V>(from, to, scores);
                if self.job.is_adjusted() {
                    self.adjust::<V>(from, to, scores);
                }
                self.softmax::<V>(from, to, scores);
                self.merge_factors::<V>();
                self.weigh::<V>(from, to, scores);
                from = to;
            }
        }
    }

    /// Scores of every query and the whole key tiles that contain `from..to`, at their index in the
    /// chunk.
    #[inline(always)]
    unsafe fn scores<V: Lanes>(&self, from: usize, to: usize, scores: *mut f32) {
        let (mut tile, end) = (from / KEY_TILE, to.div_ceil(KEY_TILE));
        // SAFETY: tiles up to `end` lie in the cache; groups of tiles and of queries are whole.
        unsafe {
            while tile < end {
                // Four tiles stay in the first cache while the queries pass.
                let group = tile..end.min(tile + 4);
                let mut q = 0;
                while q < self.count {
                    match (together::<V, C>(self.count - q), V::WIDE) {
                        (8, _) => self.score_group::<V, 8, 2>(&mut q, group.clone(), scores),
                        (4, true) => self.score_group::<V, 4, 4>(&mut q, group.clone(), scores),
                        (3, true) => self.score_group::<V, 3, 4>(&mut q, group.clone(), scores),
                        (6, _) => self.score_group::<V, 6, 1>(&mut q, group.clone(), scores),
                        (4, false) => self.score_group::<V, 4, 1>(&mut q, group.clone(), scores),
                        (3, false) => self.score_group::<V, 3, 1>(&mut q, group.clone(), scores),
                        (2, true) => self.score_group::<V, 2, 4>(&mut q, group.clone(), scores),
                        (2, false) => self.score_group::<V, 2, 2>(&mut q, group.clone(), scores),
                        _ => self.score_group::<V, 1, 4>(&mut q, group.clone(), scores),
                    }
                }
                tile = group.end;
            }
        }
    }

    /// What makes a score more than a scaled dot product: a cap, a slope.
    #[inline(always)]
    unsafe fn adjust<V: Lanes>(&self, from: usize, to: usize, scores: *mut f32) {
        const LANES: [f32; KEY_TILE] = {
            let mut lanes = [0.0; KEY_TILE];
            let mut i = 0;
            while i < KEY_TILE {
                lanes[i] = i as f32;
                i += 1;
            }
            lanes
        };
        let job = self.job;
        for i in 0..self.count {
            let query = self.first + i;
            let position = (job.first + query / job.heads) as f32;
            let slope = job.slopes.get(query % job.heads);
            for tile in from / KEY_TILE..to.div_ceil(KEY_TILE) {
                let at = scores.wrapping_add(i * ROW + tile * KEY_TILE % CHUNK);
                // SAFETY: the scores of whole tiles are there.
                unsafe {
                    let mut score = V::load(at);
                    if job.softcap != 0.0 {
                        score = softcap(score, job.softcap);
                    }
                    if let Some(&slope) = slope {
                        let first = V::splat((tile * KEY_TILE) as f32);
                        let distance = V::load(LANES.as_ptr()).add(first).sub(V::splat(position));
                        score = V::splat(slope).fma(distance, score);
                    }
                    score.store(at);
                }
            }
        }
    }

    /// `Q` queries × the key tiles of `group`, `N` tiles at a time.
    #[inline(always)]
    unsafe fn score_group<V: Lanes, const Q: usize, const N: usize>(
        &self,
        q: &mut usize,
        group: Range<usize>,
        scores: *mut f32,
    ) {
        let mut tile = group.start;
        // SAFETY: the caller's promises.
        unsafe {
            let scores = scores.add(*q * ROW);
            while tile + N <= group.end {
                self.score_tile::<V, Q, N>(*q, tile, scores.add(tile * KEY_TILE % CHUNK));
                tile += N;
            }
            while tile < group.end {
                self.score_tile::<V, Q, 1>(*q, tile, scores.add(tile * KEY_TILE % CHUNK));
                tile += 1;
            }
        }
        *q += Q;
    }

    /// `Q` queries × `N` tiles of 16 keys.
    #[inline(always)]
    unsafe fn score_tile<V: Lanes, const Q: usize, const N: usize>(
        &self,
        q: usize,
        tile: usize,
        scores: *mut f32,
    ) {
        // SAFETY: the caller promises that queries and tiles exist.
        unsafe {
            let mut queries = [core::ptr::null(); Q];
            queries.copy_from_slice(self.queries.get_unchecked(q..q + Q));
            let keys = self.keys.add(tile * self.key_stride);
            let stride = self.key_stride;
            let mut sums = [[V::splat(0.0); N]; Q];
            let mut block = 0;
            while block < self.head_dim {
                let end = if C::BLOCK == 0 { self.head_dim } else { block + C::BLOCK };
                let mut scales = [V::splat(0.0); N];
                for n in 0..N {
                    scales[n] = C::scales(keys.add(n * stride), block);
                }
                for d in block..end {
                    let mut k = [V::splat(0.0); N];
                    for n in 0..N {
                        let tile = keys.add(n * stride);
                        k[n] = C::keys(tile, d, scales[n]);
                        V::prefetch(C::key(tile, d).wrapping_add(N * stride).cast(), true);
                    }
                    for i in 0..Q {
                        let x = V::splat(*queries[i].add(d));
                        for n in 0..N {
                            sums[i][n] = x.fma(k[n], sums[i][n]);
                        }
                    }
                }
                block = end;
            }
            let scale = V::splat(self.scale);
            for i in 0..Q {
                for n in 0..N {
                    sums[i][n].mul(scale).store(scores.add(i * ROW + n * KEY_TILE));
                }
            }
        }
    }

    /// Scores of each query's range become exponentials; their maximum and sum are noted. All the
    /// maxima come first, so that no query waits for its own.
    #[inline(always)]
    unsafe fn softmax<V: Lanes>(&mut self, from: usize, to: usize, scores: *mut f32) {
        let base = from / CHUNK * CHUNK;
        for i in 0..self.count {
            let (start, end) = (self.starts[i].max(from), self.ends[i].min(to));
            self.chunk_largest[i] = f32::NEG_INFINITY;
            if start < end {
                let row = scores.wrapping_add(i * ROW);
                // SAFETY: the range lies in the chunk, whose scores are there.
                self.chunk_largest[i] = unsafe { largest::<V>(row, start - base, end - base) };
            }
        }
        for i in 0..self.count {
            let (start, end) = (self.starts[i].max(from), self.ends[i].min(to));
            self.chunk_sums[i] = 0.0;
            if start < end {
                let (row, largest) = (scores.wrapping_add(i * ROW), self.chunk_largest[i]);
                // SAFETY: as above.
                self.chunk_sums[i] =
                    unsafe { exponentials::<V>(row, start - base, end - base, largest) };
            }
            // A query that sees none of this chunk keeps what it has.
            (self.old[i], self.new[i]) = if start < end { (0.0, 0.0) } else { (1.0, -1.0) };
        }
    }

    /// The factors that bring old and new parts to the larger maximum, and the merged sums. The new
    /// part's factor is 0 and the old one's 1 for a query that sees none of the chunk.
    #[inline(always)]
    unsafe fn merge_factors<V: Lanes>(&mut self) {
        let mut seen = 0u16;
        for i in 0..self.count {
            seen |= u16::from(self.new[i] == 0.0) << i;
        }
        // SAFETY: all arrays have 16 entries.
        unsafe {
            let (zero, one) = (V::splat(0.0), V::splat(1.0));
            let (left, right) =
                (V::load(self.largest.as_ptr()), V::load(self.chunk_largest.as_ptr()));
            let largest = right.max(left);
            let old = exp_bounded(left.sub(largest)).select(seen, one);
            let new = exp_bounded(right.sub(largest)).select(seen, zero);
            let sum = V::load(self.chunk_sums.as_ptr()).mul(new);
            V::load(self.sums.as_ptr()).fma(old, sum).store(self.sums.as_mut_ptr());
            largest.store(self.largest.as_mut_ptr());
            old.store(self.old.as_mut_ptr());
            new.store(self.new.as_mut_ptr());
        }
    }

    /// Adds the weighted values of `from..to` to every query's result.
    #[inline(always)]
    unsafe fn weigh<V: Lanes>(&self, from: usize, to: usize, weights: *const f32) {
        let mut q = 0;
        // SAFETY: the caller's promises; groups of queries are whole.
        unsafe {
            while q < self.count {
                match (together::<V, C>(self.count - q), V::WIDE) {
                    (8, _) => self.weigh_group::<V, 8, 2>(&mut q, from, to, weights),
                    (4, true) => self.weigh_group::<V, 4, 4>(&mut q, from, to, weights),
                    (3, true) => self.weigh_group::<V, 3, 4>(&mut q, from, to, weights),
                    (6, _) => self.weigh_group::<V, 6, 1>(&mut q, from, to, weights),
                    (4, false) => self.weigh_group::<V, 4, 1>(&mut q, from, to, weights),
                    (3, false) => self.weigh_group::<V, 3, 1>(&mut q, from, to, weights),
                    (2, true) => self.weigh_group::<V, 2, 4>(&mut q, from, to, weights),
                    (2, false) => self.weigh_group::<V, 2, 2>(&mut q, from, to, weights),
                    _ => self.weigh_group::<V, 1, 4>(&mut q, from, to, weights),
                }
            }
        }
    }

    /// `Q` queries and all dimensions, `N` vectors of them at a time.
    #[inline(always)]
    unsafe fn weigh_group<V: Lanes, const Q: usize, const N: usize>(
        &self,
        q: &mut usize,
        from: usize,
        to: usize,
        weights: *const f32,
    ) {
        let (mut start, mut end) = (from, to);
        for i in *q..*q + Q {
            start = start.max(self.starts[i]);
            end = end.min(self.ends[i]);
        }
        // Some query sees every position of from..to, and all see those of start..end.
        let ranges = [from, start, end, to];
        // SAFETY: the caller's promises; dimensions `d..d + n` exist.
        unsafe {
            let weights = weights.add(*q * ROW);
            let (mut d, dim) = (0, self.head_dim);
            while d + 16 * N <= dim {
                self.weigh_tile::<V, Q, N, true>((*q, d, 16), ranges, weights);
                d += 16 * N;
            }
            while d < dim {
                let n = 16.min(dim - d);
                self.weigh_tile::<V, Q, 1, false>((*q, d, n), ranges, weights);
                d += n;
            }
        }
        *q += Q;
    }

    /// `Q` queries × `N` vectors of dimensions from `d` on; a single vector may have fewer than 16
    /// (`WHOLE` false).
    #[inline(always)]
    unsafe fn weigh_tile<V: Lanes, const Q: usize, const N: usize, const WHOLE: bool>(
        &self,
        (q, d, n): (usize, usize, usize),
        [from, start, end, to]: [usize; 4],
        weights: *const f32,
    ) {
        let stride = self.value_stride;
        let mut sums;
        // SAFETY: the caller promises queries, dimensions and positions.
        unsafe {
            sums = [[V::splat(0.0); N]; Q];
            let weights = weights.wrapping_sub(from / CHUNK * CHUNK);
            for position in from..to {
                let value = self.values.add(position * stride);
                let v = load::<V, C, N, WHOLE>(value, d, n);
                prefetch::<V, C, N>(C::value(value, d).wrapping_add(VALUES_AHEAD * stride));
                let everyone = start <= position && position < end;
                for i in 0..Q {
                    let p = V::splat(*weights.wrapping_add(i * ROW + position));
                    if everyone {
                        for j in 0..N {
                            sums[i][j] = p.fma(v[j], sums[i][j]);
                        }
                    } else {
                        // Masked, not skipped: a branch for each query would be mispredicted.
                        let mask = self.mask(q + i, position);
                        for j in 0..N {
                            sums[i][j] = p.fma(v[j], sums[i][j]).select(mask, sums[i][j]);
                        }
                    }
                }
            }
            for i in 0..Q {
                let (old, new) = (V::splat(self.old[q + i]), V::splat(self.new[q + i]));
                let out = self.outs[q + i].add(d);
                for (j, sum) in sums[i].iter().enumerate() {
                    if WHOLE {
                        let out = out.add(16 * j);
                        V::load(out).fma(old, sum.mul(new)).store(out);
                    } else {
                        V::load_first(out, n).fma(old, sum.mul(new)).store_first(out, n);
                    }
                }
            }
        }
    }

    /// All lanes if the query sees the position, otherwise none.
    #[inline(always)]
    fn mask(&self, query: usize, position: usize) -> u16 {
        let sees = (self.starts[query] <= position) & (position < self.ends[query]);
        u16::from(sees).wrapping_neg()
    }

    /// Divides a result by its sum of exponentials.
    #[inline(always)]
    unsafe fn normalize<V: Lanes>(&self, i: usize) {
        let (out, dim) = (self.outs[i], self.head_dim);
        let sink = self.job.sinks.get((self.first + i) % self.job.heads).copied();
        let inverse = inverse_sum(self.largest[i], self.sums[i], sink);
        // SAFETY: a result has `head_dim` floats.
        unsafe {
            let inverse = V::splat(inverse);
            let mut d = 0;
            while d + 16 <= dim {
                V::load(out.add(d)).mul(inverse).store(out.add(d));
                d += 16;
            }
            V::load_first(out.add(d), dim - d).mul(inverse).store_first(out.add(d), dim - d);
        }
    }
}

/// How many queries of `rest` are taken together.
#[inline(always)]
fn together<V: Lanes, C: Cells>(rest: usize) -> usize {
    match (rest, V::WIDE) {
        (8.., true) => 8,
        (6.., false) => 6,
        (2.., _) if C::IN_PAIRS => 2,
        (4.., _) => 4,
        _ => rest,
    }
}

/// `N` whole vectors of a value row from dimension `d` on, or one of `n` dimensions.
#[inline(always)]
unsafe fn load<V: Lanes, C: Cells, const N: usize, const WHOLE: bool>(
    row: *const C::Stored,
    d: usize,
    n: usize,
) -> [V; N] {
    // SAFETY: the caller's promises.
    unsafe {
        let mut v = [V::splat(0.0); N];
        for (j, v) in v.iter_mut().enumerate() {
            *v = if WHOLE { C::values(row, d + 16 * j) } else { C::first_values(row, d, n) };
        }
        v
    }
}

/// Asks for the cache lines of `N` vectors.
#[inline(always)]
unsafe fn prefetch<V: Lanes, C: Cells, const N: usize>(row: *const C::Stored) {
    for line in 0..(N * 16 * size_of::<C::Stored>()).div_ceil(64) {
        // SAFETY: the caller's promise.
        unsafe { V::prefetch(row.cast::<u8>().wrapping_add(64 * line), true) };
    }
}

/// The whole vectors from `first` to `last` (both included) that contain `start..end`, and which
/// lanes of these two belong to it.
#[inline(always)]
fn vectors(start: usize, end: usize) -> (usize, usize, u16, u16) {
    let (first, last) = (start / 16 * 16, (end - 1) / 16 * 16);
    let (head, tail) = (!first_lanes(start - first), first_lanes(end - last));
    (first, last, if first == last { head & tail } else { head }, tail)
}

/// The largest of scores `start..end`, which are not none.
#[inline(always)]
unsafe fn largest<V: Lanes>(scores: *const f32, start: usize, end: usize) -> f32 {
    let (first, last, head, tail) = vectors(start, end);
    // SAFETY: `first..last + 16` lies in the row of scores.
    unsafe {
        let lowest = V::splat(f32::NEG_INFINITY);
        let mut largest = V::load(scores.add(first)).select(head, lowest).max(lowest);
        for at in (first + 16..last).step_by(16) {
            largest = V::load(scores.add(at)).max(largest);
        }
        if last > first {
            largest = V::load(scores.add(last)).select(tail, lowest).max(largest);
        }
        largest.largest()
    }
}

/// Replaces scores `start..end` of a chunk by `exp(score - largest)`. Returns their sum, lane by
/// position modulo 16.
#[inline(always)]
unsafe fn exponentials<V: Lanes>(scores: *mut f32, start: usize, end: usize, largest: f32) -> f32 {
    let (first, last, head, tail) = vectors(start, end);
    // SAFETY: `first..last + 16` lies in the row of scores.
    unsafe {
        let (zero, largest) = (V::splat(0.0), V::splat(largest));
        let mut sum = zero.add(exponential(scores.add(first), largest).select(head, zero));
        for at in (first + 16..last).step_by(16) {
            sum = sum.add(exponential(scores.add(at), largest));
        }
        if last > first {
            sum = sum.add(exponential(scores.add(last), largest).select(tail, zero));
        }
        sum.tree()
    }
}

/// Replaces 16 scores by `exp(score - largest)`, and returns them.
#[inline(always)]
unsafe fn exponential<V: Lanes>(scores: *mut f32, largest: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let p = exp_bounded(V::load(scores).sub(largest));
        p.store(scores);
        p
    }
}
