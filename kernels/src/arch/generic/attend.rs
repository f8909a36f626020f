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

use super::exp::exp_bounded;
use super::{Element, F16, F32, Lanes, first_lanes};
use crate::cast::Tile;
use crate::scalar::attend::{Attend, CHUNK, Cache, KEY_TILE, MAX_QUERIES, attend_part_len};

/// Floats from one query's scores to the next one's. Not a power of two, which would map all
/// queries to a few sets of the first cache.
const ROW: usize = CHUNK + KEY_TILE;

/// How many positions ahead of their use values are asked for (keys: the next tiles). In decode both
/// come from memory, in strides that the hardware does not follow; in prefill it costs nothing.
const VALUES_AHEAD: usize = 32;

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
            _ => {}
        }
    }
}

#[inline(always)]
unsafe fn all_blocks<V: Lanes, E: Element>(
    job: &Attend<'_>,
    keys: *const E::Stored,
    values: *const E::Stored,
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
        let mut block = Block::<E>::empty(job, keys, values, count);
        match &mut work {
            Work::Whole(out) => block.set_tokens(job, first, out),
            Work::Chunk(chunk, parts) => {
                block.set_heads(job, first, job.visible_in_chunk(*chunk), parts)
            }
        }
        // Ranges move right with the token, so the first query starts first and the last ends last.
        let (from, end) = (block.starts[0], block.ends[count - 1]);
        debug_assert!(end <= job.first + job.tokens);
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
pub(crate) unsafe fn merge_chunks<V: Lanes>(parts: &[f32], stride: usize, out: &mut [f32]) {
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
        let inverse = V::splat(1.0).div(sum);
        for d in (0..dim).step_by(16) {
            let (n, out) = (16.min(dim - d), out.as_mut_ptr().add(d));
            V::load_first(out, n).mul(inverse).store_first(out, n);
        }
    }
}

/// Up to 16 queries. Entries from `count` on are unused but defined.
struct Block<E: Element> {
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
    /// Position 0, dimension 0 of this key-value head; strides in values.
    keys: *const E::Stored,
    values: *const E::Stored,
    key_stride: usize,
    value_stride: usize,
    head_dim: usize,
    scale: f32,
    element: PhantomData<E>,
}

impl<E: Element> Block<E> {
    /// Room for `count` queries, each of which [`Block::set`] must define.
    #[inline(always)]
    fn empty(
        job: &Attend<'_>,
        keys: *const E::Stored,
        values: *const E::Stored,
        count: usize,
    ) -> Self {
        let dim = job.head_dim;
        Block {
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
            keys: keys.wrapping_add(job.key_tile(0)),
            values: values.wrapping_add(job.value_row(0)),
            key_stride: job.kv_heads * dim * KEY_TILE,
            value_stride: job.kv_heads * dim,
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
                    match (self.count - q, V::WIDE) {
                        (8.., true) => self.score_group::<V, 8, 2>(&mut q, group.clone(), scores),
                        (4.., true) => self.score_group::<V, 4, 4>(&mut q, group.clone(), scores),
                        (3, true) => self.score_group::<V, 3, 4>(&mut q, group.clone(), scores),
                        (6.., false) => self.score_group::<V, 6, 1>(&mut q, group.clone(), scores),
                        (4.., false) => self.score_group::<V, 4, 1>(&mut q, group.clone(), scores),
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
            for d in 0..self.head_dim {
                let mut k = [V::splat(0.0); N];
                for n in 0..N {
                    let key = keys.add(n * stride + d * KEY_TILE);
                    k[n] = E::load(key);
                    V::prefetch(key.wrapping_add(N * stride).cast(), true);
                }
                for i in 0..Q {
                    let x = V::splat(*queries[i].add(d));
                    for n in 0..N {
                        sums[i][n] = x.fma(k[n], sums[i][n]);
                    }
                }
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
                match (self.count - q, V::WIDE) {
                    (8.., true) => self.weigh_group::<V, 8, 2>(&mut q, from, to, weights),
                    (4.., true) => self.weigh_group::<V, 4, 4>(&mut q, from, to, weights),
                    (3, true) => self.weigh_group::<V, 3, 4>(&mut q, from, to, weights),
                    (6.., false) => self.weigh_group::<V, 6, 1>(&mut q, from, to, weights),
                    (4.., false) => self.weigh_group::<V, 4, 1>(&mut q, from, to, weights),
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
            let values = self.values.add(d);
            for position in from..to {
                let value = values.add(position * stride);
                let v = load::<V, E, N, WHOLE>(value, n);
                prefetch::<V, E, N>(value.wrapping_add(VALUES_AHEAD * stride));
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
        let inverse = 1.0 / self.sums[i];
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

/// `N` whole vectors of a value row, or one of `n` dimensions.
#[inline(always)]
unsafe fn load<V: Lanes, E: Element, const N: usize, const WHOLE: bool>(
    row: *const E::Stored,
    n: usize,
) -> [V; N] {
    // SAFETY: the caller's promises.
    unsafe {
        let mut v = [V::splat(0.0); N];
        for (j, v) in v.iter_mut().enumerate() {
            *v = if WHOLE { E::load(row.add(16 * j)) } else { E::load_first(row, n) };
        }
        v
    }
}

/// Asks for the cache lines of `N` vectors.
#[inline(always)]
unsafe fn prefetch<V: Lanes, E: Element, const N: usize>(row: *const E::Stored) {
    for line in 0..(N * 16 * size_of::<E::Stored>()).div_ceil(64) {
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
