//! How wrong texts are: edits between sequences, and the rates that are made of them.

use std::ops::AddAssign;

/// The fewest insertions, deletions and substitutions that make `found` of `wanted` (Levenshtein
/// 1966). Time grows with the product of the lengths.
pub fn edits<T: PartialEq>(found: &[T], wanted: &[T]) -> usize {
    // Edits that make the beginning of `found` so far of each beginning of `wanted`.
    let mut row: Vec<usize> = (0..=wanted.len()).collect();
    for (i, item) in found.iter().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, want) in wanted.iter().enumerate() {
            let substituted = diagonal + usize::from(item != want);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[wanted.len()]
}

/// Errors of one or many texts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Errors {
    /// Words that are wrong, missing or too many.
    pub word_edits: usize,
    /// Words of the references.
    pub words: usize,
    /// The same for characters.
    pub character_edits: usize,
    /// Characters of the references.
    pub characters: usize,
    /// Texts that are not the reference, word for word.
    pub wrong: usize,
    /// Texts.
    pub texts: usize,
}

impl Errors {
    /// Of one text. Words are what stands between white space, and characters are counted with one
    /// blank between words.
    pub fn of(found: &str, wanted: &str) -> Errors {
        let (words, reference) = (words(found), words(wanted));
        let characters: Vec<char> = words.join(" ").chars().collect();
        let wanted: Vec<char> = reference.join(" ").chars().collect();
        let word_edits = edits(&words, &reference);
        Errors {
            word_edits,
            words: reference.len(),
            character_edits: edits(&characters, &wanted),
            characters: wanted.len(),
            wrong: usize::from(word_edits > 0),
            texts: 1,
        }
    }

    /// Wrong words per word of the references; more than 1 is possible.
    pub fn word_error_rate(&self) -> f64 {
        ratio(self.word_edits, self.words)
    }

    /// Wrong characters per character of the references.
    pub fn character_error_rate(&self) -> f64 {
        ratio(self.character_edits, self.characters)
    }

    /// The share of texts with an error.
    pub fn sentence_error_rate(&self) -> f64 {
        ratio(self.wrong, self.texts)
    }
}

impl AddAssign for Errors {
    fn add_assign(&mut self, more: Errors) {
        self.word_edits += more.word_edits;
        self.words += more.words;
        self.character_edits += more.character_edits;
        self.characters += more.characters;
        self.wrong += more.wrong;
        self.texts += more.texts;
    }
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_the_fewest() {
        for (found, wanted, number) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
            ("intention", "execution", 5),
            ("ab", "ba", 2),
        ] {
            assert_eq!(edits(found.as_bytes(), wanted.as_bytes()), number, "{found} {wanted}");
            assert_eq!(edits(wanted.as_bytes(), found.as_bytes()), number);
        }
    }

    #[test]
    fn rates_are_of_the_references() {
        let mut errors = Errors::of("the cat  sat", "the cat sat");
        assert_eq!((errors.wrong, errors.word_edits, errors.character_edits), (0, 0, 0));
        errors += Errors::of("a cat sad down", "the cat sat");
        // One word too many and two wrong; a for the: 3 edits, d for t, and 5 for a blank and down.
        assert_eq!((errors.word_edits, errors.words), (3, 6));
        assert_eq!((errors.character_edits, errors.characters), (9, 22));
        assert_eq!((errors.word_error_rate(), errors.sentence_error_rate()), (0.5, 0.5));
        assert_eq!(errors.character_error_rate(), 9.0 / 22.0);
        assert_eq!(Errors::of("a b", "").word_error_rate(), 2.0);
        assert_eq!(Errors::default().word_error_rate(), 0.0);
    }
}
