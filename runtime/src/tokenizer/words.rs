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
use super::load::Token;
use super::piece;
use super::vocabulary::{TokenKind, Vocabulary};

/// What the file calls them.
pub(super) const WORDS: &str = "words";
pub(super) const BYTES: &str = "bytes";

/// The token of the byte 0.
pub(super) const FIRST_BYTE: u32 = 3;

/// The token of a byte.
pub(super) fn id_of_byte(byte: u8) -> u32 {
    FIRST_BYTE + u32::from(byte)
}

/// The words of a text.
pub(super) fn of(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let separates = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0);
    text.split(separates).filter(|word| !word.is_empty())
}

/// Whether every byte has been seen at its place, and nothing else there.
#[derive(Debug, Default)]
pub(super) struct Places {
    wrong: Option<u32>,
}

impl Places {
    pub(super) fn add(&mut self, token: Token<'_>) {
        let Token { id, kind, text, .. } = token;
        let value = piece::byte_value(text).filter(|_| kind == TokenKind::Byte);
        if value.map(id_of_byte) != (id >= FIRST_BYTE).then_some(id) {
            self.wrong = self.wrong.or(Some(id));
        }
    }

    pub(super) fn check(self, vocabulary: &Vocabulary<'_>) -> Result<(), LoadError> {
        let end = id_of_byte(u8::MAX) as usize + 1;
        let missing = (vocabulary.len() < end).then_some(vocabulary.len() as u32);
        self.wrong.or(missing).map_or(Ok(()), |id| Err(LoadError::BytePlace(id)))
    }
}
