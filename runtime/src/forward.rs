//! The forward pass: token ids in, logits out. Read it top to bottom; t is the number of tokens
//! that go through together, and a comment gives the shape of what a line makes.

mod attention;
mod cells;
mod delta;
mod experts;
mod latent;
mod layer_embedding;
mod recurrence;
mod selective;
mod selective_heads;
mod shift;
mod short_convolution;
mod weighted;
mod window;

use core::ops::Range;

use mote_kernels::{Matrix, Precision, Rows};

use crate::config::{Config, Recurrence};
use crate::engine::{Engine, Norm, add, quantized};
use crate::executor::{Chunks, Planes, for_each};
use crate::observe::{Observer, Site, tell};
use crate::plan::{Buffers, PlaneBuffers, Store};
use crate::states::Running;
use crate::weights::{Layer, Slot, Weights};

/// What every step of a pass sees.
pub(crate) struct Pass<'p> {
    pub config: &'p Config,
    pub weights: &'p Weights<'p>,
    pub engine: Engine<'p>,
    /// Position of the first token.
    pub first: usize,
    /// What recurrent mixers know of the tokens before, and will know of these.
    pub states: Running<'p>,
    /// Bits of the tokens' activations.
    pub precision: Precision,
    /// Hears what enters the matrices.
    pub observer: Option<&'p mut dyn Observer>,
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
        self.embed(tokens, &mut b.x[..t * c.embedding_width]); // (t, embedding_width)
        self.embed_by_layer(tokens, b);
        self.angles(t, b.frequencies, b.cos, b.sin);
        for index in 0..c.n_layers {
            if !go_on() {
                return false;
            }
            let w = weights.layer(index);
            self.engine.norm_epsilon = c.epsilon_of(index);

            // The mixer: what do the tokens before say about this one? Behind what the last layer remembers
            // that remembers anything, only the tokens matter whose states are wanted (unless its second
            // branch remembers, too).
            let last = index + 1 >= c.n_own() && c.recurrence.shifted() == 0;
            let from = if last { wanted } else { 0 };
            let tokens = from..t;
            let recurrent = c.recurrent.contains(index);
            if recurrent {
                self.recur(index, &w, (t, tokens.clone()), b);
            } else {
                self.queries_keys_values(index, &w, (t, tokens.clone()), store, b);
            }
            if tokens.is_empty() {
                return true;
            }
            if !recurrent {
                self.look_back(index, &w, tokens.clone(), store, b);
            }
            if !c.residual {
                let branch = &b.branch[..tokens.len() * c.n_embd];
                b.x[tokens.start * c.n_embd..][..branch.len()].copy_from_slice(branch);
                continue;
            }
            let bias = w.vector(if recurrent { Slot::MixOutBias } else { Slot::OBias });
            if c.parallel_residual {
                core::mem::swap(&mut b.branch, &mut b.aside);
            } else {
                let sum = (Slot::AttentionOutputNorm, Slot::AttentionOutputNormBias);
                let norms = (w.vector(Slot::PostAttentionNorm), self.sum_norm(&w, sum));
                self.add_branch(tokens.clone(), (b.x, b.branch), bias, norms);
            }
            if !c.has_ff() {
                continue;
            }

            // Feed-forward: what does this token's state call up?
            match c.experts_of(index) {
                Some(experts) if experts.beside => {
                    self.mix_beside((index, &w), experts, tokens.clone(), b)
                }
                Some(experts) => self.mix_experts((index, &w), experts, tokens.clone(), b),
                None if c.recurrence.shifted() > 0 => self.shifted_feed_forward(index, &w, t, b),
                None => self.feed_forward(index, &w, tokens.clone(), b),
            }
            if c.parallel_residual {
                self.add_branch(tokens.clone(), (b.x, b.aside), bias, (None, None));
            }
            let sum = (Slot::LayerOutputNorm, Slot::LayerOutputNormBias);
            let norms = (w.vector(Slot::PostFfnNorm), self.sum_norm(&w, sum));
            self.add_branch(tokens.clone(), (b.x, b.branch), w.vector(Slot::DownBias), norms);
            self.add_layer_embedding(index, &w, tokens, b);
        }
        true
    }

    /// What a recurrent mixer adds to `tokens` of the `t`, into `b.branch`; all of them change its state.
    fn recur(
        &mut self,
        layer: usize,
        w: &Layer<'_>,
        tokens: (usize, Range<usize>),
        b: &mut Buffers<'_>,
    ) {
        match self.config.recurrence {
            Recurrence::None => {}
            Recurrence::ShortConvolution { .. } => self.short_convolution(layer, w, tokens, b),
            Recurrence::Selective { .. } => self.selective(layer, w, tokens, b),
            Recurrence::Heads { .. } => self.selective_heads(layer, w, tokens, b),
            Recurrence::Delta { .. } => self.delta(layer, w, tokens, b),
            Recurrence::Weighted { .. } => self.weighted(layer, w, tokens, b),
            Recurrence::Cells { .. } => self.cells(layer, w, tokens, b),
            Recurrence::Window { .. } => self.context_window(layer, w, tokens, b),
        }
    }

    /// Queries of the `t` tokens into `b.q`, their keys and values into the cache; of a layer without keys
    /// of its own queries of `tokens` alone.
    fn queries_keys_values(
        &mut self,
        layer: usize,
        w: &Layer<'_>,
        (t, tokens): (usize, Range<usize>),
        store: &mut Store<'_>,
        b: &mut Buffers<'_>,
    ) {
        let c = self.config;
        if c.source(layer) != layer {
            return self.queries(layer, w, (t, tokens), b);
        }
        let (q_dim, kv_dim) = (c.q_dim_of(layer), c.kv_dim_of(layer));
        match &c.latent {
            Some(latent) => self.latent_queries_keys_values((layer, w), latent, t, b),
            None => {
                let qkv = [w.matrix(Slot::Q), w.matrix(Slot::K), w.matrix(Slot::V)];
                // Of the layers that may be without values.
                let two = c.keys_as_values && qkv[2].rows() == 0;
                let used = if two { &qkv[..2] } else { &qkv[..] };
                let norm = self.mixer_norm(w);
                let input = self.branch_input(0..t, norm, used, (b.x, b.normed, &mut b.planes));
                let q = &mut b.q[..t * q_dim]; // (t, n_heads * head_dim)
                let k = &mut b.k[..t * kv_dim]; // (t, n_kv_heads * head_dim)
                let v = &mut b.v[..t * kv_dim]; // (t, n_kv_heads * head_dim)
                tell(&mut self.observer, Site::Attention, layer, &input);
                if c.attention_gate {
                    let both = &mut b.mixed[..2 * q.len()]; // (t, n_heads, query and gate)
                    self.engine.project(qkv, &input, [&mut *both, k, v]);
                    self.engine.every(2, c.head_dim, both, q);
                } else if two {
                    self.engine.project([qkv[0], qkv[1]], &input, [q, &mut *k]);
                    v.copy_from_slice(k);
                } else {
                    self.engine.project(qkv, &input, [q, k, v]);
                }
            }
        }
        let (q, k) = (&mut b.q[..t * q_dim], &mut b.k[..t * kv_dim]);
        let v = &mut b.v[..t * kv_dim];
        let angles = self.layer_angles(layer, t, b.cos, b.sin);
        match store {
            Store::F32 { keys, values } => self.remember(layer, w, (q, k, v), angles, keys, values),
            Store::F16 { keys, values } => self.remember(layer, w, (q, k, v), angles, keys, values),
            Store::Q8_0 { keys, values } => {
                self.remember(layer, w, (q, k, v), angles, keys, values)
            }
        }
    }

    /// Queries of some of the `t` tokens into their rows of `b.q`.
    fn queries(
        &mut self,
        layer: usize,
        w: &Layer<'_>,
        (t, tokens): (usize, Range<usize>),
        b: &mut Buffers<'_>,
    ) {
        let (c, matrix, norm) = (self.config, w.matrix(Slot::Q), self.mixer_norm(w));
        let x = (&mut *b.x, &mut *b.normed, &mut b.planes);
        let input = self.branch_input(tokens.clone(), norm, &[matrix], x);
        tell(&mut self.observer, Site::Attention, layer, &input);
        let (from, to) = (tokens.start, tokens.end);
        let q = &mut b.q[from * c.q_dim_of(layer)..to * c.q_dim_of(layer)]; // (t, n_heads * head_dim)
        self.engine.project([matrix], &input, [&mut *q]);
        let (cos, sin) = self.layer_angles(layer, t, b.cos, b.sin);
        let skipped = if cos.is_empty() { 0 } else { from * c.most_rope_pairs() };
        self.turn_queries(layer, w, q, (&cos[skipped..], &sin[skipped..]));
    }

    /// What attention adds to some of the tokens, into `b.branch`.
    fn look_back(
        &mut self,
        layer: usize,
        w: &Layer<'_>,
        tokens: Range<usize>,
        store: &Store<'_>,
        b: &mut Buffers<'_>,
    ) {
        let (c, t, q_dim) = (self.config, tokens.len(), self.config.q_dim_of(layer));
        let q = &b.q[tokens.start * q_dim..tokens.end * q_dim];
        let attention = &mut b.attention[..t * q_dim]; // (t, n_heads * head_dim)
        let biases = (&*b.slopes, w.vector(Slot::Sinks).unwrap_or_default());
        self.attend((layer, self.first + tokens.start), q, store, biases, attention, b.parts);
        if c.attention_gate {
            let both = &b.mixed[tokens.start * 2 * q_dim..tokens.end * 2 * q_dim];
            self.engine.gate_every_other(c.head_dim, both, attention);
        }
        let attended = match &c.latent {
            None => attention,
            Some(latent) => {
                self.latent_values(w, latent, tokens, b);
                &mut b.heads[..t * c.n_heads * latent.value]
            }
        };
        let o = w.matrix(Slot::O);
        let planes = self.planes(&mut b.planes, &[o], t);
        let input = self.engine.quantize(o.cols(), attended, planes);
        tell(&mut self.observer, Site::AttentionOutput, layer, &input);
        self.engine.project([o], &input, [&mut b.branch[..t * c.n_embd]]); // (t, n_embd)
    }

    /// What the feed-forward network adds to some of the tokens, into `b.branch`.
    fn feed_forward(
        &mut self,
        layer: usize,
        w: &Layer<'_>,
        tokens: Range<usize>,
        b: &mut Buffers<'_>,
    ) {
        let (c, t, n_ff) = (self.config, tokens.len(), self.config.n_ff_of(layer));
        let up_gate = [w.matrix(Slot::Up), w.matrix(Slot::Gate)];
        let norm = self.ffn_norm(w);
        let input = self.branch_input(tokens, norm, &up_gate, (b.x, b.normed, &mut b.planes));
        tell(&mut self.observer, Site::FeedForward, layer, &input);
        let up = &mut b.up[..t * n_ff]; // (t, n_ff)
        let (down, bias) = (w.matrix(Slot::Down), w.vector(Slot::UpBias));
        let input = if c.gated {
            let gate = &mut b.gate[..t * n_ff]; // (t, n_ff)
            self.engine.project(up_gate, &input, [up, gate]);
            let planes = self.planes(&mut b.planes, &[down], t);
            let biases = (w.vector(Slot::GateBias), bias);
            self.engine.gate(c.gate, gate, up, biases, (n_ff, planes))
        } else {
            self.engine.project([up_gate[0]], &input, [up]);
            let planes = self.planes(&mut b.planes, &[down], t);
            self.engine.activate(c.gate, up, bias, (n_ff, planes))
        };
        tell(&mut self.observer, Site::Down, layer, &input);
        self.engine.project([down], &input, [&mut b.branch[..t * c.n_embd]]); // (t, n_embd)
    }

    /// Final states of the first `n` tokens of the last [`Pass::layers`] into `b.normed` (n, n_embd).
    pub fn states(&mut self, n: usize, b: &mut Buffers<'_>) {
        let norm = self.output_norm(self.weights);
        self.engine.norm_epsilon = self.config.last_epsilon();
        self.branch_input(0..n, norm, &[], (b.x, b.normed, &mut b.planes)); // (n, n_embd)
    }

    /// The norm behind the last layer, if there is one.
    fn output_norm<'a>(&self, weights: &Weights<'a>) -> Option<Norm<'a>> {
        let (weight, bias) = weights.output_norm();
        weight.map(|weight| self.norm(Some(weight), bias))
    }

    /// Logits of tokens `from..from + n` of the last [`Pass::layers`] into `b.logits` (n, n_vocab).
    pub fn head(&mut self, from: usize, n: usize, b: &mut Buffers<'_>) {
        let (c, output) = (self.config, self.weights.output());
        let (tokens, norm) = (from..from + n, self.output_norm(self.weights));
        self.engine.norm_epsilon = c.last_epsilon();
        let input = self.branch_input(tokens, norm, &[output], (b.x, b.normed, &mut b.planes));
        let logits = &mut b.logits[..n * c.n_vocab]; // (n, n_vocab)
        tell(&mut self.observer, Site::Head, 0, &input);
        self.engine.project([output], &input, [&mut *logits]);
        if let Some(bias) = self.weights.output_bias() {
            self.engine.add_bias(logits, bias);
        }
        if (c.logit_scale, c.logit_softcap) != (1.0, 0.0) {
            self.engine.scale_and_cap(c.n_vocab, logits, c.logit_scale, c.logit_softcap);
        }
    }

    /// What a branch of some of the tokens begins with, as the matrices need it: the states `x`,
    /// normed if there is a norm.
    fn branch_input<'a>(
        &mut self,
        tokens: Range<usize>,
        norm: Option<Norm<'_>>,
        matrices: &[Matrix<'_>],
        (x, normed, planes): (&mut [f32], &'a mut [f32], &'a mut PlaneBuffers<'_>),
    ) -> Rows<'a> {
        self.input((tokens, self.config.n_embd), norm, matrices, (x, normed, planes))
    }

    /// The same of states of any width.
    fn input<'a>(
        &mut self,
        (tokens, width): (Range<usize>, usize),
        norm: Option<Norm<'_>>,
        matrices: &[Matrix<'_>],
        (x, normed, planes): (&mut [f32], &'a mut [f32], &'a mut PlaneBuffers<'_>),
    ) -> Rows<'a> {
        let x = &mut x[tokens.start * width..tokens.end * width]; // (t, width)
        let normed = &mut normed[..x.len()]; // (t, width)
        let planes = self.planes(planes, matrices, tokens.len());
        match norm {
            Some(norm) => self.engine.normalize(x, norm, normed, planes),
            None => {
                normed.copy_from_slice(x);
                self.engine.quantize(width, normed, planes)
            }
        }
    }

    /// The first of two norms that the layer has, if it has any.
    fn either_norm<'a>(
        &self,
        w: &Layer<'a>,
        first: (Slot, Slot),
        second: (Slot, Slot),
    ) -> Option<Norm<'a>> {
        let (weight, bias) = if w.vector(first.0).is_some() { first } else { second };
        w.vector(weight).map(|weight| self.norm(Some(weight), w.vector(bias)))
    }

    /// The norm before the mixer.
    fn mixer_norm<'a>(&self, w: &Layer<'a>) -> Option<Norm<'a>> {
        let second = (Slot::AttentionNorm2, Slot::AttentionNorm2Bias);
        self.either_norm(w, second, (Slot::AttentionNorm, Slot::AttentionNormBias))
    }

    /// The norm before the feed-forward network: where it has none of its own, attention's.
    fn ffn_norm<'a>(&self, w: &Layer<'a>) -> Option<Norm<'a>> {
        let own = (Slot::FfnNorm, Slot::FfnNormBias);
        self.either_norm(w, own, (Slot::AttentionNorm, Slot::AttentionNormBias))
    }

    /// The norm behind a branch's addition, where the stream itself is normed.
    fn sum_norm<'a>(&self, w: &Layer<'a>, slots: (Slot, Slot)) -> Option<Norm<'a>> {
        self.config.residual_norm.then(|| self.norm(w.vector(slots.0), w.vector(slots.1)))
    }

    /// Adds a branch of some of the tokens to their states, normed if there is a norm for it; then the
    /// states are if there is one for them.
    fn add_branch(
        &mut self,
        tokens: Range<usize>,
        (x, branch): (&mut [f32], &mut [f32]),
        bias: Option<&[f32]>,
        (norm, sum_norm): (Option<&[f32]>, Option<Norm<'_>>),
    ) {
        let c = self.config;
        let x = &mut x[tokens.start * c.n_embd..tokens.end * c.n_embd];
        let branch = &mut branch[..x.len()];
        let norm = norm.map(|norm| self.norm(Some(norm), None));
        self.engine.add_branch(c.n_embd, x, branch, bias, (norm, sum_norm), c.residual_scale);
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

    /// Each token's row of the embedding, that of its position where the model has one, and that of the
    /// first kind of segments.
    fn embed(&mut self, tokens: &[u32], x: &mut [f32]) {
        let (embedding, scale) = (self.weights.embedding(), self.config.embedding_scale);
        let (positions, first) = (self.weights.positions(), self.first);
        let types = self.weights.token_types();
        let (kernels, epsilon) = (self.engine.kernels, self.engine.norm_epsilon);
        let (weight, bias) = self.weights.embedding_norm();
        let norm = weight.map(|weight| self.norm(Some(weight), bias));
        let parts = Chunks::new(x, self.config.embedding_width);
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
            if let Some(types) = types {
                let spare = &mut spare[..row.len()];
                types.decode_row(0, spare);
                add(row, Some(spare));
            }
            if let Some(norm) = norm {
                let spare = &mut spare[..row.len()];
                spare.copy_from_slice(row);
                norm.apply(kernels, epsilon, spare, row);
            }
        });
    }
}
