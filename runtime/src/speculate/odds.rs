//! How often guesses come true.

/// Kinds of guesses.
pub const KINDS: usize = 16;

/// Guesses that the prior counts for.
const PRIOR: f32 = 4.0;

/// Guesses of a kind that are remembered: texts change.
const MEMORY: f32 = 32.0;

/// For each kind of guess, the share of those that came true.
#[derive(Clone, Copy, Debug)]
pub(super) struct Odds {
    rates: [f32; KINDS],
    /// How many guesses each rate stands for.
    weights: [f32; KINDS],
}

impl Odds {
    pub fn new(prior: [f32; KINDS]) -> Odds {
        Odds { rates: prior, weights: [PRIOR; KINDS] }
    }

    /// The share of this kind; 0 of a kind that there is not.
    pub fn rate(&self, kind: u8) -> f32 {
        self.rates.get(usize::from(kind)).copied().unwrap_or(0.0)
    }

    /// A guess of this kind did, or did not, come true.
    pub fn learn(&mut self, kind: u8, came_true: bool) {
        let kind = usize::from(kind);
        let (Some(rate), Some(weight)) = (self.rates.get_mut(kind), self.weights.get_mut(kind))
        else {
            return;
        };
        *weight = (*weight + 1.0).min(MEMORY);
        *rate += (if came_true { 1.0 } else { 0.0 } - *rate) / *weight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_start_at_the_prior_and_follow_what_happens() {
        let mut odds = Odds::new([0.5; KINDS]);
        assert_eq!(odds.rate(3), 0.5);
        // (4 * 0.5 + 1) / 5
        odds.learn(3, true);
        assert!((odds.rate(3) - 0.6).abs() < 1e-6);
        for _ in 0..200 {
            odds.learn(3, false);
        }
        assert!(odds.rate(3) < 0.01);
        assert_eq!(odds.rate(4), 0.5, "another kind");
        odds.learn(KINDS as u8, true);
        assert_eq!(odds.rate(KINDS as u8), 0.0, "no such kind");
    }
}
