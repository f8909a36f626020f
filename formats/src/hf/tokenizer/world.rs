//! RWKV's vocabulary of the world's languages: a file of lines with a number from 1 on, a token as Python spells it
//! (characters or bytes), and how many bytes it has. In a GGUF file all are spelled as bytes.

use std::string::String;
use std::vec::Vec;

use super::error::{Reason, TokenizerError};
use super::settings::Settings;
use super::special::Specials;
use super::vocabulary::{Kind, Token};
use super::{Files, MAX_TOKENS, Rules, Tokenizer, lines};

const FILE: &str = "rwkv_vocab_v20230424.txt";
/// Token 0, which is in no line, stands for both ends of a text.
const END: &str = "<s>";
/// What ends a turn of a conversation, as llama.cpp has it.
const END_OF_TURN: &str = "\\n\\n";

pub(super) fn read(
    file: &[u8],
    settings: &Settings,
    files: &Files<'_>,
    rows: usize,
) -> Result<Tokenizer, TokenizerError> {
    let refuse = |reason| TokenizerError::new(FILE, reason);
    let mut tokens = std::vec![Token::new(END, 0.0, Kind::Control)];
    for (line, id) in lines::text(FILE, file)?.lines().take(MAX_TOKENS + 1).zip(1_u32..) {
        let text = token(line, id).ok_or_else(|| refuse(Reason::TokenLine(id as usize)))?;
        tokens.push(Token::new(&text, 0.0, Kind::Normal));
    }
    if tokens.len() > rows {
        return Err(refuse(Reason::Count { tokens: tokens.len(), rows }));
    }
    let turn = tokens.iter().position(|token| token.text == END_OF_TURN);
    let padding = (tokens.len()..rows).map(Token::padding);
    tokens.extend(padding);
    let mut ids = std::vec![("tokenizer.ggml.bos_token_id", 0), ("tokenizer.ggml.eos_token_id", 0)];
    ids.extend(turn.map(|id| ("tokenizer.ggml.eot_token_id", id as u32)));
    Ok(Tokenizer {
        model: "rwkv",
        pre: "default".into(),
        tokens,
        rules: Rules::Longest,
        specials: Specials { ids, ..Specials::default() },
        templates: settings.templates(files)?,
    })
}

/// The token of a line that must have this number, spelled as bytes.
fn token(line: &str, id: u32) -> Option<String> {
    let (number, rest) = line.split_once(' ')?;
    let (literal, len) = rest.rsplit_once(' ')?;
    let bytes = literal_bytes(literal)?;
    let fits = number.parse() == Ok(id) && len.parse() == Ok(bytes.len());
    fits.then(|| spelled(&bytes))
}

/// The bytes of a literal of Python.
fn literal_bytes(literal: &str) -> Option<Vec<u8>> {
    let (is_bytes, text) = literal.strip_prefix('b').map_or((false, literal), |rest| (true, rest));
    let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let mut rest = text.strip_prefix(quote)?.strip_suffix(quote)?.chars();
    let mut bytes = Vec::new();
    while let Some(character) = rest.next() {
        let character = match character {
            '\\' => match rest.next()? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                same @ ('\\' | '\'' | '"') => same,
                kind => {
                    let digits = match kind {
                        'x' => 2,
                        'u' if !is_bytes => 4,
                        'U' if !is_bytes => 8,
                        _ => return None,
                    };
                    let mut code = 0_u32;
                    for _ in 0..digits {
                        code = code << 4 | rest.next()?.to_digit(16)?;
                    }
                    char::from_u32(code)?
                }
            },
            other if other == quote || is_bytes && !other.is_ascii() => return None,
            other => other,
        };
        match u8::try_from(character) {
            Ok(byte) if is_bytes => bytes.push(byte),
            _ => bytes.extend(character.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    Some(bytes)
}

/// As Python spells bytes, without the quotes.
fn spelled(bytes: &[u8]) -> String {
    // A quote is one inside only where both kinds are.
    let both = bytes.contains(&b'\'') && bytes.contains(&b'"');
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b'\\' => text.push_str("\\\\"),
            b'\'' if both => text.push_str("\\'"),
            b' '..=b'~' => text.push(byte.into()),
            _ => {
                text.push_str("\\x");
                let digits = [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16));
                text.extend(digits.into_iter().flatten());
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_of_python_become_bytes() {
        for (line, text) in [
            (r"1 '\x00' 1", r"\x00"),
            (r"1 b'\x80' 1", r"\x80"),
            (r"1 '\x80' 2", r"\xc2\x80"),
            (r"1 '\u3000' 3", r"\xe3\x80\x80"),
            ("1 ' a' 2", " a"),
            ("1 ' ' 1", " "),
            (r#"1 "'" 1"#, "'"),
            (r#"1 '"' 1"#, "\""),
            (r#"1 '"\'' 2"#, r#""\'"#),
            (r"1 '\\n' 2", r"\\n"),
            (r"1 '\n\n' 2", r"\n\n"),
            ("1 '你' 3", r"\xe4\xbd\xa0"),
        ] {
            assert_eq!(token(line, 1).as_deref(), Some(text), "{line}");
        }
        for wrong in [
            "",
            "1",
            "1 'a'",
            "2 'a' 1",
            "1 'a' 2",
            "1 a 1",
            "1 'a 1",
            "1 ' 1",
            "1 'a'b' 3",
            r"1 '\q' 1",
            r"1 '\x4' 1",
            r"1 '\ud800' 3",
            r"1 b'\u3000' 1",
            "1 b'é' 1",
            r"1 '\U00110000' 4",
        ] {
            assert_eq!(token(wrong, 1), None, "{wrong}");
        }
    }
}
