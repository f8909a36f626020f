//! How well a model predicts a text.

use mote_kernels::Kernels;

/// ln p(id) under the softmax of `logits`, which become their exponentials. `None` if there is no
/// such id.
pub fn log_probability(kernels: &Kernels, logits: &mut [f32], id: u32) -> Option<f64> {
    let logit = *logits.get(id as usize)?;
    let largest = logits.iter().fold(f32::NEG_INFINITY, |m, &v| if v > m { v } else { m });
    let sum = kernels.exp_sum(logits);
    Some(f64::from(logit - largest) - libm::log(sum.into()))
}

/// The bytes that the numeric contract compares and hashes: each logit as a little-endian f32, -0 as
/// +0, every NaN as 7fc00000. `take` gets them in pieces, in order. A hash of logits is BLAKE3 over
/// these bytes of all positions, of which the first 16 bytes count.
pub fn contract_bytes(logits: &[f32], mut take: impl FnMut(&[u8])) {
    let mut bytes = [0; 512];
    for chunk in logits.chunks(bytes.len() / 4) {
        for (place, &logit) in bytes.chunks_exact_mut(4).zip(chunk) {
            let bits = if logit.is_nan() { 0x7fc0_0000 } else { (logit + 0.0).to_bits() };
            place.copy_from_slice(&bits.to_le_bytes());
        }
        take(bytes.get(..4 * chunk.len()).unwrap_or_default());
    }
}

/// Sums of negative log-probabilities, and the figures that are made of them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Negative log-likelihood: the sum over the scored tokens, in nats.
    pub nll: f64,
    /// Tokens scored.
    pub tokens: usize,
    /// UTF-8 bytes of their text.
    pub bytes: usize,
}

impl Figures {
    /// Adds one token.
    pub fn add(&mut self, log_probability: f64, bytes: usize) {
        self.nll -= log_probability;
        self.tokens += 1;
        self.bytes += bytes;
    }

    /// exp of the mean negative log-likelihood of a token; 1 for nothing.
    pub fn perplexity(&self) -> f64 {
        libm::exp(self.nll / self.tokens.max(1) as f64)
    }

    /// Cross-entropy in bits of a token.
    pub fn bits_per_token(&self) -> f64 {
        self.nll / core::f64::consts::LN_2 / self.tokens.max(1) as f64
    }

    /// Cross-entropy in bits of a byte of text.
    pub fn bits_per_byte(&self) -> f64 {
        self.nll / core::f64::consts::LN_2 / self.bytes.max(1) as f64
    }
}
