//! The noisy channel's decision, how good it is, and which weights make it best.

use clap::ValueEnum;
use serde::Serialize;

use super::errors::Errors;

/// What a hypothesis is judged by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Features {
    /// log p(signal | text).
    pub channel: f64,
    /// ln p(text).
    pub language: f64,
    /// Words.
    pub words: usize,
}

/// How much the language model counts, and each word, beside the channel's 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Weights {
    /// Of ln p(text).
    pub language: f64,
    /// Added for every word: above 0, longer texts are preferred.
    pub length: f64,
}

/// A hypothesis whose errors are known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// What it is judged by.
    pub features: Features,
    /// Its errors.
    pub errors: Errors,
}

/// What tuning makes as small, or as large, as it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Metric {
    /// Word error rate
    Wer,
    /// Character error rate
    Cer,
    /// Mean reciprocal rank of the right text
    Mrr,
}

/// What a choice of weights leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Errors of the lists' best hypotheses.
    pub errors: Errors,
    /// Sum over the lists of 1 / place of the right text; 0 where a list does not have it.
    pub reciprocal_ranks: f64,
    /// Lists.
    pub lists: usize,
}

impl Outcome {
    /// Mean reciprocal rank.
    pub fn mean_reciprocal_rank(&self) -> f64 {
        self.reciprocal_ranks / self.lists.max(1) as f64
    }

    /// What is to be made small.
    fn loss(&self, metric: Metric) -> f64 {
        match metric {
            Metric::Wer => self.errors.word_edits as f64,
            Metric::Cer => self.errors.character_edits as f64,
            Metric::Mrr => -self.reciprocal_ranks,
        }
    }
}

impl Weights {
    /// log p(signal | text) + language ln p(text) + length words: more is better.
    pub fn total(&self, features: &Features) -> f64 {
        // A weight of 0 leaves even an impossible text alone.
        let weighted = |weight: f64, value: f64| if weight == 0.0 { 0.0 } else { weight * value };
        features.channel
            + weighted(self.language, features.language)
            + self.length * features.words as f64
    }

    /// Places of the hypotheses, best first. Equal ones stay in the list's order.
    pub fn order(&self, list: &[Features]) -> Vec<usize> {
        let totals: Vec<f64> = list.iter().map(|features| self.total(features)).collect();
        let mut places: Vec<usize> = (0..list.len()).collect();
        places.sort_by(|&a, &b| totals[b].total_cmp(&totals[a]));
        places
    }

    /// What these weights make of the lists.
    pub fn judge(&self, lists: &[Vec<Judged>]) -> Outcome {
        let mut outcome = Outcome::default();
        for list in lists {
            let features: Vec<Features> = list.iter().map(|one| one.features).collect();
            let order = self.order(&features);
            outcome.lists += 1;
            if let Some(&best) = order.first() {
                outcome.errors += list[best].errors;
            }
            if let Some(rank) = order.iter().position(|&place| list[place].errors.wrong == 0) {
                outcome.reciprocal_ranks += 1.0 / (rank + 1) as f64;
            }
        }
        outcome
    }
}

/// The errors that the best choice from every list would have.
pub fn oracle(lists: &[Vec<Judged>]) -> Errors {
    let best = lists.iter().filter_map(|list| {
        list.iter().map(|one| one.errors).min_by_key(|errors| (errors.word_edits, errors.wrong))
    });
    best.fold(Errors::default(), |mut sum, errors| {
        sum += errors;
        sum
    })
}

/// The weights that serve the metric best on these lists: a search over a grid, from 0 and 1/64 to 64
/// for the language model and from -64 to 64 for the length, then over a finer one around the
/// best. Many weights are equally good, since an error more or less takes a change of a decision; of
/// those, the one whose neighbours are best is taken, as the likeliest to be good on other lists too.
pub fn tune(lists: &[Vec<Judged>], metric: Metric) -> Weights {
    let powers = |from: i32| (from..=12).map(|half| 2f64.powf(f64::from(half) / 2.0));
    let language: Vec<f64> = [0.0].into_iter().chain(powers(-12)).collect();
    let mut length: Vec<f64> = powers(-6).map(|power| -power).collect();
    length.reverse();
    length.extend([0.0].into_iter().chain(powers(-6)));
    let (i, j) = best_of_grid(lists, metric, &language, &length);
    let (language, length) = (around(&language, i), around(&length, j));
    let (i, j) = best_of_grid(lists, metric, &language, &length);
    Weights { language: language[i], length: length[j] }
}

/// Values between those beside a place, the place's own in the middle.
fn around(values: &[f64], place: usize) -> Vec<f64> {
    let middle = values[place];
    let below = values[place.saturating_sub(1)];
    let above = values[(place + 1).min(values.len() - 1)];
    let between = |end: f64, quarters: usize| middle + (end - middle) * quarters as f64 / 4.0;
    let lower = (1..4).rev().map(|quarters| between(below, quarters));
    let upper = (1..4).map(|quarters| between(above, quarters));
    lower.chain([middle]).chain(upper).collect()
}

/// The places of the best weights in a grid.
fn best_of_grid(
    lists: &[Vec<Judged>],
    metric: Metric,
    language: &[f64],
    length: &[f64],
) -> (usize, usize) {
    let losses: Vec<Vec<f64>> = language
        .iter()
        .map(|&language| {
            let loss = |&length: &f64| Weights { language, length }.judge(lists).loss(metric);
            length.iter().map(loss).collect()
        })
        .collect();
    let neighbourhood = |i: usize, j: usize| {
        let rows = &losses[i.saturating_sub(1)..(i + 2).min(losses.len())];
        let near = rows.iter().flat_map(|row| &row[j.saturating_sub(1)..(j + 2).min(row.len())]);
        let (sum, count) = near.fold((0.0, 0), |(sum, count), loss| (sum + loss, count + 1));
        sum / f64::from(count)
    };
    // At last the smallest change of what the channel says.
    let effort = |i: usize, j: usize| (language[i].abs(), length[j].abs());
    let places = (0..language.len()).flat_map(|i| (0..length.len()).map(move |j| (i, j)));
    let better = |a: (usize, usize), b: (usize, usize)| {
        let key = |(i, j): (usize, usize)| (losses[i][j], neighbourhood(i, j), effort(i, j));
        if key(b) < key(a) { b } else { a }
    };
    places.reduce(better).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hypothesis(channel: f64, language: f64, words: usize, edits: usize) -> Judged {
        let errors = Errors {
            word_edits: edits,
            words: 4,
            character_edits: edits,
            characters: 20,
            wrong: usize::from(edits > 0),
            texts: 1,
        };
        Judged { features: Features { channel, language, words }, errors }
    }

    #[test]
    fn the_best_total_comes_first() {
        let list = [
            Features { channel: -1.0, language: -9.0, words: 2 },
            Features { channel: -2.0, language: -5.0, words: 3 },
            Features { channel: -1.0, language: -9.0, words: 2 },
        ];
        let order = |language, length| Weights { language, length }.order(&list);
        assert_eq!(order(0.0, 0.0), [0, 2, 1]);
        assert_eq!(order(0.2, 0.0), [0, 2, 1]);
        assert_eq!(order(0.3, 0.0), [1, 0, 2]);
        assert_eq!(order(0.0, 1.1), [1, 0, 2]);
        let impossible = Features { channel: -1.0, language: f64::NEG_INFINITY, words: 1 };
        assert_eq!(Weights { language: 0.0, length: 0.0 }.total(&impossible), -1.0);
        assert_eq!(Weights { language: 1.0, length: 0.0 }.total(&impossible), f64::NEG_INFINITY);
    }

    #[test]
    fn outcomes_are_counted() {
        let lists = [
            vec![hypothesis(-1.0, -9.0, 4, 2), hypothesis(-2.0, -3.0, 4, 0)],
            vec![hypothesis(-1.0, -4.0, 4, 1), hypothesis(-2.0, -9.0, 4, 3)],
        ];
        let outcome = Weights { language: 0.0, length: 0.0 }.judge(&lists);
        assert_eq!((outcome.errors.word_edits, outcome.errors.words), (3, 8));
        assert_eq!(outcome.mean_reciprocal_rank(), 0.25);
        let outcome = Weights { language: 1.0, length: 0.0 }.judge(&lists);
        assert_eq!((outcome.errors.word_edits, outcome.mean_reciprocal_rank()), (1, 0.5));
        assert_eq!(oracle(&lists).word_edits, 1);
    }

    /// The right text needs a language weight between 1/2 and 2, and more words than the first.
    #[test]
    fn tuning_finds_the_weights_that_help() {
        let lists = [
            vec![
                hypothesis(-1.0, -9.0, 4, 2),
                hypothesis(-4.0, -3.0, 4, 0),
                hypothesis(-12.0, 1.0, 4, 3),
            ],
            vec![hypothesis(-5.0, -5.0, 3, 1), hypothesis(-5.0, -6.0, 5, 0)],
        ];
        for metric in [Metric::Wer, Metric::Cer, Metric::Mrr] {
            let weights = tune(&lists, metric);
            let outcome = weights.judge(&lists);
            assert_eq!((outcome.errors.word_edits, outcome.reciprocal_ranks), (0, 2.0));
            assert!((0.5..=2.0).contains(&weights.language), "{weights:?}");
            assert!(weights.length >= weights.language / 2.0, "{weights:?}");
        }
        // Where nothing helps, nothing is changed.
        let hopeless = [vec![hypothesis(-1.0, -9.0, 4, 2)]];
        assert_eq!(tune(&hopeless, Metric::Wer), Weights { language: 0.0, length: 0.0 });
    }
}
