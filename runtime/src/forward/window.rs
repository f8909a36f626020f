//! The last tokens' embeddings side by side, and a hidden layer over them.

use core::ops::Range;

use super::Pass;
use super::recurrence::{Columns, Seen};
use crate::config::Recurrence;
use crate::engine::add;
use crate::observe::{Site, tell};
use crate::plan::Buffers;
use crate::states::LayerState;
use crate::weights::{Layer, Slot};

impl Pass<'_> {
    /// What enters the head for `tokens` of the `t`, into `b.branch`: the embeddings, if the head sees them
    /// directly, then the hidden layer. Before the first token the embeddings are zero.
    pub(super) fn context_window(
        &mut self,
        layer: usize,
        w: &Layer<'_>,
        (t, tokens): (usize, Range<usize>),
        b: &mut Buffers<'_>,
    ) {
        let Recurrence::Window { taps, width, hidden } = self.config.recurrence else { return };
        let (n, n_embd, seen) = (tokens.len(), self.config.n_embd, taps * width);
        let context = &mut b.inner[..n * seen]; // (n, taps * embedding_width)
        let LayerState { from, before, to } = self.states.layer(self.config.recurrent.below(layer));
        let input = Columns { rows: &b.x[..t * width], stride: width, first: 0 };
        let past = Seen { from, past: taps - 1, width, input };
        for (i, part) in context.chunks_exact_mut(width).enumerate() {
            part.copy_from_slice(past.of(tokens.start + i / taps + i % taps, 0, width));
        }
        past.keep(t, before, to);
        if n == 0 {
            return;
        }
        let (into, bias) = (w.matrix(Slot::MixIn), w.vector(Slot::MixInBias));
        let planes = self.planes(&mut b.planes, &[into], n);
        let input = self.engine.quantize(seen, context, planes);
        tell(&mut self.observer, Site::Mixer, layer, &input);
        let mixed = &mut b.mixed[..n * hidden]; // (n, hidden)
        self.engine.project([into], &input, [&mut *mixed]);
        let (kernels, context, mixed) = (self.engine.kernels, &b.inner, &*mixed);
        let branch = &mut b.branch[..n * n_embd]; // (n, n_embd)
        self.engine.each_row(n_embd, branch, &|i, row, _| {
            let (direct, over) = row.split_at_mut(n_embd - hidden);
            direct.copy_from_slice(&context[i * seen..][..direct.len()]);
            over.copy_from_slice(&mixed[i * hidden..][..hidden]);
            add(over, bias);
            kernels.softcap(1.0, over); // tanh
        });
    }
}
