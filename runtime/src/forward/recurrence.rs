//! What recurrent mixers have in common: the short convolution over the last tokens, and states that
//! each token changes in its turn.

use core::ops::Range;

pub(super) use mote_kernels::dot;
use mote_kernels::{Gate, Kernels};

use super::Pass;
use crate::config::{CHANNELS, ROWS};
use crate::executor::{Chunks, Outputs, for_each};
use crate::observe::{Site, tell};
use crate::plan::Buffers;
use crate::states::LayerState;
use crate::weights::{Layer, Slot};

/// Tokens that one item of a convolution takes.
const CONVOLUTION_TOKENS: usize = 16;

/// Some columns of a matrix of tokens (t, stride).
#[derive(Clone, Copy)]
pub(super) struct Columns<'a> {
    pub rows: &'a [f32],
    pub stride: usize,
    pub first: usize,
}

impl<'a> Columns<'a> {
    /// `n` of them from the `from`-th on, of one token.
    pub fn of(&self, token: usize, from: usize, n: usize) -> &'a [f32] {
        &self.rows[token * self.stride + self.first + from..][..n]
    }
}

/// A convolution of each channel over the last tokens.
#[derive(Clone, Copy)]
pub(super) struct Convolution<'a> {
    /// (channels, taps), the last one for the token itself.
    pub weight: &'a [f32],
    /// (channels)
    pub bias: Option<&'a [f32]>,
    pub taps: usize,
    pub channels: usize,
}

/// The inputs of the tokens, those of the last ones before them in front.
pub(super) struct Seen<'a> {
    /// Of the layer's state: (past, width).
    pub from: &'a [f32],
    pub past: usize,
    pub width: usize,
    pub input: Columns<'a>,
}

impl Seen<'_> {
    /// `n` numbers from the `first` on of the `i`-th of them.
    pub fn of(&self, i: usize, first: usize, n: usize) -> &[f32] {
        match i.checked_sub(self.past) {
            None => &self.from[i * self.width + first..][..n],
            Some(token) => self.input.of(token, first, n),
        }
    }

    /// The states before the last of `t` tokens and after it.
    pub fn keep(&self, t: usize, before: &mut [f32], to: &mut [f32]) {
        for (state, tokens) in [(before, t - 1), (to, t)] {
            for (i, row) in state.chunks_exact_mut(self.width).enumerate() {
                row.copy_from_slice(self.of(tokens + i, 0, self.width));
            }
        }
    }
}

/// What one token does to some rows of a state: the token, the first row, the rows, what they give, and
/// room for numbers.
pub(super) type Step<'a> = &'a (dyn Fn(usize, usize, &mut [f32], &mut [f32], &mut [f32]) + Sync);

impl Pass<'_> {
    /// The first projection of all `t` tokens, into `b.mixed`.
    pub(super) fn mix_in(&mut self, layer: usize, w: &Layer<'_>, t: usize, b: &mut Buffers<'_>) {
        let into = w.matrix(Slot::MixIn);
        let (norm, width) = (self.mixer_norm(w), self.config.input_width(layer));
        let input = self.input((0..t, width), norm, &[into], (b.x, b.normed, &mut b.planes));
        tell(&mut self.observer, Site::Mixer, layer, &input);
        let mixed = &mut b.mixed[..t * into.rows()];
        self.engine.project([into], &input, [&mut *mixed]);
        if let Some(bias) = w.vector(Slot::MixInBias) {
            self.engine.add_bias(mixed, bias);
        }
    }

    /// The last one, of some of the tokens, from `b.inner` into `b.branch`.
    pub(super) fn mix_out(
        &mut self,
        layer: usize,
        w: &Layer<'_>,
        tokens: Range<usize>,
        b: &mut Buffers<'_>,
    ) {
        let (c, t, n) = (self.config, tokens.len(), self.config.recurrence.inner());
        if tokens.is_empty() {
            return;
        }
        let out = w.matrix(Slot::MixOut);
        let inner = &mut b.inner[tokens.start * n..tokens.end * n]; // (t, inner)
        let planes = self.planes(&mut b.planes, &[out], t);
        let input = self.engine.quantize(n, inner, planes);
        tell(&mut self.observer, Site::MixerOutput, layer, &input);
        self.engine.project([out], &input, [&mut b.branch[..t * c.n_embd]]); // (t, n_embd)
    }

    /// The layer's convolution.
    pub(super) fn convolution<'a>(&self, w: &Layer<'a>) -> Convolution<'a> {
        Convolution {
            weight: w.vector(Slot::Convolution).unwrap_or_default(),
            bias: w.vector(Slot::ConvolutionBias),
            taps: self.config.recurrence.taps(),
            channels: self.config.recurrence.channels(),
        }
    }

    /// Shows the rows of the layer's state to all tokens in their order, some rows at a time; `out` is
    /// (t, rows).
    pub(super) fn scan(&mut self, layer: usize, t: usize, out: &mut [f32], step: Step<'_>) {
        let r = self.config.recurrence;
        let (window, len) = (r.window_len(), r.row_len());
        let LayerState { from, before, to } = self.states.layer(self.config.recurrent.below(layer));
        let from = &from[window..];
        let before = before.get_mut(window..).filter(|rows| !rows.is_empty());
        let states = (
            before.map(|rows| Chunks::new(rows, ROWS * len)),
            Chunks::new(&mut to[window..], ROWS * len),
        );
        let parts = (Outputs::new(t, t, [out], [ROWS]), states);
        for_each(self.engine.crew, self.engine.scratch, parts, |_, (mut out, states), spare| {
            let (before, to) = states;
            let first = out.row;
            let mut rows = &from[first * len..][..to.len()];
            if let Some(before) = before {
                before.copy_from_slice(rows);
                for token in 0..t - 1 {
                    step(token, first, before, out.tile.token(token), spare);
                }
                rows = before;
            }
            to.copy_from_slice(rows);
            step(t - 1, first, to, out.tile.token(t - 1), spare);
        });
    }

    /// `out` (t, channels) becomes the convolution of `input`, whose last tokens before these are in
    /// the layer's state; then `finish(token, first channel, values)` of each row's parts. The state
    /// moves on.
    pub(super) fn convolve(
        &mut self,
        convolution: Convolution<'_>,
        input: Columns<'_>,
        layer: usize,
        out: &mut [f32],
        finish: &(dyn Fn(usize, usize, &mut [f32]) + Sync),
    ) {
        let Convolution { weight, bias, taps, channels } = convolution;
        let t = out.len() / channels;
        let window = self.config.recurrence.window_len();
        let LayerState { from, before, to } = self.states.layer(self.config.recurrent.below(layer));
        let (from, before) = (&from[..window], before.get_mut(..window).unwrap_or_default());
        let to = &mut to[..window];
        let seen = Seen { from, past: taps - 1, width: channels, input };
        let parts = Outputs::new(t, CONVOLUTION_TOKENS, [out], [CHANNELS]);
        for_each(self.engine.crew, self.engine.scratch, parts, |_, mut part, spare| {
            let (first, n) = (part.row, part.tile.rows());
            // Side by side for a vector of channels: (taps, n).
            let weights = &mut spare[..taps * n];
            for (channel, of_one) in weight[first * taps..].chunks_exact(taps).take(n).enumerate() {
                of_one.iter().enumerate().for_each(|(tap, &w)| weights[tap * n + channel] = w);
            }
            for i in 0..part.tile.tokens() {
                let token = part.token + i;
                let row = part.tile.token(i);
                match bias {
                    Some(bias) => row.copy_from_slice(&bias[first..first + n]),
                    None => row.fill(0.0),
                }
                for (tap, weights) in weights.chunks_exact(n).enumerate() {
                    let x = seen.of(token + tap, first, n);
                    row.iter_mut().zip(weights.iter().zip(x)).for_each(|(y, (w, x))| *y += w * x);
                }
                finish(token, first, row);
            }
        });
        seen.keep(t, before, to);
    }
}

/// `x = ln(1 + exp(x))`; above 20 that is x. `spare` has room for as many.
pub(super) fn softplus(kernels: &Kernels, x: &mut [f32], spare: &mut [f32]) {
    let powers = &mut spare[..x.len()];
    powers.copy_from_slice(x);
    kernels.activate(Gate::Exp, powers);
    for (x, power) in x.iter_mut().zip(powers) {
        *x = if *x > 20.0 { *x } else { libm::log1pf(*power) };
    }
}
