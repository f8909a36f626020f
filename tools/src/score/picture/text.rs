//! Tokens as they can be shown, in the lines of the text.

use mote_runtime::tokenizer::{DecodeOptions, Decoder, Tokenizer};

use super::{Thought, bits};
use crate::failure::{Code, Failure, Result};

/// Stands for a token that has begun a character without completing it.
const PART: &str = "\u{25cc}";

/// A token of the text.
#[derive(Debug)]
pub struct Token {
    pub id: u32,
    /// What it adds to the text, characters where they are complete; of a control token, its name.
    pub text: String,
    /// Bytes that it adds to the text: none, of a control token.
    pub bytes: usize,
    /// None of the first one.
    pub thought: Option<Thought>,
    /// The texts of the thought's alternatives.
    pub alternatives: Vec<String>,
}

/// A part of a token that is in one line.
#[derive(Debug, PartialEq)]
pub struct Piece {
    /// Which token.
    pub token: usize,
    /// Its text; line ends are not in it.
    pub text: String,
    /// Whether the line ends after it.
    pub ends_line: bool,
}

/// A line of the text.
#[derive(Debug, Default)]
pub struct Line {
    pub pieces: Vec<Piece>,
    /// Surprisal in bits, and bytes, of the tokens that begin in it.
    pub bits: f64,
    pub bytes: usize,
}

impl Line {
    /// Of the tokens that begin in it; none if they add no byte.
    pub fn bits_per_byte(&self) -> Option<f64> {
        (self.bytes > 0).then(|| self.bits / self.bytes as f64)
    }
}

impl Token {
    /// Surprisal in bits.
    pub fn bits(&self) -> Option<f64> {
        self.thought.as_ref().map(|thought| bits(thought.ln_p))
    }
}

/// All tokens of a text.
pub fn tokens(
    tokenizer: &Tokenizer<'_>,
    ids: &[u32],
    thoughts: Vec<Thought>,
) -> Result<Vec<Token>> {
    let options = DecodeOptions { skip_special: true, text_start: true, raw: true };
    let mut decoder = Decoder::new(tokenizer, options);
    let mut buffer = vec![0; decoder.max_text_bytes()];
    let mut thoughts = thoughts.into_iter();
    let mut pending = Vec::new();
    let mut tokens = Vec::with_capacity(ids.len());
    for (i, &id) in ids.iter().enumerate() {
        let bytes = decoder.push(id, &mut buffer);
        let bytes = bytes.map_err(|error| Failure::new(Code::Text, error))?;
        pending.extend_from_slice(&buffer[..bytes]);
        let text = if bytes == 0 { name(tokenizer, id) } else { complete(&mut pending) };
        let thought = if i > 0 { thoughts.next() } else { None };
        let top = thought.iter().flat_map(|thought| &thought.top);
        let alternatives = top.map(|&(id, _)| brief(&own_text(tokenizer, id))).collect();
        tokens.push(Token { id, text, bytes, thought, alternatives });
    }
    Ok(tokens)
}

/// As the vocabulary spells it.
fn name(tokenizer: &Tokenizer<'_>, id: u32) -> String {
    brief(tokenizer.text(id))
}

/// The characters that are complete; the rest stays.
fn complete(pending: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut rest = 0;
    for chunk in pending.utf8_chunks() {
        text.push_str(chunk.valid());
        let invalid = chunk.invalid();
        let at_end = invalid.as_ptr_range().end == pending.as_ptr_range().end;
        let begun = matches!(std::str::from_utf8(invalid), Err(e) if e.error_len().is_none());
        if at_end && begun {
            rest = invalid.len();
        } else if !invalid.is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    pending.drain(..pending.len() - rest);
    if text.is_empty() { PART.to_string() } else { text }
}

/// The bytes of a token on its own; of a control token, its name.
fn own_text(tokenizer: &Tokenizer<'_>, id: u32) -> Vec<u8> {
    let options = DecodeOptions { skip_special: false, text_start: false, raw: true };
    let mut decoder = Decoder::new(tokenizer, options);
    let mut buffer = vec![0; decoder.max_text_bytes()];
    let bytes = decoder.push(id, &mut buffer).unwrap_or(0);
    buffer.truncate(bytes);
    buffer
}

/// Bytes of a token that are shown where it is described: a file's may have a million.
const SHOWN: usize = 64;

/// The beginning of a text in which every character can be seen.
pub fn brief(text: &[u8]) -> String {
    match text.get(..SHOWN) {
        Some(begin) if text.len() > SHOWN => visible(begin) + "…",
        _ => visible(text),
    }
}

/// A text in which every character can be seen.
pub fn visible(text: &[u8]) -> String {
    let mut seen = String::new();
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                ' ' => seen.push('\u{2423}'),
                '\n' => seen.push('\u{21b5}'),
                '\t' => seen.push('\u{21e5}'),
                c => push_safe(c, &mut seen),
            }
        }
        chunk.invalid().iter().for_each(|byte| seen.push_str(&format!("\\x{byte:02x}")));
    }
    seen
}

/// A character of a line, or what it is called if it is none that prints.
fn push_safe(c: char, text: &mut String) {
    if matches!(c, '"' | '\'' | '\\' | '\u{200d}') || ('\u{300}'..'\u{370}').contains(&c) {
        text.push(c);
    } else {
        text.extend(c.escape_debug());
    }
}

/// The text's lines. A token that goes over a line's end is in both lines.
pub fn lines(tokens: &[Token]) -> Vec<Line> {
    let mut lines = vec![Line::default()];
    for (i, token) in tokens.iter().enumerate() {
        if let (Some(line), Some(bits)) = (lines.last_mut(), token.bits()) {
            line.bits += bits;
            line.bytes += token.bytes;
        }
        let mut rest = token.text.as_str();
        while !rest.is_empty() {
            // Several ends at once are one: nothing could be shown of the lines between them.
            let text = rest.split('\n').next().unwrap_or_default();
            rest = &rest[text.len()..];
            let ends = rest.len() - rest.trim_start_matches('\n').len();
            rest = &rest[ends..];
            let mut shown = String::new();
            for c in text.chars() {
                match c {
                    '\t' => shown.push_str("\u{21e5}   "),
                    '\r' => shown.push('\u{240d}'),
                    c => push_safe(c, &mut shown),
                }
            }
            shown.extend(std::iter::repeat_n('\u{21b5}', ends));
            let piece = Piece { token: i, text: shown, ends_line: ends > 0 };
            if let Some(line) = lines.last_mut() {
                line.pieces.push(piece);
            }
            if ends > 0 {
                lines.push(Line::default());
            }
        }
    }
    lines.retain(|line| !line.pieces.is_empty());
    lines
}
