//! The forward pass: token ids in, logits out. Read it top to bottom; t is the number of tokens
//! that go through together, and a comment gives the shape of what a line makes.

use core::ops::Range;

use mote_kernels::{Attend, CHUNK, KEY_TILE, Matrix, Precision, attend_part_len, rope_angles};

use crate::cache::{Element, tiles};
use crate::config::Config;
use crate::engine::{Engine, Heads, Norm, add, quantized};
use crate::executor::{Chunks, Outputs, Planes, for_each, for_each_in_runs};
use crate::plan::{Buffers, PlaneBuffers, Store};
use crate::weights::{Layer, Slot, Weights};

/// Query tokens that one item of attention takes.
const ATTENTION_TOKENS: usize = 16;

/// What every step of a pass sees.
pub(crate) struct Pass<'p> {
    pub config: &'p Config,
    pub weights: &'p Weights<'p>,
    pub engine: Engine<'p>,
    /// Position of the first token.
    pub first: usize,
    /// Bits of the tokens' activations.
    pub precision: Precision,
}

impl Pass<'_> {
    /// Runs `tokens` through all layers: their keys and values go into the cache, the final states
    /// of those from index `wanted` on into their rows of `b.x` (t, n_embd). `go_on` is asked before
    /// every layer; returns whether it never said no.
    pub fn layers(
        &mut self,
        tokens: &[u32],
        wanted: usize,
        store: &mut Store<'_>,
        b: &mut Buffers<'_>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> bool {
        let (c, weights, t) = (self.config, self.weights, tokens.len());
        let x = &mut b.x[..t * c.n_embd]; // (t, n_embd)
        self.embed(tokens, x);
        self.angles(t, b.frequencies, b.cos, b.sin);
        for index in 0..c.n_layers {
            if !go_on() {
                return false;
            }
            let w = weights.layer(index);

            // Attention: what do the tokens before say about this one?
            let qkv = [w.matrix(Slot::Q), w.matrix(Slot::K), w.matrix(Slot::V)];
            let norm = self.norm(w.vector(Slot::AttentionNorm), w.vector(Slot::AttentionNormBias));
            let planes = self.planes(&mut b.planes, &qkv, t);
            let input = self.engine.normalize(x, norm, &mut b.normed[..t * c.n_embd], planes);
            let q = &mut b.q[..t * c.q_dim()]; // (t, n_heads * head_dim)
            let k = &mut b.k[..t * c.kv_dim()]; // (t, n_kv_heads * head_dim)
            let v = &mut b.v[..t * c.kv_dim()]; // (t, n_kv_heads * head_dim)
            self.engine.project(qkv, &input, [q, k, v]);
            let angles = self.layer_angles(index, t, b.cos, b.sin);
            match store {
                Store::F32 { keys, values } => {
                    self.remember(index, &w, (q, k, v), angles, keys, values)
                }
                Store::F16 { keys, values } => {
                    self.remember(index, &w, (q, k, v), angles, keys, values)
                }
            }
            // Behind the cache, the last layer matters only for the tokens whose states are wanted.
            let from = if index + 1 == c.n_layers { wanted } else { 0 };
            let t = t - from;
            if t == 0 {
                return true;
            }
            let (x, q) = (&mut x[from * c.n_embd..], &q[from * c.q_dim()..]);
            let attention = &mut b.attention[..t * c.q_dim()]; // (t, n_heads * head_dim)
            self.attend(index, self.first + from, q, store, attention, b.parts);
            let o = w.matrix(Slot::O);
            let planes = self.planes(&mut b.planes, &[o], t);
            let input = self.engine.quantize(c.q_dim(), attention, planes);
            let branch = &mut b.branch[..t * c.n_embd]; // (t, n_embd)
            self.engine.project([o], &input, [branch]);
            let norm = w.vector(Slot::PostAttentionNorm).map(|norm| self.norm(Some(norm), None));
            self.engine.add_branch(c.n_embd, x, branch, w.vector(Slot::OBias), norm);

            // Feed-forward: what does this token's state call up?
            let up_gate = [w.matrix(Slot::Up), w.matrix(Slot::Gate)];
            let norm = self.norm(w.vector(Slot::FfnNorm), w.vector(Slot::FfnNormBias));
            let planes = self.planes(&mut b.planes, &up_gate, t);
            let input = self.engine.normalize(x, norm, &mut b.normed[..t * c.n_embd], planes);
            let up = &mut b.up[..t * c.n_ff]; // (t, n_ff)
            let (down, bias) = (w.matrix(Slot::Down), w.vector(Slot::UpBias));
            let input = if c.gated {
                let gate = &mut b.gate[..t * c.n_ff]; // (t, n_ff)
                self.engine.project(up_gate, &input, [up, gate]);
                let planes = self.planes(&mut b.planes, &[down], t);
                let biases = (w.vector(Slot::GateBias), bias);
                self.engine.gate(c.gate, gate, up, biases, (c.n_ff, planes))
            } else {
                self.engine.project([up_gate[0]], &input, [up]);
                let planes = self.planes(&mut b.planes, &[down], t);
                self.engine.activate(c.gate, up, bias, (c.n_ff, planes))
            };
            self.engine.project([down], &input, [branch]);
            let norm = w.vector(Slot::PostFfnNorm).map(|norm| self.norm(Some(norm), None));
            self.engine.add_branch(c.n_embd, x, branch, w.vector(Slot::DownBias), norm);
        }
        true
    }

    /// Logits of tokens `from..from + n` of the last [`Pass::layers`] into `b.logits` (n, n_vocab).
    pub fn head(&mut self, from: usize, n: usize, b: &mut Buffers<'_>) {
        let (c, output) = (self.config, self.weights.output());
        let x = &mut b.x[from * c.n_embd..(from + n) * c.n_embd]; // (n, n_embd)
        let normed = &mut b.normed[..n * c.n_embd]; // (n, n_embd)
        let planes = self.planes(&mut b.planes, &[output], n);
        let (weight, bias) = self.weights.output_norm();
        let input = self.engine.normalize(x, self.norm(weight, bias), normed, planes);
        let logits = &mut b.logits[..n * c.n_vocab]; // (n, n_vocab)
        self.engine.project([output], &input, [&mut *logits]);
        if let Some(bias) = self.weights.output_bias() {
            self.engine.add_bias(logits, bias);
        }
    }

    /// A norm of the residual stream. That its weights are there was checked when the model was read.
    fn norm<'a>(&self, weight: Option<&'a [f32]>, bias: Option<&'a [f32]>) -> Norm<'a> {
        let (weight, bias) = (weight.unwrap_or_default(), bias.unwrap_or_default());
        Norm { kind: self.config.norm, weight, bias }
    }

    /// Room for the quantised input of matrices, if any of them needs it.
    fn planes<'a>(
        &self,
        buffers: &'a mut PlaneBuffers<'_>,
        matrices: &[Matrix<'_>],
        t: usize,
    ) -> Option<Planes<'a>> {
        let k = matrices.first().map_or(0, Matrix::cols);
        quantized(matrices).then(|| buffers.of(t, k, self.precision))
    }

    /// Each token's row of the embedding, and that of its position where the model has one.
    fn embed(&mut self, tokens: &[u32], x: &mut [f32]) {
        let (embedding, scale) = (self.weights.embedding(), self.config.embedding_scale);
        let (positions, first) = (self.weights.positions(), self.first);
        let parts = Chunks::new(x, self.config.n_embd);
        for_each(self.engine.crew, self.engine.scratch, parts, |i, row, spare| {
            embedding.decode_row(tokens[i] as usize, row);
            if scale != 1.0 {
                row.iter_mut().for_each(|v| *v *= scale);
            }
            if let Some(positions) = positions {
                let spare = &mut spare[..row.len()];
                positions.decode_row(first + i, spare);
                add(row, Some(spare));
            }
        });
    }

    /// Cosines and sines of every token's position, for each kind of layer.
    fn angles(&mut self, t: usize, frequencies: &[f64], cos: &mut [f32], sin: &mut [f32]) {
        let (pairs, first) = (self.config.rope.dims / 2, self.first);
        let n = frequencies.len() * t;
        let parts = (Chunks::new(&mut cos[..n], pairs), Chunks::new(&mut sin[..n], pairs));
        for_each(self.engine.crew, self.engine.scratch, parts, |i, (cos, sin), _| {
            let (kind, token) = (i / t, i % t);
            rope_angles(first + token, &frequencies[kind * pairs..][..pairs], cos, sin);
        });
    }

    /// The angles (t, rope dims / 2) of one layer's kind.
    fn layer_angles<'a>(
        &self,
        layer: usize,
        t: usize,
        cos: &'a mut [f32],
        sin: &'a mut [f32],
    ) -> (&'a mut [f32], &'a mut [f32]) {
        let n = t * self.config.rope.dims / 2;
        let kind = usize::from(self.config.window(layer).is_some());
        (&mut cos[kind * n..(kind + 1) * n], &mut sin[kind * n..(kind + 1) * n])
    }

    /// Bias, norm and rotation of queries and keys; keys and values into the layer's cache.
    fn remember<T: Element>(
        &mut self,
        layer: usize,
        w: &Layer<'_>,
        (q, k, v): (&mut [f32], &mut [f32], &mut [f32]),
        (cos, sin): (&mut [f32], &mut [f32]),
        keys: &mut [T],
        values: &mut [T],
    ) {
        let (c, first, kernels) = (self.config, self.first, self.engine.kernels);
        let (q_dim, kv_dim, pairs) = (c.q_dim(), c.kv_dim(), c.rope.dims / 2);
        let t = v.len() / kv_dim;
        let n = keys.len() / c.n_layers;
        let (keys, values) = (&mut keys[layer * n..][..n], &mut values[layer * n..][..n]);
        let heads = |bias, norm| Heads {
            kernels,
            head_dim: c.head_dim,
            bias: w.vector(bias),
            norm: w.vector(norm),
            norm_epsilon: c.norm_epsilon,
            layout: c.rope.layout,
        };
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
                let values = &mut values[(start + i) * kv_dim..][..kv_dim];
                T::store(kernels, start + i, (k, v), keys, values, spare);
            }
        });
    }

    /// Every query head's weighted sum of the values that its token sees, the first of which stands
    /// at position `first`.
    fn attend(
        &mut self,
        layer: usize,
        first: usize,
        q: &[f32],
        store: &Store<'_>,
        attention: &mut [f32],
        chunk_parts: &mut [f32],
    ) {
        let (c, kernels) = (self.config, self.engine.kernels);
        let t = q.len() / c.q_dim();
        let (keys, values) = store.layer(layer, c.n_layers);
        let heads = c.n_heads / c.n_kv_heads;
        let window = c.window(layer).map_or(usize::MAX, |window| window.size);
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
            window,
            scale: c.attention_scale,
        };
        // The chunks of positions that the first token sees.
        let chunks = (first + 1).saturating_sub(window) / CHUNK..first / CHUNK + 1;
        if t == 1 && chunks.len() > 1 && !chunk_parts.is_empty() {
            return self.attend_by_chunks(chunks, chunk_parts, attention, |kv| job(0, 1, kv));
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
                kernels.merge_chunks(&parts[from..to], stride, out);
            }
        });
    }
}

/// A matrix of `width` floats a token, cut where tiles of keys begin: `lead` tokens, then 16 each.
fn cut(rows: &mut [f32], lead: usize, width: usize) -> Chunks<'_, f32> {
    Chunks::with_first(rows, lead * width, KEY_TILE * width)
}
