//! The alphabet of byte-level vocabularies (GPT-2): a printable character for each byte, so that
//! tokens are printable texts. Printable ASCII and Latin-1 stand for themselves, the other 68
//! bytes for U+0100 to U+0143 in order.

use super::characters::decode;

/// The first of the characters that stand for unprintable bytes.
const FIRST: u32 = 0x100;

/// The character of a byte.
pub(super) const fn character_of(byte: u8) -> char {
    let code = match byte {
        0..=0x20 => FIRST + byte as u32,
        0x7F..=0xA0 => FIRST + 0x21 + (byte as u32 - 0x7F),
        0xAD => FIRST + 0x21 + 0x22,
        _ => byte as u32,
    };
    match char::from_u32(code) {
        Some(character) => character,
        None => char::REPLACEMENT_CHARACTER,
    }
}

/// The byte of a character.
pub(super) const fn byte_of(character: char) -> Option<u8> {
    let code = character as u32;
    Some(match code {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => code as u8,
        FIRST..=0x120 => (code - FIRST) as u8,
        0x121..=0x142 => (code - 0x121) as u8 + 0x7F,
        0x143 => 0xAD,
        _ => return None,
    })
}

/// Bytes in the alphabet, as UTF-8.
pub(super) fn spell(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    bytes.iter().flat_map(|&byte| {
        let (text, len) = SPELLINGS[usize::from(byte)];
        text.into_iter().take(usize::from(len))
    })
}

/// Writes bytes in the alphabet and returns the length, if they fit.
pub(super) fn write(bytes: &[u8], out: &mut [u8]) -> Option<usize> {
    let mut len = 0;
    for &byte in bytes {
        let (text, text_len) = SPELLINGS[usize::from(byte)];
        *out.get_mut(len)? = text[0];
        if text_len == 2 {
            *out.get_mut(len + 1)? = text[1];
        }
        len += usize::from(text_len);
    }
    Some(len)
}

/// Each byte's character in UTF-8, and its length.
const SPELLINGS: [([u8; 2], u8); 256] = {
    let mut spellings = [([0; 2], 0); 256];
    let mut byte = 0;
    while byte < 256 {
        let character = character_of(byte as u8);
        spellings[byte].1 = character.encode_utf8(&mut spellings[byte].0).len() as u8;
        byte += 1;
    }
    spellings
};

/// Whether a token is written in the alphabet, and thus stands for bytes. Others stand for
/// themselves, as they do for Hugging Face's decoder.
pub(super) fn is_written_in(token: &[u8]) -> bool {
    let mut at = 0;
    while at < token.len() {
        match decode(token, at) {
            (Some(character), len) if byte_of(character).is_some() => at += len,
            _ => return false,
        }
    }
    true
}

/// The bytes of a token that is written in the alphabet.
pub(super) fn bytes(token: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut at = 0;
    core::iter::from_fn(move || {
        if at >= token.len() {
            return None;
        }
        let (character, len) = decode(token, at);
        at += len;
        character.and_then(byte_of)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_printable_character() {
        for byte in 0..=255 {
            let character = character_of(byte);
            assert!(!character.is_whitespace() && !character.is_control(), "{byte}");
            assert_eq!(byte_of(character), Some(byte));
        }
        assert_eq!(('\0'..=char::MAX).filter_map(byte_of).count(), 256);
        assert_eq!([b' ', b'\n', 0x7F, 0xA0, 0xAD].map(character_of), ['Ġ', 'Ċ', 'ġ', 'ł', 'Ń']);
    }

    #[test]
    fn tokens() {
        assert!(is_written_in("Ġcaf\u{C3}©".as_bytes()));
        assert!(bytes("Ġcaf\u{C3}©".as_bytes()).eq(" café".bytes()));
        assert!(!is_written_in(b"two words"));
        assert!(!is_written_in(b"\xFF"));
    }
}
