//! A short convolution between two gates.

use core::ops::Range;

use super::Pass;
use super::recurrence::Columns;
use crate::executor::{Chunks, for_each};
use crate::plan::Buffers;
use crate::weights::Layer;

impl Pass<'_> {
    /// What the mixer adds to `tokens` of the `t`, into `b.branch`; all of them change its state.
    pub(super) fn short_convolution(
        &mut self,
        layer: usize,
        w: &Layer<'_>,
        (t, tokens): (usize, Range<usize>),
        b: &mut Buffers<'_>,
    ) {
        let n = self.config.n_embd;
        self.mix_in(layer, w, t, b);
        let mixed = &mut b.mixed[..t * 3 * n]; // (t, 3 * n_embd)
        let rows = Chunks::new(mixed, 3 * n);
        for_each(self.engine.crew, self.engine.scratch, rows, |_, row, _| {
            let (before, rest) = row.split_at_mut(n);
            before.iter_mut().zip(&rest[n..]).for_each(|(gate, x)| *gate *= x);
        });
        let mixed = &*mixed;
        let after = Columns { rows: mixed, stride: 3 * n, first: n };
        let gate = |token: usize, first: usize, row: &mut [f32]| {
            let gate = after.of(token, first, row.len());
            row.iter_mut().zip(gate).for_each(|(x, gate)| *x *= gate);
        };
        let inner = &mut b.inner[..t * n]; // (t, n_embd)
        self.convolve(self.convolution(w), Columns { first: 0, ..after }, layer, inner, &gate);
        self.mix_out(layer, w, tokens, b);
    }
}
