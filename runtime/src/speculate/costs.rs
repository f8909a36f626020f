//! How long a pass takes by its number of tokens, and how many drafts are worth that.

use super::MAX_DRAFTS;

/// What a further token adds to a pass until something was measured: a quarter of a pass for one.
const FURTHER: f32 = 0.25;

/// Share of a difference by which the time of a number of tokens is corrected at last (at first more),
/// and by which those of all others are: a longer context and other programs change them together.
const OWN: f32 = 0.25;
const COMMON: f32 = 0.0625;

/// A pass that took longer than expected may have been disturbed: it counts for half as much, and no
/// difference for more than this.
const LONGER: f32 = 0.5;
const MOST: f32 = 0.5;

/// Share of the time of further tokens that is forgotten in a pass without, so that a number of
/// drafts which once took long is tried again.
const FORGOTTEN: f32 = 1.0 / 512.0;

/// Drafts must promise as much more than a pass without.
const LEAST_GAIN: f32 = 1.1;

/// Times of passes, in whatever unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Costs {
    /// Of 1, 2, ... tokens.
    times: [f32; MAX_DRAFTS + 1],
    /// How often each was measured, as far as that matters.
    measured: [u8; MAX_DRAFTS + 1],
}

impl Costs {
    pub fn new() -> Costs {
        let times = core::array::from_fn(|drafts| 1.0 + FURTHER * drafts as f32);
        Costs { times, measured: [0; _] }
    }

    /// A pass for so many tokens took so long.
    pub fn took(&mut self, tokens: usize, time: u64) {
        let Some(at) = tokens.checked_sub(1).filter(|&at| at < self.times.len()) else { return };
        let ratio = time.max(1) as f32 / self.times[at];
        if self.measured == [0; _] {
            self.times = self.times.map(|expected| expected * ratio);
            self.measured[at] = 1;
            return;
        }
        let times = self.measured[at];
        self.measured[at] = (times + 1).min(4);
        let wrong = match times {
            0..2 => ratio - 1.0,
            _ => (ratio - 1.0).clamp(-MOST, MOST) * if ratio > 1.0 { LONGER } else { 1.0 },
        };
        let own = OWN.max(1.0 / f32::from(times + 2));
        self.times[at] = (self.times[at] * (1.0 + wrong.min(3.0) * own)).max(1.0);
        if at == 0 || times > 0 {
            for (i, expected) in self.times.iter_mut().enumerate() {
                *expected *= if i == at { 1.0 } else { 1.0 + wrong.clamp(-MOST, MOST) * COMMON };
            }
        }
        self.complete(at);
    }

    /// What was not measured follows from the line through what has been now.
    fn complete(&mut self, at: usize) {
        let alone = self.times[0];
        let further = (self.times[at] - alone) / at.max(1) as f32;
        for (i, time) in self.times.iter_mut().enumerate().skip(1) {
            if at == 0 {
                *time -= (*time - alone) * FORGOTTEN;
            } else if self.measured[i] == 0 {
                *time = alone + further * i as f32;
            }
        }
    }

    /// The number of drafts that promises the most tokens in the same time, and how many times as many
    /// as without. `rates`: how probable each draft is after the ones before it.
    pub fn best(&self, rates: impl Iterator<Item = f32>) -> (usize, f32) {
        let [alone, drafted @ ..] = self.times;
        let (mut best, mut least) = ((0, 1.0), LEAST_GAIN);
        let (mut probability, mut expected) = (1.0, 1.0);
        for (i, (rate, time)) in rates.zip(drafted).enumerate() {
            probability *= rate;
            expected += probability;
            let gain = expected * alone / time;
            if gain > least {
                (best, least) = ((i + 1, gain), gain);
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_drafts_as_pay() {
        let costs = Costs::new();
        assert_eq!(costs.best([].into_iter()), (0, 1.0));
        assert_eq!(costs.best([0.2; 7].into_iter()).0, 0);
        let (n, gain) = costs.best([0.99; 7].into_iter());
        assert_eq!(n, 7);
        assert!(gain > 2.5);
        // 1 + 0.6 for 1.25, but 1 + 0.6 + 0.12 for 1.5.
        let (n, gain) = costs.best([0.6, 0.2, 0.2].into_iter());
        assert_eq!(n, 1);
        assert!((gain - 1.28).abs() < 1e-6);
    }

    /// Each further token costs `further` of a pass; one pass of eight takes three times as long.
    fn measured(further: f64) -> Costs {
        let mut costs = Costs::new();
        for i in 0..400_u64 {
            let tokens = 1 + (i % 8) as usize;
            let disturbed = if (i / 8 + i) % 8 == 7 { 3.0 } else { 1.0 };
            costs.took(tokens, (1e6 * (1.0 + further * (tokens - 1) as f64) * disturbed) as u64);
        }
        costs
    }

    #[test]
    fn times_are_learnt() {
        for further in [0.02, 0.1, 0.3, 1.0] {
            let costs = measured(further);
            for (i, time) in costs.times.iter().enumerate() {
                let real = 1e6 * (1.0 + further as f32 * i as f32);
                assert!((0.75..1.5).contains(&(time / real)), "{further}, {i}: {}", time / real);
            }
            let drafts = costs.best([0.5; 7].into_iter()).0;
            assert_eq!(drafts > 0, further < 0.5, "{further}");
        }
    }

    #[test]
    fn a_clock_that_stands_still_does_no_harm() {
        let mut costs = Costs::new();
        for _ in 0..100 {
            costs.took(1, 0);
            costs.took(3, u64::MAX);
            costs.took(0, 1);
            costs.took(9, 1);
        }
        assert!(costs.times.iter().all(|time| time.is_finite()));
    }
}
