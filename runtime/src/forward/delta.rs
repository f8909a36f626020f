//! The gated delta rule: each head keeps a matrix from keys to values, which decays, and what it maps a
//! token's key to is moved towards the token's value.

use core::ops::Range;

use mote_kernels::Gate;

use super::Pass;
use super::recurrence::{Columns, dot, softplus};
use crate::config::{DeltaLayout, Recurrence};
use crate::executor::{Chunks, for_each};
use crate::observe::{Site, tell};
use crate::plan::Buffers;
use crate::weights::{Layer, Slot};

/// Added to the square of a key's or query's length.
const LENGTH_EPSILON: f32 = 1e-6;

impl Pass<'_> {
    /// What the mixer adds to `tokens` of the `t`, into `b.branch`; all of them change its state.
    pub(super) fn delta(
        &mut self,
        layer: usize,
        w: &Layer<'_>,
        (t, tokens): (usize, Range<usize>),
        b: &mut Buffers<'_>,
    ) {
        let r = self.config.recurrence;
        let Recurrence::Delta { keys, key_dim, values, value_dim, layout, .. } = r else { return };
        let (kernels, channels, n) = (self.engine.kernels, r.channels(), r.inner());
        let (width, of_kept) = (r.projected(), r.widths()[4]);
        self.project_delta(layer, w, t, b);
        let mixed = &b.mixed[..t * width]; // (t, queries, keys, values)
        let gates = &mut b.selected[..t * n]; // (t, values * value_dim)
        let learnt = &mut b.low[..t * values]; // (t, values)
        let kept = &mut b.steps[..t * of_kept]; // (t, values), or twice as wide

        let vector = |slot| w.vector(slot).unwrap_or_default();
        let (bias, rates) = (vector(Slot::StepBias), vector(Slot::Rates));
        let parts = (Chunks::new(learnt, values), Chunks::new(kept, of_kept));
        for_each(self.engine.crew, self.engine.scratch, parts, |_, (learnt, kept), spare| {
            if layout != DeltaLayout::Tiled {
                part(keys, kept, learnt);
            }
            let kept = &mut kept[..values];
            kernels.activate(Gate::Sigmoid, learnt);
            kept.iter_mut().zip(bias).for_each(|(step, bias)| *step += bias);
            softplus(kernels, kept, spare);
            kept.iter_mut().zip(rates).for_each(|(step, rate)| *step *= rate);
            kernels.activate(Gate::Exp, kept);
        });
        let convolved = &mut b.convolved[..t * channels]; // (t, queries, keys, values)
        let input = Columns { rows: mixed, stride: width, first: 0 };
        let silu = |_: usize, _: usize, row: &mut [f32]| kernels.activate(Gate::Silu, row);
        self.convolve(self.convolution(w), input, layer, convolved, &silu);
        let scale = 1.0 / libm::sqrtf(key_dim as f32);
        let parts = Chunks::new(convolved, channels);
        for_each(self.engine.crew, self.engine.scratch, parts, |_, row, _| {
            for (i, x) in row.chunks_exact_mut(key_dim).take(2 * keys).enumerate() {
                let inverse = 1.0 / libm::sqrtf(dot(x, x) + LENGTH_EPSILON);
                let factor = if i < keys { inverse * scale } else { inverse };
                x.iter_mut().for_each(|x| *x *= factor);
            }
        });

        let convolved = Columns { rows: convolved, stride: channels, first: 0 };
        let (learnt, kept) = (&*learnt, &*kept);
        let of_key = values / keys;
        let step =
            |token: usize, first: usize, rows: &mut [f32], out: &mut [f32], _: &mut [f32]| {
                let value = convolved.of(token, 2 * keys * key_dim + first, out.len());
                for (i, row) in rows.chunks_exact_mut(key_dim).enumerate() {
                    let head = (first + i) / value_dim;
                    let key_head = match layout {
                        DeltaLayout::Tiled => head % keys,
                        _ => head / of_key,
                    };
                    let place = key_head * key_dim;
                    let query = convolved.of(token, place, key_dim);
                    let key = convolved.of(token, keys * key_dim + place, key_dim);
                    let decay = kept[token * of_kept + head];
                    row.iter_mut().for_each(|x| *x *= decay);
                    let change = (value[i] - dot(row, key)) * learnt[token * values + head];
                    row.iter_mut().zip(key).for_each(|(x, key)| *x += change * key);
                    out[i] = dot(row, query);
                }
            };
        let inner = &mut b.inner[..t * n]; // (t, values * value_dim)
        self.scan(layer, t, inner, &step);
        let (weight, epsilon) = (vector(Slot::MixNorm), self.config.norm_epsilon);
        let parts = (Chunks::new(inner, value_dim), Chunks::new(gates, value_dim));
        for_each(self.engine.crew, self.engine.scratch, parts, |_, (head, gate), spare| {
            let normed = &mut spare[..value_dim];
            kernels.rms_norm(head, weight, epsilon, normed);
            kernels.gate(Gate::Silu, gate, normed);
            head.copy_from_slice(gate);
        });
        self.mix_out(layer, w, tokens, b);
    }

    /// The first projections of all `t` tokens: queries, keys and values into `b.mixed`, gates into
    /// `b.selected`, how much is learnt into `b.low` and kept into `b.steps`, or both into the latter.
    fn project_delta(&mut self, layer: usize, w: &Layer<'_>, t: usize, b: &mut Buffers<'_>) {
        let r = self.config.recurrence;
        let Recurrence::Delta { keys, key_dim, layout, .. } = r else { return };
        // Those that the layout does not have are empty.
        let all = [Slot::MixIn, Slot::MixGate, Slot::Learn, Slot::Keep, Slot::LearnKeep];
        let all = all.map(|slot| w.matrix(slot));
        let norm = self.mixer_norm(w);
        let input = self.branch_input(0..t, norm, &all, (b.x, b.normed, &mut b.planes));
        tell(&mut self.observer, Site::Mixer, layer, &input);
        let [mix, gate, learn, keep, both] = all;
        let (width, n) = (r.projected(), r.inner());
        let (mixed, gates) = (&mut b.mixed[..t * width], &mut b.selected[..t * n]);
        let kept = &mut b.steps[..t * r.widths()[4]];
        match layout {
            DeltaLayout::Tiled => {
                let learnt = &mut b.low[..t * r.steps()];
                let outputs = [mixed, gates, learnt, kept];
                self.engine.project([mix, gate, learn, keep], &input, outputs);
            }
            DeltaLayout::Grouped => {
                self.engine.project([mix, gate, both], &input, [mixed, gates, kept]);
            }
            DeltaLayout::Joined => {
                self.engine.project([mix, both], &input, [&mut *mixed, kept]);
                let parts = (Chunks::new(mixed, width), Chunks::new(gates, n));
                for_each(self.engine.crew, self.engine.scratch, parts, |_, (row, gates), spare| {
                    take_apart([keys, key_dim, n / keys], row, gates, &mut spare[..width]);
                });
            }
        }
    }
}

/// For each head of keys there is how much its heads of values learn, then how much they keep. The former
/// goes to `learnt` (values), the latter to the front.
fn part(keys: usize, both: &mut [f32], learnt: &mut [f32]) {
    let n = learnt.len() / keys;
    for (head, learnt) in learnt.chunks_exact_mut(n).enumerate() {
        let from = 2 * head * n;
        learnt.copy_from_slice(&both[from..from + n]);
        both.copy_within(from + n..from + 2 * n, head * n);
    }
}

/// For each head of keys there is its query, its key, its values and their gates: the gates go to `gates`, of
/// the others all queries come first, then all keys. `spare`: as long as `row`.
fn take_apart(
    [keys, key_dim, of_values]: [usize; 3],
    row: &mut [f32],
    gates: &mut [f32],
    spare: &mut [f32],
) {
    spare.copy_from_slice(row);
    for (head, of_head) in spare.chunks_exact(row.len() / keys).enumerate() {
        let (query, rest) = of_head.split_at(key_dim);
        let (key, rest) = rest.split_at(key_dim);
        let (value, gate) = rest.split_at(of_values);
        row[head * key_dim..][..key_dim].copy_from_slice(query);
        row[(keys + head) * key_dim..][..key_dim].copy_from_slice(key);
        row[2 * keys * key_dim + head * of_values..][..of_values].copy_from_slice(value);
        gates[head * of_values..][..of_values].copy_from_slice(gate);
    }
}
