//! A delta rule with rates of its own for each dimension: each head keeps a matrix from keys to values; of every
//! dimension of keys some is forgotten, and what it maps one key to gives way to a value for another.

use core::ops::Range;

use mote_kernels::Gate;

use super::Pass;
use super::recurrence::dot;
use super::shift::Branch;
use crate::config::{DIMENSION_PARTS, Recurrence};
use crate::engine::add;
use crate::observe::{Site, tell};
use crate::plan::Buffers;
use crate::weights::{Layer, Slot};

/// A dimension keeps at least e to the power of minus this: e^(-1/2).
const MOST_DECAY: f32 = 0.606_530_66;

/// The shortest length of a key that it is divided by.
const LEAST_LENGTH: f32 = 1e-12;

impl Pass<'_> {
    /// What the mixer adds to `tokens` of the `t`, into `b.branch`; all of them change its state.
    pub(super) fn dimensions(
        &mut self,
        layer: usize,
        w: &Layer<'_>,
        (t, tokens): (usize, Range<usize>),
        b: &mut Buffers<'_>,
    ) {
        let Recurrence::Dimensions { width: n, head_dim, .. } = self.config.recurrence else {
            return;
        };
        self.dimensions_in(layer, w, t, b);
        let kernels = self.engine.kernels;
        let vector = |slot| w.vector(slot).unwrap_or_default();
        let [reads, kept, keys, values, removed, changed, gates, _] = parts(b.convolved, t * n);
        let (keys, values, gates) = (&*keys, &*values, &*gates);
        let step =
            |token: usize, first: usize, rows: &mut [f32], out: &mut [f32], _: &mut [f32]| {
                for (i, row) in rows.chunks_exact_mut(head_dim).enumerate() {
                    let of = token * n + (first + i) / head_dim * head_dim;
                    let of = of..of + head_dim;
                    let found = -dot(row, &removed[of.clone()]);
                    let value = values[token * n + first + i];
                    let rates = kept[of.clone()].iter().zip(&changed[of.clone()]);
                    let of_keys = rates.zip(&keys[of.clone()]);
                    for (x, ((kept, changed), key)) in row.iter_mut().zip(of_keys) {
                        *x = *x * kept + found * changed + value * key;
                    }
                    out[i] = dot(row, &reads[of]);
                }
            };
        let inner = &mut b.inner[..t * n]; // (t, n_embd)
        self.scan(layer, t, inner, &step);

        let (weight, bias) = (vector(Slot::TimeNorm), vector(Slot::TimeNormBias));
        let bonus = vector(Slot::Bonus);
        let epsilon = self.config.norm_epsilon * head_dim as f32;
        self.engine.each_row(n, inner, &|token, row, spare| {
            for (head, x) in row.chunks_exact_mut(head_dim).enumerate() {
                let own = head * head_dim..(head + 1) * head_dim;
                let of = token * n + own.start..token * n + own.end;
                let spare = &mut spare[..head_dim];
                spare.copy_from_slice(x);
                kernels.layer_norm(spare, &weight[own.clone()], &bias[own.clone()], epsilon, x);
                let both = keys[of.clone()].iter().zip(&bonus[own]);
                spare.iter_mut().zip(both).for_each(|(x, (key, bonus))| *x = key * bonus);
                let share = dot(spare, &reads[of.clone()]);
                let others = values[of.clone()].iter().zip(&gates[of]);
                x.iter_mut().zip(others).for_each(|(x, (v, gate))| *x = (*x + share * v) * gate);
            }
        });
        self.mix_out(layer, w, tokens, b);
    }

    /// What the state is told and asked of all `t` tokens, into `b.convolved`.
    fn dimensions_in(&mut self, layer: usize, w: &Layer<'_>, t: usize, b: &mut Buffers<'_>) {
        let Recurrence::Dimensions { width: n, head_dim, .. } = self.config.recurrence else {
            return;
        };
        self.project_dimensions(layer, w, t, b);
        let kernels = self.engine.kernels;
        let vector = |slot| w.vector(slot).unwrap_or_default();
        let [_, kept, keys, values, removed, changed, _, firsts] = parts(b.convolved, t * n);
        let (decay, learning) = (vector(Slot::DecayBias), vector(Slot::LearningBias));
        self.engine.each_row(n, kept, &|_, row, _| {
            add(row, Some(decay));
            kernels.activate(Gate::Sigmoid, row);
            row.iter_mut().for_each(|x| *x *= -MOST_DECAY);
            kernels.activate(Gate::Exp, row);
        });
        self.engine.each_row(n, changed, &|_, row, _| {
            add(row, Some(learning));
            kernels.activate(Gate::Sigmoid, row);
        });
        if layer == 0 {
            firsts.copy_from_slice(values);
        } else {
            let (shares, firsts, bias) = (&*removed, &*firsts, vector(Slot::MixingBias));
            self.engine.each_row(n, values, &|token, row, spare| {
                let share = &mut spare[..n];
                share.copy_from_slice(&shares[token * n..][..n]);
                add(share, Some(bias));
                kernels.activate(Gate::Sigmoid, share);
                let both = firsts[token * n..].iter().zip(share);
                row.iter_mut()
                    .zip(both)
                    .for_each(|(x, (first, share))| *x += *share * (first - *x));
            });
        }
        let (of_removed, of_learnt) = (vector(Slot::RemovedKey), vector(Slot::LearntKey));
        self.engine.each_row(n, removed, &|token, row, _| {
            let both = keys[token * n..].iter().zip(of_removed);
            row.iter_mut().zip(both).for_each(|(x, (key, weight))| *x = key * weight);
            for x in row.chunks_exact_mut(head_dim) {
                let length = libm::sqrtf(dot(x, x));
                let inverse = 1.0 / if length < LEAST_LENGTH { LEAST_LENGTH } else { length };
                x.iter_mut().for_each(|x| *x *= inverse);
            }
        });
        self.engine.each_row(n, keys, &|token, row, _| {
            let both = changed[token * n..].iter().zip(of_learnt);
            row.iter_mut().zip(both).for_each(|(x, (rate, w))| *x += *x * w * (rate - 1.0));
        });
        self.engine.each_row(n, changed, &|token, row, _| {
            let removed = &removed[token * n..];
            row.iter_mut().zip(removed).for_each(|(x, key)| *x *= key);
        });
    }

    /// All matrices before the state: each meets a mixture of its own, and some are products of two.
    fn project_dimensions(&mut self, layer: usize, w: &Layer<'_>, t: usize, b: &mut Buffers<'_>) {
        let n = self.config.n_embd;
        let of = (layer, Branch::Mixer);
        self.begin_shifted(of, self.mixer_norm(w), t, b);
        let kernels = self.engine.kernels;
        let [reads, kept, keys, values, shares, changed, gates, _] = parts(b.convolved, t * n);
        let shifts = w.vector(Slot::TimeShifts).unwrap_or_default();
        // The place of the mixture's weights.
        for (shift, slot, between, out) in [
            (0, Slot::TimeGate, Between::Nothing(Site::MixerGates), reads),
            (1, Slot::DecayDown, Between::Tanh(Slot::DecayUp), kept),
            (2, Slot::TimeKey, Between::Nothing(Site::MixerKeys), keys),
            (3, Slot::TimeValue, Between::Nothing(Site::MixerValues), values),
            (3, Slot::MixingDown, Between::Line(Slot::MixingUp), shares),
            (4, Slot::LearningDown, Between::Line(Slot::LearningUp), changed),
            (5, Slot::GateDown, Between::Sigmoid(Slot::GateUp), gates),
        ] {
            // The first layer's values are those that are mixed in.
            if slot == Slot::MixingDown && layer == 0 {
                continue;
            }
            let (shift, matrix) = (&shifts[shift * n..][..n], w.matrix(slot));
            let normed = &b.normed[..t * n];
            let input = self.shifted(of, (shift, matrix), normed, (b.mixed, &mut b.planes));
            let up = match between {
                Between::Nothing(site) => {
                    tell(&mut self.observer, site, layer, &input);
                    self.engine.project([matrix], &input, [out]);
                    continue;
                }
                Between::Line(up) | Between::Tanh(up) | Between::Sigmoid(up) => w.matrix(up),
            };
            let rank = matrix.rows();
            let low = &mut b.low[..t * rank]; // (t, rank)
            self.engine.project([matrix], &input, [&mut *low]);
            self.engine.each_row(rank, low, &|_, row, _| match between {
                Between::Tanh(_) => kernels.softcap(1.0, row),
                Between::Sigmoid(_) => kernels.activate(Gate::Sigmoid, row),
                _ => {}
            });
            let planes = self.planes(&mut b.planes, &[up], t);
            let input = self.engine.quantize(rank, low, planes);
            self.engine.project([up], &input, [out]);
        }
    }
}

/// What lies behind a matrix: a low rank, what is done there, and the matrix back.
#[derive(Clone, Copy)]
enum Between {
    Nothing(Site),
    Line(Slot),
    Tanh(Slot),
    Sigmoid(Slot),
}

/// What each token has, one after the other: what is read, what each dimension keeps, keys, values, the key of what
/// is removed, what is put in its place, gates, and the first layer's values. (t, n_embd) each.
fn parts(all: &mut [f32], len: usize) -> [&mut [f32]; DIMENSION_PARTS] {
    let mut parts = all.chunks_exact_mut(len);
    core::array::from_fn(|_| parts.next().unwrap_or_default())
}
