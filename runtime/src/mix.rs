//! Mixing: two models of the same vocabulary as one.
//!
//! - linear: `p = w p1 + (1 - w) p2`. Whoever is surprised less decides.
//! - log-linear: `p = p1^w p2^(1 - w)`, renormalised. Each may veto.
//!
//! The arithmetic is mote's own, so that a mixture, too, is the same bits everywhere. With the weight
//! 1 or 0 it is one of the models, bit for bit.

mod curve;

use mote_kernels::Kernels;

use crate::error::SessionError;
use crate::fallback::Degraded;
use crate::language_model::LanguageModel;
use crate::precision::Origin;
use crate::tokenizer::Tokenizer;

pub use curve::{Curve, WEIGHTS};

/// How probabilities are mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mixing {
    /// A weighted mean.
    Linear,
    /// A weighted mean of the logarithms, renormalised.
    LogLinear,
}

/// Gets the index of a token, and the logits of both models after it.
type Visit<'v> = dyn FnMut(usize, &mut [f32], &[f32]) + 'v;

/// Two models as one. Both are fed everything; the logits are those of the mixture.
#[derive(Debug)]
pub struct Mix<'x, 'm, 'o> {
    main: &'x mut (dyn LanguageModel<'m> + 'x),
    other: &'x mut (dyn LanguageModel<'o> + 'x),
    mixing: Mixing,
    /// The main model's; that of the other is the rest to 1.
    weight: f64,
}

impl<'x, 'm, 'o> Mix<'x, 'm, 'o> {
    /// Of two models with the same vocabulary and empty contexts; `weight`, from 0 to 1, is that of the
    /// first. Whatever cheap computing of several tokens at once there is, is the first one's.
    pub fn new(
        main: &'x mut (dyn LanguageModel<'m> + 'x),
        other: &'x mut (dyn LanguageModel<'o> + 'x),
        mixing: Mixing,
        weight: f64,
    ) -> Result<Self, SessionError> {
        if !(0.0..=1.0).contains(&weight) {
            return Err(SessionError::Option("the weight of a mixture is between 0 and 1"));
        }
        if !main.tokenizer().has_same_ids(other.tokenizer()) {
            return Err(SessionError::Option("the models of a mixture have the same vocabulary"));
        }
        if main.position() != 0 || other.position() != 0 {
            return Err(SessionError::Option("a mixture starts with empty contexts"));
        }
        Ok(Mix { main, other, mixing, weight })
    }

    /// Appends tokens, as [`LanguageModel::score_with`], and adds to `curve` how probable each of them
    /// but the first is with every weight.
    pub fn tune(
        &mut self,
        tokens: &[u32],
        origin: Origin,
        curve: &mut Curve,
    ) -> Result<(), SessionError> {
        let kernels = self.main.kernels();
        let mut add = |i: usize, main: &mut [f32], other: &[f32]| {
            if let Some(&id) = tokens.get(i + 1) {
                curve.add(kernels, main, other, id);
            }
        };
        self.walk(tokens, (origin, 0), &mut |_| true, &mut add).map(|_| ())
    }

    /// Feeds both, and shows the logits of both after each token from the index `from` on.
    fn walk(
        &mut self,
        tokens: &[u32],
        (origin, from): (Origin, usize),
        go_on: &mut dyn FnMut(usize) -> bool,
        visit: &mut Visit<'_>,
    ) -> Result<usize, SessionError> {
        self.check(tokens)?;
        let start = self.position();
        let other = &mut *self.other;
        let (mut fed, mut failure) = (0, Ok(()));
        let done = self.main.score_with(tokens, origin, from, go_on, &mut |i, logits| {
            let next = tokens.get(fed..i + 1).unwrap_or_default();
            failure = failure.and_then(|()| {
                other.feed_with(next, origin, &mut |_| true)?;
                fed = i + 1;
                let theirs = other.logits().ok_or(SessionError::Empty)?;
                visit(i, logits, theirs);
                Ok(())
            });
        });
        let rest = |&done: &usize| tokens.get(fed..done).filter(|rest| !rest.is_empty());
        let ended = failure.and(done).and_then(|done| match rest(&done) {
            Some(rest) => other.feed_with(rest, origin, &mut |_| true).map(|_| done),
            None => Ok(done),
        });
        if ended.is_err() {
            self.rewind(start);
        }
        ended
    }

    /// The main model has been fed, if `fed` says so: so is the other one, and their logits are mixed.
    fn follow(
        &mut self,
        start: usize,
        tokens: &[u32],
        origin: Origin,
        fed: Result<usize, SessionError>,
    ) -> Result<usize, SessionError> {
        let fed = fed?;
        let known = tokens.get(..fed).unwrap_or(tokens);
        if known.is_empty() {
            return Ok(fed);
        }
        let ended = self.other.feed_with(known, origin, &mut |_| true);
        if let Err(error) = ended {
            self.rewind(start);
            return Err(error);
        }
        self.mix();
        Ok(fed)
    }

    /// The main model's fresh logits become those of the mixture.
    fn mix(&mut self) {
        let kernels = self.main.kernels();
        if let (Some(main), Some(other)) = (self.main.logits(), self.other.logits()) {
            mix(kernels, (self.mixing, self.weight), main, other);
        }
    }
}

impl<'m> LanguageModel<'m> for Mix<'_, 'm, '_> {
    fn tokenizer(&self) -> &'m Tokenizer<'m> {
        self.main.tokenizer()
    }

    fn kernels(&self) -> &'static Kernels {
        self.main.kernels()
    }

    fn capacity(&self) -> usize {
        self.main.capacity().min(self.other.capacity())
    }

    fn tokens(&self) -> &[u32] {
        self.main.tokens()
    }

    fn origin(&self, position: usize) -> Option<Origin> {
        self.main.origin(position)
    }

    fn degraded(&self) -> Option<Degraded> {
        self.main.degraded()
    }

    fn rewind(&mut self, position: usize) {
        self.main.rewind(position);
        self.other.rewind(position);
    }

    fn feed_with(
        &mut self,
        tokens: &[u32],
        origin: Origin,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<usize, SessionError> {
        self.check(tokens)?;
        let start = self.position();
        let fed = self.main.feed_with(tokens, origin, go_on);
        self.follow(start, tokens, origin, fed)
    }

    fn feed_drafted(
        &mut self,
        token: u32,
        drafts: &[u32],
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<usize, SessionError> {
        self.check(&[token])?;
        let start = self.position();
        let fed = self.main.feed_drafted(token, drafts, go_on);
        self.follow(start, &[token], Origin::Generated, fed)
    }

    fn most_drafts(&self) -> usize {
        self.main.most_drafts()
    }

    fn recall(&mut self, go_on: &mut dyn FnMut() -> bool) -> Result<bool, SessionError> {
        if self.main.logits().is_some() {
            return Ok(true);
        }
        // The other one first: while the main model has logits, they are mixed.
        let recalled = self.other.recall(go_on)? && self.main.recall(go_on)?;
        if recalled {
            self.mix();
        }
        Ok(recalled)
    }

    fn logits_and_tokens(&mut self) -> Option<(&mut [f32], &[u32])> {
        self.main.logits_and_tokens()
    }

    fn take_logits(&mut self) -> Option<&mut [f32]> {
        self.main.take_logits()
    }

    fn score_with(
        &mut self,
        tokens: &[u32],
        origin: Origin,
        from: usize,
        go_on: &mut dyn FnMut(usize) -> bool,
        visit: &mut dyn FnMut(usize, &mut [f32]),
    ) -> Result<usize, SessionError> {
        let (kernels, how) = (self.main.kernels(), (self.mixing, self.weight));
        self.walk(tokens, (origin, from), go_on, &mut |i, main, other| {
            mix(kernels, how, main, other);
            visit(i, main);
        })
    }
}

/// `main` becomes the logits of the mixture; those of a linear one are ln p.
fn mix(kernels: &Kernels, (mixing, weight): (Mixing, f64), main: &mut [f32], other: &[f32]) {
    if weight == 1.0 {
        return;
    }
    if weight == 0.0 {
        main.copy_from_slice(other);
        return;
    }
    match mixing {
        Mixing::Linear => mix_linear(kernels, weight, main, other),
        Mixing::LogLinear => {
            for (main, &other) in main.iter_mut().zip(other) {
                *main = (f64::from(*main) * weight + f64::from(other) * (1.0 - weight)) as f32;
            }
        }
    }
}

/// Floats that are exponentiated together.
const PIECE: usize = 256;

fn mix_linear(kernels: &Kernels, weight: f64, main: &mut [f32], other: &[f32]) {
    // ln(w p) is a logit and this.
    let ours = libm::log(weight) - log_sum(kernels, main.iter().copied());
    let theirs = libm::log(1.0 - weight) - log_sum(kernels, other.iter().copied());
    // ln(a + b) = ln a + ln(1 + b / a), where b is the smaller.
    let mut ratios = [0.0; PIECE];
    for (main, other) in main.chunks_mut(PIECE - 1).zip(other.chunks(PIECE - 1)) {
        // The first ratio is 1, so that none is scaled.
        let ratios = &mut ratios[..=main.len()];
        ratios[0] = 0.0;
        for ((ratio, &main), &other) in ratios[1..].iter_mut().zip(&*main).zip(other) {
            let difference = (f64::from(main) + ours) - (f64::from(other) + theirs);
            *ratio = -difference.abs() as f32;
        }
        kernels.exp_sum(ratios);
        for ((main, &other), &ratio) in main.iter_mut().zip(other).zip(&ratios[1..]) {
            let larger = (f64::from(*main) + ours).max(f64::from(other) + theirs);
            *main = (larger + ln_1p(ratio.into())) as f32;
        }
    }
}

/// ln of the sum of the exponentials.
fn log_sum(kernels: &Kernels, values: impl Iterator<Item = f32> + Clone) -> f64 {
    let largest = values.clone().fold(f32::NEG_INFINITY, |m, v| if v > m { v } else { m });
    let (mut piece, mut len, mut sum) = ([0.0; PIECE], 1, 0.0);
    let mut add = |piece: &mut [f32]| {
        piece[0] = 0.0;
        // Less the 1 that the first value is: it keeps the others from being scaled.
        kernels.exp_sum(piece);
        sum += piece[1..].iter().map(|&v| f64::from(v)).sum::<f64>();
    };
    for value in values {
        piece[len] = value - largest;
        len += 1;
        if len == PIECE {
            add(&mut piece);
            len = 1;
        }
    }
    add(&mut piece[..len]);
    f64::from(largest) + libm::log(sum)
}

/// ln(1 + x) for x from 0 to 1, to 1e-10: 2 artanh(x / (2 + x)) as a series, which vectorises.
fn ln_1p(x: f64) -> f64 {
    let z = x / (2.0 + x);
    let square = z * z;
    let mut sum = 0.0;
    for n in (0..10).rev() {
        sum = sum * square + 2.0 / (2 * n + 1) as f64;
    }
    sum * z
}

#[cfg(test)]
mod tests;
