//! A text as one vector: the final states of its tokens, pooled.

use crate::config::Pooling;
use crate::engine::add;
use crate::error::{SessionError, check_file};
use crate::language_model::check_tokens;
use crate::precision::Origin;
use crate::session::Session;

/// Below this a vector has no direction.
const LEAST_LENGTH: f64 = 1e-12;

impl Session<'_> {
    /// Shows `visit` the final state of each token of a text, in their order: its index, and n_embd
    /// floats. The text stands alone: the context is forgotten before, and again afterwards. `go_on` is
    /// asked before every layer, hears how many tokens are done, and may end the work by `false`.
    /// Returns whether all tokens were shown.
    pub fn states(
        &mut self,
        tokens: &[u32],
        mut go_on: impl FnMut(usize) -> bool,
        mut visit: impl FnMut(usize, &[f32]),
    ) -> Result<bool, SessionError> {
        let config = self.model.config();
        let (n_embd, n_vocab) = (config.n_embd, config.n_vocab);
        check_tokens(tokens, n_vocab, (0, self.capacity()))?;
        self.rewind(0);
        (self.has_logits, self.drafted) = (false, 0);
        if !self.catch_up(&mut || go_on(0)) {
            return Ok(false);
        }
        self.threads = self.executor.threads();
        let batch = if config.causal { self.options.batch } else { tokens.len() };
        let mut done = 0;
        for batch in tokens.chunks(batch) {
            if !self.layers(batch, 0, Origin::Prompt, &mut || go_on(done)) {
                self.rewind(0);
                return Ok(false);
            }
            self.pass(Origin::Prompt, |pass, _, buffers| pass.states(batch.len(), buffers));
            if let Err(error) = check_file(self.model.gguf()) {
                self.rewind(0);
                return Err(error);
            }
            let states = &self.buffers.normed[..batch.len() * n_embd];
            if !self.kernels.is_finite(states) {
                self.rewind(0);
                return Err(SessionError::NotFinite);
            }
            for (i, state) in states.chunks_exact(n_embd).enumerate() {
                visit(done + i, state);
            }
            self.advance(batch, Origin::Prompt);
            done += batch.len();
        }
        self.rewind(0);
        Ok(true)
    }

    /// The embedding of a text: its tokens' final states as one vector, into `out` (n_embd). It is the
    /// same bits for every number of threads and batch, and whatever was embedded before. `go_on` as in
    /// [`Session::states`]; `out` means nothing if it said no. [`normalize`] gives the vector the
    /// length 1.
    pub fn embed(
        &mut self,
        tokens: &[u32],
        pooling: Pooling,
        out: &mut [f32],
        go_on: impl FnMut(usize) -> bool,
    ) -> Result<bool, SessionError> {
        if out.len() != self.model.config().n_embd {
            return Err(SessionError::Option(
                "an embedding has as many values as the model is wide",
            ));
        }
        out.fill(0.0);
        let last = tokens.len().saturating_sub(1);
        let complete = self.states(tokens, go_on, |i, state| match pooling {
            Pooling::Mean => add(out, Some(state)),
            Pooling::First if i == 0 => out.copy_from_slice(state),
            Pooling::Last if i == last => out.copy_from_slice(state),
            Pooling::First | Pooling::Last => {}
        })?;
        if pooling == Pooling::Mean {
            let n = tokens.len() as f32;
            out.iter_mut().for_each(|sum| *sum /= n);
        }
        if complete && !self.kernels.is_finite(out) {
            return Err(SessionError::NotFinite);
        }
        Ok(complete)
    }
}

/// Divides a vector by its length (the root of the sum of squares, in f64 from the first to the last). One
/// of zeros stays.
pub fn normalize(vector: &mut [f32]) {
    let squares = vector.iter().map(|&x| f64::from(x) * f64::from(x));
    let length = libm::sqrt(squares.fold(0.0, |sum, square| sum + square)).max(LEAST_LENGTH);
    vector.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
}
