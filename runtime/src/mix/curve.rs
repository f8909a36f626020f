//! How well a text is predicted with every weight, in one pass over it.

use mote_kernels::Kernels;

use super::{Mixing, log_sum};

/// Weights that are tried: 0, 1/16, ... 1.
pub const WEIGHTS: usize = 17;

/// Negative log-likelihood of a text, by the weight of a mixture.
#[derive(Clone, Copy, Debug)]
pub struct Curve {
    mixing: Mixing,
    nll: [f64; WEIGHTS],
    tokens: usize,
}

impl Curve {
    /// Of no token yet.
    pub fn new(mixing: Mixing) -> Self {
        Curve { mixing, nll: [0.0; WEIGHTS], tokens: 0 }
    }

    /// Adds token `id` where the models gave these logits.
    pub fn add(&mut self, kernels: &Kernels, main: &[f32], other: &[f32], id: u32) {
        let (Some(&ours), Some(&theirs)) = (main.get(id as usize), other.get(id as usize)) else {
            return;
        };
        self.tokens += 1;
        let (ours, theirs) = (f64::from(ours), f64::from(theirs));
        let sums = [main, other].map(|logits| log_sum(kernels, logits.iter().copied()));
        for (i, nll) in self.nll.iter_mut().enumerate() {
            let weight = weight(i);
            *nll -= match (self.mixing, i) {
                (_, 0) => theirs - sums[1],
                (_, i) if i + 1 == WEIGHTS => ours - sums[0],
                (Mixing::Linear, _) => log_add(
                    libm::log(weight) + ours - sums[0],
                    libm::log(1.0 - weight) + theirs - sums[1],
                ),
                (Mixing::LogLinear, _) => {
                    let mixed = |(&ours, &theirs): (&f32, &f32)| {
                        (f64::from(ours) * weight + f64::from(theirs) * (1.0 - weight)) as f32
                    };
                    let mixture = main.iter().zip(other).map(mixed);
                    ours * weight + theirs * (1.0 - weight) - log_sum(kernels, mixture)
                }
            };
        }
    }

    /// Tokens added.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Weights and negative log-likelihoods, in nats.
    pub fn points(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.nll.iter().enumerate().map(|(i, &nll)| (weight(i), nll))
    }

    /// The weight of least negative log-likelihood, and how large that is: the vertex of a parabola
    /// through the least point and its neighbours. (In between there is one minimum: both kinds of
    /// mixtures have a convex curve.)
    pub fn best(&self) -> (f64, f64) {
        let order = |a: &usize, b: &usize| self.nll[*a].total_cmp(&self.nll[*b]);
        let least = (0..WEIGHTS).min_by(order).unwrap_or(0);
        let nll = self.nll[least];
        let neighbours = (least.checked_sub(1), self.nll.get(least + 1));
        let (Some(before), Some(&after)) = neighbours else { return (weight(least), nll) };
        let before = self.nll[before];
        // Both slopes lead away from the least point.
        let (slope, bend) = ((after - before) / 2.0, after + before - 2.0 * nll);
        if bend > 0.0 {
            let step = -slope / bend;
            (weight(least) + step * weight(1), nll + slope * step / 2.0)
        } else {
            (weight(least), nll)
        }
    }
}

fn weight(i: usize) -> f64 {
    i as f64 / (WEIGHTS - 1) as f64
}

/// ln(exp(a) + exp(b)).
fn log_add(a: f64, b: f64) -> f64 {
    let (larger, smaller) = if a > b { (a, b) } else { (b, a) };
    larger + libm::log1p(libm::exp(smaller - larger))
}
