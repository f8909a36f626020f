//! Choosing the next token. The logits are the log-probabilities of a categorical distribution up
//! to a constant; at temperature T a token is drawn with probability p^(1/T), renormalised: T = 0
//! is greedy, T = 1 as trained, T = infinity uniform over what the filters leave.
//!
//! Order: penalties, top-k, top-p, min-p, temperature, draw. Ties go to the lowest id. The draw for
//! position p is a function of (seed, p) alone, so the text of a seed is the same on every platform
//! and a rejected draft consumes nothing.

mod lazy;

use mote_kernels::{Candidate, Kernels, exp};

use crate::constraint::allows;
use crate::error::SessionError;

/// What changes the distribution. The defaults are those of [`Options::default`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// 0 is greedy, 1 as trained, infinity uniform.
    pub temperature: f32,
    /// Only the k most probable tokens; 0 for all.
    pub top_k: usize,
    /// Only the most probable tokens that together have this probability (nucleus sampling, Holtzman
    /// et al. 2019); 1 for all.
    pub top_p: f32,
    /// Only tokens with at least this share of the most probable one's probability; 0 for all.
    pub min_p: f32,
    /// Divides positive logits of recent tokens and multiplies negative ones (Keskar et al. 2019);
    /// 1 for none.
    pub repetition_penalty: f32,
    /// Subtracted from the logit of a recent token for each time it occurs.
    pub frequency_penalty: f32,
    /// Subtracted from the logit of every recent token.
    pub presence_penalty: f32,
    /// How many tokens are recent.
    pub penalty_window: usize,
    /// Which of the texts.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            penalty_window: 64,
            seed: 0,
        }
    }
}

impl Options {
    /// Refuses what has no meaning.
    pub fn check(&self) -> Result<(), SessionError> {
        // Written so that NaN fails.
        let rules = [
            (self.temperature >= 0.0, "the temperature is 0 or more"),
            ((0.0..=1.0).contains(&self.top_p), "top-p is between 0 and 1"),
            ((0.0..=1.0).contains(&self.min_p), "min-p is between 0 and 1"),
            (
                self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite(),
                "the repetition penalty is more than 0",
            ),
            (
                self.frequency_penalty.is_finite() && self.presence_penalty.is_finite(),
                "penalties are finite",
            ),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, sentence)) => Err(SessionError::Option(sentence)),
            None => Ok(()),
        }
    }

    /// Candidates that [`pick`] needs room for.
    pub fn candidates(&self, n_vocab: usize) -> usize {
        if self.temperature == 0.0 {
            0
        } else if self.top_k == 0 {
            n_vocab
        } else {
            self.top_k.min(n_vocab)
        }
    }
}

/// Draws the token for position `recent.len()` of the text: `recent` holds all tokens so far (the
/// last `penalty_window` of them are penalised). `candidates` has room for
/// [`Options::candidates`].
pub fn pick(
    kernels: &Kernels,
    options: &Options,
    logits: &mut [f32],
    recent: &[u32],
    candidates: &mut [Candidate],
) -> Result<u32, SessionError> {
    let uniform = prepare(kernels, options, logits, recent)?;
    if options.temperature == 0.0 {
        return kernels.argmax(logits).map(|id| id as u32).ok_or(SessionError::NotFinite);
    }
    let candidates = room(options, logits, candidates)?;
    if candidates.len() == logits.len()
        && let Some(id) = lazy::choose(kernels, options, logits, candidates, uniform)
    {
        return Ok(id);
    }
    kernels.top_k(logits, candidates);
    Ok(choose(options, candidates, uniform))
}

/// As [`pick`] with tokens that may not come left out before anything else: the distribution is that
/// of the others, renormalised. `mask` as in [`Constraint::mask`](crate::Constraint::mask).
pub fn pick_allowed(
    kernels: &Kernels,
    options: &Options,
    logits: &mut [f32],
    recent: &[u32],
    candidates: &mut [Candidate],
    mask: &[u32],
) -> Result<u32, SessionError> {
    let uniform = prepare(kernels, options, logits, recent)?;
    let mut allowed = 0;
    for (id, logit) in logits.iter_mut().enumerate() {
        if allows(mask, id) {
            allowed += 1;
        } else {
            *logit = f32::NEG_INFINITY;
        }
    }
    if allowed == 0 {
        return Err(SessionError::Constraint);
    }
    if options.temperature == 0.0 {
        return kernels.argmax(logits).map(|id| id as u32).ok_or(SessionError::NotFinite);
    }
    let candidates = room(options, logits, candidates)?;
    let left = allowed.min(candidates.len());
    let candidates = &mut candidates[..left];
    kernels.top_k(logits, candidates);
    Ok(choose(options, candidates, uniform))
}

/// Penalises what is recent; the number that decides the draw.
fn prepare(
    kernels: &Kernels,
    options: &Options,
    logits: &mut [f32],
    recent: &[u32],
) -> Result<f64, SessionError> {
    options.check()?;
    if logits.is_empty() || !kernels.is_finite(logits) {
        return Err(SessionError::NotFinite);
    }
    penalize(options, logits, recent);
    Ok(uniform(options.seed, recent.len()))
}

fn room<'c>(
    options: &Options,
    logits: &[f32],
    candidates: &'c mut [Candidate],
) -> Result<&'c mut [Candidate], SessionError> {
    let k = options.candidates(logits.len());
    candidates.get_mut(..k).ok_or(SessionError::Option("no room for the candidates"))
}

/// Filters and draws; the candidates (largest logit first) are all there are.
fn choose(options: &Options, candidates: &mut [Candidate], uniform: f64) -> u32 {
    let total = candidates.iter().map(|candidate| weight(candidate, candidates[0])).sum();
    let left = filter(options, candidates, Bounds { low: total, high: total });
    let left = left.unwrap_or(candidates.len());
    let candidates = &mut candidates[..left];
    draw(options.temperature, candidates, uniform, None).unwrap_or(candidates[0].id)
}

/// What the sum of all weights, added from the largest to the smallest, lies between.
#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    low: f64,
    high: f64,
}

fn penalize(options: &Options, logits: &mut [f32], recent: &[u32]) {
    let Options { repetition_penalty, frequency_penalty, presence_penalty, .. } = *options;
    if repetition_penalty == 1.0 && frequency_penalty == 0.0 && presence_penalty == 0.0 {
        return;
    }
    let recent = &recent[recent.len().saturating_sub(options.penalty_window)..];
    for (i, &id) in recent.iter().enumerate() {
        let Some(logit) = logits.get_mut(id as usize) else { continue };
        *logit = (*logit - frequency_penalty).clamp(f32::MIN, f32::MAX);
        if recent[..i].contains(&id) {
            continue;
        }
        *logit -= presence_penalty;
        *logit =
            if *logit > 0.0 { *logit / repetition_penalty } else { *logit * repetition_penalty };
        // A penalty makes a token unlikely, and never one that may not come.
        *logit = logit.clamp(f32::MIN, f32::MAX);
    }
}

/// p / p of the best.
fn weight(candidate: &Candidate, best: Candidate) -> f64 {
    f64::from(exp(candidate.value - best.value))
}

/// How many of the candidates (largest logit first) top-p and then min-p leave: at least one. `None`
/// if all that are here stay, or if that hangs on where in its bounds the sum of all weights lies.
fn filter(options: &Options, candidates: &[Candidate], total: Bounds) -> Option<usize> {
    let top_p = f64::from(options.top_p);
    // The best candidate has weight 1, so min-p compares weights directly.
    let min_p = f64::from(options.min_p);
    let mut sum = 0.0;
    for (i, candidate) in candidates.iter().enumerate() {
        let weight = weight(candidate, candidates[0]);
        // NaN does not.
        let stays = weight >= min_p;
        if !stays {
            return Some(i.max(1));
        }
        sum += weight;
        if options.top_p < 1.0 && sum >= total.low * top_p {
            return (sum >= total.high * top_p).then_some(i + 1);
        }
    }
    None
}

/// One of the candidates (largest logit first), with probability p^(1/T) renormalised. Without a
/// total they are all there are. `None` if the draw falls behind the last of them, or hangs on where
/// in its bounds the total lies.
fn draw(
    temperature: f32,
    candidates: &mut [Candidate],
    uniform: f64,
    total: Option<Bounds>,
) -> Option<u32> {
    let best = candidates.first()?.value;
    let mut sum = 0.0;
    for candidate in candidates.iter_mut() {
        let distance = candidate.value - best;
        // Not 0 / T, which would be NaN for a temperature so small that the quotient overflows.
        candidate.value = if distance == 0.0 { 1.0 } else { exp(distance / temperature) };
        sum += f64::from(candidate.value);
    }
    let total = total.unwrap_or(Bounds { low: sum, high: sum });
    let mut rest = Bounds { low: uniform * total.low, high: uniform * total.high };
    for candidate in candidates.iter() {
        rest.low -= f64::from(candidate.value);
        rest.high -= f64::from(candidate.value);
        if rest.low < 0.0 {
            return (rest.high < 0.0).then_some(candidate.id);
        }
    }
    None
}

/// A number in [0, 1) for one position of the text of one seed: 53 bits of Philox 4x32-10 (Salmon
/// et al. 2011) with the position as counter and the seed as key.
pub fn uniform(seed: u64, position: usize) -> f64 {
    let position = position as u64;
    let mut counter = [position as u32, (position >> 32) as u32, 0, 0];
    let mut key = [seed as u32, (seed >> 32) as u32];
    for _ in 0..10 {
        let a = u64::from(counter[0]) * 0xD251_1F53;
        let b = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    let bits = u64::from(counter[0]) | u64::from(counter[1]) << 32;
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests;
