//! What a text's tokens add up to, as llama-perplexity defines it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::divergence::Token;

/// Of fewer values there are no errors.
const FEW: usize = 10;

/// A mean and its standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// Its standard error; 0 of too few values.
    pub error: f64,
}

/// How far a model is from the base.
#[derive(Clone, Debug, Serialize)]
pub struct Versus {
    /// Perplexity by that of the base.
    pub perplexity_ratio: Mean,
    /// Perplexity less that of the base.
    pub perplexity_difference: Mean,
    /// The ratio's natural logarithm.
    pub ln_ratio: Mean,
    /// Of the logarithms of the perplexities.
    pub correlation: f64,
    /// Kullback-Leibler divergence in nats.
    pub kl: Mean,
    /// Its values, by percentage.
    pub kl_percentiles: Percentiles,
    /// The probability of the text's token, less that by the base.
    pub dp: Mean,
    /// Root of the mean square of that.
    pub dp_rms: Mean,
    /// Its values, by percentage.
    pub dp_percentiles: Percentiles,
    /// Share of tokens where both take the same for the most probable.
    pub same_top: Mean,
}

/// Values below which so many of a hundred are.
pub type Percentiles = BTreeMap<Percent, f64>;

/// A percentage in thousandths, so that it has an order; `99.9` in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u32);

/// Those that llama-perplexity prints of either.
const PERCENTS: [u32; 13] =
    [0, 100, 1000, 5000, 10_000, 25_000, 50_000, 75_000, 90_000, 95_000, 99_000, 99_900, 100_000];

impl Serialize for Percent {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&(f64::from(self.0) / 1000.0))
    }
}

/// The values of a text in the making.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    nll: Moments,
    base_nll: Moments,
    product: f64,
    divergences: Vec<f64>,
    differences: Vec<f64>,
    same_top: usize,
}

/// Sums of values and of their squares, in the order of the text.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    n: usize,
    sum: f64,
    squares: f64,
}

impl Moments {
    fn of(values: impl Iterator<Item = f64>) -> Moments {
        let mut moments = Moments::default();
        values.for_each(|value| moments.add(value));
        moments
    }

    fn add(&mut self, value: f64) {
        self.n += 1;
        self.sum += value;
        self.squares += value * value;
    }

    fn mean(&self) -> Mean {
        let n = self.n.max(1) as f64;
        let mean = self.sum / n;
        let variance = self.squares / n - mean * mean;
        let known = self.n > FEW && variance > 0.0;
        Mean { mean, error: if known { libm::sqrt(variance / (n - 1.0)) } else { 0.0 } }
    }
}

impl Statistics {
    /// Adds a token.
    pub fn add(&mut self, token: &Token) {
        let Token { nll, base_nll, divergence, same_top } = *token;
        self.nll.add(nll);
        self.base_nll.add(base_nll);
        self.product += nll * base_nll;
        self.divergences.push(divergence);
        self.differences.push(libm::exp(-nll) - libm::exp(-base_nll));
        self.same_top += usize::from(same_top);
    }

    /// Tokens.
    pub fn tokens(&self) -> usize {
        self.nll.n
    }

    /// The sum of -ln p by the model.
    pub fn nll(&self) -> f64 {
        self.nll.sum
    }

    /// The model's perplexity.
    pub fn perplexity(&self) -> Mean {
        exponential(self.nll.mean())
    }

    /// The base's sum of -ln p, and perplexity.
    pub fn base(&self) -> (f64, Mean) {
        (self.base_nll.sum, exponential(self.base_nll.mean()))
    }

    /// Everything else.
    pub fn versus(&self) -> Versus {
        let (ours, theirs) = (self.nll.mean(), self.base_nll.mean());
        let covariance = self.covariance();
        let spread = |a: f64, b: f64, both: f64| libm::sqrt((a * a + b * b - 2.0 * both).max(0.0));
        let ln_ratio = Mean {
            mean: ours.mean - theirs.mean,
            error: spread(ours.error, theirs.error, covariance),
        };
        let (mine, base) = (self.perplexity(), self.base().1);
        let both = mine.mean * base.mean * covariance;
        let squares = Moments::of(self.differences.iter().map(|dp| dp * dp)).mean();
        let rms = libm::sqrt(squares.mean);
        let part = |by: f64, of: f64| if by > 0.0 { of / by } else { 0.0 };
        let share = self.same_top as f64 / self.tokens().max(1) as f64;
        let freedom = self.tokens().saturating_sub(1).max(1) as f64;
        Versus {
            perplexity_ratio: exponential(ln_ratio),
            perplexity_difference: Mean {
                mean: mine.mean - base.mean,
                error: spread(mine.error, base.error, both),
            },
            ln_ratio,
            correlation: part(ours.error * theirs.error, covariance),
            kl: Moments::of(self.divergences.iter().copied()).mean(),
            kl_percentiles: percentiles(&self.divergences),
            dp: Moments::of(self.differences.iter().copied()).mean(),
            dp_rms: Mean { mean: rms, error: part(2.0 * rms, squares.error) },
            dp_percentiles: percentiles(&self.differences),
            same_top: Mean { mean: share, error: libm::sqrt(share * (1.0 - share) / freedom) },
        }
    }

    /// Of the means of both -ln p.
    fn covariance(&self) -> f64 {
        let n = self.tokens() as f64;
        if self.tokens() < FEW {
            return 0.0;
        }
        (self.product / n - self.nll.sum / n * (self.base_nll.sum / n)) / (n - 1.0)
    }
}

/// exp of a mean; the error to first order.
fn exponential(Mean { mean, error }: Mean) -> Mean {
    let value = libm::exp(mean);
    Mean { mean: value, error: value * error }
}

/// Values between two are interpolated.
fn percentiles(values: &[f64]) -> Percentiles {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let value = |percent: u32| {
        let place = f64::from(percent) / 100_000.0 * last as f64;
        let below = place as usize;
        let (a, b) = (*sorted.get(below)?, *sorted.get((below + 1).min(last))?);
        let part = place - below as f64;
        // Without the product, infinite values stay what they are.
        Some(if part > 0.0 { (1.0 - part) * a + part * b } else { a })
    };
    PERCENTS.iter().filter_map(|&percent| Some((Percent(percent), value(percent)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(p: f64, base: f64, divergence: f64, same_top: bool) -> Token {
        Token { nll: -p.ln(), base_nll: -base.ln(), divergence, same_top }
    }

    #[test]
    fn sums_by_hand() {
        let mut statistics = Statistics::default();
        for _ in 0..8 {
            statistics.add(&token(0.5, 0.25, 0.1, true));
            statistics.add(&token(0.125, 0.25, 0.3, false));
        }
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        near(statistics.perplexity().mean, 4.0);
        near(statistics.base().1.mean, 4.0);
        let versus = statistics.versus();
        near(versus.perplexity_ratio.mean, 1.0);
        // Of values 0.2 +- 0.1, and 16 of them.
        near(versus.kl.mean, 0.2);
        near(versus.kl.error, 0.1 / 15_f64.sqrt());
        near(versus.dp.mean, 0.0625);
        near(versus.dp_rms.mean, ((0.0625 + 0.015_625) / 2_f64).sqrt());
        near(versus.same_top.mean, 0.5);
        near(versus.same_top.error, 0.5 / 15_f64.sqrt());
        // The base is always as sure, so nothing goes along with it.
        near(versus.correlation, 0.0);
        near(versus.ln_ratio.error, 2_f64.ln() / 15_f64.sqrt());
    }

    #[test]
    fn percentiles_are_interpolated() {
        let values: Vec<f64> = (0..=10).rev().map(f64::from).collect();
        let found = percentiles(&values);
        let at = |percent: u32| found[&Percent(percent)];
        assert_eq!(
            [at(0), at(25_000), at(50_000), at(90_000), at(100_000)],
            [0.0, 2.5, 5.0, 9.0, 10.0]
        );
        let names = serde_json::to_value(&found).unwrap();
        assert_eq!((names["0.1"].clone(), names["99.9"].clone()), (0.01.into(), 9.99.into()));
        assert!(percentiles(&[]).is_empty());
    }
}
