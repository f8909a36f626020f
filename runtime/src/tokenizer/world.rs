//! RWKV's vocabulary of the world's languages: at each place of a text the longest token that begins there.
//!
//! Tokens are any bytes. In a GGUF file they are spelled as Python spells bytes: `\n`, `\'`, `\xe4\xbd\xa0`.

use super::error::{EncodeError, LoadError};
use super::sorted::Sorted;
use super::vocabulary::{TokenKind, Vocabulary};
use crate::memory::Carver;

/// The tokens of a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct World<'a> {
    sorted: Sorted<'a>,
}

impl<'a> World<'a> {
    pub(super) fn new(
        vocabulary: &Vocabulary<'a>,
        memory: &mut Carver<'a>,
    ) -> Result<Self, LoadError> {
        let is_text = |_, kind| matches!(kind, TokenKind::Normal | TokenKind::Byte);
        let spelled = |id: &u32| {
            !vocabulary.kind(*id).is_some_and(|kind| is_text(0, kind))
                || is_spelled(vocabulary.text(*id))
        };
        if let Some(id) = (0..vocabulary.len() as u32).find(|id| !spelled(id)) {
            return Err(LoadError::Escape(id));
        }
        Ok(World { sorted: Sorted::new(vocabulary, is_text, memory)? })
    }

    /// Calls `push` with the tokens of a text; a byte that begins none is `unknown`.
    pub(super) fn encode(
        &self,
        vocabulary: &Vocabulary<'_>,
        text: &[u8],
        unknown: Option<u32>,
        mut push: impl FnMut(u32),
    ) -> Result<(), EncodeError> {
        let mut start = 0;
        while let Some(&first) = text.get(start) {
            let (mut branch, mut end) = (self.sorted.begin(first), start + 1);
            let mut longest = None;
            while !branch.is_empty() {
                longest = branch.token(vocabulary).map(|id| (id, end)).or(longest);
                let Some(&byte) = text.get(end) else { break };
                branch = branch.next(vocabulary, byte);
                end += 1;
            }
            let none = unknown.map(|unknown| (unknown, start + 1));
            let (id, end) = longest.or(none).ok_or(EncodeError::NoToken { byte: first })?;
            push(id);
            start = end;
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
