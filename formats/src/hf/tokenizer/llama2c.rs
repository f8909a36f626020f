//! tokenizer.bin of llama2.c: a SentencePiece vocabulary as scores and texts.
//!
//! The texts are meant to be printed: blanks are blanks, and there are newlines around the texts
//! of the tokens that begin and end a text. Older files have characters where bytes were meant.

use std::format;
use std::string::String;
use std::vec::Vec;

use super::error::{Reason, TokenizerError};
use super::special::Specials;
use super::vocabulary::{Kind, Token};
use super::{MAX_PIECE_BYTES, MAX_TOKENS, Rules, Tokenizer};

/// The file's usual name.
const FILE: &str = "tokenizer.bin";
/// The first of the tokens that stand for bytes.
const FIRST_BYTE: usize = 3;

/// Reads the tokenizer of a model of llama2.c whose embedding has `rows` rows. There must be as
/// many tokens, and nothing after them.
pub fn read_llama2c(file: &[u8], rows: usize) -> Result<Tokenizer, TokenizerError> {
    let refuse = |reason| Err(TokenizerError::new(FILE, reason));
    if rows > MAX_TOKENS {
        return refuse(Reason::TooManyTokens(rows));
    }
    let mut rest = file;
    // The longest text's length; each has its own.
    number(&mut rest)?;
    let mut tokens = Vec::new();
    while !rest.is_empty() {
        let id = tokens.len();
        if id == rows {
            return refuse(Reason::Count { tokens: rows + 1, rows });
        }
        tokens.push(token(&mut rest, id, file.len())?);
    }
    if tokens.len() != rows {
        return refuse(Reason::Count { tokens: tokens.len(), rows });
    }
    name_bytes(&mut tokens);
    let ids = [
        ("tokenizer.ggml.bos_token_id", 1),
        ("tokenizer.ggml.eos_token_id", 2),
        ("tokenizer.ggml.unknown_token_id", 0),
    ];
    let ids = ids.into_iter().filter(|&(_, id)| (id as usize) < rows);
    Ok(Tokenizer {
        model: "llama",
        pre: "default".into(),
        rules: Rules::Scores { puts_blank_first: None },
        specials: Specials { ids: ids.collect(), ..Specials::default() },
        templates: Vec::new(),
        tokens,
    })
}

/// The next token: a score, a length and a text.
fn token(rest: &mut &[u8], id: usize, file_bytes: usize) -> Result<Token, TokenizerError> {
    let score = f32::from_bits(number(rest)?);
    let len = number(rest)? as usize;
    let refuse = |reason| Err(TokenizerError::new(FILE, reason));
    if !score.is_finite() {
        return refuse(Reason::Score(id as u32));
    }
    if len > MAX_PIECE_BYTES {
        return refuse(Reason::TokenTooLong { id: id as u32, len });
    }
    let at = file_bytes - rest.len();
    let (text, after) = rest.split_at_checked(len).ok_or_else(truncated)?;
    *rest = after;
    let text = str::from_utf8(text)
        .map_err(|error| TokenizerError::new(FILE, Reason::NotUtf8(at + error.valid_up_to())))?;
    let (text, kind) = match id {
        0 => (String::from(text), Kind::Unknown),
        1 | 2 => (String::from(text.trim_matches('\n')), Kind::Control),
        _ => (text.replace(' ', "\u{2581}"), Kind::Normal),
    };
    Ok(Token { text, score, kind })
}

/// Spells the tokens that stand for bytes `<0x00>` to `<0xFF>`, where all 256 are there.
fn name_bytes(tokens: &mut [Token]) {
    let Some(places) = tokens.get_mut(FIRST_BYTE..FIRST_BYTE + 256) else { return };
    let names = || (0..=255_u8).map(|byte| format!("<0x{byte:02X}>"));
    let is_character = |(token, byte): (&Token, u8)| {
        let mut text = [0; 4];
        let text: &str = char::from(byte).encode_utf8(&mut text);
        token.text == text || byte == b' ' && token.text == "\u{2581}"
    };
    let named = places.iter().zip(names()).all(|(token, name)| token.text == name);
    if named || places.iter().zip(0..=255).all(is_character) {
        for (token, name) in places.iter_mut().zip(names()) {
            (token.text, token.kind) = (name, Kind::Byte);
        }
    }
}

fn number(rest: &mut &[u8]) -> Result<u32, TokenizerError> {
    let (bytes, after) = rest.split_first_chunk().ok_or_else(truncated)?;
    *rest = after;
    Ok(u32::from_le_bytes(*bytes))
}

fn truncated() -> TokenizerError {
    TokenizerError::new(FILE, Reason::Truncated)
}
