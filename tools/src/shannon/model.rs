//! The game as a model plays it: it guesses from the most to the least probable token.

use mote_kernels::Kernels;
use mote_runtime::score::log_probability;
use mote_runtime::tokenizer::{EncodeOptions, Tokenizer};
use mote_runtime::{LanguageModel, Origin};

use super::bounds::Ranks;
use super::letters;
use crate::failure::{Code, Failure, Result};
use crate::input;
use crate::interrupt;
use crate::streams::Streams;

/// What is guessed.
#[derive(Clone, Debug)]
pub struct Game {
    /// The text, with the token that begins it.
    pub ids: Vec<u32>,
    /// Tokens that are not guessed.
    pub given: usize,
    /// The guesses that are possible; all tokens if there are none.
    candidates: Vec<u32>,
}

/// How a model played.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// The numbers of its guesses.
    pub ranks: Ranks,
    /// Negative log-likelihood of what it guessed, in nats, among the possible guesses.
    pub nll: f64,
}

impl Game {
    /// Every token of a text behind the `known` first ones.
    pub fn of_tokens(text: &[u8], known: usize, tokenizer: &Tokenizer<'_>) -> Result<Game> {
        let ids = input::encode(tokenizer, text, tokenizer.default_options())?;
        let begin = usize::from(tokenizer.adds_bos());
        Ok(Game { ids, given: begin.saturating_add(known).max(1), candidates: Vec::new() })
    }

    /// Every letter of a text in Shannon's alphabet. Only for vocabularies in which each letter is a
    /// token, whatever stands beside it.
    pub fn of_letters(text: &[u8], known: usize, tokenizer: &Tokenizer<'_>) -> Result<Game> {
        let plain = EncodeOptions { bos: false, eos: false, parse_special: false };
        let symbols: Vec<u8> = letters::alphabet().collect();
        let candidates = input::encode(tokenizer, &symbols, plain)?;
        let game = Game::of_tokens(text, known, tokenizer)?;
        let begin = usize::from(tokenizer.adds_bos());
        if candidates.len() != symbols.len() || game.ids.len() - begin != text.len() {
            let sentence = "--letters: only a model of bytes guesses letters";
            return Err(Failure::new(Code::Usage, sentence));
        }
        Ok(Game { candidates, ..game })
    }

    /// Guesses all of it.
    pub fn play(
        &self,
        session: &mut dyn LanguageModel<'_>,
        streams: &Streams<'_>,
    ) -> Result<Played> {
        let kernels = session.kernels();
        let mut played = Played::default();
        let bar = streams.progress(self.ids.len());
        let go_on = &mut interrupt::not_pressed;
        session.score_with(&self.ids, Origin::Prompt, 0, go_on, &mut |place, logits| {
            bar.inc(1);
            if let Some(&next) = self.ids.get(place + 1).filter(|_| place + 1 >= self.given) {
                played.ranks.add(self.rank(logits, next));
                played.nll -= self.ln(kernels, logits, next);
            }
        })?;
        interrupt::check()?;
        bar.finish_and_clear();
        Ok(played)
    }

    /// Guesses until the right one, from the most probable down; of equally probable ones the lower id
    /// comes first.
    fn rank(&self, logits: &[f32], right: u32) -> usize {
        let Some(&value) = logits.get(right as usize) else { return logits.len() };
        let before = |id: u32, logit: f32| logit > value || (logit == value && id < right);
        1 + if self.candidates.is_empty() {
            (0..).zip(logits).filter(|&(id, &logit)| before(id, logit)).count()
        } else {
            let logit = |id: u32| logits.get(id as usize).copied().unwrap_or(f32::NEG_INFINITY);
            self.candidates.iter().filter(|&&id| before(id, logit(id))).count()
        }
    }

    /// ln p of a token among the possible ones. The logits are used up.
    fn ln(&self, kernels: &Kernels, logits: &mut [f32], id: u32) -> f64 {
        if self.candidates.is_empty() {
            return log_probability(kernels, logits, id).unwrap_or(f64::NEG_INFINITY);
        }
        let value = |id: u32| logits.get(id as usize).map_or(f64::NEG_INFINITY, |&v| f64::from(v));
        let all = self.candidates.iter().map(|&id| value(id));
        let largest = all.clone().fold(f64::NEG_INFINITY, f64::max);
        value(id) - largest - all.map(|value| (value - largest).exp()).sum::<f64>().ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_count_what_is_more_probable() {
        let mut game = Game { ids: Vec::new(), given: 1, candidates: Vec::new() };
        let logits = [0.5, 2.0, 0.5, -1.0, 2.0];
        let ranks: Vec<usize> = (0..5).map(|id| game.rank(&logits, id)).collect();
        assert_eq!(ranks, [3, 1, 4, 5, 2]);
        game.candidates = vec![0, 2, 4];
        assert_eq!([0, 2, 4].map(|id| game.rank(&logits, id)), [2, 3, 1]);
        let kernels = mote_kernels::arch::best();
        let sum: f64 =
            [0, 2, 4].map(|id| game.ln(kernels, &mut logits.clone(), id).exp()).iter().sum();
        assert!((sum - 1.0).abs() < 1e-12);
    }
}
