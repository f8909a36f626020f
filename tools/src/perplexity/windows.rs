//! The windows that a text is cut into, and what is measured in each.

use std::num::NonZeroUsize;

use mote_runtime::mix::{Curve, Mix};
use mote_runtime::score::Figures;
use mote_runtime::tokenizer::Tokenizer;
use mote_runtime::{LanguageModel, Origin};

use crate::failure::{Code, Failure, Result};
use crate::input;
use crate::interrupt;
use crate::streams::Streams;

/// Tokens of a window, unless --ctx says otherwise.
const LENGTH: usize = 512;
/// The shortest window with a token to score.
const SHORTEST: usize = 3;

/// Tokens of a window, as --ctx has it.
pub fn length(ctx: Option<NonZeroUsize>) -> Result<usize> {
    let length = ctx.map_or(LENGTH, NonZeroUsize::get);
    if length < SHORTEST {
        let sentence = format_args!("--ctx: a window has {SHORTEST} tokens or more");
        return Err(Failure::new(Code::Usage, sentence));
    }
    Ok(length)
}

/// A text in pieces that are contexts of their own.
pub struct Windows<'t> {
    tokenizer: &'t Tokenizer<'t>,
    ids: Vec<u32>,
    window: usize,
}

impl<'t> Windows<'t> {
    /// Of a text; at most so many windows, if there is a limit.
    pub fn new(
        tokenizer: &'t Tokenizer<'t>,
        text: &[u8],
        window: usize,
        most: Option<usize>,
    ) -> Result<Self> {
        let mut ids = input::encode(tokenizer, text, tokenizer.default_options())?;
        if ids.len() < window {
            let n = ids.len();
            let sentence = format_args!("the text has {n} tokens, a window needs {window}");
            return Err(Failure::new(Code::Text, sentence));
        }
        let n = most.map_or(usize::MAX, |most| most.saturating_mul(window));
        ids.truncate(n.min(ids.len() / window * window));
        Ok(Windows { tokenizer, ids, window })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.ids.len() / self.window
    }

    /// `work` gets the tokens of each window: those that are given, and those that are scored (of
    /// which the first is given, too). `passes`: how often they are computed, for the progress.
    pub fn each(
        &self,
        passes: usize,
        streams: &Streams<'_>,
        mut work: impl FnMut(&[u32], &[u32]) -> Result<()>,
    ) -> Result<()> {
        let first = self.tokenizer.bos().filter(|_| self.tokenizer.adds_bos());
        let bar = streams.progress(self.ids.len() * passes);
        let mut tokens = vec![0; self.window];
        for part in self.ids.chunks_exact(self.window) {
            tokens.copy_from_slice(part);
            if let Some(first) = first {
                tokens[0] = first;
            }
            let (prompt, scored) = tokens.split_at(self.window / 2);
            work(prompt, scored)?;
            interrupt::check()?;
            bar.inc((self.window * passes) as u64);
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// How probable the text is.
    pub fn score(
        &self,
        model: &mut dyn LanguageModel<'_>,
        streams: &Streams<'_>,
    ) -> Result<Figures> {
        let mut figures = Figures::default();
        self.each(1, streams, |prompt, scored| {
            model.rewind(0);
            model.feed_with(prompt, Origin::Prompt, &mut interrupt::not_pressed)?;
            let mut add = |i, logprob| {
                // The first of them is only given.
                if i > 0 {
                    figures.add(logprob, 0);
                }
            };
            let go_on = &mut interrupt::not_pressed;
            model.score_tokens(scored, Origin::Generated, go_on, &mut add)?;
            Ok(())
        })?;
        Ok(figures)
    }

    /// The same with every weight of a mixture.
    pub fn tune(
        &self,
        mix: &mut Mix<'_, '_, '_>,
        mut curve: Curve,
        streams: &Streams<'_>,
    ) -> Result<Curve> {
        self.each(1, streams, |prompt, scored| {
            mix.rewind(0);
            mix.feed_with(prompt, Origin::Prompt, &mut interrupt::not_pressed)?;
            Ok(mix.tune(scored, Origin::Generated, &mut curve)?)
        })?;
        Ok(curve)
    }
}
