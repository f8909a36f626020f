//! Branches that see of each token the state before it, too: a mixture of both, another one for each matrix.

use mote_kernels::{Gate, Matrix, Rows};

use super::Pass;
use crate::engine::Norm;
use crate::observe::{Site, tell};
use crate::plan::{Buffers, PlaneBuffers};
use crate::weights::{Layer, Slot};

/// A branch of a layer: the mixer, or the feed-forward network.
#[derive(Clone, Copy)]
pub(super) enum Branch {
    Mixer,
    FeedForward,
}

impl Pass<'_> {
    /// Norms all `t` tokens into `b.normed` (t, n_embd). What the next token will see stays in the state.
    pub(super) fn begin_shifted(
        &mut self,
        (layer, branch): (usize, Branch),
        norm: Option<Norm<'_>>,
        t: usize,
        b: &mut Buffers<'_>,
    ) {
        self.branch_input(0..t, norm, &[], (b.x, b.normed, &mut b.planes));
        let n = self.config.n_embd;
        let kept = branch as usize * n..(branch as usize + 1) * n;
        let state = self.states.layer(self.config.recurrent.below(layer));
        if let Some(before) = state.before.get_mut(kept.clone()) {
            before.copy_from_slice(&b.normed[(t - 2) * n..][..n]);
        }
        state.to[kept].copy_from_slice(&b.normed[(t - 1) * n..][..n]);
    }

    /// What a matrix of the branch meets, of all tokens, made in `mixed`: x + (the one before - x) * weight.
    pub(super) fn shifted<'a>(
        &mut self,
        (layer, branch): (usize, Branch),
        (weight, matrix): (&[f32], Matrix<'_>),
        normed: &[f32],
        (mixed, planes): (&'a mut [f32], &'a mut PlaneBuffers<'_>),
    ) -> Rows<'a> {
        let n = self.config.n_embd;
        let state = self.states.layer(self.config.recurrent.below(layer));
        let from = &state.from[branch as usize * n..][..n];
        let mixed = &mut mixed[..normed.len()]; // (t, n_embd)
        self.engine.each_row(n, mixed, &|token, row, _| {
            let x = &normed[token * n..][..n];
            let last = if token > 0 { &normed[(token - 1) * n..][..n] } else { from };
            for (row, (x, (last, weight))) in
                row.iter_mut().zip(x.iter().zip(last.iter().zip(weight)))
            {
                *row = x + (last - x) * weight;
            }
        });
        let planes = self.planes(planes, &[matrix], mixed.len() / n);
        self.engine.quantize(n, mixed, planes)
    }

    /// What the feed-forward network adds to the tokens, into `b.branch`: behind a gate, where it has one.
    pub(super) fn shifted_feed_forward(
        &mut self,
        layer: usize,
        w: &Layer<'_>,
        t: usize,
        b: &mut Buffers<'_>,
    ) {
        let c = self.config;
        let of = (layer, Branch::FeedForward);
        self.begin_shifted(of, self.ffn_norm(w), t, b);
        let normed = &b.normed[..t * c.n_embd];
        let branch = &mut b.branch[..t * c.n_embd]; // (t, n_embd)
        let gate = w.vector(Slot::ChannelShiftGate);
        if let Some(weight) = gate {
            let matrix = w.matrix(Slot::ChannelGate);
            let input = self.shifted(of, (weight, matrix), normed, (b.mixed, &mut b.planes));
            tell(&mut self.observer, Site::FeedForwardGates, layer, &input);
            self.engine.project([matrix], &input, [&mut *branch]);
        }
        let (up, down) = (w.matrix(Slot::Up), w.matrix(Slot::Down));
        let weight = w.vector(Slot::ChannelShiftKey).unwrap_or_default();
        let input = self.shifted(of, (weight, up), normed, (b.mixed, &mut b.planes));
        tell(&mut self.observer, Site::FeedForward, layer, &input);
        let wide = &mut b.up[..t * c.n_ff]; // (t, n_ff)
        self.engine.project([up], &input, [&mut *wide]);
        let planes = self.planes(&mut b.planes, &[down], t);
        let input = self.engine.activate(c.gate, wide, None, (c.n_ff, planes));
        tell(&mut self.observer, Site::Down, layer, &input);
        if gate.is_none() {
            return self.engine.project([down], &input, [branch]);
        }
        let mixed = &mut b.mixed[..t * c.n_embd]; // (t, n_embd)
        self.engine.project([down], &input, [&mut *mixed]);
        self.engine.gate(Gate::Sigmoid, branch, mixed, (None, None), (c.n_embd, None));
    }
}
