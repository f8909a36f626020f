//! An n-gram model of the same vocabulary expects what is most probable by the last few tokens.

use mote_formats::ngram::Trie;

use super::{Draft, Drafter, KINDS};
use crate::ngram::{State, likely, score};

/// n-grams that are looked at for one guess: some microseconds of work.
const MOST: usize = 256;

/// Kinds for each factor of ten of the probability.
const PER_TEN: f32 = 8.0;

/// Guesses by n-grams of token ids.
#[derive(Clone, Copy, Debug)]
pub struct Ngrams<'t> {
    trie: &'t Trie<'t>,
}

impl<'t> Ngrams<'t> {
    /// By these n-grams, whose ids are those of the model that is drafted for.
    pub fn new(trie: &'t Trie<'t>) -> Self {
        Ngrams { trie }
    }
}

impl Drafter for Ngrams<'_> {
    fn prior(&self) -> [f32; KINDS] {
        // The middle of the kind's probabilities; 10^(-1 / PER_TEN) from one to the next.
        let mut probability = 0.866;
        core::array::from_fn(|_| {
            let this = probability;
            probability *= 0.75;
            this
        })
    }

    fn draft(&mut self, context: &[u32], last: u32, drafts: &mut [Draft]) -> usize {
        // More tokens than the order looks back change nothing.
        let recent = context.len().saturating_sub(self.trie.order());
        let mut state = State::EMPTY;
        for &id in context[recent..].iter().chain([&last]) {
            state = score(self.trie, &state, id).1;
        }
        for (i, draft) in drafts.iter_mut().enumerate() {
            let Some(guess) = likely(self.trie, &state, MOST) else { return i };
            let kind = (-guess.value * PER_TEN).clamp(0.0, (KINDS - 1) as f32) as u8;
            *draft = Draft { id: guess.id, kind };
            state = score(self.trie, &state, guess.id).1;
        }
        drafts.len()
    }
}
