//! The gated delta rule: each head keeps a matrix from keys to values, which decays, and what it maps a
//! token's key to is moved towards the token's value.

use core::ops::Range;

use mote_kernels::Gate;

use super::Pass;
use super::recurrence::{Columns, dot, softplus};
use crate::config::Recurrence;
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
        let Recurrence::Delta { keys, key_dim, values, value_dim, .. } = r else { return };
        let (kernels, channels, n) = (self.engine.kernels, r.channels(), r.inner());
        let matrices =
            [Slot::MixIn, Slot::MixGate, Slot::Learn, Slot::Keep].map(|slot| w.matrix(slot));
        let norm = self.mixer_norm(w);
        let input = self.branch_input(0..t, norm, &matrices, (b.x, b.normed, &mut b.planes));
        tell(&mut self.observer, Site::Mixer, layer, &input);
        let mixed = &mut b.mixed[..t * channels]; // (t, queries, keys, values)
        let gates = &mut b.selected[..t * n]; // (t, values * value_dim)
        let (learnt, kept) = (&mut b.low[..t * values], &mut b.steps[..t * values]); // (t, values)
        let outputs = [&mut *mixed, &mut *gates, &mut *learnt, &mut *kept];
        self.engine.project(matrices, &input, outputs);

        let vector = |slot| w.vector(slot).unwrap_or_default();
        let (bias, rates) = (vector(Slot::StepBias), vector(Slot::Rates));
        let parts = (Chunks::new(learnt, values), Chunks::new(kept, values));
        for_each(self.engine.crew, self.engine.scratch, parts, |_, (learnt, kept), spare| {
            kernels.activate(Gate::Sigmoid, learnt);
            kept.iter_mut().zip(bias).for_each(|(step, bias)| *step += bias);
            softplus(kernels, kept, spare);
            kept.iter_mut().zip(rates).for_each(|(step, rate)| *step *= rate);
            kernels.activate(Gate::Exp, kept);
        });
        let convolved = &mut b.convolved[..t * channels]; // (t, queries, keys, values)
        let input = Columns { rows: mixed, stride: channels, first: 0 };
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
        let step =
            |token: usize, first: usize, rows: &mut [f32], out: &mut [f32], _: &mut [f32]| {
                let value = convolved.of(token, 2 * keys * key_dim + first, out.len());
                for (i, row) in rows.chunks_exact_mut(key_dim).enumerate() {
                    let head = (first + i) / value_dim;
                    let place = head % keys * key_dim;
                    let query = convolved.of(token, place, key_dim);
                    let key = convolved.of(token, keys * key_dim + place, key_dim);
                    let decay = kept[token * values + head];
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
}
