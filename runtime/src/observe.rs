//! What enters the matrices, for whoever wants to measure it.

use mote_kernels::Rows;

/// Hears the input of every matrix product of a [`Session`](crate::Session): see
/// [`Session::observe`](crate::Session::observe).
pub trait Observer {
    /// The rows, of `cols` numbers each, that meet the matrices of `site` in the layer of this index (0
    /// at [`Site::Head`] and [`Site::LayerEmbedding`]), one for each token: before they are quantised.
    fn input(&mut self, site: Site, layer: usize, rows: &[f32], cols: usize);
}

/// Matrices that share an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Site {
    /// Queries, keys and values.
    Attention,
    /// From the narrow vector that queries are made of to all of them.
    LatentQueries,
    /// The output of attention.
    AttentionOutput,
    /// The first projections of a recurrent mixer.
    Mixer,
    /// From what such a mixer has convolved to what its state is told.
    Selection,
    /// From the low rank of its steps to steps.
    Step,
    /// Its last one.
    MixerOutput,
    /// In a mixer that sees the token before: keys.
    MixerKeys,
    /// The same of values.
    MixerValues,
    /// The same of gates.
    MixerGates,
    /// The same of the feed-forward network's gates.
    FeedForwardGates,
    /// The feed-forward network's first matrices: up, and gate if it has one.
    FeedForward,
    /// Its last one.
    Down,
    /// An expert's first matrices: only the tokens that go through it.
    UpExpert(usize),
    /// Its last one.
    DownExpert(usize),
    /// The last one of the network that every token goes through besides experts.
    DownShared,
    /// From the embedding to what it means to each layer.
    LayerEmbedding,
    /// From a state to the gate of what a token means to the layer.
    LayerGate,
    /// From that to what is added to the state.
    LayerOutput,
    /// From the last state to logits.
    Head,
}

/// Tells an observer, if there is one. Once for a phase, so nobody pays for its absence.
pub(crate) fn tell(
    observer: &mut Option<&mut dyn Observer>,
    site: Site,
    layer: usize,
    input: &Rows<'_>,
) {
    if let Some(observer) = observer
        && let Some(rows) = input.float()
    {
        observer.input(site, layer, rows, input.k());
    }
}
