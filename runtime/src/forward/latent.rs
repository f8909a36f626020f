//! Multi-head latent attention (DeepSeek-AI 2024): all heads' keys and values are made of one narrow
//! vector a token, and that vector is what the cache holds.
//!
//! A score is q·(K c) for a head's query q, its matrix K and the vector c, which is (Kᵀq)·c. So the query
//! goes through the head's matrix once, and attention is that of many query heads over one key-value
//! head, whose key is what turns (the same for all heads), then c, and whose value is c. Each head's sum of
//! those goes through its matrix for values.

use core::ops::Range;

use mote_kernels::{Matrix, Rows};

use super::Pass;
use crate::config::{Config, Latent};
use crate::engine::Engine;
use crate::executor::{Chunks, Outputs, for_each, for_each_in_runs};
use crate::observe::{Site, tell};
use crate::plan::Buffers;
use crate::weights::{Layer, Slot};

impl Pass<'_> {
    /// Queries of `t` tokens into `b.q` (t, n_heads * head_dim), their keys into `b.k` (t, head_dim), their
    /// values into `b.v`, nothing turned yet.
    pub(super) fn latent_queries_keys_values(
        &mut self,
        (layer, w): (usize, &Layer<'_>),
        latent: &Latent,
        t: usize,
        b: &mut Buffers<'_>,
    ) {
        let (c, kernels) = (self.config, self.engine.kernels);
        let turning = c.head_dim - latent.key_value;
        let norm = self.mixer_norm(w);
        let kv_a = w.matrix(Slot::LatentKeyValue);
        let made = &mut b.v[..t * c.kv_dim()]; // (t, key_value + turning)
        let heads = &mut b.heads[..t * latent.projected(c)]; // (t, n_heads * (still + turning))
        if latent.query > 0 {
            let (low, normed) = b.low_rank.split_at_mut(b.low_rank.len() / 2);
            let n = t * latent.query;
            let (low, normed) = (&mut low[..n], &mut normed[..n]); // (t, query) each
            let (q_a, q_b) = (w.matrix(Slot::LatentQuery), w.matrix(Slot::LatentQueries));
            let input = self.branch_input(0..t, norm, &[q_a, kv_a], (b.x, b.normed, &mut b.planes));
            tell(&mut self.observer, Site::Attention, layer, &input);
            self.engine.project([q_a, kv_a], &input, [&mut *low, &mut *made]);
            let planes = self.planes(&mut b.planes, &[q_b], t);
            let weight = w.vector(Slot::LatentQueryNorm).unwrap_or_default();
            let input = self.engine.normalize_with(low, (weight, latent.epsilon), normed, planes);
            tell(&mut self.observer, Site::LatentQueries, layer, &input);
            self.engine.project([q_b], &input, [&mut *heads]);
        } else {
            let q = w.matrix(Slot::Q);
            let input = self.branch_input(0..t, norm, &[q, kv_a], (b.x, b.normed, &mut b.planes));
            tell(&mut self.observer, Site::Attention, layer, &input);
            self.engine.project([q, kv_a], &input, [&mut *heads, &mut *made]);
        }

        // What turns goes to the front of every head.
        let weight = w.vector(Slot::LatentKeyValueNorm).unwrap_or_default();
        let (head, width) = (latent.still + turning, latent.projected(c));
        let heads = &*heads;
        let (q, k) = (&mut b.q[..t * c.q_dim()], &mut b.k[..t * c.kv_dim()]);
        let parts = (Chunks::new(q, c.q_dim()), Chunks::new(k, c.kv_dim()));
        let parts = (parts, Chunks::new(made, c.kv_dim()));
        for_each(self.engine.crew, self.engine.scratch, parts, |token, ((q, k), made), _| {
            let from = heads[token * width..][..width].chunks_exact(head);
            for (q, from) in q.chunks_exact_mut(c.head_dim).zip(from) {
                q[..turning].copy_from_slice(&from[latent.still..]);
            }
            let (narrow, turned) = made.split_at(latent.key_value);
            k[..turning].copy_from_slice(turned);
            kernels.rms_norm(narrow, weight, latent.epsilon, &mut k[turning..]);
            made.copy_from_slice(k);
        });
        // What does not turn goes through its head's matrix.
        let still = &mut b.by_head[..c.n_heads * t * latent.still]; // (n_heads, t, still)
        gather(&mut self.engine, still, latent.still, t, |head_index, token| {
            &heads[token * width + head_index * head..][..latent.still]
        });
        let k_b = w.matrix(Slot::LatentKeys);
        let planes = self.planes(&mut b.planes, &[k_b], c.n_heads * t);
        let input = self.engine.quantize(latent.still, still, planes);
        let q = &mut b.q[..t * c.q_dim()];
        project_by_head(&mut self.engine, c, k_b, &input, turning, q);
    }

    /// What attention gave for some of the tokens, `b.attention` (t, n_heads * head_dim), becomes the heads'
    /// values, `b.heads` (t, n_heads * value).
    pub(super) fn latent_values(
        &mut self,
        w: &Layer<'_>,
        latent: &Latent,
        tokens: Range<usize>,
        b: &mut Buffers<'_>,
    ) {
        let (c, t) = (self.config, tokens.len());
        let turning = c.head_dim - latent.key_value;
        let by_head = &mut b.by_head[..c.n_heads * t * latent.key_value]; // (n_heads, t, key_value)
        let attention = &*b.attention;
        gather(&mut self.engine, by_head, latent.key_value, t, |head, token| {
            &attention[token * c.q_dim() + head * c.head_dim + turning..][..latent.key_value]
        });
        let v_b = w.matrix(Slot::LatentValues);
        let planes = self.planes(&mut b.planes, &[v_b], c.n_heads * t);
        let input = self.engine.quantize(latent.key_value, by_head, planes);
        let values = &mut b.heads[..t * c.n_heads * latent.value]; // (t, n_heads * value)
        project_by_head(&mut self.engine, c, v_b, &input, 0, values);
    }
}

/// `rows` (n_heads, t, width) of what `from(head, token)` gives.
fn gather<'a>(
    engine: &mut Engine<'_>,
    rows: &mut [f32],
    width: usize,
    t: usize,
    from: impl Fn(usize, usize) -> &'a [f32] + Sync,
) {
    for_each(engine.crew, engine.scratch, Chunks::new(rows, t * width), |head, rows, _| {
        for (token, row) in rows.chunks_exact_mut(width).enumerate() {
            row.copy_from_slice(from(head, token));
        }
    });
}

/// Each head's rows of `weights`, times its part of `input` (n_heads, t), into what follows the first
/// `skipped` floats of its part of `out` (t, n_heads * ...).
fn project_by_head(
    engine: &mut Engine<'_>,
    c: &Config,
    weights: Matrix<'_>,
    input: &Rows<'_>,
    skipped: usize,
    out: &mut [f32],
) {
    let (t, rows) = (input.tokens() / c.n_heads, weights.rows() / c.n_heads);
    let (kernels, width) = (engine.kernels, skipped + rows);
    let parts = Outputs::new(t, t, [out], [width]);
    for_each_in_runs(engine.crew, engine.scratch, parts, |_, mut out, scratch| {
        let head = out.row / width;
        let mut tile = out.tile.part(0, t, skipped, rows);
        kernels.matmul(
            &weights.part(head * rows, rows),
            &input.part(head * t, t),
            &mut tile,
            scratch,
        );
    });
}
