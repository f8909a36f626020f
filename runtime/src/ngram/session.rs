//! A text that an n-gram model goes on with.

use core::f64::consts::LN_10;
use core::fmt;

use mote_kernels::Kernels;

use super::{NgramModel, State, distribution, score};
use crate::error::{SessionError, check_file};
use crate::language_model::LanguageModel;
use crate::memory::{Carver, Measure, TooSmall};
use crate::plan::Plan;
use crate::precision::{Origin, Origins, origin_bytes};
use crate::save::{self, RestoreError};
use crate::tokenizer::Tokenizer;

/// One text in the making. Feeding costs next to nothing: the model looks back at the last few tokens
/// only, and the logits, ln p of every token of the vocabulary, are not computed before somebody looks
/// at them. Its memory is lent, and nothing is allocated.
pub struct NgramSession<'s> {
    model: &'s NgramModel<'s>,
    kernels: &'static Kernels,
    tokens: &'s mut [u32], // (n_ctx)
    pub(crate) origins: Origins<'s>,
    logits: &'s mut [f32], // (n_vocab)
    position: usize,
    /// Of the tokens before the position.
    state: State,
    /// Whether the logits are those of the position.
    has_logits: bool,
}

impl fmt::Debug for NgramSession<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NgramSession({} of {} tokens)", self.position, self.tokens.len())
    }
}

impl<'s> NgramSession<'s> {
    /// Bytes that [`NgramSession::new`] needs for a context of `n_ctx` tokens.
    pub fn plan(model: &NgramModel<'_>, n_ctx: usize) -> Result<Plan, SessionError> {
        if n_ctx == 0 {
            return Err(SessionError::Option("a context has room for a token at least"));
        }
        let cache_bytes =
            Measure::default().add::<u32>(n_ctx).add::<u8>(origin_bytes(n_ctx)).pieces();
        let logit_bytes = Measure::default().add::<f32>(model.trie().n_words()).pieces();
        let total_bytes =
            Measure::default().bytes().saturating_add(cache_bytes).saturating_add(logit_bytes);
        if total_bytes > isize::MAX as usize {
            return Err(SessionError::Option("the context does not fit the address space"));
        }
        Ok(Plan { cache_bytes, activation_bytes: 0, logit_bytes, scratch_bytes: 0, total_bytes })
    }

    /// A session in `memory` of at least [`Plan::total_bytes`]. The memory need not be cleared.
    pub fn new(
        model: &'s NgramModel<'s>,
        n_ctx: usize,
        kernels: &'static Kernels,
        memory: &'s mut [u8],
    ) -> Result<Self, SessionError> {
        let (needed, given) = (Self::plan(model, n_ctx)?.total_bytes, memory.len());
        if given < needed {
            return Err(TooSmall { needed, given }.into());
        }
        let mut carver = Carver::new(memory);
        let (tokens, origins) = (carver.take(n_ctx)?, Origins(carver.take(origin_bytes(n_ctx))?));
        let logits = carver.take(model.trie().n_words())?;
        Ok(NgramSession {
            model,
            kernels,
            tokens,
            origins,
            logits,
            position: 0,
            state: State::EMPTY,
            has_logits: false,
        })
    }

    /// The model.
    pub fn model(&self) -> &'s NgramModel<'s> {
        self.model
    }

    /// What the model remembers of the tokens.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Bytes that [`NgramSession::save`] writes.
    pub fn saved_bytes(&self) -> usize {
        save::saved_bytes(self.position, 0)
    }

    /// Writes the context to `out`, and returns the number of bytes; as
    /// [`Session::save`](crate::Session::save).
    pub fn save(&self, out: &mut [u8]) -> Result<usize, SessionError> {
        let (needed, given) = (self.saved_bytes(), out.len());
        let out = out.get_mut(..needed).ok_or(TooSmall { needed, given })?;
        save::write_saved(&self.kind(), self.tokens(), &self.origins, out, |_| ());
        check_file(self.model.trie().gguf())?;
        Ok(needed)
    }

    /// Takes a context from its saved bytes, as [`Session::restore`](crate::Session::restore).
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        let n_tokens = self.kind().check(bytes, &|tokens| save::saved_bytes(tokens, 0))?;
        save::read_saved(n_tokens, bytes, self.tokens, &mut self.origins);
        self.move_to(n_tokens);
        Ok(())
    }

    fn kind(&self) -> save::Kind {
        save::Kind {
            cache: 0,
            precision: 0,
            fingerprint: save::fingerprint(self.model.trie().gguf()),
            n_ctx: self.tokens.len(),
            n_vocab: self.model.trie().n_words(),
        }
    }

    /// Tokens behind the context become part of it.
    fn advance(&mut self, tokens: &[u32], origin: Origin) {
        let (first, n) = (self.position, tokens.len());
        let places = self.tokens.iter_mut().skip(first);
        places.zip(tokens).for_each(|(place, token)| *place = *token);
        self.origins.set(first, n, origin);
        self.move_to(first + n);
    }

    /// The context ends at `position`. Its state is that of the last tokens that the model looks back
    /// at.
    fn move_to(&mut self, position: usize) {
        (self.position, self.has_logits) = (position, false);
        let longest = self.model.trie().order() - 1;
        let seen = self.tokens.get(position.saturating_sub(longest)..position);
        let next = |state, &token| score(self.model.trie(), &state, token).1;
        self.state = seen.unwrap_or_default().iter().fold(State::EMPTY, next);
    }

    fn compute(&mut self) {
        if !self.has_logits {
            distribution(self.model.trie(), &self.state, self.logits);
            self.logits.iter_mut().for_each(|logit| *logit = ln(*logit) as f32);
            self.has_logits = true;
        }
    }
}

/// A natural logarithm of a decimal one.
fn ln(log10: f32) -> f64 {
    f64::from(log10) * LN_10
}

impl<'m, 's: 'm> LanguageModel<'m> for NgramSession<'s> {
    fn tokenizer(&self) -> &'m Tokenizer<'m> {
        self.model.tokenizer()
    }

    fn kernels(&self) -> &'static Kernels {
        self.kernels
    }

    fn capacity(&self) -> usize {
        self.tokens.len()
    }

    fn tokens(&self) -> &[u32] {
        self.tokens.get(..self.position).unwrap_or_default()
    }

    fn origin(&self, position: usize) -> Option<Origin> {
        (position < self.position).then(|| self.origins.get(position))
    }

    fn rewind(&mut self, position: usize) {
        if position < self.position {
            self.move_to(position);
        }
    }

    /// `go_on` is asked once: there are no layers to ask before.
    fn feed_with(
        &mut self,
        tokens: &[u32],
        origin: Origin,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<usize, SessionError> {
        self.check(tokens)?;
        if !go_on(0) {
            return Ok(0);
        }
        let first = self.position;
        self.advance(tokens, origin);
        if let Err(error) = check_file(self.model.trie().gguf()) {
            self.move_to(first);
            return Err(error);
        }
        Ok(tokens.len())
    }

    fn recall(&mut self, _: &mut dyn FnMut() -> bool) -> Result<bool, SessionError> {
        if self.position == 0 {
            return Err(SessionError::Empty);
        }
        self.compute();
        check_file(self.model.trie().gguf())?;
        Ok(true)
    }

    fn logits_and_tokens(&mut self) -> Option<(&mut [f32], &[u32])> {
        if self.position == 0 {
            return None;
        }
        self.compute();
        // Nobody draws from zeros; the next call that can fail says why there are none.
        check_file(self.model.trie().gguf()).ok()?;
        Some((self.logits, self.tokens.get(..self.position)?))
    }

    fn take_logits(&mut self) -> Option<&mut [f32]> {
        if self.position == 0 {
            return None;
        }
        self.compute();
        self.has_logits = false;
        check_file(self.model.trie().gguf()).ok()?;
        Some(self.logits)
    }

    /// `go_on` is asked before every token.
    fn score_with(
        &mut self,
        tokens: &[u32],
        origin: Origin,
        from: usize,
        go_on: &mut dyn FnMut(usize) -> bool,
        visit: &mut dyn FnMut(usize, &mut [f32]),
    ) -> Result<usize, SessionError> {
        self.check(tokens)?;
        for (done, &token) in tokens.iter().enumerate() {
            if !go_on(done) {
                return Ok(done);
            }
            self.advance(&[token], origin);
            if done >= from
                && let Some(logits) = self.take_logits()
            {
                visit(done, logits);
            }
        }
        check_file(self.model.trie().gguf())?;
        Ok(tokens.len())
    }

    /// Without the logits of other tokens. What stupid backoff gives are scores, which do not sum to 1.
    fn score_tokens(
        &mut self,
        tokens: &[u32],
        origin: Origin,
        go_on: &mut dyn FnMut(usize) -> bool,
        visit: &mut dyn FnMut(usize, f64),
    ) -> Result<usize, SessionError> {
        self.check(tokens)?;
        let (mut state, mut done) = (self.state, 0);
        for &token in tokens {
            if !go_on(done) {
                break;
            }
            let (found, next) = score(self.model.trie(), &state, token);
            if self.position + done > 0 {
                visit(done, ln(found.log10));
            }
            (state, done) = (next, done + 1);
        }
        check_file(self.model.trie().gguf())?;
        if let Some(tokens) = tokens.get(..done).filter(|tokens| !tokens.is_empty()) {
            self.advance(tokens, origin);
        }
        Ok(done)
    }

    fn saved_bytes(&self) -> Option<usize> {
        Some(self.saved_bytes())
    }

    fn save(&mut self, out: &mut [u8]) -> Result<usize, SessionError> {
        NgramSession::save(self, out)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        self.restore(bytes)
    }
}
