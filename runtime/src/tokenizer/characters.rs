//! Characters of a text that need not be UTF-8, and their classes.

use super::class_tables::{BLOCK_OF, BLOCKS};
use super::detail_tables;

/// What pre-tokenizers distinguish. A byte that begins no valid UTF-8 is `Other`, as U+FFFD is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// `\p{L}`.
    Letter,
    /// `\p{N}`.
    Number,
    /// `\s` except carriage return and line feed.
    Space,
    /// Carriage return or line feed.
    Newline,
    /// Everything else: punctuation, symbols, marks, controls, unassigned.
    Other,
}

impl Class {
    /// `\s`.
    pub(super) fn is_space(self) -> bool {
        matches!(self, Class::Space | Class::Newline)
    }
}

/// Whether a character is in one of the ranges, which ascend.
pub(super) fn is_in(ranges: &[(u32, u32)], character: char) -> bool {
    let code = u32::from(character);
    let place = ranges.partition_point(|&(_, last)| last < code);
    ranges.get(place).is_some_and(|&(first, _)| first <= code)
}

/// The class and the length in bytes of the character at `at`, which is inside the text.
#[inline]
pub(super) fn class_at(text: &[u8], at: usize) -> (Class, usize) {
    match text.get(at) {
        Some(&byte) if byte < 0x80 => (ASCII[usize::from(byte)], 1),
        _ => {
            let (character, len) = decode(text, at);
            (character.map_or(Class::Other, class_of), len)
        }
    }
}

/// The character at `at` and its length in bytes; no character and 1 for a byte that begins no
/// valid UTF-8 sequence. At the end of the text the length is 1 too, so that loops go on.
#[inline]
pub(super) fn decode(text: &[u8], at: usize) -> (Option<char>, usize) {
    let rest = text.get(at..).unwrap_or_default();
    let Some(&lead) = rest.first() else { return (None, 1) };
    // The number of continuation bytes and the range of the first of them (Unicode, table 3-7).
    let (more, low, high) = match lead {
        0x00..=0x7F => return (Some(char::from(lead)), 1),
        0xC2..=0xDF => (1, 0x80, 0xBF),
        0xE0 => (2, 0xA0, 0xBF),
        0xED => (2, 0x80, 0x9F),
        0xE1..=0xEF => (2, 0x80, 0xBF),
        0xF0 => (3, 0x90, 0xBF),
        0xF1..=0xF3 => (3, 0x80, 0xBF),
        0xF4 => (3, 0x80, 0x8F),
        _ => return (None, 1),
    };
    let Some(bytes) = rest.get(1..=more) else { return (None, 1) };
    let mut code = u32::from(lead) & (0x3F >> more);
    for (index, &byte) in bytes.iter().enumerate() {
        let (low, high) = if index == 0 { (low, high) } else { (0x80, 0xBF) };
        if !(low..=high).contains(&byte) {
            return (None, 1);
        }
        code = code << 6 | u32::from(byte) & 0x3F;
    }
    (char::from_u32(code), more + 1)
}

/// Outside ASCII there is no newline in the sense of [`Class::Newline`].
fn class_of(character: char) -> Class {
    match two_bits(&BLOCK_OF, &BLOCKS, character) {
        1 => Class::Letter,
        2 => Class::Number,
        3 => Class::Space,
        _ => Class::Other,
    }
}

/// Of a character of the class `Letter`, `Number` or `Other`, what kind of it. Of `Space` and
/// `Newline` it says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// A letter without case (`\p{Lm}`, `\p{Lo}`), a number that is no digit (`\p{No}`), a character
    /// that nobody sees (`\p{C}`).
    Plain,
    /// A capital (`\p{Lu}`, `\p{Lt}`).
    Upper,
    /// A small letter (`\p{Ll}`).
    Lower,
    /// A decimal digit (`\p{Nd}`).
    Digit,
    /// A number written as a letter (`\p{Nl}`).
    LetterNumber,
    /// `\p{M}`.
    Mark,
    /// `\p{P}`.
    Punctuation,
    /// `\p{S}`.
    Symbol,
}

/// The kind of a character of that class.
#[inline]
pub(super) fn detail_of(character: char, class: Class) -> Detail {
    // Far from everything else: variation selectors.
    if ('\u{E0100}'..='\u{E01EF}').contains(&character) {
        return Detail::Mark;
    }
    let bits = two_bits(&detail_tables::BLOCK_OF, &detail_tables::BLOCKS, character);
    match (class, bits) {
        (Class::Letter, 1) => Detail::Upper,
        (Class::Letter, 2) => Detail::Lower,
        (Class::Number, 1) => Detail::Digit,
        (Class::Number, 2) => Detail::LetterNumber,
        (Class::Other, 1) => Detail::Mark,
        (Class::Other, 2) => Detail::Punctuation,
        (Class::Other, 3) => Detail::Symbol,
        _ => Detail::Plain,
    }
}

/// What a table of two bits for each character says; 0 past its end.
#[inline]
fn two_bits(block_of: &[u8], blocks: &[[u64; 4]], character: char) -> u64 {
    let code = character as usize;
    let block = block_of.get(code / 128).and_then(|&block| blocks.get(usize::from(block)));
    block.map_or(0, |words| words[code / 32 % 4] >> (2 * (code % 32)) & 3)
}

const ASCII: [Class; 128] = {
    let mut classes = [Class::Other; 128];
    let mut byte = 0;
    while byte < 128 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' => Class::Letter,
            b'0'..=b'9' => Class::Number,
            b'\r' | b'\n' => Class::Newline,
            b' ' | b'\t' | 0x0B | 0x0C => Class::Space,
            _ => Class::Other,
        };
        byte += 1;
    }
    classes
};

#[cfg(test)]
mod tests {
    use unicode_general_category::{GeneralCategory as G, get_general_category};

    use super::*;

    #[test]
    fn classes_are_those_of_the_general_categories() {
        for character in '\0'..=char::MAX {
            let expected = match get_general_category(character) {
                G::UppercaseLetter
                | G::LowercaseLetter
                | G::TitlecaseLetter
                | G::ModifierLetter
                | G::OtherLetter => Class::Letter,
                G::DecimalNumber | G::LetterNumber | G::OtherNumber => Class::Number,
                _ if character.is_whitespace() => Class::Space,
                _ => Class::Other,
            };
            assert_eq!(class_of(character), expected, "{character:?}");
        }
    }

    #[test]
    fn details_are_those_of_the_general_categories() {
        for character in '\0'..=char::MAX {
            let expected = match get_general_category(character) {
                G::UppercaseLetter | G::TitlecaseLetter => Detail::Upper,
                G::LowercaseLetter => Detail::Lower,
                G::DecimalNumber => Detail::Digit,
                G::LetterNumber => Detail::LetterNumber,
                G::NonspacingMark | G::SpacingMark | G::EnclosingMark => Detail::Mark,
                G::ConnectorPunctuation
                | G::DashPunctuation
                | G::OpenPunctuation
                | G::ClosePunctuation
                | G::InitialPunctuation
                | G::FinalPunctuation
                | G::OtherPunctuation => Detail::Punctuation,
                G::MathSymbol | G::CurrencySymbol | G::ModifierSymbol | G::OtherSymbol => {
                    Detail::Symbol
                }
                _ => Detail::Plain,
            };
            assert_eq!(detail_of(character, class_of(character)), expected, "{character:?}");
        }
    }

    /// The decoder agrees with the standard library on every character and on every two bytes,
    /// and on what follows a lead byte.
    #[test]
    fn decodes_as_the_standard_library() {
        for character in '\0'..=char::MAX {
            let mut buffer = [0; 4];
            let text = character.encode_utf8(&mut buffer).as_bytes();
            assert_eq!(decode(text, 0), (Some(character), text.len()));
        }
        for lead in 0..=255 {
            for second in 0..=255 {
                for tail in [[0x7F, 0x80], [0x80, 0xC0], [0xBF, 0x80]] {
                    let bytes = [lead, second, tail[0], tail[1]];
                    let chunk = bytes.utf8_chunks().next().unwrap();
                    let expected = chunk.valid().chars().next();
                    assert_eq!(decode(&bytes, 0), (expected, expected.map_or(1, char::len_utf8)));
                }
            }
        }
    }

    #[test]
    fn classes() {
        let class = |c: char| class_at(c.encode_utf8(&mut [0; 4]).as_bytes(), 0).0;
        for byte in 0..128 {
            let c = char::from(byte);
            let expected = if c.is_ascii_alphabetic() { Class::Letter } else { class(c) };
            assert_eq!(class(c), expected);
            if !matches!(c, '\r' | '\n') {
                assert_eq!(class(c), class_of(c), "{c:?}");
            }
        }
        assert_eq!(class('é'), Class::Letter);
        assert_eq!(class('½'), Class::Number);
        assert_eq!(class('\u{301}'), Class::Other);
        assert_eq!(class('\u{A0}'), Class::Space);
        assert_eq!(class('\u{200B}'), Class::Other);
        assert_eq!(class_at(b"\xFF", 0), (Class::Other, 1));
    }
}
