//! What tokens say to each other: positions, the cache, scores and sums of values.

use core::ops::Range;

use mote_kernels::{Attend, KEY_TILE, attend_part_len, rope_angles};

use super::Pass;
use crate::cache::{Element, tiles};
use crate::engine::{Heads, add, clamp};
use crate::executor::{Chunks, Outputs, for_each, for_each_in_runs};
use crate::plan::Store;
use crate::weights::{Layer, Slot};

/// Query tokens that one item takes.
const ATTENTION_TOKENS: usize = 16;

impl Pass<'_> {
    /// Cosines and sines of every token's position, for each kind of layer.
    pub(super) fn angles(
        &mut self,
        t: usize,
        frequencies: &[f64],
        cos: &mut [f32],
        sin: &mut [f32],
    ) {
        let (c, first) = (self.config, self.first);
        let pairs = c.rope.dims / 2;
        let windowed = c.window.map_or(c.rope.magnitude, |window| window.rope.magnitude);
        let n = frequencies.len() * t;
        let parts = (Chunks::new(&mut cos[..n], pairs), Chunks::new(&mut sin[..n], pairs));
        for_each(self.engine.crew, self.engine.scratch, parts, |i, (cos, sin), _| {
            let (kind, token) = (i / t, i % t);
            let magnitude = if kind == 0 { c.rope.magnitude } else { windowed };
            let frequencies = &frequencies[kind * pairs..][..pairs];
            rope_angles(first + token, frequencies, magnitude, cos, sin);
        });
    }

    /// The angles (t, rope dims / 2) of one layer's kind, if it has any.
    pub(super) fn layer_angles<'a>(
        &self,
        layer: usize,
        t: usize,
        cos: &'a mut [f32],
        sin: &'a mut [f32],
    ) -> (&'a mut [f32], &'a mut [f32]) {
        let n = t * self.config.rope_pairs(layer);
        let kind = usize::from(self.config.window(layer).is_some());
        (&mut cos[kind * n..(kind + 1) * n], &mut sin[kind * n..(kind + 1) * n])
    }

    /// Bias, norm and rotation of queries and keys; keys and values into the layer's cache.
    pub(super) fn remember<T: Element>(
        &mut self,
        layer: usize,
        w: &Layer<'_>,
        (q, k, v): (&mut [f32], &mut [f32], &mut [f32]),
        (cos, sin): (&mut [f32], &mut [f32]),
        keys: &mut [T],
        values: &mut [T],
    ) {
        let (c, first, kernels) = (self.config, self.first, self.engine.kernels);
        let (q_dim, kv_dim, pairs) = (c.q_dim(), c.kv_dim(), c.rope_pairs(layer));
        let t = v.len() / kv_dim;
        let (n, place) = (keys.len() / c.n_attending(), c.attending(layer));
        let (keys, values) = (&mut keys[place * n..][..n], &mut values[place * n..][..n]);
        let heads =
            |bias, norm| Heads { kernels, config: c, bias: w.vector(bias), norm: w.vector(norm) };
        let queries = heads(Slot::QBias, Slot::QNorm);
        let key_heads = heads(Slot::KBias, Slot::KNorm);
        let value_bias = w.vector(Slot::VBias);
        // Tokens go together that share a tile of keys.
        let lead = (KEY_TILE - first % KEY_TILE).min(t);
        let angles = (pairs > 0).then(|| (cut(cos, lead, pairs), cut(sin, lead, pairs)));
        let parts = (
            (cut(q, lead, q_dim), (cut(k, lead, kv_dim), cut(v, lead, kv_dim))),
            (angles, tiles(keys, values, (first, t), kv_dim)),
        );
        for_each(self.engine.crew, self.engine.scratch, parts, |item, part, spare| {
            let ((q, (k, v)), (angles, (keys, values))) = part;
            let (cos, sin) = angles.unwrap_or_default();
            // Only the first part may begin within a tile.
            let start = if item == 0 { first % KEY_TILE } else { 0 };
            for i in 0..v.len() / kv_dim {
                let (cos, sin) = (&cos[i * pairs..][..pairs], &sin[i * pairs..][..pairs]);
                let (k, v) = (&mut k[i * kv_dim..][..kv_dim], &mut v[i * kv_dim..][..kv_dim]);
                queries.prepare(&mut q[i * q_dim..][..q_dim], cos, sin, spare);
                key_heads.prepare(k, cos, sin, spare);
                add(v, value_bias);
                clamp(v, c.qkv_clamp);
                let values = &mut values[(start + i) * T::row(kv_dim)..][..T::row(kv_dim)];
                T::store(kernels, start + i, (k, v), keys, values, spare);
            }
        });
    }

    /// Every query head's weighted sum of the values that its token sees, the first of which stands
    /// at position `first`.
    pub(super) fn attend(
        &mut self,
        (layer, first): (usize, usize),
        q: &[f32],
        store: &Store<'_>,
        (slopes, sinks): (&[f32], &[f32]),
        attention: &mut [f32],
        chunk_parts: &mut [f32],
    ) {
        let (c, kernels) = (self.config, self.engine.kernels);
        let t = q.len() / c.q_dim();
        let (keys, values) = store.layer(c.attending(layer), c.n_attending());
        let heads = c.n_heads / c.n_kv_heads;
        // An encoder's text goes through as a whole.
        let everything = (usize::MAX, if c.causal { 0 } else { usize::MAX });
        let (window, ahead) = c.window(layer).map_or(everything, |it| (it.size, it.ahead));
        let job = |token: usize, tokens: usize, kv_head: usize| Attend {
            queries: &q[token * c.q_dim() + kv_head * heads * c.head_dim..],
            query_stride: c.q_dim(),
            tokens,
            heads,
            head_dim: c.head_dim,
            keys,
            values,
            kv_heads: c.n_kv_heads,
            kv_head,
            first: first + token,
            ahead,
            end: first + t,
            window,
            scale: c.attention_scale,
            softcap: c.attention_softcap,
            slopes: slopes.get(kv_head * heads..(kv_head + 1) * heads).unwrap_or_default(),
            sinks: sinks.get(kv_head * heads..(kv_head + 1) * heads).unwrap_or_default(),
        };
        let chunks = job(0, 1, 0).chunks();
        if t == 1 && chunks.len() > 1 && !chunk_parts.is_empty() {
            let job = |kv_head| job(0, 1, kv_head);
            return self.attend_by_chunks(chunks, chunk_parts, sinks, attention, job);
        }
        let parts = Outputs::new(t, ATTENTION_TOKENS, [attention], [heads * c.head_dim]);
        for_each(self.engine.crew, self.engine.scratch, parts, |_, mut out, scratch| {
            let kv_head = out.row / (heads * c.head_dim);
            let job = job(out.token, out.tile.tokens(), kv_head);
            kernels.attend(&job, &mut out.tile, scratch);
        });
    }

    /// The same for one token, each chunk an item: a long context keeps all threads at work, however
    /// few key-value heads there are. `parts` becomes (chunks, n_heads, part).
    fn attend_by_chunks<'a>(
        &mut self,
        chunks: Range<usize>,
        parts: &mut [f32],
        sinks: &[f32],
        attention: &mut [f32],
        job: impl Fn(usize) -> Attend<'a> + Sync,
    ) {
        let (c, kernels) = (self.config, self.engine.kernels);
        let heads = c.n_heads / c.n_kv_heads;
        let part = attend_part_len(c.head_dim);
        let stride = c.n_heads * part;
        let parts = &mut parts[..chunks.len() * stride];
        let items = Chunks::new(parts, heads * part);
        for_each_in_runs(self.engine.crew, self.engine.scratch, items, |i, parts, scratch| {
            let (chunk, kv_head) = (chunks.start + i / c.n_kv_heads, i % c.n_kv_heads);
            kernels.attend_chunk(&job(kv_head), chunk, parts, scratch);
        });
        let parts = &*parts;
        let items = Chunks::new(attention, heads * c.head_dim);
        for_each(self.engine.crew, self.engine.scratch, items, |kv_head, out, _| {
            for (head, out) in out.chunks_exact_mut(c.head_dim).enumerate() {
                let from = (kv_head * heads + head) * part;
                let to = parts.len() - stride + from + part;
                let sink = sinks.get(kv_head * heads + head).copied();
                kernels.merge_chunks(&parts[from..to], stride, sink, out);
            }
        });
    }
}

/// A matrix of `width` floats a token, cut where tiles of keys begin: `lead` tokens, then 16 each.
fn cut(rows: &mut [f32], lead: usize, width: usize) -> Chunks<'_, f32> {
    Chunks::with_first(rows, lead * width, KEY_TILE * width)
}
