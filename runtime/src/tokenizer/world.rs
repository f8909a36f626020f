//! RWKV's vocabulary of the world's languages: at each place of a text the longest token that begins there.
//!
//! Tokens are any bytes. In a GGUF file they are spelled as Python spells bytes: `\n`, `\'`, `\xe4\xbd\xa0`.

use super::error::{EncodeError, LoadError};
use super::longest::{self, Longest, MAX_LEN};
use super::vocabulary::{TokenKind, Vocabulary};
use crate::memory::{Carver, Measure};

/// The tokens of a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct World<'a> {
    longest: Longest<'a>,
}

/// Adds what [`World::new`] takes for a vocabulary of that many tokens, spelled in `text_len` bytes.
pub(super) fn measure(memory: &mut Measure, tokens: usize, text_len: usize) {
    longest::measure(memory, tokens);
    memory.add::<u8>(bytes_len(tokens, text_len));
}

fn bytes_len(tokens: usize, text_len: usize) -> usize {
    text_len.min(tokens.saturating_mul(MAX_LEN))
}

impl<'a> World<'a> {
    /// The texts of all tokens together have at most `text_len` bytes.
    pub(super) fn new(
        vocabulary: &Vocabulary<'a>,
        text_len: usize,
        memory: &mut Carver<'a>,
    ) -> Result<Self, LoadError> {
        let is_text =
            |id: u32| matches!(vocabulary.kind(id), Some(TokenKind::Normal | TokenKind::Byte));
        let is_wrong = |id: &u32| is_text(*id) && !is_spelled(vocabulary.text(*id));
        if let Some(id) = (0..vocabulary.len() as u32).find(is_wrong) {
            return Err(LoadError::Escape(id));
        }
        let mut tokens = longest::Builder::new(vocabulary.len(), memory)?;
        let all = memory.take::<u8>(bytes_len(vocabulary.len(), text_len))?;
        let mut end = 0;
        for id in (0..vocabulary.len() as u32).filter(|&id| is_text(id)) {
            let token = bytes(vocabulary.text(id));
            let len = token.clone().take(MAX_LEN + 1).count();
            if let Some(place) = all.get_mut(end..end + len)
                && len <= MAX_LEN
            {
                place.iter_mut().zip(token).for_each(|(place, byte)| *place = byte);
                tokens.add(id, end..end + len);
                end += len;
            }
        }
        Ok(World { longest: tokens.finish(all) })
    }

    /// Calls `push` with the tokens of a text; a byte that begins none is `unknown`.
    pub(super) fn encode(
        &self,
        text: &[u8],
        unknown: Option<u32>,
        mut push: impl FnMut(u32),
    ) -> Result<(), EncodeError> {
        let mut rest = text;
        while let Some(&byte) = rest.first() {
            let longest = self.longest.beginnings(rest).next();
            let found = longest.or(unknown.map(|unknown| (unknown, 1)));
            let (id, len) = found.ok_or(EncodeError::NoToken { byte })?;
            push(id);
            rest = rest.get(len..).unwrap_or_default();
        }
        Ok(())
    }
}

/// The bytes that a token stands for. What is no escape stands for itself.
pub(super) fn bytes(text: &[u8]) -> impl Iterator<Item = u8> + Clone + use<'_> {
    let mut rest = text;
    core::iter::from_fn(move || {
        let (byte, len) = first(rest)?;
        let byte = byte.or(rest.first().copied());
        rest = rest.get(len..).unwrap_or_default();
        byte
    })
}

/// Whether all of a text is ASCII and escapes.
fn is_spelled(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some((byte, len)) = first(rest) {
        if byte.is_none() || !rest.first().is_some_and(u8::is_ascii) {
            return false;
        }
        rest = rest.get(len..).unwrap_or_default();
    }
    true
}

/// The first byte that a text stands for, none if it begins with half an escape, and how many
/// characters it takes.
fn first(text: &[u8]) -> Option<(Option<u8>, usize)> {
    Some(match *text {
        [] => return None,
        [b'\\', b'x', high, low, ..] => match (digit(high), digit(low)) {
            (Some(high), Some(low)) => (Some(high << 4 | low), 4),
            _ => (None, 1),
        },
        [b'\\', b'n', ..] => (Some(b'\n'), 2),
        [b'\\', b'r', ..] => (Some(b'\r'), 2),
        [b'\\', b't', ..] => (Some(b'\t'), 2),
        [b'\\', byte @ (b'\\' | b'\'' | b'"'), ..] => (Some(byte), 2),
        [b'\\', ..] => (None, 1),
        [byte, ..] => (Some(byte), 1),
    })
}

fn digit(character: u8) -> Option<u8> {
    char::from(character).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_pythons() {
        let of = |text: &str| bytes(text.as_bytes()).collect::<std::vec::Vec<u8>>();
        assert_eq!(of(r"\n\t\r\\\'a"), b"\n\t\r\\'a");
        assert_eq!(of(r"\x00\xe4\xBD"), [0, 0xE4, 0xBD]);
        assert_eq!(of(r#""\"é"#), "\"\"é".as_bytes());
        // No escapes.
        assert_eq!(of(r"\xg0\q\x1"), br"\xg0\q\x1");
        assert_eq!(of("\\"), b"\\");
        for (text, is) in
            [(r"a\n\xff", true), (r"\xg0", false), (r"\q", false), ("é", false), ("\\", false)]
        {
            assert_eq!(is_spelled(text.as_bytes()), is, "{text}");
        }
    }
}
