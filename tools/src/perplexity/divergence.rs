//! Two distributions of the next token beside each other.

use mote_kernels::Kernels;

/// Partial sums, added as a tree in the end: the order is fixed, and vectors hold them.
const LANES: usize = 8;

/// What a softmax divides by.
#[derive(Clone, Copy, Debug)]
struct Normaliser {
    largest: f32,
    /// Of the exponentials of what is left when `largest` is taken off.
    sum: f64,
}

impl Normaliser {
    /// ln of the sum of the logits' exponentials.
    fn ln_sum(&self) -> f64 {
        f64::from(self.largest) + libm::log(self.sum)
    }
}

/// A row of base logits, and what is needed of them for every comparison.
#[derive(Clone, Debug)]
pub struct Base {
    logits: Vec<f32>,
    /// Their exponentials, unnormalised.
    weights: Vec<f32>,
    normaliser: Normaliser,
    top: Option<usize>,
}

/// One token of the text, under both models.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Token {
    /// -ln p by the model.
    pub nll: f64,
    /// -ln p by the base.
    pub base_nll: f64,
    /// Sum of p_base ln(p_base / p) over the vocabulary, in nats. Rounding below 0 is cut off.
    pub divergence: f64,
    /// Whether both have the same most probable token.
    pub same_top: bool,
}

impl Base {
    /// Of the logits of one position.
    pub fn new(kernels: &Kernels, logits: &[f32]) -> Base {
        let mut weights = logits.to_vec();
        let normaliser = exponentials(kernels, &mut weights);
        Base { logits: logits.to_vec(), weights, normaliser, top: mote_kernels::argmax(logits) }
    }

    /// Token `id` under the base and under a model with these logits, which become their exponentials.
    /// `None` if there is no such token, or not as many logits.
    pub fn compare(&self, kernels: &Kernels, logits: &mut [f32], id: u32) -> Option<Token> {
        if logits.len() != self.logits.len() {
            return None;
        }
        let (ours, theirs) = (*logits.get(id as usize)?, *self.logits.get(id as usize)?);
        let same_top = mote_kernels::argmax(logits) == self.top;
        let weighted = self.weighted_difference(logits);
        let normaliser = exponentials(kernels, logits);
        let (ln_sum, base_ln_sum) = (normaliser.ln_sum(), self.normaliser.ln_sum());
        let divergence = weighted / self.normaliser.sum + (ln_sum - base_ln_sum);
        Some(Token {
            nll: ln_sum - f64::from(ours),
            base_nll: base_ln_sum - f64::from(theirs),
            // Not `max`, which would hide a NaN.
            divergence: if divergence < 0.0 { 0.0 } else { divergence },
            same_top,
        })
    }

    /// Sum over the vocabulary of the unnormalised p_base (logit_base - logit).
    fn weighted_difference(&self, logits: &[f32]) -> f64 {
        let mut sums = [0.0; LANES];
        let term = |weight: f32, base: f32, ours: f32| {
            // What the base takes for impossible counts nothing, whatever the model says.
            let term = f64::from(weight) * (f64::from(base) - f64::from(ours));
            if weight > 0.0 { term } else { 0.0 }
        };
        let rows = self.weights.chunks(LANES).zip(self.logits.chunks(LANES));
        for ((weights, base), ours) in rows.zip(logits.chunks(LANES)) {
            for (sum, ((&weight, &base), &ours)) in
                sums.iter_mut().zip(weights.iter().zip(base).zip(ours))
            {
                *sum += term(weight, base, ours);
            }
        }
        tree(sums)
    }
}

/// The logits become exponentials.
fn exponentials(kernels: &Kernels, logits: &mut [f32]) -> Normaliser {
    let largest = logits.iter().fold(f32::NEG_INFINITY, |m, &v| if v > m { v } else { m });
    kernels.exp_sum(logits);
    let mut sums = [0.0; LANES];
    for chunk in logits.chunks(LANES) {
        sums.iter_mut().zip(chunk).for_each(|(sum, &v)| *sum += f64::from(v));
    }
    Normaliser { largest, sum: tree(sums) }
}

fn tree([a, b, c, d, e, f, g, h]: [f64; LANES]) -> f64 {
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernels() -> &'static Kernels {
        mote_kernels::arch::best()
    }

    /// Logits whose softmax has these probabilities, moved by something that does not matter.
    fn logits(probabilities: &[f64], by: f64) -> Vec<f32> {
        probabilities.iter().map(|p| (p.ln() + by) as f32).collect()
    }

    #[test]
    fn a_divergence_by_hand() {
        let base = Base::new(kernels(), &logits(&[0.5, 0.25, 0.25], 3.0));
        let token = base.compare(kernels(), &mut logits(&[0.25, 0.25, 0.5], -1.0), 0).unwrap();
        // 1/2 ln 2 + 1/4 ln 1 + 1/4 ln 1/2 = 1/4 ln 2.
        assert!((token.divergence - 0.25 * 2_f64.ln()).abs() < 1e-7, "{token:?}");
        assert!((token.nll - 4_f64.ln()).abs() < 1e-7, "{token:?}");
        assert!((token.base_nll - 2_f64.ln()).abs() < 1e-7, "{token:?}");
        assert!(!token.same_top);
    }

    #[test]
    fn a_model_does_not_diverge_from_itself() {
        let row: Vec<f32> = (0..1003).map(|i| ((i * 37) % 101) as f32 / 7.0).collect();
        let token = Base::new(kernels(), &row).compare(kernels(), &mut row.clone(), 5).unwrap();
        assert_eq!((token.divergence, token.same_top), (0.0, true));
        assert_eq!(token.nll, token.base_nll);
    }

    #[test]
    fn impossible_tokens() {
        let none = f32::NEG_INFINITY;
        let base = Base::new(kernels(), &[0.0, 0.0, none]);
        let token = |row: [f32; 3]| base.compare(kernels(), &mut row.clone(), 0).unwrap();
        assert!((token([0.0, 0.0, 0.0]).divergence - 1.5_f64.ln()).abs() < 1e-7);
        assert_eq!(token([0.0, 0.0, none]).divergence, 0.0);
        assert_eq!(token([0.0, none, 0.0]).divergence, f64::INFINITY);
        assert_eq!(base.compare(kernels(), &mut [0.0; 3], 3), None);
        assert_eq!(base.compare(kernels(), &mut [0.0; 2], 0), None);
    }
}
