//! THE LIST OF PRE-TOKENIZERS: how byte-level vocabularies cut a text into words before merging.
//!
//! Each is written in its tokenizer as regular expressions over Unicode classes. Here they are
//! scanners of a few families: no backtracking, one pass, one character of look-ahead. A tokenizer
//! with several expressions has a step for each, which cuts what the step before left. A new one is
//! a line in [`LIST`], and a step where none fits.
//!
//! Names are those that llama.cpp knows; expressions are those of the tokenizers themselves where
//! they are known, and llama.cpp's elsewhere.

mod list;
mod runs;
mod sets;
mod steps;
#[cfg(test)]
mod tests;
mod words;

use list::{DEFAULT, LIST};
use steps::Step;

/// The most steps of a rule set.
const MAX_STEPS: usize = 6;

/// How a text is cut into words, and what else a file's `tokenizer.ggml.pre` implies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PreTokenizer {
    /// The values of `tokenizer.ggml.pre` that mean it.
    names: &'static [&'static str],
    /// At most [`MAX_STEPS`].
    steps: &'static [Step],
    /// The text is brought to normalization form C first.
    pub(super) nfc: bool,
    /// A word that is a token becomes that token, whatever the merges say.
    pub(super) whole_words: bool,
    /// A BOS token is added unless the file says otherwise.
    pub(super) add_bos: bool,
}

/// A text that is being cut.
pub(super) struct Cutter {
    steps: &'static [Step],
    /// The end of the segment of each step.
    ends: [usize; MAX_STEPS],
    /// See [`Step::end`].
    threes: usize,
}

impl PreTokenizer {
    /// The one that a file names.
    pub(super) fn by_name(name: &str) -> Option<PreTokenizer> {
        LIST.into_iter().find(|pre| pre.names.contains(&name))
    }

    /// Its best-known name.
    pub(super) fn name(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }

    /// A cutter for a text from its start.
    pub(super) fn cutter(&self) -> Cutter {
        Cutter { steps: self.steps, ends: [0; MAX_STEPS], threes: 0 }
    }
}

impl Cutter {
    /// The end of the word that begins at `start`, which is inside the text: 0, or the end of the
    /// word before.
    #[inline]
    pub(super) fn word_end(&mut self, text: &[u8], start: usize) -> usize {
        if let [step] = self.steps {
            return step.end(text, start, &mut self.threes);
        }
        let mut end = text.len();
        for (step, known) in self.steps.iter().zip(&mut self.ends) {
            if *known <= start {
                let part = text.get(..end).unwrap_or(text);
                *known = step.end(part, start, &mut self.threes).clamp(start + 1, end);
            }
            end = *known;
        }
        end
    }
}

/// The names of all rule sets that are known, those of the same rules together.
pub fn pre_tokenizers() -> impl Iterator<Item = &'static [&'static str]> {
    LIST.into_iter().map(|pre| pre.names)
}

/// The names that stand in the place of a rule set's where a vocabulary's texts are merged uncut.
pub fn merged_pieces() -> &'static [&'static str] {
    super::MERGED_PIECES
}

impl Default for PreTokenizer {
    fn default() -> Self {
        DEFAULT
    }
}
