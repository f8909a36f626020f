//! `--logprobs`: how probable what was written is, and what else was.

use mote_kernels::{Candidate, Kernels};
use mote_runtime::Tokenizer;
use mote_runtime::score::log_probability;
use serde::Serialize;

use crate::failure::Result;
use crate::streams::Streams;

/// The most alternatives of a token.
pub const MAX: usize = 100;

/// A token that was written.
#[derive(Clone, Debug, Serialize)]
pub struct Token {
    #[serde(flatten)]
    chosen: Alternative,
    /// The most probable tokens in its place, largest first.
    top: Vec<Alternative>,
}

/// A token, its text, and the natural logarithm of its probability.
#[derive(Clone, Debug, Serialize)]
struct Alternative {
    id: u32,
    text: String,
    logprob: f64,
}

/// Looks at logits. Its probabilities are the model's own: temperature, penalties and constraints come
/// later.
#[derive(Debug)]
pub struct Logprobs {
    top: Vec<Candidate>,
    logits: Vec<f32>,
    exponentials: Vec<f32>,
}

impl Logprobs {
    /// With so many alternatives.
    pub fn new(n: usize) -> Logprobs {
        let top = vec![Candidate::default(); n.min(MAX)];
        Logprobs { top, logits: Vec::new(), exponentials: Vec::new() }
    }

    /// Remembers the logits that a token is about to be drawn from.
    pub fn look(&mut self, logits: &[f32]) {
        self.logits.clear();
        self.logits.extend_from_slice(logits);
    }

    /// The token was drawn.
    pub fn token(&mut self, kernels: &Kernels, tokenizer: &Tokenizer<'_>, id: u32) -> Token {
        self.exponentials.clone_from(&self.logits);
        let best = kernels.argmax(&self.logits).unwrap_or_default();
        // Of the best one, the logarithm of the sum is all that is left.
        let sum = log_probability(kernels, &mut self.exponentials, best as u32);
        let sum = sum.unwrap_or_default();
        let largest = self.logits.get(best).copied().unwrap_or_default();
        let alternative = |id: u32, logit: f32| Alternative {
            id,
            text: text(tokenizer, id),
            logprob: f64::from(logit - largest) + sum,
        };
        let n = kernels.top_k(&self.logits, &mut self.top);
        let top = self.top.iter().take(n);
        let top = top.map(|candidate| alternative(candidate.id, candidate.value)).collect();
        let logit = self.logits.get(id as usize).copied().unwrap_or(f32::NEG_INFINITY);
        Token { chosen: alternative(id, logit), top }
    }
}

/// What the token stands for; of a part of a character, U+FFFD.
fn text(tokenizer: &Tokenizer<'_>, id: u32) -> String {
    let mut bytes = vec![0; tokenizer.max_token_bytes() + 4];
    let len = tokenizer.token_bytes(id, &mut bytes).unwrap_or_default();
    String::from_utf8_lossy(&bytes[..len]).into_owned()
}

/// A table for people, behind the text.
pub fn print(tokens: &[Token], streams: &mut Streams<'_>) -> Result<()> {
    writeln!(streams.output, "\n{:>8}  {:>8}  token", "log p", "id")?;
    for Token { chosen, top } in tokens {
        let shown = |it: &Alternative| format!("{:?}", it.text);
        write!(streams.output, "{:8.4}  {:8}  {}", chosen.logprob, chosen.id, shown(chosen))?;
        for (i, other) in top.iter().enumerate() {
            let before = if i == 0 { "   best: " } else { ", " };
            let (text, logprob) = (shown(other), other.logprob);
            write!(streams.output, "{before}{text} {logprob:.4}")?;
        }
        writeln!(streams.output)?;
    }
    Ok(())
}
