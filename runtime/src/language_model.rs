//! What every model in the making can do, whatever stands behind it: tokens in, logits out.

use core::fmt::Debug;

use mote_kernels::Kernels;

use crate::error::SessionError;
use crate::fallback::Degraded;
use crate::precision::Origin;
use crate::save::RestoreError;
use crate::score::log_probability;
use crate::tokenizer::Tokenizer;

/// One text in the making: a context of tokens, and p(next token | context) as logits. A
/// [`Session`](crate::Session) is one, of a Transformer.
///
/// It can be a trait object, which is how [`Completion`](crate::Completion) takes it: the program has
/// what is done with a language model once. `'m` is how long the model lives.
pub trait LanguageModel<'m>: Debug {
    /// Text to ids and back.
    fn tokenizer(&self) -> &'m Tokenizer<'m>;

    /// The kernel table that computes, and searches the logits.
    fn kernels(&self) -> &'static Kernels;

    /// Tokens that the context can hold.
    fn capacity(&self) -> usize;

    /// The tokens in the context.
    fn tokens(&self) -> &[u32];

    /// What the token at a position of the context was fed as; `None` behind its end.
    fn origin(&self, position: usize) -> Option<Origin>;

    /// Forgets every token from `position` on. Later positions stay as they are.
    fn rewind(&mut self, position: usize);

    /// Appends tokens to the context and computes the logits of what follows the last one. `go_on`
    /// hears how many tokens are done, and may end the feeding there by `false`. Returns the number of
    /// tokens fed, which stay in the context.
    fn feed_with(
        &mut self,
        tokens: &[u32],
        origin: Origin,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<usize, SessionError>;

    /// Computes the logits of what follows the last token again, where there are none. The same bits
    /// as when the token was fed. Returns whether the logits are there; `false`: `go_on` said so.
    fn recall(&mut self, go_on: &mut dyn FnMut() -> bool) -> Result<bool, SessionError>;

    /// n_vocab logits of what follows the last token, and the tokens that they follow; `None` before
    /// anything was fed. The logits may be changed until the next feeding.
    fn logits_and_tokens(&mut self) -> Option<(&mut [f32], &[u32])>;

    /// The logits, for good: [`LanguageModel::recall`] computes them again.
    fn take_logits(&mut self) -> Option<&mut [f32]>;

    /// Appends tokens and shows `visit` the logits after each of them, from the token of index `from`
    /// on: the index of the token, and n_vocab floats that it may change. `go_on` as in
    /// [`LanguageModel::feed_with`]. Returns the number of tokens that are in the context now.
    fn score_with(
        &mut self,
        tokens: &[u32],
        origin: Origin,
        from: usize,
        go_on: &mut dyn FnMut(usize) -> bool,
        visit: &mut dyn FnMut(usize, &mut [f32]),
    ) -> Result<usize, SessionError>;

    /// As feeding one generated token. A model to which it is cheap computes what follows the `drafts`,
    /// too, so that feeding them next, each as a generated token, costs nothing. Results are the same
    /// with any drafts and without.
    fn feed_drafted(
        &mut self,
        token: u32,
        drafts: &[u32],
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<usize, SessionError> {
        let _ = drafts;
        self.feed_with(&[token], Origin::Generated, go_on)
    }

    /// Most drafts that [`LanguageModel::feed_drafted`] has a use for.
    fn most_drafts(&self) -> usize {
        0
    }

    /// Appends tokens and shows `visit` the index and the natural logarithm of the probability of each
    /// after all before it; not of a text's first one, which nothing predicts. `go_on` as in
    /// [`LanguageModel::feed_with`]. Returns the number of tokens that are in the context now. Afterwards
    /// there are no logits.
    ///
    /// The results are those of [`log_probability`] of the logits, unless the model knows them without.
    fn score_tokens(
        &mut self,
        tokens: &[u32],
        origin: Origin,
        go_on: &mut dyn FnMut(usize) -> bool,
        visit: &mut dyn FnMut(usize, f64),
    ) -> Result<usize, SessionError> {
        score_by_logits(self, tokens, origin, go_on, visit)
    }

    /// Why the logits that are there now, or were shown last, come from another model than was asked
    /// for: see [`Fallback`](crate::Fallback).
    fn degraded(&self) -> Option<Degraded> {
        None
    }

    /// Bytes that [`LanguageModel::save`] writes now; `None` of models that cannot be saved, such as
    /// those made of several.
    fn saved_bytes(&self) -> Option<usize> {
        None
    }

    /// Writes the context to `out`, as [`Session::save`](crate::Session::save).
    fn save(&mut self, out: &mut [u8]) -> Result<usize, SessionError> {
        let _ = out;
        Err(SessionError::Option("this model's context cannot be saved"))
    }

    /// Takes a context from its saved bytes, as [`Session::restore`](crate::Session::restore).
    fn restore(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        let _ = bytes;
        Err(RestoreError::Model)
    }

    /// Tokens in the vocabulary.
    fn n_vocab(&self) -> usize {
        self.tokenizer().len()
    }

    /// Tokens in the context.
    fn position(&self) -> usize {
        self.tokens().len()
    }

    /// The logits of what follows the last token, as [`LanguageModel::logits_and_tokens`].
    fn logits(&mut self) -> Option<&mut [f32]> {
        self.logits_and_tokens().map(|(logits, _)| logits)
    }

    /// Whether these tokens can be fed.
    fn check(&self, tokens: &[u32]) -> Result<(), SessionError> {
        check_tokens(tokens, self.n_vocab(), (self.position(), self.capacity()))
    }

    /// Appends tokens of the prompt.
    fn feed(&mut self, tokens: &[u32]) -> Result<(), SessionError> {
        self.feed_with(tokens, Origin::Prompt, &mut |_| true).map(|_| ())
    }

    /// Appends tokens that were drawn from the logits, or drafted.
    fn feed_generated(&mut self, tokens: &[u32]) -> Result<(), SessionError> {
        self.feed_with(tokens, Origin::Generated, &mut |_| true).map(|_| ())
    }

    /// As [`LanguageModel::score_with`], to the end.
    fn score_from(
        &mut self,
        tokens: &[u32],
        origin: Origin,
        from: usize,
        visit: &mut dyn FnMut(usize, &mut [f32]),
    ) -> Result<(), SessionError> {
        self.score_with(tokens, origin, from, &mut |_| true, visit).map(|_| ())
    }
}

/// Whether there are tokens, all of them in the vocabulary, and room for them behind `position`.
pub(crate) fn check_tokens(
    tokens: &[u32],
    n_vocab: usize,
    (position, capacity): (usize, usize),
) -> Result<(), SessionError> {
    if tokens.is_empty() {
        return Err(SessionError::Empty);
    }
    if let Some(&id) = tokens.iter().find(|&&id| id as usize >= n_vocab) {
        return Err(SessionError::Token(id));
    }
    let needed = position + tokens.len();
    if needed > capacity {
        return Err(SessionError::ContextFull { needed, capacity });
    }
    Ok(())
}

/// [`LanguageModel::score_tokens`] of a model that knows no shorter way than the logits of all tokens.
pub(crate) fn score_by_logits<'m>(
    model: &mut (impl LanguageModel<'m> + ?Sized),
    tokens: &[u32],
    origin: Origin,
    go_on: &mut dyn FnMut(usize) -> bool,
    visit: &mut dyn FnMut(usize, f64),
) -> Result<usize, SessionError> {
    model.check(tokens)?;
    let kernels = model.kernels();
    let mut show = |i: usize, logits: &mut [f32]| {
        let token = tokens.get(i);
        if let Some(ln) = token.and_then(|&token| log_probability(kernels, logits, token)) {
            visit(i, ln);
        }
    };
    if model.position() > 0 {
        if !model.recall(&mut || go_on(0))? {
            return Ok(0);
        }
        let logits = model.take_logits().unwrap_or_default();
        if !kernels.is_finite(logits) {
            return Err(SessionError::NotFinite);
        }
        show(0, logits);
    }
    model.score_with(tokens, origin, 0, go_on, &mut |i, logits| show(i + 1, logits))
}
