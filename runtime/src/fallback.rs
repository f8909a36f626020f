//! Answering all the same: a second, small model of the same vocabulary takes over where the main one
//! is not there or goes away, comes too late, or yields logits that are not finite.
//!
//! The spare one is fed everything that the main one is, so that it can answer at once. An n-gram
//! model computes nothing until its logits are looked at, and costs the main one nothing.

use core::fmt;

use mote_kernels::Kernels;

use crate::error::SessionError;
use crate::language_model::{LanguageModel, score_by_logits};
use crate::precision::Origin;
use crate::tokenizer::Tokenizer;

/// Why an answer is not the main model's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Degraded {
    /// Its file cannot be opened.
    Missing,
    /// Its file is damaged, or of a kind that does not run.
    Damaged,
    /// There is too little memory for it.
    Memory,
    /// It was not done before the deadline.
    Deadline,
    /// Its logits were infinite or NaN.
    NotFinite,
}

impl Degraded {
    /// `missing`, `damaged`, `memory`, `deadline` or `not_finite`.
    pub fn name(self) -> &'static str {
        match self {
            Degraded::Missing => "missing",
            Degraded::Damaged => "damaged",
            Degraded::Memory => "memory",
            Degraded::Deadline => "deadline",
            Degraded::NotFinite => "not_finite",
        }
    }
}

impl fmt::Display for Degraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Degraded::Missing => "the model's file cannot be opened",
            Degraded::Damaged => "the model's file is damaged, or not of a kind that runs",
            Degraded::Memory => "there is too little memory for the model",
            Degraded::Deadline => "the model was not done before the deadline",
            Degraded::NotFinite => "the model's logits are not finite",
        })
    }
}

/// When the main model is too late. It is asked before every layer, and ends within one.
#[derive(Clone, Copy)]
pub struct Deadline<'f> {
    /// Nanoseconds since some moment: of an [`Executor`](crate::executor::Executor), or the caller's.
    pub clock: &'f (dyn Fn() -> u64 + 'f),
    /// How long one call (a feeding, a scoring) may take it.
    pub each: u64,
    /// When every call must have ended, by the same clock.
    pub moment: u64,
}

impl fmt::Debug for Deadline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Deadline({} for each call, until {})", self.each, self.moment)
    }
}

/// What a [`Fallback`] knows from call to call, for callers that put it together for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FallbackState {
    /// See [`LanguageModel::degraded`].
    pub degraded: Option<Degraded>,
    /// Tokens of the context after which the main model had no more answers, and why.
    broken: Option<(usize, Degraded)>,
}

/// A main model and a spare one as one model. Its context is the spare's; what the main one has of it
/// is a beginning.
///
/// - **Late.** A call that the main model does not end before its deadline is answered by the spare.
///   The next feeding lets the main one catch up, in pieces of 8 tokens which stay in its context,
///   before its own deadline; when it has, its answers are the same bits as if it had never been late.
/// - **Not finite.** The main model is left alone until the context is rewound to where it was before
///   that feeding: what follows could not be finite either. So it is where its file went away, for good.
/// - **Not there.** [`Fallback::alone`] has a spare model only, and the reason.
#[derive(Debug)]
pub struct Fallback<'f, 'm> {
    main: Option<&'f mut (dyn LanguageModel<'m> + 'f)>,
    spare: &'f mut (dyn LanguageModel<'m> + 'f),
    deadline: Option<Deadline<'f>>,
    state: FallbackState,
}

/// Tokens that a late model catches up with at a time: about as fast as one, since both read every
/// weight once.
const PIECE: usize = 8;

/// How the main model's part of a call ended.
enum End {
    Done,
    /// By the caller's word.
    Stopped,
    Failed(Degraded),
}

impl<'f, 'm> Fallback<'f, 'm> {
    /// Both models; the spare one is given what the main one's context holds. Refuses models of
    /// different vocabularies.
    pub fn new(
        main: &'f mut (dyn LanguageModel<'m> + 'f),
        spare: &'f mut (dyn LanguageModel<'m> + 'f),
    ) -> Result<Self, SessionError> {
        if !main.tokenizer().has_same_ids(spare.tokenizer()) {
            return Err(SessionError::Option("the fallback has another vocabulary"));
        }
        spare.rewind(0);
        for (position, &token) in main.tokens().iter().enumerate() {
            let origin = main.origin(position).unwrap_or(Origin::Prompt);
            spare.feed_with(&[token], origin, &mut |_| true)?;
        }
        Ok(Self::resume(Some(main), spare, FallbackState::default()))
    }

    /// A spare model in place of one that is not there.
    pub fn alone(spare: &'f mut (dyn LanguageModel<'m> + 'f), why: Degraded) -> Self {
        Self::resume(None, spare, FallbackState { degraded: Some(why), broken: None })
    }

    /// The models of an earlier [`Fallback`], both as they were then, and its state. Without a main model
    /// all calls are the spare one's.
    pub fn resume(
        main: Option<&'f mut (dyn LanguageModel<'m> + 'f)>,
        spare: &'f mut (dyn LanguageModel<'m> + 'f),
        state: FallbackState,
    ) -> Self {
        Fallback { main, spare, deadline: None, state }
    }

    /// What [`Fallback::resume`] needs.
    pub fn state(&self) -> FallbackState {
        self.state
    }

    /// From now on the main model has so much time; without deadline it has all.
    pub fn set_deadline(&mut self, deadline: Option<Deadline<'f>>) {
        self.deadline = deadline;
    }

    /// Lets the main model do its part of a call. `work` gets both models and the question whether to
    /// go on, which hears how many tokens of the call are done, and says whether it came to the end.
    fn try_main(
        &mut self,
        go_on: &mut dyn FnMut(usize) -> bool,
        work: &mut Work<'_, 'm>,
    ) -> Result<End, SessionError> {
        let why = self.state.broken.map(|(_, why)| why);
        let Some(main) = self.main.as_deref_mut().filter(|_| why.is_none()) else {
            // Asked once, as before a layer.
            let end = End::Failed(why.unwrap_or(Degraded::Missing));
            return Ok(if go_on(0) { end } else { End::Stopped });
        };
        let mut is_late = is_late(self.deadline);
        let (before, mut late) = (main.position(), false);
        let mut go_on = |done| {
            late = is_late();
            !late && go_on(done)
        };
        let ended = match work(main, self.spare, &mut go_on) {
            Ok(true) if is_finite(main) => End::Done,
            Ok(true) | Err(SessionError::NotFinite) => End::Failed(Degraded::NotFinite),
            Err(SessionError::Damaged) => End::Failed(Degraded::Damaged),
            Ok(false) if late => End::Failed(Degraded::Deadline),
            Ok(false) => End::Stopped,
            Err(error) => {
                main.rewind(before);
                return Err(error);
            }
        };
        if let End::Failed(why @ (Degraded::NotFinite | Degraded::Damaged)) = ended {
            main.rewind(before);
            self.state.broken = Some((before, why));
        }
        Ok(ended)
    }

    /// Feeds both models, the main one by `work`.
    fn feed_by(
        &mut self,
        tokens: &[u32],
        origin: Origin,
        go_on: &mut dyn FnMut(usize) -> bool,
        work: &mut Work<'_, 'm>,
    ) -> Result<usize, SessionError> {
        if self.main.is_none() {
            return self.spare.feed_with(tokens, origin, go_on);
        }
        self.check(tokens)?;
        let start = self.position();
        if let Err(error) = self.spare.feed_with(tokens, origin, &mut |_| true) {
            self.spare.rewind(start);
            return Err(error);
        }
        match self.try_main(go_on, work) {
            Ok(End::Done) => self.state.degraded = None,
            Ok(End::Failed(why)) => self.state.degraded = Some(why),
            Ok(End::Stopped) => {
                let position = self.main.as_ref().map_or(start, |main| main.position().max(start));
                self.spare.rewind(position);
                return Ok(position - start);
            }
            Err(error) => {
                self.spare.rewind(start);
                return Err(error);
            }
        }
        Ok(tokens.len())
    }

    /// Who has the logits.
    fn speaker(&mut self) -> Option<&mut (dyn LanguageModel<'m> + 'f)> {
        match &mut self.main {
            Some(main) if self.state.degraded.is_none() => {
                (main.position() == self.spare.position()).then_some(&mut **main)
            }
            _ => Some(&mut *self.spare),
        }
    }
}

/// What the main model does in a call.
type Work<'w, 'm> = dyn FnMut(
        &mut dyn LanguageModel<'m>,
        &mut dyn LanguageModel<'m>,
        &mut dyn FnMut(usize) -> bool,
    ) -> Result<bool, SessionError>
    + 'w;

/// Whether a call that begins now has taken too long.
fn is_late<'d>(deadline: Option<Deadline<'d>>) -> impl FnMut() -> bool + 'd {
    let end = deadline.map(|limit| {
        let each = (limit.clock)().saturating_add(limit.each);
        (limit.clock, each.min(limit.moment))
    });
    move || end.is_some_and(|(clock, end)| clock() >= end)
}

fn is_finite(model: &mut dyn LanguageModel<'_>) -> bool {
    let kernels = model.kernels();
    model.logits().is_none_or(|logits| kernels.is_finite(logits))
}

/// Feeds the main model what the spare one's context has and its own has not: tokens from `start` on
/// are those of the call. Returns whether it came to the end.
fn catch_up<'m>(
    main: &mut dyn LanguageModel<'m>,
    spare: &dyn LanguageModel<'m>,
    start: usize,
    go_on: &mut dyn FnMut(usize) -> bool,
) -> Result<bool, SessionError> {
    while let Some(origin) = spare.origin(main.position()) {
        let first = main.position();
        let rest = spare.tokens().get(first..).unwrap_or_default();
        let most = if first < start { PIECE.min(rest.len()) } else { rest.len() };
        let same = (first..first + most).take_while(|&at| spare.origin(at) == Some(origin));
        let tokens = rest.get(..same.count()).unwrap_or_default();
        let fed = main
            .feed_with(tokens, origin, &mut |done| go_on((first + done).saturating_sub(start)))?;
        if fed < tokens.len() {
            return Ok(false);
        }
    }
    Ok(true)
}

impl<'m> LanguageModel<'m> for Fallback<'_, 'm> {
    fn tokenizer(&self) -> &'m Tokenizer<'m> {
        self.main.as_ref().map_or(self.spare.tokenizer(), |main| main.tokenizer())
    }

    fn kernels(&self) -> &'static Kernels {
        self.spare.kernels()
    }

    fn capacity(&self) -> usize {
        let main = self.main.as_ref().map_or(usize::MAX, |main| main.capacity());
        main.min(self.spare.capacity())
    }

    fn tokens(&self) -> &[u32] {
        self.spare.tokens()
    }

    fn origin(&self, position: usize) -> Option<Origin> {
        self.spare.origin(position)
    }

    fn degraded(&self) -> Option<Degraded> {
        self.state.degraded
    }

    fn rewind(&mut self, position: usize) {
        self.spare.rewind(position);
        let Some(main) = &mut self.main else { return };
        main.rewind(position);
        if self.state.broken.is_none_or(|(broken_at, _)| position <= broken_at) {
            self.state = FallbackState::default();
        }
    }

    fn feed_with(
        &mut self,
        tokens: &[u32],
        origin: Origin,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<usize, SessionError> {
        let start = self.position();
        self.feed_by(tokens, origin, go_on, &mut |main, spare, go_on| {
            catch_up(main, spare, start, go_on)
        })
    }

    fn feed_drafted(
        &mut self,
        token: u32,
        drafts: &[u32],
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<usize, SessionError> {
        if self.main.is_none() {
            return self.spare.feed_drafted(token, drafts, go_on);
        }
        let start = self.position();
        self.feed_by(&[token], Origin::Generated, go_on, &mut |main, spare, go_on| match main
            .position()
            == start
        {
            true => Ok(main.feed_drafted(token, drafts, go_on)? == 1),
            false => catch_up(main, spare, start, go_on),
        })
    }

    fn most_drafts(&self) -> usize {
        match &self.main {
            None => self.spare.most_drafts(),
            Some(main) if self.state.degraded.is_none() => main.most_drafts(),
            Some(_) => 0,
        }
    }

    fn score_tokens(
        &mut self,
        tokens: &[u32],
        origin: Origin,
        go_on: &mut dyn FnMut(usize) -> bool,
        visit: &mut dyn FnMut(usize, f64),
    ) -> Result<usize, SessionError> {
        match self.main {
            None => self.spare.score_tokens(tokens, origin, go_on, visit),
            Some(_) => score_by_logits(self, tokens, origin, go_on, visit),
        }
    }

    fn recall(&mut self, go_on: &mut dyn FnMut() -> bool) -> Result<bool, SessionError> {
        if self.state.degraded.is_some() || self.main.is_none() {
            return self.spare.recall(go_on);
        }
        let start = self.position();
        let ended = self.try_main(&mut |_| go_on(), &mut |main, spare, go_on| {
            Ok(catch_up(main, spare, start, go_on)? && main.recall(&mut || go_on(0))?)
        })?;
        match ended {
            End::Done => Ok(true),
            End::Stopped => Ok(false),
            End::Failed(why) => {
                self.state.degraded = Some(why);
                self.spare.recall(&mut || true)
            }
        }
    }

    fn logits_and_tokens(&mut self) -> Option<(&mut [f32], &[u32])> {
        self.speaker()?.logits_and_tokens()
    }

    fn take_logits(&mut self) -> Option<&mut [f32]> {
        self.speaker()?.take_logits()
    }

    fn score_with(
        &mut self,
        tokens: &[u32],
        origin: Origin,
        from: usize,
        go_on: &mut dyn FnMut(usize) -> bool,
        visit: &mut dyn FnMut(usize, &mut [f32]),
    ) -> Result<usize, SessionError> {
        if self.main.is_none() {
            return self.spare.score_with(tokens, origin, from, go_on, visit);
        }
        self.check(tokens)?;
        let (start, mut done) = (self.position(), 0);
        let ended = self.try_main(go_on, &mut |main, spare, go_on| {
            if !catch_up(main, spare, start, &mut |_| go_on(0))? {
                return Ok(false);
            }
            let ended = main.score_with(tokens, origin, from, go_on, visit);
            done = main.position() - start;
            Ok(ended? == tokens.len())
        })?;
        let (scored, rest) = tokens.split_at(done.min(tokens.len()));
        if !scored.is_empty()
            && let Err(error) = self.spare.feed_with(scored, origin, &mut |_| true)
        {
            self.rewind(start);
            return Err(error);
        }
        match ended {
            End::Stopped => return Ok(done),
            End::Done => self.state.degraded = None,
            End::Failed(why) => self.state.degraded = Some(why),
        }
        if rest.is_empty() {
            return Ok(done);
        }
        let from = from.saturating_sub(done);
        let mut on = |more| go_on(done + more);
        let mut show = |i, logits: &mut [f32]| visit(done + i, logits);
        self.spare.score_with(rest, origin, from, &mut on, &mut show).map(|more| done + more)
    }
}
