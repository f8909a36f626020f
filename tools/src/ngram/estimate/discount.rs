//! Discounts of Kneser-Ney smoothing from counts of counts.

use std::fmt;

use super::adjust::Tally;

/// What is taken from an adjusted count of 1, of 2, and of 3 or more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Discounts(pub [f64; 3]);

impl Discounts {
    /// What is taken from this count.
    #[inline]
    pub fn of(&self, adjusted: u64) -> f64 {
        match adjusted {
            0 => 0.0,
            1 => self.0[0],
            2 => self.0[1],
            _ => self.0[2],
        }
    }

    /// Modified Kneser-Ney (Chen and Goodman 1998, equation 26). A text that is small or artificial
    /// may have none.
    pub fn modified(tally: &Tally) -> Result<Discounts, NoDiscount> {
        let y = share_of_once(tally)?;
        let mut discounts = [0.0; 3];
        for (i, discount) in discounts.iter_mut().enumerate() {
            let count = (i + 1) as f64;
            if tally.of[i] == 0 {
                return Err(NoDiscount::NeverSeen(i + 1));
            }
            let ratio = tally.of[i + 1] as f64 / tally.of[i] as f64;
            *discount = count - (count + 1.0) * y * ratio;
            if !(0.0..=count).contains(discount) {
                return Err(NoDiscount::OutOfRange(i + 1));
            }
        }
        Ok(Discounts(discounts))
    }

    /// Plain Kneser-Ney: the same for all counts.
    pub fn plain(tally: &Tally) -> Result<Discounts, NoDiscount> {
        Ok(Discounts([share_of_once(tally)?; 3]))
    }
}

fn share_of_once(tally: &Tally) -> Result<f64, NoDiscount> {
    let [once, twice, ..] = tally.of;
    match (once, twice) {
        (0, _) => Err(NoDiscount::NeverSeen(1)),
        (_, 0) => Err(NoDiscount::NeverSeen(2)),
        _ => Ok(once as f64 / (once as f64 + 2.0 * twice as f64)),
    }
}

/// Why the counts give no discounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoDiscount {
    /// No n-gram has this adjusted count.
    NeverSeen(usize),
    /// The discount for this count is negative, or more than the count.
    OutOfRange(usize),
}

impl fmt::Display for NoDiscount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoDiscount::NeverSeen(n) => write!(f, "none has the adjusted count {n}"),
            NoDiscount::OutOfRange(n) => write!(f, "the discount for count {n} is out of range"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas() {
        let tally = Tally { different: 23, of: [13, 5, 3, 2] };
        let Discounts([a, b, c]) = Discounts::modified(&tally).unwrap();
        let y = 13.0 / 23.0;
        assert!((a - y).abs() < 1e-15);
        assert!((b - 113.0 / 115.0).abs() < 1e-15);
        assert!((c - 103.0 / 69.0).abs() < 1e-15);
        assert_eq!(Discounts::plain(&tally), Ok(Discounts([y; 3])));
        // No n-gram that came four times: three is not discounted less than it counts.
        let tally = Tally { different: 10, of: [4, 3, 3, 0] };
        assert_eq!(Discounts::modified(&tally).unwrap().0[2], 3.0);
    }

    #[test]
    fn small_texts_have_none() {
        let none = |of| Discounts::modified(&Tally { different: 0, of }).unwrap_err();
        assert_eq!(none([0, 1, 1, 1]), NoDiscount::NeverSeen(1));
        assert_eq!(none([1, 0, 1, 1]), NoDiscount::NeverSeen(2));
        assert_eq!(none([22, 8, 0, 0]), NoDiscount::NeverSeen(3));
        assert_eq!(none([9, 1, 9, 9]), NoDiscount::OutOfRange(2));
        assert!(Discounts::plain(&Tally { different: 0, of: [5, 1, 0, 0] }).is_ok());
    }
}
