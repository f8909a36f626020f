//! Memory cells with gates. All cells of a layer see what all of them showed last, so tokens go through one
//! after the other; what they themselves say to the gates is computed for all together.

use core::ops::Range;

use mote_kernels::Gate;

use super::Pass;
use crate::engine::add;
use crate::observe::{Site, tell};
use crate::plan::Buffers;
use crate::states::LayerState;
use crate::weights::{Layer, Slot};

impl Pass<'_> {
    /// What the mixer gives for `tokens` of the `t`, into `b.branch`; all of them change its state: what
    /// the cells show, then what they keep.
    pub(super) fn cells(
        &mut self,
        layer: usize,
        w: &Layer<'_>,
        (t, tokens): (usize, Range<usize>),
        b: &mut Buffers<'_>,
    ) {
        let n = self.config.recurrence.inner();
        let (kernels, place) = (self.engine.kernels, self.config.recurrent.below(layer));
        let (back, bias) = (w.matrix(Slot::MixBack), w.vector(Slot::MixBackBias));
        self.mix_in(layer, w, t, b);
        let LayerState { from, to, .. } = self.states.layer(place);
        to.copy_from_slice(from);
        for token in 0..t {
            let shown = &mut b.inner[token * n..][..n]; // (n)
            let LayerState { before, to, .. } = self.states.layer(place);
            if token + 1 == t {
                before.copy_from_slice(&to[..before.len()]);
            }
            shown.copy_from_slice(&to[..n]);
            let said = &mut b.selected[token * 4 * n..][..4 * n]; // (4 * n)
            let planes = self.planes(&mut b.planes, &[back], 1);
            let input = self.engine.quantize(n, shown, planes);
            tell(&mut self.observer, Site::Back, layer, &input);
            self.engine.project([back], &input, [&mut *said]);
            add(said, bias);
            let gates = &mut b.mixed[token * 4 * n..][..4 * n]; // what enters, is kept, is new, is shown
            add(gates, Some(said));
            let (gates, show) = gates.split_at_mut(3 * n);
            let (gates, new) = gates.split_at_mut(2 * n);
            kernels.activate(Gate::Sigmoid, gates);
            kernels.activate(Gate::Sigmoid, show);
            kernels.softcap(1.0, new); // tanh

            let LayerState { to, .. } = self.states.layer(place);
            let (shown, kept) = to.split_at_mut(n);
            let (enter, keep) = gates.split_at(n);
            for (kept, ((enter, keep), new)) in
                kept.iter_mut().zip(enter.iter().zip(keep).zip(&*new))
            {
                *kept = keep * *kept + enter * new;
            }
            new.copy_from_slice(kept);
            kernels.softcap(1.0, new);
            shown.iter_mut().zip(show.iter().zip(&*new)).for_each(|(h, (o, c))| *h = o * c);
            b.inner[token * n..][..n].copy_from_slice(shown);
        }
        let wanted = &b.inner[tokens.start * n..tokens.end * n];
        b.branch[..wanted.len()].copy_from_slice(wanted); // (t, n_embd)
    }
}
