//! The two vocabularies of n-gram models, mote's own kinds.
//!
//! `words`: a text is cut where KenLM's lmplz cuts it, at blanks, tabs, carriage returns, ends of
//! lines and NULs (form feeds and vertical tabs belong to a word), and a word that is no token
//! becomes the unknown one, which there must be. Written as text, each word has a blank before it,
//! which the start of a text loses. An end of a line is a blank like others: whoever scores
//! sentences gives one at a time.
//!
//! `bytes`: 256 tokens of the type byte, `<0x00>` to `<0xFF>`, from id 3 on, behind `<unk>`, `<s>` and
//! `</s>`.

use super::error::LoadError;
use super::piece;
use super::vocabulary::{TokenKind, Vocabulary};

/// What the file calls them.
pub(super) const WORDS: &str = "words";
pub(super) const BYTES: &str = "bytes";

/// The token of the byte 0.
const FIRST_BYTE: u32 = 3;

/// The token of a byte.
pub(super) fn id_of_byte(byte: u8) -> u32 {
    FIRST_BYTE + u32::from(byte)
}

/// The words of a text.
pub(super) fn of(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let separates = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0);
    text.split(separates).filter(|word| !word.is_empty())
}

/// Whether every byte is at its place, and nothing else behind the first three.
pub(super) fn check_bytes(vocabulary: &Vocabulary<'_>) -> Result<(), LoadError> {
    let is_byte = |id: u32| {
        let value = piece::byte_value(vocabulary.text(id)).map(id_of_byte);
        value == Some(id) && vocabulary.kind(id) == Some(TokenKind::Byte)
    };
    let wrong = (FIRST_BYTE..=id_of_byte(u8::MAX)).find(|&id| !is_byte(id));
    let more = id_of_byte(u8::MAX) + 1;
    let more = (vocabulary.len() > more as usize).then_some(more);
    wrong.or(more).map_or(Ok(()), |id| Err(LoadError::BytePlace(id)))
}
