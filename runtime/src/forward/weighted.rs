//! Averages of values, weighted by the exponentials of keys: of each channel the weighted sum, the sum of the
//! weights, and the logarithm of the unit in which both are counted, so that no exponential overflows.

use core::ops::Range;

use mote_kernels::Gate;

use super::Pass;
use super::shift::Branch;
use crate::config::Recurrence;
use crate::observe::{Site, tell};
use crate::plan::Buffers;
use crate::weights::{Layer, Slot};

impl Pass<'_> {
    /// What the mixer adds to `tokens` of the `t`, into `b.branch`; all of them change its state.
    pub(super) fn weighted(
        &mut self,
        layer: usize,
        w: &Layer<'_>,
        (t, tokens): (usize, Range<usize>),
        b: &mut Buffers<'_>,
    ) {
        let Recurrence::Weighted { width, inner: n } = self.config.recurrence else { return };
        let of = (layer, Branch::Mixer);
        self.begin_shifted(of, self.mixer_norm(w), t, b);
        let normed = &b.normed[..t * width];
        let keys = &mut b.convolved[..t * n]; // (t, inner)
        let values = &mut b.selected[..t * n]; // (t, inner)
        let gates = &mut b.low[..t * n]; // (t, inner)
        let vector = |slot| w.vector(slot).unwrap_or_default();
        for (shift, slot, site, out) in [
            (Slot::TimeShiftKey, Slot::TimeKey, Site::MixerKeys, &mut *keys),
            (Slot::TimeShiftValue, Slot::TimeValue, Site::MixerValues, &mut *values),
            (Slot::TimeShiftGate, Slot::TimeGate, Site::MixerGates, &mut *gates),
        ] {
            let matrix = w.matrix(slot);
            let input = self.shifted(of, (vector(shift), matrix), normed, (b.mixed, &mut b.planes));
            tell(&mut self.observer, site, layer, &input);
            self.engine.project([matrix], &input, [out]);
        }

        let (kernels, keys, values, gates) = (self.engine.kernels, &*keys, &*values, &*gates);
        let (bonus, decay) = (vector(Slot::TimeFirst), vector(Slot::TimeDecay));
        let step =
            |token: usize, first: usize, rows: &mut [f32], out: &mut [f32], spare: &mut [f32]| {
                let at = token * n + first;
                let (rates, powers) = spare[..5 * out.len()].split_at_mut(out.len());
                rates.copy_from_slice(&decay[first..][..rates.len()]);
                kernels.activate(Gate::Exp, rates);
                let exponents = powers.as_chunks_mut::<4>().0;
                for (i, (row, [past, now, kept, added])) in
                    rows.chunks_exact_mut(3).zip(&mut *exponents).enumerate()
                {
                    // Weights are 1 or more in sum, but before the first token.
                    let unit = if row[1] == 0.0 { f32::NEG_INFINITY } else { row[2] };
                    let key = keys[at + i];
                    let most = larger(unit, key + bonus[first + i]);
                    (*past, *now) = (unit - most, key + bonus[first + i] - most);
                    let unit = unit - rates[i];
                    row[2] = larger(unit, key);
                    (*kept, *added) = (unit - row[2], key - row[2]);
                }
                kernels.activate(Gate::Exp, exponents.as_flattened_mut());
                for (i, (row, [past, now, kept, added])) in
                    rows.chunks_exact_mut(3).zip(&*exponents).enumerate()
                {
                    let value = values[at + i];
                    out[i] = (past * row[0] + now * value) / (past * row[1] + now);
                    row[0] = kept * row[0] + added * value;
                    row[1] = kept * row[1] + added;
                }
                let gate = &mut spare[..out.len()];
                gate.copy_from_slice(&gates[at..][..out.len()]);
                kernels.gate(Gate::Sigmoid, gate, out);
                out.copy_from_slice(gate);
            };
        self.scan(layer, t, &mut b.inner[..t * n], &step); // (t, inner)
        self.mix_out(layer, w, tokens, b);
    }
}

/// The larger of two; NaN if the second one is.
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}
