//! Recurrent states: what layers that do not attend know of all tokens before. Such a state cannot be
//! taken back, so there are several of the whole model, each after another number of tokens. A pass
//! leaves the one that it begins with as it is, and makes two new ones: after its last token, and
//! before it (for [`Session::recall`](crate::Session::recall)). Whoever rewinds to where no state is
//! goes on from the last one before, and the tokens in between are computed again.

/// States that a session holds.
pub(crate) const STATES: usize = 4;

/// Of states that lie closer together than this, in tokens, the newer one is given up first: for the
/// newest, and for the one before it.
const SPACING: [usize; 2] = [32, 512];

/// All of a session's states.
pub(crate) struct States<'s> {
    /// (STATES, recurrent layers, floats of a layer)
    data: &'s mut [f32],
    /// How many tokens each one has seen, if it holds anything.
    at: [Option<usize>; STATES],
    layer_len: usize,
    /// What the pass that runs reads and writes.
    roles: Roles,
}

/// The places of a pass's states.
#[derive(Clone, Copy, Default)]
struct Roles {
    from: usize,
    /// Before the last of several tokens.
    before: Option<usize>,
    to: usize,
}

/// The states of one pass.
pub(crate) struct Running<'p> {
    from: &'p [f32],
    before: &'p mut [f32],
    to: &'p mut [f32],
    layer_len: usize,
}

/// The same for one layer.
pub(crate) struct LayerState<'p> {
    /// Before the first token.
    pub from: &'p [f32],
    /// Before the last one; empty if there is one token alone.
    pub before: &'p mut [f32],
    /// After the last one.
    pub to: &'p mut [f32],
}

impl<'s> States<'s> {
    /// States in `data`, none of which holds anything yet.
    pub fn new(data: &'s mut [f32], layer_len: usize) -> Self {
        States { data, at: [None; STATES], layer_len, roles: Roles::default() }
    }

    /// Floats of one state.
    fn len(&self) -> usize {
        self.data.len() / STATES
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.at = [None; STATES];
    }

    /// How many of the first `position` tokens the best state for going on from there has seen; all of
    /// them in a model without states. States that have seen more are forgotten: what they saw will be
    /// overwritten.
    pub fn seen(&mut self, position: usize) -> usize {
        if self.data.is_empty() {
            return position;
        }
        for at in self.at.iter_mut() {
            *at = at.filter(|&at| at <= position);
        }
        self.at.iter().copied().flatten().max().unwrap_or(0)
    }

    /// The state after the first `position` tokens, if there is one.
    pub fn get(&self, position: usize) -> Option<&[f32]> {
        let index = self.at.iter().position(|&at| at == Some(position))?;
        let n = self.len();
        Some(&self.data[index * n..][..n])
    }

    /// The place of a state after so many tokens, to be filled; all others are forgotten.
    pub fn replace(&mut self, position: usize) -> &mut [f32] {
        self.clear();
        self.at[0] = Some(position);
        let n = self.len();
        &mut self.data[..n]
    }

    /// Makes ready for a pass of `t` tokens behind the first `position`, all of which the best state
    /// has seen. Until [`States::finish`] what the pass writes counts for nothing.
    pub fn begin(&mut self, position: usize, t: usize) {
        if self.data.is_empty() {
            return;
        }
        let known = self.at.iter().position(|&at| at == Some(position));
        let from = known.unwrap_or_else(|| {
            // Before the first token everything is zero.
            let (index, n) = (self.victim(&[]), self.len());
            self.data[index * n..][..n].fill(0.0);
            self.at[index] = Some(position);
            index
        });
        let to = self.victim(&[from]);
        self.at[to] = None;
        let before = (t > 1).then(|| self.victim(&[from, to]));
        if let Some(before) = before {
            self.at[before] = None;
        }
        self.roles = Roles { from, before, to };
    }

    /// The place to give up: one that holds nothing, or the state whose loss costs least.
    fn victim(&self, kept: &[usize]) -> usize {
        let mut others = [(usize::MAX, 0); STATES];
        let mut n = 0;
        for (index, at) in self.at.iter().enumerate().filter(|(index, _)| !kept.contains(index)) {
            match at {
                None => return index,
                Some(at) => (others[n], n) = ((*at, index), n + 1),
            }
        }
        let others = &mut others[..n];
        others.sort_unstable_by(|a, b| b.cmp(a));
        let close = others.windows(2).zip(SPACING).find_map(|(pair, spacing)| match pair {
            [(newer, index), (older, _)] if newer - older < spacing => Some(*index),
            _ => None,
        });
        close.or(others.last().map(|(_, index)| *index)).unwrap_or(0)
    }

    /// The pass is done: its states have seen all of its tokens, and all but the last.
    pub fn finish(&mut self, position: usize, t: usize) {
        if self.data.is_empty() {
            return;
        }
        self.at[self.roles.to] = Some(position + t);
        if let Some(before) = self.roles.before {
            self.at[before] = Some(position + t - 1);
        }
    }

    /// The states of the pass that [`States::begin`] made ready.
    pub fn running(&mut self) -> Running<'_> {
        let (n, roles) = (self.len().max(1), self.roles);
        let mut pass =
            Running { from: &[], before: &mut [], to: &mut [], layer_len: self.layer_len };
        for (index, state) in self.data.chunks_exact_mut(n).enumerate() {
            if index == roles.to {
                pass.to = state;
            } else if Some(index) == roles.before {
                pass.before = state;
            } else if index == roles.from {
                pass.from = state;
            }
        }
        pass
    }
}

impl Running<'_> {
    /// One layer's part: the `index`-th that has a state.
    pub fn layer(&mut self, index: usize) -> LayerState<'_> {
        let part = index * self.layer_len..(index + 1) * self.layer_len;
        let before = if self.before.is_empty() { &mut [] } else { &mut self.before[part.clone()] };
        LayerState { from: &self.from[part.clone()], before, to: &mut self.to[part] }
    }
}
