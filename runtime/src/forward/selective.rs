//! Selective state spaces: numbers of each channel that decay, each at its own rate, by a step that
//! depends on the token.

use core::ops::Range;

use mote_kernels::Gate;

use super::Pass;
use super::recurrence::{Columns, dot, softplus};
use crate::config::Recurrence;
use crate::executor::{Chunks, for_each};
use crate::observe::{Site, tell};
use crate::plan::Buffers;
use crate::weights::{Layer, Slot};

impl Pass<'_> {
    /// What the mixer adds to `tokens` of the `t`, into `b.branch`; all of them change its state.
    pub(super) fn selective(
        &mut self,
        layer: usize,
        w: &Layer<'_>,
        (t, tokens): (usize, Range<usize>),
        b: &mut Buffers<'_>,
    ) {
        let Recurrence::Selective { inner: n, state, rank, .. } = self.config.recurrence else {
            return;
        };
        let kernels = self.engine.kernels;
        self.mix_in(layer, w, t, b);
        let mixed = &b.mixed[..t * 2 * n]; // (t, 2 * inner): what is convolved, and a gate
        let convolved = &mut b.convolved[..t * n]; // (t, inner)
        let input = Columns { rows: mixed, stride: 2 * n, first: 0 };
        let silu = |_: usize, _: usize, row: &mut [f32]| kernels.activate(Gate::Silu, row);
        self.convolve(self.convolution(w), input, layer, convolved, &silu);

        self.select(layer, w, t, b);
        let width = rank + 2 * state;
        let (convolved, steps) = (&b.convolved[..t * n], &b.steps[..t * n]);
        let written = Columns { rows: &b.selected[..t * width], stride: width, first: rank };
        let read = Columns { first: rank + state, ..written };
        let gates = Columns { rows: &b.mixed[..t * 2 * n], stride: 2 * n, first: n };
        let vector = |slot| w.vector(slot).unwrap_or_default();
        let (bias, rates, skip) = (vector(Slot::StepBias), vector(Slot::Rates), vector(Slot::Skip));
        let step =
            |token: usize, first: usize, rows: &mut [f32], out: &mut [f32], spare: &mut [f32]| {
                let n_rows = out.len();
                let x = &convolved[token * n + first..][..n_rows];
                let given = steps[token * n + first..].iter().zip(&bias[first..]);
                out.iter_mut().zip(given).for_each(|(out, (step, bias))| *out = step + bias);
                softplus(kernels, out, spare);
                let decays = &mut spare[..rows.len()];
                let of_rows = rates[first * state..].chunks_exact(state).zip(&*out);
                for (decays, (rates, step)) in decays.chunks_exact_mut(state).zip(of_rows) {
                    decays.iter_mut().zip(rates).for_each(|(decay, rate)| *decay = step * rate);
                }
                kernels.activate(Gate::Exp, decays);
                let (written, read) = (written.of(token, 0, state), read.of(token, 0, state));
                let of_rows = rows.chunks_exact_mut(state).zip(decays.chunks_exact(state));
                for (i, (row, decays)) in of_rows.enumerate() {
                    let added = out[i] * x[i];
                    for (kept, (decay, written)) in row.iter_mut().zip(decays.iter().zip(written)) {
                        *kept = *kept * decay + added * written;
                    }
                    out[i] = dot(row, read) + skip[first + i] * x[i];
                }
                let gate = &mut spare[..n_rows];
                gate.copy_from_slice(gates.of(token, first, n_rows));
                kernels.gate(Gate::Silu, gate, out);
                out.copy_from_slice(gate);
            };
        self.scan(layer, t, &mut b.inner[..t * n], &step); // (t, inner)
        self.mix_out(layer, w, tokens, b);
    }

    /// From what was convolved: what is written and read, into `b.selected`, and steps, into `b.steps`.
    fn select(&mut self, layer: usize, w: &Layer<'_>, t: usize, b: &mut Buffers<'_>) {
        let Recurrence::Selective { inner: n, state, rank, norm_epsilon, .. } =
            self.config.recurrence
        else {
            return;
        };
        let (kernels, width) = (self.engine.kernels, rank + 2 * state);
        let matrix = w.matrix(Slot::Select);
        let planes = self.planes(&mut b.planes, &[matrix], t);
        let input = self.engine.quantize(n, &mut b.convolved[..t * n], planes);
        tell(&mut self.observer, Site::Selection, layer, &input);
        let selected = &mut b.selected[..t * width]; // (t, rank + 2 * state)
        self.engine.project([matrix], &input, [&mut *selected]);
        let low = &mut b.low[..t * rank]; // (t, rank)
        let parts = (Chunks::new(selected, width), Chunks::new(low, rank));
        let epsilon = f32::from_bits(norm_epsilon);
        for_each(self.engine.crew, self.engine.scratch, parts, |_, (selected, low), spare| {
            if epsilon > 0.0 {
                let (ones, normed) = spare.split_at_mut(width);
                ones.fill(1.0);
                let (step, others) = selected.split_at_mut(rank);
                for part in [step].into_iter().chain(others.chunks_exact_mut(state)) {
                    let normed = &mut normed[..part.len()];
                    kernels.rms_norm(part, &ones[..part.len()], epsilon, normed);
                    part.copy_from_slice(normed);
                }
            }
            low.copy_from_slice(&selected[..rank]);
        });
        let matrix = w.matrix(Slot::Step);
        let planes = self.planes(&mut b.planes, &[matrix], t);
        let input = self.engine.quantize(rank, low, planes);
        tell(&mut self.observer, Site::Step, layer, &input);
        self.engine.project([matrix], &input, [&mut b.steps[..t * n]]); // (t, inner)
    }
}
