//! Writing on: feed a prompt, then draw a token, show its text, feed it, and so on until the model
//! ends its text, a stop string comes, or there is no room.

use core::fmt;

use mote_kernels::{Candidate, Kernels};

use crate::constraint::Constraint;
use crate::error::SessionError;
use crate::fallback::Degraded;
use crate::language_model::LanguageModel;
use crate::memory::{Carver, Measure};
use crate::pieces::Pieces;
use crate::precision::Origin;
use crate::sample;
use crate::speculate::{Drafted, Speculator};
use crate::tokenizer::{DecodeOptions, Decoder, Tokenizer};

/// How a text is continued, and where it ends.
#[derive(Clone, Copy, Debug)]
pub struct CompletionOptions<'o> {
    /// How tokens are chosen.
    pub sampling: sample::Options,
    /// Most tokens to write.
    pub max_tokens: usize,
    /// The text ends before the first of these strings. None is empty.
    pub stops: &'o [&'o str],
    /// Go on after tokens at which the model would stop.
    pub ignore_eos: bool,
    /// Control tokens are shown, as the vocabulary spells them.
    pub show_special: bool,
    /// The text begins with the first token that is written (nothing but BOS was fed), so that the
    /// blank which the tokenizer puts before a text is taken off again.
    pub text_start: bool,
}

impl Default for CompletionOptions<'_> {
    fn default() -> Self {
        CompletionOptions {
            sampling: sample::Options::default(),
            max_tokens: 128,
            stops: &[],
            ignore_eos: false,
            show_special: false,
            text_start: false,
        }
    }
}

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// A stop string came. It is not part of the text.
    Stop,
    /// The model ended the text.
    Eos,
    /// As many tokens as were asked for, or as many as the context holds.
    Length,
    /// A [`Constraint`] allows nothing more.
    Complete,
}

impl StopReason {
    /// `stop`, `eos`, `length` or `complete`.
    pub fn name(self) -> &'static str {
        match self {
            StopReason::Stop => "stop",
            StopReason::Eos => "eos",
            StopReason::Length => "length",
            StopReason::Complete => "complete",
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A token that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<'t> {
    /// The token.
    pub id: u32,
    /// The text that is certain now. It may belong to earlier tokens: the beginning of a character
    /// or of what could become a stop string is held back.
    pub text: &'t str,
    /// Why the token is not the main model's: see [`Fallback`](crate::Fallback).
    pub degraded: Option<Degraded>,
}

/// A text that a language model continues. Its memory is lent; nothing is allocated.
///
/// The text is a function of the tokens fed, the options and the seed: batches, threads and targets
/// do not change it.
#[derive(Debug)]
pub struct Completion<'c, 'm> {
    model: &'c mut (dyn LanguageModel<'m> + 'c),
    options: CompletionOptions<'c>,
    candidates: &'c mut [Candidate],
    written: usize,
    /// Drawn, but not fed yet.
    unfed: Option<u32>,
    pieces: Pieces<'c, 'm>,
    stopped: Option<StopReason>,
    speculator: Option<Speculator<'c>>,
    constraint: Option<&'c mut (dyn Constraint + 'c)>,
}

impl<'c, 'm> Completion<'c, 'm> {
    /// Bytes that [`Completion::new`] needs.
    pub fn bytes_needed(tokenizer: &Tokenizer<'_>, options: &CompletionOptions<'_>) -> usize {
        let mut measure = Measure::default();
        measure.add::<Candidate>(options.sampling.candidates(tokenizer.len()));
        let decoder = decoder(tokenizer, options);
        measure.add::<u8>(Pieces::bytes_needed(&decoder, longest(options.stops)));
        measure.bytes()
    }

    /// A text to be continued, in memory of at least [`Completion::bytes_needed`]. What the context
    /// holds already is its beginning.
    pub fn new(
        model: &'c mut (dyn LanguageModel<'m> + 'c),
        options: CompletionOptions<'c>,
        memory: &'c mut [u8],
    ) -> Result<Self, SessionError> {
        options.sampling.check()?;
        if options.stops.iter().any(|stop| stop.is_empty()) {
            return Err(SessionError::Option("a stop string is empty"));
        }
        let decoder = decoder(model.tokenizer(), &options);
        let mut carver = Carver::new(memory);
        let candidates = carver.take(options.sampling.candidates(model.n_vocab()))?;
        let text = carver.take(Pieces::bytes_needed(&decoder, longest(options.stops)))?;
        Ok(Completion {
            model,
            options,
            candidates,
            written: 0,
            unfed: None,
            pieces: Pieces::new(decoder, text),
            stopped: None,
            speculator: None,
            constraint: None,
        })
    }

    /// From now on only tokens that this allows are drawn.
    pub fn constrain(&mut self, constraint: &'c mut (dyn Constraint + 'c)) {
        self.constraint = Some(constraint);
    }

    /// Has tokens drafted from now on. The text stays the same; it is written sooner, or as soon.
    pub fn speculate(&mut self, speculator: Speculator<'c>) {
        self.speculator = Some(speculator);
    }

    /// What came of drafting; `None` where nothing is to be drafted.
    pub fn drafted(&self) -> Option<Drafted> {
        self.speculator.as_ref().map(Speculator::drafted)
    }

    /// Appends tokens to the text without showing them: the prompt. `go_on` is asked before each
    /// layer, as in [`LanguageModel::feed_with`]; what comes after it says `false` is left out.
    pub fn feed(
        &mut self,
        tokens: &[u32],
        mut go_on: impl FnMut(usize) -> bool,
    ) -> Result<(), SessionError> {
        self.feed_last()?;
        self.model.feed_with(tokens, Origin::Prompt, &mut go_on).map(|_| ())
    }

    /// Writes one more token; `None` when the text has ended.
    pub fn step(&mut self) -> Result<Option<Step<'_>>, SessionError> {
        if self.logits()?.is_none() {
            return Ok(None);
        }
        let (kernels, degraded) = (self.model.kernels(), self.model.degraded());
        let (logits, recent) = self.model.logits_and_tokens().ok_or(SessionError::Empty)?;
        let (sampling, candidates) = (&self.options.sampling, &mut *self.candidates);
        let id = match &mut self.constraint {
            None => sample::pick(kernels, sampling, logits, recent, candidates)?,
            Some(constraint) => {
                let mask = constraint.mask()?;
                let id = sample::pick_allowed(kernels, sampling, logits, recent, candidates, mask)?;
                constraint.accept(id)?;
                id
            }
        };
        self.written += 1;
        self.unfed = Some(id);
        self.show(id)?;
        Ok(Some(Step { id, text: self.pieces.text(), degraded }))
    }

    /// The logits that the next token is drawn from, before penalties and constraints; `None` when the
    /// text has ended. They are the model's until [`Completion::step`] changes them.
    pub fn logits(&mut self) -> Result<Option<&[f32]>, SessionError> {
        if self.stopped.is_none() && !self.has_room() {
            self.stopped = Some(StopReason::Length);
        }
        if self.stopped.is_none() && self.constraint.as_ref().is_some_and(|it| it.is_complete()) {
            self.stopped = Some(StopReason::Complete);
        }
        if self.stopped.is_some() {
            return Ok(None);
        }
        self.feed_last()?;
        if self.model.logits().is_none() {
            self.model.recall(&mut || true)?;
        }
        Ok(self.model.logits().map(|logits| &*logits))
    }

    /// Ends the text here: what was drawn last becomes part of the context, if there is room, so that a
    /// later completion can go on.
    pub fn finish(mut self) -> Result<(), SessionError> {
        if self.model.position() < self.model.capacity() { self.feed_last() } else { Ok(()) }
    }

    /// Text to ids and back.
    pub fn tokenizer(&self) -> &'m Tokenizer<'m> {
        self.model.tokenizer()
    }

    /// The kernel table that computes.
    pub fn kernels(&self) -> &'static Kernels {
        self.model.kernels()
    }

    /// Why the text ended; `None` while it goes on.
    pub fn stopped(&self) -> Option<StopReason> {
        self.stopped
    }

    /// Tokens written so far.
    pub fn written(&self) -> usize {
        self.written
    }

    /// Whether another token may be written.
    fn has_room(&self) -> bool {
        let tokens = self.model.position() + usize::from(self.unfed.is_some());
        self.written < self.options.max_tokens && tokens < self.model.capacity()
    }

    /// Feeding waits until the next token is wanted, so that a token's text is not held up by it.
    fn feed_last(&mut self) -> Result<(), SessionError> {
        let Some(id) = self.unfed else { return Ok(()) };
        match &mut self.speculator {
            Some(speculator) => {
                let wanted = self.options.max_tokens - self.written;
                speculator.feed(self.model, id, wanted, &mut |_| true)?;
            }
            None => self.model.feed_generated(&[id])?,
        }
        self.unfed = None;
        Ok(())
    }

    /// Decodes a token, and decides whether the text ends with it.
    fn show(&mut self, id: u32) -> Result<(), SessionError> {
        let is_end = self.model.tokenizer().is_end_of_generation(id);
        if !self.options.ignore_eos && is_end {
            self.stopped = Some(StopReason::Eos);
        } else if self.constraint.as_ref().is_some_and(|it| it.is_complete()) {
            self.stopped = Some(StopReason::Complete);
        } else if !self.has_room() {
            self.stopped = Some(StopReason::Length);
        }
        let stops = self.options.stops.iter().map(|stop| stop.as_bytes());
        if self.pieces.push(id, stops, self.stopped.is_some())? {
            self.stopped = Some(StopReason::Stop);
        }
        Ok(())
    }
}

fn decoder<'a>(tokenizer: &Tokenizer<'a>, options: &CompletionOptions<'_>) -> Decoder<'a> {
    let CompletionOptions { show_special, text_start, .. } = *options;
    let options = DecodeOptions { skip_special: !show_special, text_start, raw: false };
    Decoder::new(tokenizer, options)
}

fn longest(stops: &[&str]) -> usize {
    stops.iter().map(|stop| stop.len()).max().unwrap_or(0)
}
