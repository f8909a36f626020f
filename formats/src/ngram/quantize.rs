//! Few values for many: the codebooks of a level's probabilities and backoffs.
//!
//! Values are counted in fine buckets first; the sums of the buckets are integers, so that the order
//! in which values come, and who counts them, does not matter. The codebook starts with bins that
//! hold equally many values (as KenLM's) and moves their bounds to where the squared error is least
//! (Lloyd 1982, Max 1960).

use std::vec;
use std::vec::Vec;

use super::level::{MAX_CODE_BITS, VALUE_BITS_EXACT};

/// Buckets of a histogram.
const BUCKETS: usize = 1 << 16;
/// Where the first begins, in log10, and how many there are to a unit.
const FIRST: f64 = -12.0;
const PER_UNIT: f64 = 4096.0;
/// A value as an integer: 2^-26 is finer than a float below -0.125. 2^32 values of -99 fit in 64 bits.
const SCALE: f64 = (1_u32 << 26) as f64;
/// Rounds that move the bounds. The error hardly falls after ten.
const ROUNDS: usize = 12;

/// How often values came, to about 0.0002 of log10.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    sums: Vec<i64>,
}

/// Which values stand for a level's own.
#[derive(Clone, Debug)]
pub struct Codebook {
    bits: u32,
    values: Vec<f32>,
    /// The code of each bucket.
    codes: Vec<u8>,
}

impl Histogram {
    /// No value yet. Takes a megabyte.
    pub fn new() -> Self {
        Histogram { counts: vec![0; BUCKETS], sums: vec![0; BUCKETS] }
    }

    /// Counts a value. Zeros of backoffs need not be counted: they have a code of their own.
    pub fn add(&mut self, value: f32) {
        let bucket = bucket(value);
        if let (Some(count), Some(sum)) = (self.counts.get_mut(bucket), self.sums.get_mut(bucket)) {
            *count += 1;
            *sum += (f64::from(value) * SCALE) as i64;
        }
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Histogram) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, other)| *count += other);
        self.sums.iter_mut().zip(&other.sums).for_each(|(sum, other)| *sum += other);
    }

    /// The codebook of `bits` (1 to 8) for these values, of which code 0 is exactly 0 if
    /// `with_zero`; for 32 bits the values themselves.
    pub fn codebook(&self, bits: u32, with_zero: bool) -> Codebook {
        if bits == VALUE_BITS_EXACT {
            return Codebook::exact();
        }
        let bits = bits.clamp(1, MAX_CODE_BITS);
        let first = usize::from(with_zero);
        let mut starts = self.equal_bins((1 << bits) - first);
        for _ in 0..ROUNDS {
            let means = self.means(&starts);
            let mut next: Vec<usize> = vec![0];
            next.extend(means.windows(2).map(|pair| match pair {
                [a, b] => bucket(((a + b) * 0.5) as f32),
                _ => 0,
            }));
            next.dedup();
            if next == starts {
                break;
            }
            starts = next;
        }
        let mut values = vec![0.0; first];
        let mut codes = vec![0; BUCKETS];
        for (i, (&start, mean)) in starts.iter().zip(self.means(&starts)).enumerate() {
            values.push(mean as f32);
            if let Some(codes) = codes.get_mut(start..) {
                codes.fill((first + i) as u8);
            }
        }
        values.resize(1 << bits, values.last().copied().unwrap_or(0.0));
        Codebook { bits, values, codes }
    }

    /// Where bins with equally many values begin: at most `bins`, the first at 0.
    fn equal_bins(&self, bins: usize) -> Vec<usize> {
        let total: u64 = self.counts.iter().sum();
        let (mut starts, mut seen) = (vec![0], 0);
        for (bucket, &count) in self.counts.iter().enumerate() {
            let due = u128::from(total) * starts.len() as u128;
            if count > 0 && starts.len() < bins && u128::from(seen) * bins as u128 >= due {
                starts.push(bucket);
            }
            seen += count;
        }
        starts
    }

    /// The mean of each bin; of an empty one its beginning.
    fn means(&self, starts: &[usize]) -> Vec<f64> {
        let ends = starts.iter().skip(1).copied().chain([BUCKETS]);
        starts
            .iter()
            .zip(ends)
            .map(|(&start, end)| {
                let counts = self.counts.get(start..end).unwrap_or_default();
                let sums = self.sums.get(start..end).unwrap_or_default();
                let count: u64 = counts.iter().sum();
                let sum: i128 = sums.iter().map(|&sum| i128::from(sum)).sum();
                if count == 0 {
                    return FIRST + start as f64 / PER_UNIT;
                }
                sum as f64 / SCALE / count as f64
            })
            .collect()
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Codebook {
    /// No codes: values are kept as they are, in 32 bits.
    pub fn exact() -> Self {
        Codebook { bits: VALUE_BITS_EXACT, values: Vec::new(), codes: Vec::new() }
    }

    /// No codes and no values: all are 0. For the backoffs of stupid backoff.
    pub fn zero() -> Self {
        Codebook { bits: 0, values: Vec::new(), codes: Vec::new() }
    }

    /// Bits of a code.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// The value of each code; none if they are exact.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The code of a value.
    pub(super) fn code(&self, value: f32) -> u32 {
        match self.bits {
            0 => return 0,
            VALUE_BITS_EXACT => return value.to_bits(),
            _ => {}
        }
        if value == 0.0 && self.values.first() == Some(&0.0) {
            return 0;
        }
        self.codes.get(bucket(value)).copied().unwrap_or(0).into()
    }
}

fn bucket(value: f32) -> usize {
    // Saturates at both ends; NaN, which no model has, is 0.
    (((f64::from(value) - FIRST) * PER_UNIT) as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> impl Iterator<Item = f32> {
        let mut seed = 1_u32;
        (0..20_000).map(move |_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let x = (seed >> 8) as f32 / (1 << 24) as f32;
            -6.0 * x * x
        })
    }

    #[test]
    fn eight_bits_are_close() {
        let mut histogram = Histogram::new();
        values().for_each(|value| histogram.add(value));
        let book = histogram.codebook(8, false);
        let error = |value: f32| f64::from(book.values()[book.code(value) as usize] - value);
        let mean = values().map(|value| error(value).powi(2)).sum::<f64>() / 20_000.0;
        assert!(mean < 8e-5, "{mean}");
        let bias = values().map(error).sum::<f64>() / 20_000.0;
        assert!(bias.abs() < 1e-6, "means keep the sum: {bias}");
    }

    #[test]
    fn the_order_does_not_matter() {
        let mut whole = Histogram::new();
        values().for_each(|value| whole.add(value));
        let mut parts = [Histogram::new(), Histogram::new()];
        values().enumerate().for_each(|(i, value)| parts[i % 2].add(value));
        let [mut first, second] = parts;
        first.merge(&second);
        assert_eq!(first.codebook(8, true).values(), whole.codebook(8, true).values());
    }

    #[test]
    fn zero_is_kept_and_few_values_are_exact() {
        let mut histogram = Histogram::new();
        for value in [-0.5, -1.0, -2.5] {
            histogram.add(value);
        }
        let book = histogram.codebook(2, true);
        for value in [0.0, -0.5, -1.0, -2.5] {
            assert_eq!(book.values()[book.code(value) as usize], value);
        }
        assert_eq!(Histogram::new().codebook(8, false).values().len(), 256);
        assert_eq!(Codebook::exact().code(-0.25), (-0.25_f32).to_bits());
    }
}
