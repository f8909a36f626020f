//! Attention. Cells that no query may visit hold NaN: one visit too many shows in the output.

use std::ops::Range;

use mote_kernels::{
    Attend, CHUNK, Cache, CacheType, KEY_TILE, Kernels, Q8_BLOCK, Q8_BYTES, Tile, arch,
    attend_part_len, attend_scratch_len,
};
use mote_tests::equal::assert_same_bits;
use mote_tests::guard::Guarded;
use mote_tests::random::Random;

use super::scalar;

struct Shape {
    tokens: usize,
    heads: usize,
    head_dim: usize,
    kv_heads: usize,
    first: usize,
    /// Positions behind its own that a query sees.
    ahead: usize,
    /// Positions behind the last query.
    more: usize,
    window: usize,
    /// Whether a key and a value hold NaN: then only the tokens that see them may show it.
    poisoned: bool,
}

/// Queries that see the past alone.
const CAUSAL: Shape = Shape {
    tokens: 1,
    heads: 1,
    head_dim: 32,
    kv_heads: 2,
    first: 0,
    ahead: 0,
    more: 0,
    window: ALL,
    poisoned: false,
};

impl Shape {
    /// The positions that the queries see, one or the other.
    fn seen(&self) -> Range<usize> {
        let reach = |position: usize| (position + 1).saturating_add(self.ahead);
        let (first, last) = (reach(self.first), reach(self.first + self.tokens - 1));
        first.saturating_sub(self.window)..last.min(self.positions())
    }

    fn positions(&self) -> usize {
        self.first + self.tokens + self.more
    }
}

/// All forms of one cache; the others are rounded from the wide one. A block of codes has the scale
/// NaN if any of its values is not finite.
struct Values {
    wide: Guarded<f32>,
    half: Guarded<u16>,
    codes: Guarded<u8>,
}

impl Values {
    /// Of 32 dimensions × `lanes` positions each: a tile's or a single one.
    fn new(wide: &[f32], lanes: usize) -> Self {
        let mut half = vec![0; wide.len()];
        scalar().narrow(wide, &mut half);
        let blocks = wide.chunks_exact(Q8_BLOCK * lanes).flat_map(|block| coded(block, lanes));
        let codes: Vec<u8> = blocks.collect();
        Values { wide: Guarded::new(wide), half: Guarded::new(&half), codes: Guarded::new(&codes) }
    }

    fn cache(&self, kind: CacheType) -> Cache<'_> {
        match kind {
            CacheType::F32 => Cache::F32(self.wide.as_slice()),
            CacheType::F16 => Cache::F16(self.half.as_slice()),
            CacheType::Q8_0 => Cache::Q8_0(self.codes.as_slice()),
        }
    }
}

/// A block of 32 dimensions × lanes: the lanes' scales, then the codes.
fn coded(block: &[f32], lanes: usize) -> Vec<u8> {
    let scale = |lane: usize| {
        let values = block.iter().skip(lane).step_by(lanes);
        let largest =
            values.fold(0.0, |m: f32, v| if v.abs() <= m || m.is_nan() { m } else { v.abs() });
        let mut half = [0];
        let scale = if largest.is_finite() { largest / 127.0 } else { f32::NAN };
        scalar().narrow(&[scale], &mut half);
        (half[0], 127.0 / largest)
    };
    let scales: Vec<_> = (0..lanes).map(scale).collect();
    let mut bytes: Vec<u8> = scales.iter().flat_map(|(half, _)| half.to_le_bytes()).collect();
    // Of NaN and of infinite products the code is 0.
    let code = |(i, v): (usize, &f32)| (v * scales[i % lanes].1) as i8 as u8;
    bytes.extend(block.iter().enumerate().map(code));
    assert_eq!(bytes.len(), Q8_BYTES * lanes);
    bytes
}

/// Keys and values, finite only where some query of `shape` looks.
fn caches(shape: &Shape, kv_head: usize, random: &mut Random) -> (Values, Values) {
    let positions = shape.positions();
    let row = shape.kv_heads * shape.head_dim;
    let mut keys = vec![f32::NAN; positions.next_multiple_of(KEY_TILE) * row];
    let mut values = vec![f32::NAN; positions * row];
    for position in shape.seen() {
        let tile = (position / KEY_TILE * shape.kv_heads + kv_head) * shape.head_dim * KEY_TILE;
        for d in 0..shape.head_dim {
            keys[tile + d * KEY_TILE + position % KEY_TILE] = random.normal();
            values[position * row + kv_head * shape.head_dim + d] = random.normal();
        }
    }
    if shape.poisoned {
        // Near either end of what the queries see, where not all of them look.
        let start = (shape.first + 1).saturating_sub(shape.window);
        let end = positions - random.below(shape.tokens) - 1;
        let position = [end, (start + random.below(shape.tokens)).min(end)][random.below(2)];
        if random.below(2) == 0 {
            let tile = (position / KEY_TILE * shape.kv_heads + kv_head) * shape.head_dim * KEY_TILE;
            keys[tile + position % KEY_TILE] = f32::NAN;
        } else {
            values[position * row + kv_head * shape.head_dim] = f32::INFINITY;
        }
    }
    (Values::new(&keys, KEY_TILE), Values::new(&values, 1))
}

fn check(shape: &Shape) {
    let mut random = Random::new((shape.first * 31 + shape.head_dim) as u64);
    let kv_head = random.below(shape.kv_heads);
    let (keys, values) = caches(shape, kv_head, &mut random);
    let row = shape.heads * shape.head_dim;
    let query_stride = row + [0, 16][random.below(2)];
    let length = (shape.tokens - 1) * query_stride + row;
    // Large queries make some probabilities vanish, and very large ones scores infinite.
    let large = [1.0, 8.0, 1.0, 3e38][random.below(if shape.poisoned { 4 } else { 2 })];
    let queries: Vec<_> = random.normals(length).iter().map(|q| q * large).collect();
    let queries = Guarded::new(&queries);
    // Half of all jobs have none of these.
    let softcap = [0.0, 0.0, 0.0, 2.5][random.below(4)];
    let (with_slopes, with_sinks) = (random.below(4) == 0, random.below(4) == 0);
    let [slopes, mut sinks] = [(); 2].map(|_| random.normals(shape.heads));
    let size = [1.0, 100.0, 1e38, f32::INFINITY][random.below(if shape.poisoned { 4 } else { 3 })];
    sinks.iter_mut().for_each(|sink| *sink *= size);
    let kinds = [CacheType::F32, CacheType::F16, CacheType::Q8_0].into_iter();
    for kind in kinds.filter(|kind| shape.head_dim.is_multiple_of(kind.block())) {
        let job = Attend {
            queries: queries.as_slice(),
            query_stride,
            tokens: shape.tokens,
            heads: shape.heads,
            head_dim: shape.head_dim,
            keys: keys.cache(kind),
            values: values.cache(kind),
            kv_heads: shape.kv_heads,
            kv_head,
            first: shape.first,
            ahead: shape.ahead,
            end: shape.positions(),
            window: shape.window,
            scale: 1.0 / (shape.head_dim as f32).sqrt(),
            softcap,
            slopes: if with_slopes { &slopes } else { &[] },
            sinks: if with_sinks { &sinks } else { &[] },
        };
        let want = run(scalar(), &job);
        assert!(
            shape.poisoned || want.iter().all(|v| v.is_finite()),
            "the scalar one left its cells"
        );
        for by in arch::available() {
            let got = run(by, &job);
            assert_same_bits(&got, &want, || {
                let Shape { tokens, heads, head_dim, kv_heads, first, ahead, window, .. } = shape;
                format!(
                    "{} {kind:?}: tokens {tokens}, heads {heads}, head_dim {head_dim}, \
                     kv_heads {kv_heads}, first {first}, ahead {ahead}, window {window}",
                    by.name()
                )
            });
        }
        // Each token alone gives what it gave among the others.
        if let Some(t) = shape.tokens.checked_sub(2) {
            let queries = &job.queries[t * query_stride..];
            let alone = Attend { queries, tokens: 1, first: shape.first + t, ..job };
            for by in arch::available() {
                assert_same_bits(&run(by, &alone), &want[t * row..][..row], || {
                    format!("{} token {t} alone", by.name())
                });
                assert_same_bits(&run_by_chunks(by, &alone), &want[t * row..][..row], || {
                    format!("{} token {t} alone, by chunks", by.name())
                });
            }
        }
    }
}

fn run(by: &Kernels, job: &Attend<'_>) -> Vec<f32> {
    let row = job.heads * job.head_dim;
    let mut out = Guarded::new(&vec![f32::MAX; job.tokens * row]);
    let mut scratch = Guarded::new(&vec![f32::NAN; attend_scratch_len(job.head_dim)]);
    let mut tile = Tile::new(out.as_mut_slice(), job.tokens, row);
    by.attend(job, &mut tile, scratch.as_mut_slice());
    out.as_slice().to_vec()
}

/// The chunks of a single token one by one, the last one first, then merged.
fn run_by_chunks(by: &Kernels, job: &Attend<'_>) -> Vec<f32> {
    let reach = (job.first + 1).saturating_add(job.ahead);
    let chunks = reach.saturating_sub(job.window) / CHUNK..reach.min(job.end).div_ceil(CHUNK);
    let part = attend_part_len(job.head_dim);
    let stride = job.heads * part;
    let mut parts = Guarded::new(&vec![f32::MAX; chunks.len() * stride]);
    let mut scratch = Guarded::new(&vec![f32::NAN; attend_scratch_len(job.head_dim)]);
    for (parts, chunk) in parts.as_mut_slice().chunks_exact_mut(stride).zip(chunks).rev() {
        by.attend_chunk(job, chunk, parts, scratch.as_mut_slice());
    }
    let mut out = Guarded::new(&vec![f32::MAX; job.heads * job.head_dim]);
    for (head, out) in out.as_mut_slice().chunks_exact_mut(job.head_dim).enumerate() {
        let (from, to) = (head * part, parts.as_slice().len() - stride + (head + 1) * part);
        let sink = job.sinks.get(head).copied();
        by.merge_chunks(&parts.as_slice()[from..to], stride, sink, out);
    }
    out.as_slice().to_vec()
}

const ALL: usize = usize::MAX;

/// First positions around tiles of 16 and around the chunk border at 256.
#[test]
fn attend_equals_scalar_around_borders() {
    for first in [0, 1, 7, 15, 16, 17, 31, 100, 254, 255, 256, 257, 511, 512, 520] {
        for (tokens, heads) in [(1, 1), (1, 5), (2, 17), (3, 3), (17, 1)] {
            for head_dim in [24, 32] {
                check(&Shape { tokens, heads, head_dim, first, ..CAUSAL });
            }
        }
    }
}

/// Windows that begin inside a tile, at a border, and before the start.
#[test]
fn attend_equals_scalar_with_windows() {
    for window in [1, 2, 15, 16, 17, 100, 255, 256, 257, 300] {
        for first in [0, 14, 240, 255, 256, 300] {
            check(&Shape { tokens: 5, heads: 2, kv_heads: 3, first, window, ..CAUSAL });
        }
    }
}

/// Every number of tokens and heads, in groups that kernels may take together or not.
#[test]
fn attend_equals_scalar_for_every_group() {
    for tokens in 1..=20 {
        for heads in 1..=5 {
            check(&Shape { tokens, heads, kv_heads: 1, first: 9, ..CAUSAL });
        }
    }
}

/// Head sizes of real models, and sizes that are no multiple of a vector or of four of them.
#[test]
fn attend_equals_scalar_for_every_head_size() {
    for head_dim in [2, 8, 12, 16, 20, 24, 40, 64, 72, 80, 96, 112, 128, 256, 512] {
        check(&Shape { tokens: 2, heads: 3, head_dim, first: 33, ..CAUSAL });
        check(&Shape { head_dim, kv_heads: 1, first: 256, window: 20, ..CAUSAL });
    }
}

/// Queries of an encoder: all that there is, and windows that reach to both sides.
#[test]
fn attend_equals_scalar_where_queries_see_what_comes() {
    for (ahead, window) in [(ALL, ALL), (1, 2), (7, 15), (16, 33), (64, 129), (300, 400)] {
        for (first, more) in [(0, 0), (0, 300), (5, 1), (16, 250), (240, 17), (300, 0)] {
            for (tokens, heads) in [(1, 3), (5, 2), (16, 1), (20, 1)] {
                check(&Shape { tokens, heads, first, ahead, more, window, ..CAUSAL });
            }
        }
    }
}

/// Infinities and NaN that only some tokens see stay with those: a probability of zero is no
/// substitute for not looking.
#[test]
fn attend_keeps_what_a_token_may_not_see_from_it() {
    for (tokens, heads) in [(2, 1), (3, 3), (6, 2), (16, 1), (20, 1)] {
        for window in [5, 16, 100, ALL] {
            for first in [0, 13, 250, 256, 300] {
                for head_dim in [16, 32, 40] {
                    let poisoned = true;
                    check(&Shape { tokens, heads, head_dim, first, window, poisoned, ..CAUSAL });
                }
            }
        }
    }
}
