//! One text, several perplexities: what is counted is a convention, and it moves the figure by a half.

use mote_runtime::score::Figures;
use serde::Serialize;

/// What a token is, as the conventions tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Text.
    Text,
    /// The unknown token, in the place of a word that the vocabulary does not have.
    Unknown,
    /// The end of a sentence.
    End,
}

/// Sums over the scored tokens of a text, and its size.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    text: Sum,
    unknown: Sum,
    ends: Sum,
    /// Words of the text.
    pub words: usize,
    /// Characters of the text, without the ends of sentences.
    pub characters: usize,
    /// Bytes of the text, without the ends of sentences.
    pub bytes: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sum {
    nll: f64,
    tokens: usize,
}

/// The figures of one convention.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Convention {
    /// Tokens that count.
    pub tokens: usize,
    /// Their negative log-likelihood, in nats.
    pub nll: f64,
    /// Cross-entropy in bits of a token.
    pub bits_per_token: f64,
    /// 2 to the power of that.
    pub perplexity: f64,
    /// Figures of the text, which all of its tokens together have.
    #[serde(flatten)]
    pub text: Option<OfText>,
}

/// Cross-entropies that do not depend on how the text was cut into tokens. Where ends of sentences
/// count, each is one more word, character and byte.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OfText {
    /// Bits of a word.
    pub bits_per_word: f64,
    /// 2 to the power of that: what KenLM calls perplexity, for tokens that are no words too.
    pub perplexity_per_word: f64,
    /// Bits of a character.
    pub bits_per_character: f64,
    /// Bits of a byte.
    pub bits_per_byte: f64,
}

impl Tally {
    /// Adds a scored token.
    pub fn add(&mut self, role: Role, ln: f64) {
        let sum = match role {
            Role::Text => &mut self.text,
            Role::Unknown => &mut self.unknown,
            Role::End => &mut self.ends,
        };
        sum.nll -= ln;
        sum.tokens += 1;
    }

    /// Adds a text's size: words are what stands between blanks, tabs, carriage returns, ends of lines
    /// and NULs; characters are Unicode's, and a byte that belongs to none is one.
    pub fn add_text(&mut self, text: &[u8]) {
        let separates = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0);
        self.words += text.split(separates).filter(|word| !word.is_empty()).count();
        self.characters += String::from_utf8_lossy(text).chars().count();
        self.bytes += text.len();
    }

    /// Tokens that stand for unknown words.
    pub fn unknown(&self) -> usize {
        self.unknown.tokens
    }

    /// The figures with or without the ends of sentences and the unknown words. A text without some
    /// of its words has no bits per word.
    pub fn figures(&self, ends: bool, unknown: bool) -> Convention {
        let counted = [Some(self.text), unknown.then_some(self.unknown), ends.then_some(self.ends)];
        let counted = counted.into_iter().flatten();
        let (nll, tokens) =
            counted.fold((0.0, 0), |(nll, tokens), sum| (nll + sum.nll, tokens + sum.tokens));
        let figures = Figures { nll, tokens, bytes: 0 };
        let more = if ends { self.ends.tokens } else { 0 };
        Convention {
            tokens,
            nll,
            bits_per_token: figures.bits_per_token(),
            perplexity: figures.perplexity(),
            text: unknown.then(|| self.of_text(nll, more)),
        }
    }

    /// The figures of all tokens, where `sharing` of them are unknown and share a probability evenly:
    /// each costs what that probability costs as a whole, as a single unknown word would.
    pub fn figures_as_one(&self, sharing: usize) -> Convention {
        let mut tally = *self;
        tally.unknown.nll -= (sharing.max(1) as f64).ln() * self.unknown.tokens as f64;
        tally.figures(true, true)
    }

    fn of_text(&self, nll: f64, ends: usize) -> OfText {
        let each = |count: usize| Figures { nll, tokens: count + ends, bytes: 0 };
        let words = each(self.words);
        OfText {
            bits_per_word: words.bits_per_token(),
            perplexity_per_word: words.perplexity(),
            bits_per_character: each(self.characters).bits_per_token(),
            bits_per_byte: each(self.bytes).bits_per_token(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::LN_2;

    use super::*;

    /// Two sentences of three words and one, of which one is unknown; bits by hand.
    #[test]
    fn conventions_count_what_they_say() {
        let mut tally = Tally::default();
        for (role, bits) in [
            (Role::Text, 3.0),
            (Role::Unknown, 20.0),
            (Role::Text, 5.0),
            (Role::End, 1.0),
            (Role::Text, 6.0),
            (Role::End, 5.0),
        ] {
            tally.add(role, -bits * LN_2);
        }
        tally.add_text("the  étui sat".as_bytes());
        tally.add_text(b"now");
        let near =
            |found: f64, wanted: f64| assert!((found - wanted).abs() < 1e-9, "{found} {wanted}");
        assert_eq!((tally.words, tally.characters, tally.bytes), (4, 16, 17));
        let all = tally.figures(true, true);
        assert_eq!(all.tokens, 6);
        near(all.bits_per_token, 40.0 / 6.0);
        near(all.perplexity, (40.0 / 6.0f64).exp2());
        near(all.nll, 40.0 * LN_2);
        let text = all.text.unwrap();
        near(text.bits_per_word, 40.0 / 6.0);
        near(text.bits_per_character, 40.0 / 18.0);
        near(text.bits_per_byte, 40.0 / 19.0);
        let without = tally.figures(false, true);
        near(without.bits_per_token, 34.0 / 4.0);
        near(without.text.unwrap().bits_per_byte, 2.0);
        let known = tally.figures(true, false);
        assert!(known.tokens == 5 && known.text.is_none());
        near(known.bits_per_token, 4.0);
        near(known.perplexity, 16.0);
        near(tally.figures(false, false).bits_per_token, 14.0 / 3.0);
        // One of 16 unknown words: 4 of the bits say which.
        near(tally.figures_as_one(16).bits_per_token, 36.0 / 6.0);
        near(Tally::default().figures(true, true).perplexity, 1.0);
    }
}
