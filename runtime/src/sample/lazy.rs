//! Drawing where every token is a candidate, without sorting them all.
//!
//! The definition sorts all candidates, and adds weights from the largest to the smallest. Nearly
//! always it ends among the first few of them; only the sum of all weights hangs on the rest, and how
//! far that is from the same sum in another order is known. So a growing number of the best is looked
//! at, until the outcome is certain whatever the last bits of the sum are. If it never is, everything
//! is sorted.

use mote_kernels::{Candidate, Kernels};

use super::{Bounds, Options, draw, filter};

/// How many of the best are looked at first, and how many times more if they are too few.
const FIRST: usize = 64;
const GROWTH: usize = 8;

/// The token that [`super::choose`] finds among all of them sorted; `None` if that cannot be told
/// without. `candidates` has room for every logit.
pub(super) fn choose(
    kernels: &Kernels,
    options: &Options,
    logits: &[f32],
    candidates: &mut [Candidate],
    uniform: f64,
) -> Option<u32> {
    let best = logits[kernels.argmax(logits)?];
    let mut sum =
        |t| sum_of_weights(kernels, logits, best, t, bytemuck::cast_slice_mut(candidates));
    let filters = options.top_p < 1.0 || options.min_p > 0.0;
    // Of the filter, which does not know the temperature, or else of the draw.
    let total = if options.top_p < 1.0 {
        sum(1.0)
    } else if filters {
        Bounds::default()
    } else {
        sum(options.temperature)
    };
    let mut k = FIRST;
    while k < logits.len() {
        let best = &mut candidates[..k];
        kernels.top_k(logits, best);
        let chosen = if filters {
            filter(options, best, total)
                .and_then(|left| draw(options.temperature, &mut best[..left], uniform, None))
        } else {
            draw(options.temperature, best, uniform, Some(total))
        };
        if chosen.is_some() {
            return chosen;
        }
        k *= GROWTH;
    }
    None
}

/// Bounds of the sum, in whatever order, of the weights of all logits at a temperature. `spare` has
/// room for as many floats.
fn sum_of_weights(
    kernels: &Kernels,
    logits: &[f32],
    best: f32,
    temperature: f32,
    spare: &mut [f32],
) -> Bounds {
    let weights = &mut spare[..logits.len()];
    for (weight, logit) in weights.iter_mut().zip(logits) {
        *weight = (logit - best) / temperature;
    }
    // The largest is 0 now, so these are plain exponentials.
    kernels.exp_sum(weights);
    const CHAINS: usize = 8;
    let mut sums = [0.0; CHAINS];
    for weights in weights.chunks(CHAINS) {
        for (sum, &weight) in sums.iter_mut().zip(weights) {
            *sum += f64::from(weight);
        }
    }
    let total: f64 = sums.iter().sum();
    // Adding n numbers that are not negative errs by less than n * EPSILON / 2 of the sum (Higham
    // 1993), here and in the other order; twice both, for the rounding of the bounds themselves.
    let error = total * logits.len() as f64 * (2.0 * f64::EPSILON);
    Bounds { low: total - error, high: total + error }
}
