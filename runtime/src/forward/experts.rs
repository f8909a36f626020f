//! A feed-forward network that is a choice among several, and perhaps one besides for every token.

use core::ops::Range;

use mote_kernels::{Gate, Kernels};

use super::Pass;
use crate::config::{Experts, Gating};
use crate::engine::{add, members};
use crate::executor::{Chunks, for_each};
use crate::observe::{Site, tell};
use crate::plan::Buffers;
use crate::weights::{Layer, Slot};

impl Pass<'_> {
    /// What the experts add to some of the tokens, into `b.branch`.
    pub(super) fn mix_experts(
        &mut self,
        (layer, w): (usize, &Layer<'_>),
        experts: &Experts,
        tokens: Range<usize>,
        b: &mut Buffers<'_>,
    ) {
        let (c, t) = (self.config, tokens.len());
        let router = w.matrix(Slot::Router);
        let shared = [w.matrix(Slot::UpShared), w.matrix(Slot::GateShared)];
        let norm = self.ffn_norm(w);
        let normed = &mut b.normed[..t * c.n_embd]; // (t, n_embd)
        let first = [router, shared[0], shared[1]];
        let first = if experts.shared_ff > 0 { &first[..] } else { &first[..1] };
        let input = self.branch_input(tokens, norm, first, (b.x, normed, &mut b.planes));
        tell(&mut self.observer, Site::FeedForward, layer, &input);
        let routes = &mut b.routes[..t * experts.n]; // (t, n_experts)
        self.engine.project([router], &input, [&mut *routes]);
        self.route(experts, routes, w);
        let branch = &mut b.branch[..t * c.n_embd]; // (t, n_embd)
        branch.fill(0.0);
        if experts.shared_ff > 0 {
            let ff = t * experts.shared_ff;
            let (up, gate) = (&mut b.up[..ff], &mut b.gate[..ff]); // (t, shared_ff) each
            let scores = &mut b.gathered[..t]; // (t)
            if experts.shared_gate {
                self.engine.project([w.matrix(Slot::SharedGateScore)], &input, [&mut *scores]);
            }
            self.engine.project(shared, &input, [up, gate]);
            let down = w.matrix(Slot::DownShared);
            let planes = self.planes(&mut b.planes, &[down], t);
            let input =
                self.engine.gate(c.gate, gate, up, (None, None), (experts.shared_ff, planes));
            tell(&mut self.observer, Site::DownShared, layer, &input);
            self.engine.project([down], &input, [&mut *branch]);
            if experts.shared_gate {
                self.scale_rows(scores, branch);
            }
        }
        self.through_experts((layer, w), experts, t, b);
    }

    /// What the layer's network and its experts add to some of the tokens side by side, into `b.branch`.
    pub(super) fn mix_beside(
        &mut self,
        (layer, w): (usize, &Layer<'_>),
        experts: &Experts,
        tokens: Range<usize>,
        b: &mut Buffers<'_>,
    ) {
        let (c, t) = (self.config, tokens.len());
        self.feed_forward(layer, w, tokens.clone(), b);
        core::mem::swap(&mut b.branch, &mut b.aside);
        let [choice, before, behind, behind_experts] =
            [Slot::RouterNorm, Slot::FfnNorm2, Slot::PostFfnNorm1, Slot::PostFfnNorm2]
                .map(|slot| self.norm(w.vector(slot), None));
        let router = w.matrix(Slot::Router);
        let x = (&mut *b.x, &mut *b.normed, &mut b.planes);
        let input = self.branch_input(tokens.clone(), Some(choice), &[router], x);
        let routes = &mut b.routes[..t * experts.n]; // (t, n_experts)
        self.engine.project([router], &input, [&mut *routes]);
        self.engine.scale_and_cap(experts.n, routes, 1.0 / libm::sqrtf(c.n_embd as f32), 0.0);
        self.route(experts, routes, w);
        self.branch_input(tokens, Some(before), &[], (b.x, b.normed, &mut b.planes));
        b.branch[..t * c.n_embd].fill(0.0);
        self.through_experts((layer, w), experts, t, b);
        let (kernels, epsilon) = (self.engine.kernels, self.engine.norm_epsilon);
        let [branch, aside] = [&mut *b.branch, &mut *b.aside]
            .map(|rows| Chunks::new(&mut rows[..t * c.n_embd], c.n_embd));
        let parts = (branch, aside);
        for_each(self.engine.crew, self.engine.scratch, parts, |_, (branch, aside), spare| {
            let spare = &mut spare[..branch.len()];
            behind.apply(kernels, epsilon, aside, spare);
            behind_experts.apply(kernels, epsilon, branch, aside);
            branch.copy_from_slice(spare);
            add(branch, Some(aside));
        });
    }

    /// Adds what experts make of `t` rows of `b.normed` to `b.branch`, by the weights in `b.routes`: expert
    /// by expert, the tokens that go through it together.
    fn through_experts(
        &mut self,
        (layer, w): (usize, &Layer<'_>),
        experts: &Experts,
        t: usize,
        b: &mut Buffers<'_>,
    ) {
        let c = self.config;
        let (normed, routes) = (&b.normed[..t * c.n_embd], &b.routes[..t * experts.n]);
        let branch = &mut b.branch[..t * c.n_embd]; // (t, n_embd)
        for expert in 0..experts.n {
            let members = members(routes, (expert, experts.n), b.members);
            if members.is_empty() {
                continue;
            }
            let of = |slot, rows| w.expert(slot, expert, rows);
            let bias = |slot, n: usize| w.vector(slot).map(|all| &all[expert * n..][..n]);
            let (m, ff) = (members.len(), experts.n_ff);
            let gathered = &mut b.gathered[..m * c.n_embd]; // (m, n_embd)
            self.engine.gather(c.n_embd, normed, members, gathered);
            let up_gate = if experts.fused {
                let both = of(Slot::GateUpExperts, 2 * ff);
                [both.part(ff, ff), both.part(0, ff)]
            } else {
                [of(Slot::UpExperts, ff), of(Slot::GateExperts, ff)]
            };
            let planes = self.planes(&mut b.planes, &up_gate, m);
            let input = self.engine.quantize(c.n_embd, gathered, planes);
            tell(&mut self.observer, Site::UpExpert(expert), layer, &input);
            let (up, gate) = (&mut b.up[..m * ff], &mut b.gate[..m * ff]); // (m, n_ff) each
            self.engine.project(up_gate, &input, [up, gate]);
            let down = of(Slot::DownExperts, c.n_embd);
            let planes = self.planes(&mut b.planes, &[down], m);
            let biases = (bias(Slot::GateExpertsBias, ff), bias(Slot::UpExpertsBias, ff));
            let input = self.engine.gate(c.gate, gate, up, biases, (ff, planes));
            tell(&mut self.observer, Site::DownExpert(expert), layer, &input);
            let gathered = &mut b.gathered[..m * c.n_embd]; // (m, n_embd)
            self.engine.project([down], &input, [&mut *gathered]);
            let weight = |token: usize| routes[token * experts.n + expert];
            let bias = bias(Slot::DownExpertsBias, c.n_embd);
            self.engine.scatter(c.n_embd, gathered, (members, bias), weight, branch);
        }
    }

    /// Scores of experts (t, n_experts) become weights: of those that a token goes through, and 0 of the
    /// others.
    fn route(&mut self, experts: &Experts, routes: &mut [f32], w: &Layer<'_>) {
        let kernels = self.engine.kernels;
        let (bias, choice_bias) = (w.vector(Slot::RouterBias), w.vector(Slot::RouterChoice));
        let scales = w.vector(Slot::ExpertScales).unwrap_or_default();
        let parts = Chunks::new(routes, experts.n);
        for_each(self.engine.crew, self.engine.scratch, parts, |_, row, spare| {
            add(row, bias);
            choose(experts, kernels, row, choice_bias, &mut spare[..2 * experts.n]);
            row.iter_mut().zip(scales).for_each(|(weight, scale)| *weight *= scale);
        });
    }

    /// Each token's row of `rows` (t, n_embd) times the sigmoid of its score.
    fn scale_rows(&mut self, scores: &mut [f32], rows: &mut [f32]) {
        self.engine.kernels.activate(Gate::Sigmoid, scores);
        let parts = Chunks::new(rows, self.config.n_embd);
        for_each(self.engine.crew, self.engine.scratch, parts, |token, row, _| {
            let weight = scores[token];
            row.iter_mut().for_each(|x| *x *= weight);
        });
    }
}

/// One token's scores become weights. `spare`: room for two numbers an expert.
fn choose(
    experts: &Experts,
    kernels: &Kernels,
    row: &mut [f32],
    choice_bias: Option<&[f32]>,
    spare: &mut [f32],
) {
    match experts.gating {
        Gating::Softmax => kernels.softmax(row),
        Gating::Sigmoid => kernels.activate(Gate::Sigmoid, row),
    }
    // A bias says who is chosen, not how much it counts.
    let (choice, weights) = spare.split_at_mut(experts.n);
    choice.copy_from_slice(row);
    add(choice, choice_bias);
    // One score that is none makes all of them so: NaN stays, and is found in the logits.
    if choice.iter().any(|score| score.is_nan()) {
        return row.fill(f32::NAN);
    }
    if experts.groups > 1 {
        keep_best_groups(experts, choice, &mut weights[..experts.groups]);
    }
    weights.fill(0.0);
    for _ in 0..experts.used {
        let Some(best) = kernels.argmax(choice) else { break };
        weights[best] = row[best];
        choice[best] = f32::NEG_INFINITY;
    }
    row.copy_from_slice(weights);
    if experts.normalized {
        // All of them may be zero.
        let sum = row.iter().sum::<f32>() + 1e-20;
        row.iter_mut().for_each(|weight| *weight /= sum);
    }
    if experts.scale != 1.0 {
        row.iter_mut().for_each(|weight| *weight *= experts.scale);
    }
}

/// Nobody of the other groups can be chosen. `scores`: room for one number a group.
fn keep_best_groups(experts: &Experts, choice: &mut [f32], scores: &mut [f32]) {
    let size = experts.n / experts.groups;
    for (score, group) in scores.iter_mut().zip(choice.chunks_exact(size)) {
        let (mut first, mut second) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
        for &x in group {
            if x > first {
                (first, second) = (x, first);
            } else if x > second {
                second = x;
            }
        }
        *score = if experts.group_best > 1 { first + second } else { first };
    }
    for (index, group) in choice.chunks_exact_mut(size).enumerate() {
        let score = scores[index];
        // Of equals the first one.
        let (before, behind) = (&scores[..index], &scores[index + 1..]);
        let better = before.iter().filter(|&&other| other >= score).count()
            + behind.iter().filter(|&&other| other > score).count();
        if better >= experts.groups_used {
            group.fill(f32::NEG_INFINITY);
        }
    }
}
