//! Pieces: the tokens of SentencePiece vocabularies, in which U+2581 (▁) stands for a blank.
//!
//! Inside, a blank is the byte 0x20. The character ▁ of a text becomes that byte too, as it does in
//! SentencePiece, which takes both for the same. So texts do not grow to three times their length,
//! and the pieces of the file stay where they are: hashing and comparing translate as they go.

use super::table;

/// ▁ in UTF-8.
pub(super) const BLANK: [u8; 3] = [0xE2, 0x96, 0x81];

/// The bytes of a piece or text, each ▁ as one blank.
pub(super) fn bytes(text: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut rest = text;
    core::iter::from_fn(move || {
        if let Some(after) = rest.strip_prefix(&BLANK) {
            rest = after;
            return Some(b' ');
        }
        let (&byte, after) = rest.split_first()?;
        rest = after;
        Some(byte)
    })
}

/// The hash of a piece's text: what [`table::hash`] gives for its [`bytes`]. And whether blanks
/// are possible after its first character.
#[inline]
pub(super) fn hash(piece: &[u8]) -> (u64, bool) {
    // Most pieces begin with ▁ or have none at all.
    let looked_for = [BLANK[0], b' '];
    let (hash, [lead, blank]) = match piece {
        [0xE2, 0x96, 0x81, rest @ ..] => table::hash_and_look(Some(b' '), rest, looked_for),
        _ => table::hash_and_look(None, piece, looked_for),
    };
    (if lead { table::hash_bytes(bytes(piece)) } else { hash }, lead || blank)
}

/// Whether a piece has that text, in which no ▁ is left.
#[inline]
pub(super) fn is(piece: &[u8], text: &[u8]) -> bool {
    if piece.len() == text.len() {
        return piece == text;
    }
    match (piece.strip_prefix(&BLANK), text.split_first()) {
        (Some(piece), Some((b' ', text))) if piece.len() == text.len() => piece == text,
        _ => bytes(piece).eq(text.iter().copied()),
    }
}

/// Where the next ▁ begins, from `from` on.
pub(super) fn find_blank(text: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let rest = text.get(from..)?;
        from += rest.iter().position(|&byte| byte == BLANK[0])?;
        if text.get(from..)?.starts_with(&BLANK) {
            return Some(from);
        }
        from += 1;
    }
}

/// Copies a text, each ▁ as a blank, after a blank if `prefix` says so. Returns the length; `out`
/// has one byte more than the text.
pub(super) fn copy(text: &[u8], prefix: bool, out: &mut [u8]) -> usize {
    let mut len = 0;
    let mut put = |part: &[u8]| {
        if let Some(place) = out.get_mut(len..len + part.len()) {
            place.copy_from_slice(part);
            len += part.len();
        }
    };
    if prefix && !text.is_empty() {
        put(b" ");
    }
    let mut done = 0;
    while let Some(blank) = find_blank(text, done) {
        put(text.get(done..blank).unwrap_or_default());
        put(b" ");
        done = blank + BLANK.len();
    }
    put(text.get(done..).unwrap_or_default());
    len
}

/// The byte that a piece of the form `<0x0A>` stands for.
pub(super) fn byte_value(piece: &[u8]) -> Option<u8> {
    let digits = piece.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    match *digits {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn blanks_are_one_byte() {
        let long = "▁".repeat(70) + &"x".repeat(70);
        for piece in ["", "▁", "▁▁", "▁the", "the", "a▁b", "▁a▁", "é▂", "\u{2582}▁", &long]
        {
            let text: Vec<u8> = bytes(piece.as_bytes()).collect();
            assert_eq!(text, piece.replace('▁', " ").as_bytes());
            let (hash, blanks) = hash(piece.as_bytes());
            assert_eq!(hash, table::hash(&text), "{piece}");
            assert!(blanks || !text.iter().skip(1).any(|&byte| byte == b' '));
            assert!(is(piece.as_bytes(), &text));
            assert!(!is(piece.as_bytes(), b"other"));
            let mut out = [0; 300];
            let len = copy(piece.as_bytes(), false, &mut out);
            assert_eq!(out[..len], text);
        }
        // Of equal length, but not equal.
        assert!(!is("▁ab".as_bytes(), b" abcd"));
    }

    #[test]
    fn byte_pieces() {
        assert_eq!(byte_value(b"<0x0A>"), Some(10));
        assert_eq!(byte_value(b"<0xff>"), Some(255));
        for text in ["", "<0", "<0x>", "<0x1>", "<0x123>", "<0xG0>", "0x0A", "<0x+1>"] {
            assert_eq!(byte_value(text.as_bytes()), None);
        }
    }
}
