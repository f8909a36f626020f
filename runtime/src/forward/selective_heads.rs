//! Selective state spaces in heads of channels, with one step and one rate each.

use core::ops::Range;

use mote_kernels::{Gate, renew};

use super::Pass;
use super::recurrence::{Columns, softplus};
use crate::config::Recurrence;
use crate::executor::{Chunks, for_each};
use crate::plan::Buffers;
use crate::weights::{Layer, Slot};

impl Pass<'_> {
    /// What the mixer adds to `tokens` of the `t`, into `b.branch`; all of them change its state.
    pub(super) fn selective_heads(
        &mut self,
        layer: usize,
        w: &Layer<'_>,
        (t, tokens): (usize, Range<usize>),
        b: &mut Buffers<'_>,
    ) {
        let r = self.config.recurrence;
        let Recurrence::Heads { inner: n, state, heads, groups, .. } = r else { return };
        let (kernels, channels, width) = (self.engine.kernels, r.channels(), r.projected());
        self.mix_in(layer, w, t, b);
        // (t, ...): a gate, what is convolved, and steps.
        let mixed = &b.mixed[..t * width];
        let gates = Columns { rows: mixed, stride: width, first: 0 };
        let convolved = &mut b.convolved[..t * channels]; // (t, inner + 2 * groups * state)
        let silu = |_: usize, _: usize, row: &mut [f32]| kernels.activate(Gate::Silu, row);
        let input = Columns { first: n, ..gates };
        self.convolve(self.convolution(w), input, layer, convolved, &silu);

        let vector = |slot| w.vector(slot).unwrap_or_default();
        let (bias, rates, skip) = (vector(Slot::StepBias), vector(Slot::Rates), vector(Slot::Skip));
        let given = Columns { first: n + channels, ..gates };
        let steps = &mut b.steps[..t * 2 * heads]; // (t, 2 * heads): steps, and how much they keep
        let parts = Chunks::new(steps, 2 * heads);
        for_each(self.engine.crew, self.engine.scratch, parts, |token, row, spare| {
            let (steps, decays) = row.split_at_mut(heads);
            let given = given.of(token, 0, heads).iter().zip(bias);
            steps.iter_mut().zip(given).for_each(|(step, (given, bias))| *step = given + bias);
            softplus(kernels, steps, spare);
            let both = steps.iter().zip(rates);
            decays.iter_mut().zip(both).for_each(|(decay, (step, rate))| *decay = step * rate);
            kernels.activate(Gate::Exp, decays);
        });

        let steps = Columns { rows: steps, stride: 2 * heads, first: 0 };
        let convolved = Columns { rows: convolved, stride: channels, first: 0 };
        let (of_head, of_group) = (n / heads, heads / groups);
        let step =
            |token: usize, first: usize, rows: &mut [f32], out: &mut [f32], _: &mut [f32]| {
                let x = convolved.of(token, first, out.len());
                let steps = steps.of(token, 0, 2 * heads);
                for (i, row) in rows.chunks_exact_mut(state).enumerate() {
                    let head = (first + i) / of_head;
                    let place = n + head / of_group * state;
                    let written = convolved.of(token, place, state);
                    let read = convolved.of(token, place + groups * state, state);
                    let (added, decay) = (steps[head] * x[i], steps[heads + head]);
                    out[i] = renew(row, (decay, added), written, read) + skip[head] * x[i];
                }
            };
        let inner = &mut b.inner[..t * n]; // (t, inner)
        self.scan(layer, t, inner, &step);
        let (weight, epsilon) = (vector(Slot::MixNorm), self.config.norm_epsilon);
        let len = r.group_len();
        let parts = Chunks::new(inner, n);
        for_each(self.engine.crew, self.engine.scratch, parts, |token, row, spare| {
            let gate = &mut spare[..n];
            gate.copy_from_slice(gates.of(token, 0, n));
            kernels.gate(Gate::Silu, gate, row);
            let groups = gate.chunks_exact(len).zip(weight.chunks_exact(len));
            for ((gated, weight), row) in groups.zip(row.chunks_exact_mut(len)) {
                kernels.rms_norm(gated, weight, epsilon, row);
            }
        });
        self.mix_out(layer, w, tokens, b);
    }
}
