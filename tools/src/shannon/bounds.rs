//! Shannon's bounds: what the numbers of guesses say about the entropy of a text.

use std::collections::BTreeMap;

use serde::Serialize;

/// How many symbols were guessed at the first try, at the second and so on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranks {
    /// Symbols by the number of guesses they took, which begins at 1.
    counts: BTreeMap<usize, u64>,
    total: u64,
}

/// Between them lies the entropy of a symbol given those before it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bounds {
    /// Bits of a symbol at least.
    pub lower: f64,
    /// Bits of a symbol at most.
    pub upper: f64,
}

impl Ranks {
    /// A symbol that took so many guesses.
    pub fn add(&mut self, guesses: usize) {
        *self.counts.entry(guesses.max(1)).or_default() += 1;
        self.total += 1;
    }

    /// Symbols.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Numbers of guesses that occurred, and for how many symbols each.
    pub fn counts(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.counts.iter().map(|(&guesses, &count)| (guesses, count))
    }

    /// The share of symbols that took between `first` and `last` guesses.
    pub fn share(&self, first: usize, last: usize) -> f64 {
        let count: u64 = self.counts.range(first..=last.max(first)).map(|(_, count)| count).sum();
        self.fraction(count)
    }

    /// Guesses that a symbol took on average.
    pub fn mean(&self) -> f64 {
        let guesses: f64 = self.counts().map(|(guesses, n)| guesses as f64 * n as f64).sum();
        guesses / self.total.max(1) as f64
    }

    /// The bounds of Shannon 1951, equation 17. With q(i) the share of symbols that took i guesses,
    ///
    /// ```text
    /// sum over i of  i (q(i) - q(i+1)) log2 i   <=   entropy   <=   - sum over i of  q(i) log2 q(i)
    /// ```
    ///
    /// Whoever guesses in the same way can be told the text by the numbers of guesses alone, so their
    /// entropy is enough: the upper bound. For the lower one the guesses must go from the most to
    /// the least probable symbol: it holds as far as the guesser is that good.
    pub fn bounds(&self) -> Bounds {
        self.bounds_of(
            self.counts.iter().map(|(&guesses, &count)| Run::new(guesses, guesses, count)),
        )
    }

    /// The same of shares that never rise from one number of guesses to the next, as those of a good
    /// guesser do not in a large sample: the most probable ones of that kind (Grenander 1956). Of
    /// short texts the plain bounds are too low, and the lower one may even be above the upper.
    pub fn smoothed_bounds(&self) -> Bounds {
        let mut runs: Vec<Run> = Vec::with_capacity(self.counts.len());
        let mut done = 0;
        for (guesses, count) in self.counts() {
            // What nothing took is a run with what comes behind.
            let mut run = Run::new(done + 1, guesses, count);
            while let Some(before) = runs.pop_if(|before| before.mean() < run.mean()) {
                run = Run::new(before.first, run.last, before.count + run.count);
            }
            runs.push(run);
            done = guesses;
        }
        self.bounds_of(runs.into_iter())
    }

    fn bounds_of(&self, runs: impl Iterator<Item = Run>) -> Bounds {
        let (mut lower, mut upper) = (0.0, 0.0);
        for run in runs {
            let q = run.mean() / self.total as f64;
            upper -= self.fraction(run.count) * q.log2();
            // Each q(i) stands in two terms of the sum: it has i log2 i - (i-1) log2 (i-1).
            lower += q * (times_log(run.last) - times_log(run.first - 1));
        }
        // Where one share is all, the sum is -0.
        Bounds { lower: lower + 0.0, upper: upper + 0.0 }
    }

    fn fraction(&self, count: u64) -> f64 {
        count as f64 / self.total.max(1) as f64
    }
}

/// Numbers of guesses that took equally many symbols each.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: usize,
    last: usize,
    /// Of all together.
    count: u64,
}

impl Run {
    fn new(first: usize, last: usize, count: u64) -> Run {
        Run { first, last, count }
    }

    fn mean(&self) -> f64 {
        self.count as f64 / (self.last - self.first + 1) as f64
    }
}

/// i log2 i.
fn times_log(i: usize) -> f64 {
    if i > 1 { i as f64 * (i as f64).log2() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(counts: &[(usize, u64)]) -> Bounds {
        let mut ranks = Ranks::default();
        for &(guesses, count) in counts {
            (0..count).for_each(|_| ranks.add(guesses));
        }
        ranks.bounds()
    }

    fn near(found: Bounds, lower: f64, upper: f64) {
        let Bounds { lower: l, upper: u } = found;
        assert!((l - lower).abs() < 1e-12 && (u - upper).abs() < 1e-12, "{found:?}");
    }

    /// Worked out by hand from the formulas.
    #[test]
    fn the_bounds_of_small_distributions() {
        // Always right at once.
        near(bounds(&[(1, 9)]), 0.0, 0.0);
        // A fair coin: 2 (1/2) log2 2 = 1.
        near(bounds(&[(1, 5), (2, 5)]), 1.0, 1.0);
        // q = 3/4, 1/4: 2 (1/4) 1 = 1/2, and the entropy of 1/4.
        near(bounds(&[(1, 3), (2, 1)]), 0.5, 2.0 - 0.75 * 3f64.log2());
        // q = 1/2, 1/4, 1/4: 2 (1/4 - 1/4) 1 + 3 (1/4) log2 3.
        near(bounds(&[(1, 2), (2, 1), (3, 1)]), 0.75 * 3f64.log2(), 1.5);
        // All 27 symbols equally often at each number of guesses: log2 27 twice.
        let uniform: Vec<(usize, u64)> = (1..=27).map(|i| (i, 4)).collect();
        near(bounds(&uniform), 27f64.log2(), 27f64.log2());
        near(bounds(&[]), 0.0, 0.0);
    }

    /// The sum as the paper has it, over all ranks up to the alphabet's size.
    #[test]
    fn the_lower_bound_is_the_papers_sum() {
        let counts = [80u64, 7, 0, 3, 4, 2, 1, 0, 1, 1, 0, 1];
        let total = counts.iter().sum::<u64>() as f64;
        let q = |i: usize| counts.get(i - 1).map_or(0.0, |&n| n as f64 / total);
        let sum: f64 = (1..=27).map(|i| i as f64 * (q(i) - q(i + 1)) * (i as f64).log2()).sum();
        let all: Vec<(usize, u64)> = (1..).zip(counts).collect();
        let found = bounds(&all);
        assert!((found.lower - sum).abs() < 1e-12 && found.upper > sum, "{found:?} {sum}");
    }

    /// Nobody took 3 guesses, so the share of 4 belongs to both: 1/3, 1/3, 1/6, 1/6.
    #[test]
    fn shares_that_rise_are_smoothed() {
        let mut ranks = Ranks::default();
        [2, 1, 4].into_iter().for_each(|guesses| ranks.add(guesses));
        let plain = ranks.bounds();
        assert!(plain.lower > plain.upper);
        let log3 = 3f64.log2();
        near(ranks.smoothed_bounds(), 5.0 / 3.0, 2.0 / 3.0 * log3 + (1.0 + log3) / 3.0);
        // What falls is left alone, and what only rises is even.
        for (counts, is_same) in [(&[(1, 5), (2, 3), (3, 3)][..], true), (&[(1, 1), (2, 3)], false)]
        {
            let mut ranks = Ranks::default();
            for &(guesses, count) in counts {
                (0..count).for_each(|_| ranks.add(guesses));
            }
            let smoothed = ranks.smoothed_bounds();
            match is_same {
                true => near(ranks.bounds(), smoothed.lower, smoothed.upper),
                false => near(smoothed, 1.0, 1.0),
            }
        }
        near(Ranks::default().smoothed_bounds(), 0.0, 0.0);
    }

    #[test]
    fn shares_and_means() {
        let mut ranks = Ranks::default();
        [1, 1, 2, 7].into_iter().for_each(|guesses| ranks.add(guesses));
        assert_eq!((ranks.total(), ranks.mean()), (4, 2.75));
        assert_eq!((ranks.share(1, 1), ranks.share(2, 6), ranks.share(3, 6)), (0.5, 0.25, 0.0));
        assert_eq!(ranks.counts().collect::<Vec<_>>(), [(1, 2), (2, 1), (7, 1)]);
    }
}
