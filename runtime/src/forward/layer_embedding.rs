//! What a token means to each layer (per-layer embeddings, Gemma 3n and 4): rows of a second embedding,
//! read where they lie in the file, and a projection of the first one; each layer takes its part.

use core::f32::consts::FRAC_1_SQRT_2;
use core::ops::Range;

use super::Pass;
use crate::engine::Norm;
use crate::executor::{Chunks, for_each};
use crate::observe::{Site, tell};
use crate::plan::Buffers;
use crate::weights::{Layer, Slot};

impl Pass<'_> {
    /// Both together for all layers, of every token, into `b.by_layer` (t, n_layers, layer_embd).
    pub(super) fn embed_by_layer(&mut self, tokens: &[u32], b: &mut Buffers<'_>) {
        let (c, t) = (self.config, tokens.len());
        let (n, width) = (c.n_layers * c.layer_embd, c.layer_embd);
        let Some(w) = self.weights.layer_embedding().filter(|_| n > 0) else { return };
        let x = (&mut *b.x, &mut *b.normed, &mut b.planes);
        let input = self.branch_input(0..t, None, &[w.projection], x);
        tell(&mut self.observer, Site::LayerEmbedding, 0, &input);
        let by_layer = &mut b.by_layer[..t * n]; // (t, n_layers, layer_embd)
        self.engine.project([w.projection], &input, [&mut *by_layer]);
        let (kernels, epsilon) = (self.engine.kernels, c.norm_epsilon);
        let norm = Norm { kind: c.norm, weight: w.norm, bias: &[] };
        let projection_scale = 1.0 / libm::sqrtf(c.n_embd as f32);
        let embedding_scale = libm::sqrtf(width as f32);
        let parts = Chunks::new(by_layer, n);
        for_each(self.engine.crew, self.engine.scratch, parts, |i, row, spare| {
            let (own, spare) = spare.split_at_mut(n);
            w.table.decode_row(tokens[i] as usize, own);
            let spare = &mut spare[..width];
            for (row, own) in row.chunks_exact_mut(width).zip(own.chunks_exact(width)) {
                spare.iter_mut().zip(&*row).for_each(|(to, from)| *to = from * projection_scale);
                norm.apply(kernels, epsilon, spare, row);
                for (x, own) in row.iter_mut().zip(own) {
                    *x = (*x + own * embedding_scale) * FRAC_1_SQRT_2;
                }
            }
        });
    }

    /// Adds what some of the tokens mean to a layer to their states, as far as these open a gate for it;
    /// and then scales the states, where the layer has a number for that.
    pub(super) fn add_layer_embedding(
        &mut self,
        layer: usize,
        w: &Layer<'_>,
        tokens: Range<usize>,
        b: &mut Buffers<'_>,
    ) {
        let (c, t, width) = (self.config, tokens.len(), self.config.layer_embd);
        if width > 0 {
            let (gate, output) = (w.matrix(Slot::LayerGate), w.matrix(Slot::LayerOutput));
            let x = (&mut *b.x, &mut *b.normed, &mut b.planes);
            let input = self.branch_input(tokens.clone(), None, &[gate], x);
            tell(&mut self.observer, Site::LayerGate, layer, &input);
            let gates = &mut b.gate[..t * width]; // (t, layer_embd)
            self.engine.project([gate], &input, [&mut *gates]);
            let own = &mut b.up[..t * width]; // (t, layer_embd)
            let from = (tokens.start * c.n_layers + layer) * width;
            self.engine.every(c.n_layers, width, &b.by_layer[from..], own);
            let planes = self.planes(&mut b.planes, &[output], t);
            let input = self.engine.gate(c.gate, gates, own, (None, None), (width, planes));
            tell(&mut self.observer, Site::LayerOutput, layer, &input);
            self.engine.project([output], &input, [&mut b.branch[..t * c.n_embd]]);
            let norm = w.vector(Slot::LayerEmbeddingNorm);
            self.add_branch(tokens.clone(), (b.x, b.branch), None, (norm, None));
        }
        if let Some(&[scale]) = w.vector(Slot::LayerScale) {
            let x = &mut b.x[tokens.start * c.n_embd..tokens.end * c.n_embd];
            self.engine.scale_and_cap(c.n_embd, x, scale, 0.0);
        }
    }
}
