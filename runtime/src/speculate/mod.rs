//! Lossless speculation: something cheap guesses the next tokens, and the model computes what follows
//! the token that was drawn and the guesses in one pass ([`LanguageModel::feed_drafted`]). Decoding
//! waits for the weights, so a pass for a few tokens takes little longer than one for a single token.
//!
//! Every token is drawn as it always is, from the same logits; a draft that is not what was drawn is
//! forgotten (Leviathan et al. 2023, without their change of the draw). So the text is the same, bit
//! for bit, with any drafts and without. How many are worth their time follows from how often
//! guesses of their kind came true (`odds.rs`) and how long passes took (`costs.rs`).

mod costs;
mod lookup;
mod ngrams;
mod odds;

use core::fmt::Debug;

use crate::error::SessionError;
use crate::language_model::LanguageModel;
use crate::precision::Origin;
use costs::Costs;
use odds::Odds;

pub use lookup::Lookup;
pub use ngrams::Ngrams;
pub use odds::KINDS;

/// Most drafts of a pass: with one token more, products still read the weights as they are.
pub const MAX_DRAFTS: usize = 7;

/// A guess at one of the next tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// The token.
    pub id: u32,
    /// What kind of guess it is, below [`KINDS`]: each kind's rate of success is watched by itself.
    pub kind: u8,
}

/// Something that guesses how a text goes on.
pub trait Drafter: Debug {
    /// How often guesses of each kind come true, before any was seen.
    fn prior(&self) -> [f32; KINDS];

    /// Guesses the tokens that follow `context` and `last`, one after the other; returns how many there
    /// are in `drafts`. The context may have become shorter or another since the last call.
    fn draft(&mut self, context: &[u32], last: u32, drafts: &mut [Draft]) -> usize;
}

/// What came of drafting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drafted {
    /// Drafts that went through the layers.
    pub drafts: usize,
    /// Those that were what was drawn.
    pub accepted: usize,
    /// Passes that fed a token alone.
    pub plain_passes: usize,
    /// Passes with drafts.
    pub drafted_passes: usize,
}

/// One or two drafters, of which the better one is asked.
pub type Drafters<'d> = [Option<&'d mut (dyn Drafter + 'd)>; 2];

/// Feeds a model the tokens that are drawn from it, with drafts where these pay.
#[derive(Debug)]
pub struct Speculator<'d> {
    drafters: Drafters<'d>,
    speculation: Speculation,
}

impl<'d> Speculator<'d> {
    /// With one or two drafters, of which the better one is asked. `clock`: nanoseconds since some
    /// moment; without it the cost of a pass is a guess, too.
    pub fn new(
        drafter: &'d mut (dyn Drafter + 'd),
        other: Option<&'d mut (dyn Drafter + 'd)>,
        clock: Option<fn() -> u64>,
    ) -> Self {
        let drafters = [Some(drafter), other];
        let speculation = Speculation::new(&drafters, clock);
        Speculator { drafters, speculation }
    }

    /// What came of it so far.
    pub fn drafted(&self) -> Drafted {
        self.speculation.drafted
    }

    /// As [`Speculation::feed`].
    pub fn feed<'m>(
        &mut self,
        model: &mut (dyn LanguageModel<'m> + '_),
        id: u32,
        wanted: usize,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<usize, SessionError> {
        self.speculation.feed(&mut self.drafters, model, (id, wanted), go_on)
    }
}

/// How well drafters do, what they expect, and what passes cost: a [`Speculator`] without its drafters,
/// for callers that keep these elsewhere. Every call gets the same ones.
#[derive(Clone, Copy, Debug)]
pub struct Speculation {
    guesses: [Guesses; 2],
    costs: Costs,
    clock: Option<fn() -> u64>,
    /// Whose drafts are in the model, and how many of them are still to come.
    chosen: usize,
    ahead: usize,
    drafted: Drafted,
}

/// What a drafter expects, and how well it does.
#[derive(Clone, Copy, Debug)]
struct Guesses {
    odds: Odds,
    drafts: [Draft; MAX_DRAFTS],
    /// `drafts[next..end]` are still to come.
    next: usize,
    end: usize,
    /// The last token was the one expected.
    is_right: bool,
}

impl Speculation {
    /// Before anything is known of these drafters. `clock` as for [`Speculator::new`].
    pub fn new(drafters: &Drafters<'_>, clock: Option<fn() -> u64>) -> Self {
        let [one, two] = drafters;
        let prior = |drafter: &Option<&mut dyn Drafter>| {
            drafter.as_ref().map_or([0.0; KINDS], |drafter| drafter.prior())
        };
        Speculation {
            guesses: [Guesses::new(prior(one)), Guesses::new(prior(two))],
            costs: Costs::new(),
            clock,
            chosen: 0,
            ahead: 0,
            drafted: Drafted::default(),
        }
    }

    /// Feeds a token that was drawn; `wanted`: how many more will be drawn at most. Otherwise as
    /// [`LanguageModel::feed_with`] with one generated token.
    pub fn feed<'m>(
        &mut self,
        drafters: &mut Drafters<'_>,
        model: &mut (dyn LanguageModel<'m> + '_),
        (id, wanted): (u32, usize),
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<usize, SessionError> {
        let ahead = core::mem::take(&mut self.ahead);
        self.guesses.iter_mut().for_each(|guesses| guesses.learn(id));
        if ahead > 0 && self.guesses[self.chosen].is_right {
            let fed = model.feed_with(&[id], Origin::Generated, go_on)?;
            self.drafted.accepted += fed;
            self.ahead = (ahead - 1) * fed;
            return Ok(fed);
        }
        let room = model.capacity().saturating_sub(model.position() + 1);
        let most = model.most_drafts().min(MAX_DRAFTS).min(room).min(wanted.saturating_sub(1));
        let n = if most > 0 { self.choose(drafters, model.tokens(), id, most) } else { 0 };
        let drafts = self.guesses[self.chosen].drafts.map(|draft| draft.id);
        let start = self.clock.map(|clock| clock());
        let fed = model.feed_drafted(id, &drafts[..n], go_on)?;
        if fed == 0 {
            return Ok(0);
        }
        if let (Some(clock), Some(start)) = (self.clock, start) {
            self.costs.took(n + 1, clock().saturating_sub(start));
        }
        self.ahead = n;
        self.drafted.drafts += n;
        let passes = &mut self.drafted;
        *(if n > 0 { &mut passes.drafted_passes } else { &mut passes.plain_passes }) += 1;
        Ok(fed)
    }

    /// Asks the drafters, and chooses one and how many of its drafts are worth their time.
    fn choose(
        &mut self,
        drafters: &mut Drafters<'_>,
        context: &[u32],
        last: u32,
        most: usize,
    ) -> usize {
        let mut best = (0, 1.0);
        for (i, (drafter, guesses)) in drafters.iter_mut().zip(&mut self.guesses).enumerate() {
            let Some(drafter) = drafter else { continue };
            let n = drafter.draft(context, last, &mut guesses.drafts);
            (guesses.next, guesses.end) = (0, n.min(MAX_DRAFTS));
            let rates = guesses.drafts[..guesses.end.min(most)].iter();
            let (n, gain) = self.costs.best(rates.map(|draft| guesses.odds.rate(draft.kind)));
            if gain > best.1 {
                (self.chosen, best) = (i, (n, gain));
            }
        }
        best.0
    }
}

impl Guesses {
    fn new(prior: [f32; KINDS]) -> Self {
        let drafts = [Draft::default(); MAX_DRAFTS];
        Guesses { odds: Odds::new(prior), drafts, next: 0, end: 0, is_right: false }
    }

    /// The token has come.
    fn learn(&mut self, id: u32) {
        let draft = self.drafts[..self.end].get(self.next);
        self.is_right = draft.is_some_and(|draft| draft.id == id);
        if let Some(draft) = draft {
            self.odds.learn(draft.kind, self.is_right);
        }
        match self.is_right {
            true => self.next += 1,
            false => self.end = 0,
        }
    }
}
