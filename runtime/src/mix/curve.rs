//! How well a text is predicted with every weight, in one pass over it.

use mote_kernels::Kernels;

use super::{Mixing, log_sum};

/// Weights that are tried: 0, 1/16, ... 1, and closer at both ends, where curves bend most.
pub const WEIGHTS: usize = 21;

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
    /// through the least point and its neighbours. (There is one minimum: both kinds of mixtures have
    /// a convex curve.)
    pub fn best(&self) -> (f64, f64) {
        let order = |a: &usize, b: &usize| self.nll[*a].total_cmp(&self.nll[*b]);
        let least = (0..WEIGHTS).min_by(order).unwrap_or(0);
        let (x, y) = (weight(least), self.nll[least]);
        if least == 0 || least + 1 == WEIGHTS {
            return (x, y);
        }
        let [before, after] =
            [least - 1, least + 1].map(|i| (weight(i) - x, (self.nll[i] - y) / (weight(i) - x)));
        // y + slope dx + bend dx^2, through all three.
        let bend = (after.1 - before.1) / (after.0 - before.0);
        let slope = before.1 - bend * before.0;
        if bend > 0.0 {
            let step = -slope / (2.0 * bend);
            (x + step, y + slope * step / 2.0)
        } else {
            (x, y)
        }
    }
}

fn weight(i: usize) -> f64 {
    /// Sixty-fourths up to the middle; the other half mirrors them.
    const LOWER: [u8; WEIGHTS / 2 + 1] = [0, 1, 2, 4, 8, 12, 16, 20, 24, 28, 32];
    match LOWER.get(i) {
        Some(&part) => f64::from(part) / 64.0,
        None => {
            1.0 - f64::from(LOWER.get((WEIGHTS - 1).saturating_sub(i)).copied().unwrap_or(0)) / 64.0
        }
    }
}

/// ln(exp(a) + exp(b)).
fn log_add(a: f64, b: f64) -> f64 {
    let (larger, smaller) = if a > b { (a, b) } else { (b, a) };
    larger + libm::log1p(libm::exp(smaller - larger))
}
