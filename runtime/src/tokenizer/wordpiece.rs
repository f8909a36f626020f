//! WordPiece, the vocabulary of BERT (Devlin et al. 2019; Wu et al. 2016).
//!
//! A text is cleaned (controls are left out, accents and capitals where the model knows none) and cut
//! into words at white space; punctuation and Chinese characters are words of their own. A word
//! becomes the longest token that begins it, then the longest one that continues it, and so on; one
//! that cannot is unknown as a whole. In a GGUF file tokens that begin a word have a ▁ before them, and
//! that is all it is for: a word with this character in it is unknown.
//!
//! Nothing is kept of a word but its first 100 characters: longer ones are unknown.

use super::characters::{Class, Detail, class_at, decode, detail_of, is_in};
use super::error::LoadError;
use super::longest::{self, Longest};
use super::vocabulary::Vocabulary;
use super::{nfc, piece};
use crate::memory::Carver;

/// The most characters of a word that is not unknown.
const MAX_CHARACTERS: usize = 100;

/// The most bytes of such a word, with a ▁ before it.
const MAX_BYTES: usize = piece::BLANK.len() + 4 * MAX_CHARACTERS;

/// The tokens of words.
#[derive(Clone, Copy, Debug)]
pub(super) struct WordPieces<'a> {
    tokens: Longest<'a>,
    cleaning: Cleaning,
}

/// What is done with a text first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cleaning {
    /// Capitals become small letters.
    pub(super) lowercase: bool,
    /// Characters are decomposed, and accents are left out.
    pub(super) strips_accents: bool,
}

/// A word while it is read, with a ▁ before it.
struct Word {
    bytes: [u8; MAX_BYTES],
    len: usize,
    characters: usize,
    /// Its tokens, when it ends.
    ids: [u32; MAX_BYTES],
}

impl<'a> WordPieces<'a> {
    pub(super) fn new(
        vocabulary: &Vocabulary<'a>,
        cleaning: Cleaning,
        memory: &mut Carver<'a>,
    ) -> Result<Self, LoadError> {
        let mut tokens = longest::Builder::new(vocabulary.len(), memory)?;
        for id in 0..vocabulary.len() as u32 {
            if vocabulary.kind(id).is_some_and(|kind| vocabulary.spelling().merges(kind)) {
                tokens.add(id, vocabulary.place(id));
            }
        }
        Ok(WordPieces { tokens: tokens.finish(vocabulary.file.bytes()), cleaning })
    }

    /// Calls `push` with the tokens of a text; with `None` for an unknown word.
    pub(super) fn encode(
        &self,
        vocabulary: &Vocabulary<'_>,
        text: &[u8],
        mut push: impl FnMut(Option<u32>),
    ) {
        let mut word = Word::new();
        let mut at = 0;
        while at < text.len() {
            let (class, len) = class_at(text, at);
            let character = decode(text, at).0;
            at += len;
            let Some(character) = character.filter(|&character| !is_left_out(character)) else {
                continue;
            };
            if class.is_space() {
                word.end(self, vocabulary, &mut push);
                continue;
            }
            let is_chinese = is_chinese(character);
            if is_chinese {
                word.end(self, vocabulary, &mut push);
            }
            self.cleaning.clean(character, |part| {
                if is_punctuation(part) {
                    word.end(self, vocabulary, &mut push);
                    word.add(part);
                    word.end(self, vocabulary, &mut push);
                } else {
                    word.add(part);
                }
            });
            if is_chinese {
                word.end(self, vocabulary, &mut push);
            }
        }
        word.end(self, vocabulary, &mut push);
    }

    /// The longest token that begins a word or what is left of one, and its length.
    fn longest(&self, vocabulary: &Vocabulary<'_>, text: &[u8]) -> Option<(u32, usize)> {
        // Most often that is all of it, which a hash finds sooner than a search does.
        match vocabulary.find_piece(text) {
            Some(id) => Some((id, text.len())),
            None => self.tokens.beginnings(text).next(),
        }
    }
}

impl Cleaning {
    fn clean(self, character: char, mut each: impl FnMut(char)) {
        let mut small = |character: char| match self.lowercase {
            true => character.to_lowercase().for_each(&mut each),
            false => each(character),
        };
        if !self.strips_accents {
            return small(character);
        }
        nfc::decompose(character, |part| {
            if let Some(part) = char::from_u32(part)
                && !is_accent(part)
            {
                small(part);
            }
        });
    }
}

impl Word {
    fn new() -> Self {
        let mut bytes = [0; _];
        bytes.iter_mut().zip(piece::BLANK).for_each(|(place, byte)| *place = byte);
        Word { bytes, len: piece::BLANK.len(), characters: 0, ids: [0; _] }
    }

    fn add(&mut self, character: char) {
        let mut buffer = [0; 4];
        let bytes = character.encode_utf8(&mut buffer).as_bytes();
        if let Some(place) = self.bytes.get_mut(self.len..self.len + bytes.len()) {
            place.copy_from_slice(bytes);
            self.len += bytes.len();
        }
        self.characters += 1;
    }

    /// Finds the tokens of the word, and begins another.
    fn end(
        &mut self,
        pieces: &WordPieces<'_>,
        vocabulary: &Vocabulary<'_>,
        push: &mut impl FnMut(Option<u32>),
    ) {
        if self.characters > 0 {
            // All tokens are found before the first is passed on.
            match self.find(pieces, vocabulary) {
                Some(ids) => ids.iter().for_each(|&id| push(Some(id))),
                None => push(None),
            }
        }
        self.len = piece::BLANK.len();
        self.characters = 0;
    }

    /// The tokens of the word, if there are some for all of it.
    fn find(&mut self, pieces: &WordPieces<'_>, vocabulary: &Vocabulary<'_>) -> Option<&[u32]> {
        let mut rest = self.bytes.get(..self.len)?;
        let has_blank = piece::find_blank(rest, piece::BLANK.len()).is_some();
        if has_blank || self.characters > MAX_CHARACTERS {
            return None;
        }
        let mut count = 0;
        while !rest.is_empty() {
            let (id, len) = pieces.longest(vocabulary, rest)?;
            // A blank alone begins no word.
            if count == 0 && len <= piece::BLANK.len() {
                return None;
            }
            *self.ids.get_mut(count)? = id;
            count += 1;
            rest = rest.get(len..)?;
        }
        self.ids.get(..count)
    }
}

/// NUL, U+FFFD, controls, formats and private characters; not tabs, ends of lines and what is
/// unassigned.
fn is_left_out(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' => false,
        '\0' | '\u{FFFD}' => true,
        _ => character.is_control() || is_in(FORMATS, character),
    }
}

fn is_punctuation(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_punctuation();
    }
    let mut buffer = [0; 4];
    let class = class_at(character.encode_utf8(&mut buffer).as_bytes(), 0).0;
    class == Class::Other && detail_of(character, class) == Detail::Punctuation
}

/// `\p{Mn}`.
fn is_accent(character: char) -> bool {
    if character.is_ascii() {
        return false;
    }
    let mut buffer = [0; 4];
    let class = class_at(character.encode_utf8(&mut buffer).as_bytes(), 0).0;
    let is_mark = class == Class::Other && detail_of(character, class) == Detail::Mark;
    is_mark && !is_in(OTHER_MARKS, character)
}

/// The blocks that BERT's own tokenizer lists.
fn is_chinese(character: char) -> bool {
    is_in(CHINESE, character)
}

const CHINESE: &[(u32, u32)] = &[
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    // As Hugging Face has it.
    (0x2B920, 0x2CEAF),
    (0x2F800, 0x2FA1F),
];

/// `[\p{Cf}\p{Co}]` of Unicode 16.0.
const FORMATS: &[(u32, u32)] = &[
    (0xAD, 0xAD),
    (0x600, 0x605),
    (0x61C, 0x61C),
    (0x6DD, 0x6DD),
    (0x70F, 0x70F),
    (0x890, 0x891),
    (0x8E2, 0x8E2),
    (0x180E, 0x180E),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x2064),
    (0x2066, 0x206F),
    (0xE000, 0xF8FF),
    (0xFEFF, 0xFEFF),
    (0xFFF9, 0xFFFB),
    (0x110BD, 0x110BD),
    (0x110CD, 0x110CD),
    (0x13430, 0x1343F),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0001, 0xE0001),
    (0xE0020, 0xE007F),
    (0xF0000, 0xFFFFD),
    (0x100000, 0x10FFFD),
];

/// Marks that are no accents: `[\p{Mc}\p{Me}]` of Unicode 16.0.
const OTHER_MARKS: &[(u32, u32)] = &[
    (0x488, 0x489),
    (0x903, 0x903),
    (0x93B, 0x93B),
    (0x93E, 0x940),
    (0x949, 0x94C),
    (0x94E, 0x94F),
    (0x982, 0x983),
    (0x9BE, 0x9C0),
    (0x9C7, 0x9C8),
    (0x9CB, 0x9CC),
    (0x9D7, 0x9D7),
    (0xA03, 0xA03),
    (0xA3E, 0xA40),
    (0xA83, 0xA83),
    (0xABE, 0xAC0),
    (0xAC9, 0xAC9),
    (0xACB, 0xACC),
    (0xB02, 0xB03),
    (0xB3E, 0xB3E),
    (0xB40, 0xB40),
    (0xB47, 0xB48),
    (0xB4B, 0xB4C),
    (0xB57, 0xB57),
    (0xBBE, 0xBBF),
    (0xBC1, 0xBC2),
    (0xBC6, 0xBC8),
    (0xBCA, 0xBCC),
    (0xBD7, 0xBD7),
    (0xC01, 0xC03),
    (0xC41, 0xC44),
    (0xC82, 0xC83),
    (0xCBE, 0xCBE),
    (0xCC0, 0xCC4),
    (0xCC7, 0xCC8),
    (0xCCA, 0xCCB),
    (0xCD5, 0xCD6),
    (0xCF3, 0xCF3),
    (0xD02, 0xD03),
    (0xD3E, 0xD40),
    (0xD46, 0xD48),
    (0xD4A, 0xD4C),
    (0xD57, 0xD57),
    (0xD82, 0xD83),
    (0xDCF, 0xDD1),
    (0xDD8, 0xDDF),
    (0xDF2, 0xDF3),
    (0xF3E, 0xF3F),
    (0xF7F, 0xF7F),
    (0x102B, 0x102C),
    (0x1031, 0x1031),
    (0x1038, 0x1038),
    (0x103B, 0x103C),
    (0x1056, 0x1057),
    (0x1062, 0x1064),
    (0x1067, 0x106D),
    (0x1083, 0x1084),
    (0x1087, 0x108C),
    (0x108F, 0x108F),
    (0x109A, 0x109C),
    (0x1715, 0x1715),
    (0x1734, 0x1734),
    (0x17B6, 0x17B6),
    (0x17BE, 0x17C5),
    (0x17C7, 0x17C8),
    (0x1923, 0x1926),
    (0x1929, 0x192B),
    (0x1930, 0x1931),
    (0x1933, 0x1938),
    (0x1A19, 0x1A1A),
    (0x1A55, 0x1A55),
    (0x1A57, 0x1A57),
    (0x1A61, 0x1A61),
    (0x1A63, 0x1A64),
    (0x1A6D, 0x1A72),
    (0x1ABE, 0x1ABE),
    (0x1B04, 0x1B04),
    (0x1B35, 0x1B35),
    (0x1B3B, 0x1B3B),
    (0x1B3D, 0x1B41),
    (0x1B43, 0x1B44),
    (0x1B82, 0x1B82),
    (0x1BA1, 0x1BA1),
    (0x1BA6, 0x1BA7),
    (0x1BAA, 0x1BAA),
    (0x1BE7, 0x1BE7),
    (0x1BEA, 0x1BEC),
    (0x1BEE, 0x1BEE),
    (0x1BF2, 0x1BF3),
    (0x1C24, 0x1C2B),
    (0x1C34, 0x1C35),
    (0x1CE1, 0x1CE1),
    (0x1CF7, 0x1CF7),
    (0x20DD, 0x20E0),
    (0x20E2, 0x20E4),
    (0x302E, 0x302F),
    (0xA670, 0xA672),
    (0xA823, 0xA824),
    (0xA827, 0xA827),
    (0xA880, 0xA881),
    (0xA8B4, 0xA8C3),
    (0xA952, 0xA953),
    (0xA983, 0xA983),
    (0xA9B4, 0xA9B5),
    (0xA9BA, 0xA9BB),
    (0xA9BE, 0xA9C0),
    (0xAA2F, 0xAA30),
    (0xAA33, 0xAA34),
    (0xAA4D, 0xAA4D),
    (0xAA7B, 0xAA7B),
    (0xAA7D, 0xAA7D),
    (0xAAEB, 0xAAEB),
    (0xAAEE, 0xAAEF),
    (0xAAF5, 0xAAF5),
    (0xABE3, 0xABE4),
    (0xABE6, 0xABE7),
    (0xABE9, 0xABEA),
    (0xABEC, 0xABEC),
    (0x11000, 0x11000),
    (0x11002, 0x11002),
    (0x11082, 0x11082),
    (0x110B0, 0x110B2),
    (0x110B7, 0x110B8),
    (0x1112C, 0x1112C),
    (0x11145, 0x11146),
    (0x11182, 0x11182),
    (0x111B3, 0x111B5),
    (0x111BF, 0x111C0),
    (0x111CE, 0x111CE),
    (0x1122C, 0x1122E),
    (0x11232, 0x11233),
    (0x11235, 0x11235),
    (0x112E0, 0x112E2),
    (0x11302, 0x11303),
    (0x1133E, 0x1133F),
    (0x11341, 0x11344),
    (0x11347, 0x11348),
    (0x1134B, 0x1134D),
    (0x11357, 0x11357),
    (0x11362, 0x11363),
    (0x113B8, 0x113BA),
    (0x113C2, 0x113C2),
    (0x113C5, 0x113C5),
    (0x113C7, 0x113CA),
    (0x113CC, 0x113CD),
    (0x113CF, 0x113CF),
    (0x11435, 0x11437),
    (0x11440, 0x11441),
    (0x11445, 0x11445),
    (0x114B0, 0x114B2),
    (0x114B9, 0x114B9),
    (0x114BB, 0x114BE),
    (0x114C1, 0x114C1),
    (0x115AF, 0x115B1),
    (0x115B8, 0x115BB),
    (0x115BE, 0x115BE),
    (0x11630, 0x11632),
    (0x1163B, 0x1163C),
    (0x1163E, 0x1163E),
    (0x116AC, 0x116AC),
    (0x116AE, 0x116AF),
    (0x116B6, 0x116B6),
    (0x1171E, 0x1171E),
    (0x11720, 0x11721),
    (0x11726, 0x11726),
    (0x1182C, 0x1182E),
    (0x11838, 0x11838),
    (0x11930, 0x11935),
    (0x11937, 0x11938),
    (0x1193D, 0x1193D),
    (0x11940, 0x11940),
    (0x11942, 0x11942),
    (0x119D1, 0x119D3),
    (0x119DC, 0x119DF),
    (0x119E4, 0x119E4),
    (0x11A39, 0x11A39),
    (0x11A57, 0x11A58),
    (0x11A97, 0x11A97),
    (0x11C2F, 0x11C2F),
    (0x11C3E, 0x11C3E),
    (0x11CA9, 0x11CA9),
    (0x11CB1, 0x11CB1),
    (0x11CB4, 0x11CB4),
    (0x11D8A, 0x11D8E),
    (0x11D93, 0x11D94),
    (0x11D96, 0x11D96),
    (0x11EF5, 0x11EF6),
    (0x11F03, 0x11F03),
    (0x11F34, 0x11F35),
    (0x11F3E, 0x11F3F),
    (0x11F41, 0x11F41),
    (0x1612A, 0x1612C),
    (0x16F51, 0x16F87),
    (0x16FF0, 0x16FF1),
    (0x1D165, 0x1D166),
    (0x1D16D, 0x1D172),
];

#[cfg(test)]
mod tests {
    use unicode_general_category::GeneralCategory::{Control, Format, NonspacingMark, PrivateUse};
    use unicode_general_category::get_general_category;

    use super::*;

    #[test]
    fn accents_are_the_nonspacing_marks() {
        for character in '\0'..=char::MAX {
            let expected = get_general_category(character) == NonspacingMark;
            assert_eq!(is_accent(character), expected, "{character:?}");
        }
    }

    #[test]
    fn left_out_is_what_nobody_sees() {
        for character in '\0'..=char::MAX {
            let category = get_general_category(character);
            let expected = match character {
                '\t' | '\n' | '\r' => false,
                '\u{FFFD}' => true,
                _ => matches!(category, Control | Format | PrivateUse),
            };
            assert_eq!(is_left_out(character), expected, "{character:?}");
        }
    }
}
