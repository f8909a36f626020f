//! Which layers do not attend, and what they do instead.

use super::MAX_LAYERS;

/// Most taps of a convolution that are believed of a file.
pub const MAX_TAPS: usize = 64;

/// Channels of a convolution that one item takes.
pub(crate) const CHANNELS: usize = 512;

/// Rows of a state that one item takes.
pub(crate) const ROWS: usize = 16;

/// Most numbers of a layer's state that are believed of a file.
pub const MAX_STATE: usize = 1 << 24;

const WORDS: usize = MAX_LAYERS / 64;

/// Some of a model's layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerSet([u64; WORDS]);

impl LayerSet {
    /// No layer.
    pub const NONE: LayerSet = LayerSet([0; WORDS]);

    /// Those of the first `n` layers for which `belongs` holds.
    pub fn of(n: usize, belongs: impl Fn(usize) -> bool) -> LayerSet {
        let mut set = LayerSet::NONE;
        (0..n).filter(|&layer| belongs(layer)).for_each(|layer| set.insert(layer));
        set
    }

    /// Adds a layer, if there can be such a one.
    pub fn insert(&mut self, layer: usize) {
        if let Some(word) = self.0.get_mut(layer / 64) {
            *word |= 1 << (layer % 64);
        }
    }

    /// Whether a layer is one of them.
    pub fn contains(&self, layer: usize) -> bool {
        self.0.get(layer / 64).is_some_and(|word| word >> (layer % 64) & 1 == 1)
    }

    /// How many of them come before a layer.
    pub fn below(&self, layer: usize) -> usize {
        let count = |(i, word): (usize, &u64)| match layer.saturating_sub(64 * i) {
            0 => 0,
            bits @ 1..64 => (word & ((1 << bits) - 1)).count_ones() as usize,
            _ => word.count_ones() as usize,
        };
        self.0.iter().enumerate().map(count).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == LayerSet::NONE
    }
}

/// A mixer with a state of fixed size, which each token changes in its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recurrence {
    /// There is none.
    None,
    /// A short convolution between two gates (LFM2, Liquid AI 2025): three projections of the residual
    /// stream's width, the first times the third convolved, times the second.
    ShortConvolution {
        /// Tokens that a convolution sees, the last one included.
        taps: usize,
        /// Channels: the residual stream's width.
        width: usize,
    },
    /// Selective state spaces (Mamba, Gu and Dao 2023): each channel has some numbers that decay, each
    /// at its own rate, by a step that depends on the token.
    Selective {
        /// Tokens that the convolution before sees.
        taps: usize,
        /// Channels.
        inner: usize,
        /// Numbers of each.
        state: usize,
        /// The low rank from which all channels' steps are made.
        rank: usize,
        /// The epsilon of the norms of that, and of what is written and read, in bits; 0: there are none.
        norm_epsilon: u32,
    },
    /// The same in heads of channels (Mamba 2, Dao and Gu 2024), which have one step and one rate each.
    Heads {
        /// Tokens that the convolution before sees.
        taps: usize,
        /// Channels.
        inner: usize,
        /// Numbers of each.
        state: usize,
        /// Heads.
        heads: usize,
        /// Groups of heads that share what is written and read.
        groups: usize,
    },
    /// The gated delta rule (Yang et al. 2024): each head keeps a matrix that maps keys to values; it
    /// decays, and what it maps a token's key to is moved towards the token's value.
    Delta {
        /// Tokens that the convolution before sees.
        taps: usize,
        /// Heads of keys and queries; several of values may go with one.
        keys: usize,
        /// Dimensions of a key.
        key_dim: usize,
        /// Heads of values.
        values: usize,
        /// Dimensions of a value.
        value_dim: usize,
        /// How the projections lie in the file.
        layout: DeltaLayout,
    },
    /// Averages of values, weighted by the exponentials of keys, older ones less by each channel's rate
    /// (RWKV 4, Peng et al. 2023). Both branches of a layer see the token before, too.
    Weighted {
        /// The residual stream's width.
        width: usize,
        /// Channels.
        inner: usize,
    },
    /// Memory cells with gates for what enters, is kept and is shown (LSTM, Hochreiter and Schmidhuber
    /// 1997, Gers et al. 2000): all of them see what all of them showed before.
    Cells {
        /// Cells.
        width: usize,
    },
    /// The embeddings of the last tokens side by side, and a hidden layer over them (Bengio et al. 2003).
    Window {
        /// Tokens, the last one included.
        taps: usize,
        /// An embedding's width.
        width: usize,
        /// The hidden layer's width.
        hidden: usize,
    },
}

/// Heads of the gated delta rule, as its projections give them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeltaLayout {
    /// All queries, all keys, all values; apart from them the gates, how much is learnt, how much is kept. Of
    /// heads of values one for each head of keys comes, then the next one for each.
    Tiled,
    /// Of heads of values all of the first head of keys come, then all of the next one. How much is learnt and
    /// kept is one matrix, the latter behind the former for each head of keys.
    Grouped,
    /// The same, and queries, keys, values and gates are one matrix, too, for each head of keys.
    Joined,
}

impl Recurrence {
    /// Tokens that the convolution sees; 0 where there is none.
    pub fn taps(&self) -> usize {
        match *self {
            Recurrence::None | Recurrence::Weighted { .. } | Recurrence::Cells { .. } => 0,
            Recurrence::ShortConvolution { taps, .. }
            | Recurrence::Window { taps, .. }
            | Recurrence::Selective { taps, .. }
            | Recurrence::Heads { taps, .. }
            | Recurrence::Delta { taps, .. } => taps,
        }
    }

    /// Channels of the convolution.
    pub fn channels(&self) -> usize {
        match *self {
            Recurrence::None | Recurrence::Weighted { .. } | Recurrence::Cells { .. } => 0,
            Recurrence::ShortConvolution { width, .. } | Recurrence::Window { width, .. } => width,
            Recurrence::Selective { inner, .. } => inner,
            Recurrence::Heads { inner, state, groups, .. } => inner + 2 * groups * state,
            Recurrence::Delta { keys, key_dim, values, value_dim, .. } => {
                2 * keys * key_dim + values * value_dim
            }
        }
    }

    /// Floats that the input's projection gives for a token.
    pub fn projected(&self) -> usize {
        match *self {
            Recurrence::None | Recurrence::Weighted { .. } => 0,
            Recurrence::ShortConvolution { width, .. } => 3 * width,
            Recurrence::Selective { inner, .. } => 2 * inner,
            Recurrence::Heads { inner, heads, .. } => inner + self.channels() + heads,
            Recurrence::Delta { layout: DeltaLayout::Joined, .. } => self.channels() + self.inner(),
            Recurrence::Delta { .. } => self.channels(),
            Recurrence::Cells { width } => 4 * width,
            Recurrence::Window { hidden, .. } => hidden,
        }
    }

    /// Floats of a token that enter the last projection, or the only one.
    pub fn inner(&self) -> usize {
        match *self {
            Recurrence::None => 0,
            Recurrence::ShortConvolution { width, .. } => width,
            Recurrence::Selective { inner, .. }
            | Recurrence::Heads { inner, .. }
            | Recurrence::Weighted { inner, .. } => inner,
            Recurrence::Delta { values, value_dim, .. } => values * value_dim,
            Recurrence::Cells { width } => width,
            Recurrence::Window { taps, width, .. } => taps * width,
        }
    }

    /// Floats of a token that what is convolved is projected to: a step's low rank, what is written and
    /// what is read.
    pub fn selected(&self) -> usize {
        match *self {
            Recurrence::Selective { state, rank, .. } => rank + 2 * state,
            _ => 0,
        }
    }

    /// The low rank of steps.
    pub fn rank(&self) -> usize {
        match *self {
            Recurrence::Selective { rank, .. } => rank,
            _ => 0,
        }
    }

    /// Steps of a token: one for each of these channels, or heads.
    pub fn steps(&self) -> usize {
        match *self {
            Recurrence::Selective { inner, .. } => inner,
            Recurrence::Heads { heads, .. } | Recurrence::Delta { values: heads, .. } => heads,
            _ => 0,
        }
    }

    /// Numbers of each channel, or of each row of a head.
    pub fn row_len(&self) -> usize {
        match *self {
            Recurrence::Selective { state, .. } | Recurrence::Heads { state, .. } => state,
            Recurrence::Delta { key_dim, .. } => key_dim,
            // Of what is averaged the sum, the sum of its weights, and the logarithm of their unit.
            Recurrence::Weighted { .. } => 3,
            // What is shown, and what is kept.
            Recurrence::Cells { .. } => 2,
            _ => 0,
        }
    }

    /// Values that are normed together before the last projection.
    pub fn group_len(&self) -> usize {
        match *self {
            Recurrence::Heads { inner, groups, .. } => inner / groups.max(1),
            Recurrence::Delta { value_dim, .. } => value_dim,
            _ => 0,
        }
    }

    /// Groups of heads that share what is written and read.
    pub fn groups(&self) -> usize {
        match *self {
            Recurrence::Heads { groups, .. } => groups,
            // One norm serves all.
            Recurrence::Delta { .. } => 1,
            _ => 0,
        }
    }

    /// Floats for each token of a batch: see [`crate::plan::Buffers`].
    pub(crate) fn widths(&self) -> [usize; 6] {
        let convolved = if self.row_len() > 0 { self.channels() } else { 0 };
        let (projected, inner) = (self.projected(), self.inner());
        let steps = match *self {
            // And how much each keeps.
            Recurrence::Heads { heads, .. } => 2 * heads,
            _ => self.steps(),
        };
        match *self {
            // A gate; how much is learnt; how much is kept, or both.
            Recurrence::Delta { values, layout, .. } => {
                let kept = if layout == DeltaLayout::Tiled { values } else { 2 * values };
                [projected, convolved, inner, values, kept, inner]
            }
            // A token with the one before, or what its second branch adds; a key, a value, a gate.
            Recurrence::Weighted { width, .. } => [width, inner, inner, inner, 0, inner],
            // What the tokens and what the cells say to the gates.
            Recurrence::Cells { .. } => [projected, 0, projected, 0, 0, inner],
            _ => [projected, convolved, self.selected(), self.rank(), steps, inner],
        }
    }

    /// Floats of a worker's own that an item of the mixer needs.
    pub fn scratch_len(&self) -> usize {
        let rows = ROWS * (self.row_len() + 2);
        let tokens = (2 * self.selected()).max(self.inner()).max(self.steps());
        let tokens = match self {
            Recurrence::Delta { layout: DeltaLayout::Joined, .. } => tokens.max(self.projected()),
            _ => tokens,
        };
        (self.taps() * self.channels().min(CHANNELS)).max(rows).max(tokens)
    }

    /// Floats of a token that a layer's branches see of the one before: each has its own; 0: none does.
    pub fn shifted(&self) -> usize {
        match *self {
            Recurrence::Weighted { width, .. } => width,
            _ => 0,
        }
    }

    /// Floats of what is kept of the last tokens as it was: the convolution's inputs (taps - 1, channels), or
    /// what each branch began with (2, width).
    pub fn window_len(&self) -> usize {
        self.taps().saturating_sub(1) * self.channels() + 2 * self.shifted()
    }

    /// Floats of one layer's state: what is kept of the last tokens, then rows for all channels.
    pub fn state_len(&self) -> usize {
        self.window_len() + self.row_len() * self.inner()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_counted() {
        let set = LayerSet::of(MAX_LAYERS, |layer| layer % 3 == 1);
        for layer in 0..MAX_LAYERS {
            assert_eq!(set.contains(layer), layer % 3 == 1);
            assert_eq!(set.below(layer), (0..layer).filter(|layer| layer % 3 == 1).count());
        }
        assert!(!set.contains(MAX_LAYERS + 1) && !set.is_empty());
        assert_eq!(LayerSet::of(2000, |_| true).below(2000), MAX_LAYERS);
        assert!(LayerSet::NONE.is_empty());
    }
}
