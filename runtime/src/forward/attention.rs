//! What tokens say to each other: positions, the cache, scores and sums of values.

use core::ops::Range;

use mote_kernels::{Attend, KEY_TILE, attend_part_len, rope_angles};

use super::Pass;
use crate::cache::{Element, place, tiles};
use crate::config::HeadSizes;
use crate::engine::{Heads, add, clamp, norm_values};
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
        let (c, first, most) = (self.config, self.first, self.config.most_rope_pairs());
        let windowed = c.window.map_or(c.rope, |window| window.rope);
        let n = frequencies.len() * t;
        let parts = (Chunks::new(&mut cos[..n], most), Chunks::new(&mut sin[..n], most));
        for_each(self.engine.crew, self.engine.scratch, parts, |i, (cos, sin), _| {
            let (kind, token) = (i / t, i % t);
            let rope = if kind == 0 { &c.rope } else { &windowed };
            let pairs = rope.dims / 2;
            let (cos, sin) = (&mut cos[..pairs], &mut sin[..pairs]);
            let frequencies = &frequencies[kind * most..][..pairs];
            rope_angles(first + token, frequencies, rope.magnitude, cos, sin);
        });
    }

    /// The angles (t, most rope pairs) of one layer's kind, if it has any.
    pub(super) fn layer_angles<'a>(
        &self,
        layer: usize,
        t: usize,
        cos: &'a mut [f32],
        sin: &'a mut [f32],
    ) -> (&'a mut [f32], &'a mut [f32]) {
        let turns = self.config.rope_pairs(layer) > 0;
        let n = if turns { t * self.config.most_rope_pairs() } else { 0 };
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
        let (q_dim, kv_dim, pairs) = (c.q_dim_of(layer), c.kv_dim_of(layer), c.rope_pairs(layer));
        let (t, stride, head_dim) =
            (v.len() / kv_dim, c.most_rope_pairs(), c.heads(layer).head_dim);
        let place = place::<T>(c, layer, keys.len());
        let (keys, values) = (&mut keys[place.clone()], &mut values[place]);
        let queries = self.heads(layer, w, (Slot::QBias, Slot::QNorm));
        let key_heads = self.heads(layer, w, (Slot::KBias, Slot::KNorm));
        let value_bias = w.vector(Slot::VBias);
        // Tokens go together that share a tile of keys.
        let lead = (KEY_TILE - first % KEY_TILE).min(t);
        let angles = (pairs > 0).then(|| (cut(cos, lead, stride), cut(sin, lead, stride)));
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
                let at = if pairs > 0 { i * stride } else { 0 };
                let (cos, sin) = (&cos[at..][..pairs], &sin[at..][..pairs]);
                let (k, v) = (&mut k[i * kv_dim..][..kv_dim], &mut v[i * kv_dim..][..kv_dim]);
                queries.prepare(&mut q[i * q_dim..][..q_dim], cos, sin, spare);
                key_heads.prepare(k, cos, sin, spare);
                add(v, value_bias);
                clamp(v, c.qkv_clamp);
                if c.value_norm {
                    norm_values(kernels, c.norm_epsilon, (head_dim, v), spare);
                }
                let values = &mut values[(start + i) * T::row(kv_dim)..][..T::row(kv_dim)];
                T::store(kernels, start + i, (k, v), keys, values, spare);
            }
        });
    }

    /// What makes queries or keys of a layer ready.
    fn heads<'a>(&self, layer: usize, w: &Layer<'a>, (bias, norm): (Slot, Slot)) -> Heads<'a>
    where
        Self: 'a,
    {
        Heads {
            kernels: self.engine.kernels,
            config: self.config,
            head_dim: self.config.heads(layer).head_dim,
            bias: w.vector(bias),
            norm: w.vector(norm),
        }
    }

    /// Bias, norm and rotation of queries alone, where there are no keys.
    pub(super) fn turn_queries(
        &mut self,
        layer: usize,
        w: &Layer<'_>,
        q: &mut [f32],
        (cos, sin): (&[f32], &[f32]),
    ) {
        let (c, pairs, stride) =
            (self.config, self.config.rope_pairs(layer), self.config.most_rope_pairs());
        let queries = self.heads(layer, w, (Slot::QBias, Slot::QNorm));
        let parts = Chunks::new(q, c.q_dim_of(layer));
        for_each(self.engine.crew, self.engine.scratch, parts, |i, q, spare| {
            let at = if pairs > 0 { i * stride } else { 0 };
            queries.prepare(q, &cos[at..][..pairs], &sin[at..][..pairs], spare);
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
        let HeadSizes { n_kv_heads, head_dim } = c.heads(layer);
        let (q_dim, heads) = (c.q_dim_of(layer), c.n_heads / n_kv_heads);
        let t = q.len() / q_dim;
        let (keys, values) = store.layer(c, layer);
        // An encoder's text goes through as a whole.
        let everything = (usize::MAX, if c.causal { 0 } else { usize::MAX });
        let (window, ahead) = c.window(layer).map_or(everything, |it| (it.size, it.ahead));
        let job = |token: usize, tokens: usize, kv_head: usize| Attend {
            queries: &q[token * q_dim + kv_head * heads * head_dim..],
            query_stride: q_dim,
            tokens,
            heads,
            head_dim,
            keys,
            values,
            kv_heads: n_kv_heads,
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
        let parts = Outputs::new(t, ATTENTION_TOKENS, [attention], [heads * head_dim]);
        for_each(self.engine.crew, self.engine.scratch, parts, |_, mut out, scratch| {
            let kv_head = out.row / (heads * head_dim);
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
        let (n_heads, kernels) = (self.config.n_heads, self.engine.kernels);
        let Attend { heads, head_dim, kv_heads, .. } = job(0);
        let part = attend_part_len(head_dim);
        let stride = n_heads * part;
        let parts = &mut parts[..chunks.len() * stride];
        let items = Chunks::new(parts, heads * part);
        for_each_in_runs(self.engine.crew, self.engine.scratch, items, |i, parts, scratch| {
            let (chunk, kv_head) = (chunks.start + i / kv_heads, i % kv_heads);
            kernels.attend_chunk(&job(kv_head), chunk, parts, scratch);
        });
        let parts = &*parts;
        let items = Chunks::new(attention, heads * head_dim);
        for_each(self.engine.crew, self.engine.scratch, items, |kv_head, out, _| {
            for (head, out) in out.chunks_exact_mut(head_dim).enumerate() {
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
