//! Tokens, one a line.

use std::io::Write;
use std::ops::Range;

use mote_formats::gguf::{Elements, Gguf, Strings, Text, Value};
use serde::Serialize;

use crate::failure::{Code, Failure, Result};

/// A vocabulary as the file has it.
pub struct Vocabulary<'a> {
    tokens: Strings<'a>,
    types: Option<Elements<'a, i32>>,
    scores: Option<Elements<'a, f32>>,
}

/// A token.
#[derive(Debug, Serialize)]
pub struct Token {
    id: usize,
    /// As the file has it; what is not UTF-8 or could drive a terminal, escaped.
    text: String,
    r#type: Option<&'static str>,
    score: Option<f32>,
}

impl<'a> Vocabulary<'a> {
    /// Of a file; a failure if it has none.
    pub fn new(gguf: &Gguf<'a>) -> Result<Self> {
        let array = |key| match gguf.get(key) {
            Some(Value::Array(array)) => Some(array),
            _ => None,
        };
        let tokens = array("tokenizer.ggml.tokens").and_then(|array| array.strings());
        let tokens =
            tokens.ok_or_else(|| Failure::new(Code::Model, "the file has no vocabulary"))?;
        let types = array("tokenizer.ggml.token_type").and_then(|array| array.elements());
        let scores = array("tokenizer.ggml.scores").and_then(|array| array.elements());
        Ok(Vocabulary { tokens, types, scores })
    }

    /// Tokens of these ids, in order.
    pub fn tokens(&self, ids: Range<usize>) -> impl Iterator<Item = Token> + use<'_, 'a> {
        let texts = self.tokens.enumerate().skip(ids.start).take(ids.len());
        texts.map(|(id, text)| Token {
            id,
            text: text.to_string(),
            r#type: self.types.and_then(|types| types.get(id)).map(name),
            score: self.scores.and_then(|scores| scores.get(id)),
        })
    }

    /// The same as text.
    pub fn print(&self, ids: Range<usize>, out: &mut dyn Write) -> Result<()> {
        writeln!(out, "vocabulary: {} tokens", self.tokens.len())?;
        let scored = self.scores.is_some();
        for Token { id, text, r#type, score } in self.tokens(ids) {
            write!(out, "  {id:>7}  {:<12}", r#type.unwrap_or("-"))?;
            match score {
                Some(score) => write!(out, "  {score:>12}")?,
                None if scored => write!(out, "  {:>12}", "-")?,
                None => {}
            }
            writeln!(out, "  \"{text}\"")?;
        }
        Ok(())
    }
}

/// By llama.cpp's numbers.
fn name(kind: i32) -> &'static str {
    match kind {
        1 => "normal",
        2 => "unknown",
        3 => "control",
        4 => "user-defined",
        5 => "unused",
        6 => "byte",
        _ => "other",
    }
}

/// The ids of `A..B`, `A..`, `..B` or `A`; B is not among them.
pub fn parse_range(text: &str) -> std::result::Result<Range<usize>, String> {
    let number = |text: &str, absent: usize| match text {
        "" => Ok(absent),
        text => text.parse().map_err(|_| format!("'{}' is no token id", text.escape_debug())),
    };
    match text.split_once("..") {
        Some((start, end)) => Ok(number(start, 0)?..number(end, usize::MAX)?),
        None if text.is_empty() => Err("an id or a range of ids is wanted: 42, 0..100".into()),
        None => number(text, 0).map(|id| id..id.saturating_add(1)),
    }
}

/// A chat template, raw; on a terminal, what could drive it is escaped, lines and tabs excepted.
pub fn print_template(text: Text<'_>, to_terminal: bool, out: &mut dyn Write) -> Result<()> {
    if !to_terminal {
        return Ok(out.write_all(text.as_bytes())?);
    }
    let mut lines = text.as_bytes().split(|&byte| byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        for (i, part) in line.split(|&byte| byte == b'\t').enumerate() {
            let tab = if i > 0 { "\t" } else { "" };
            write!(out, "{tab}{}", unquoted(Text::from(part)))?;
        }
        if lines.peek().is_some() {
            writeln!(out)?;
        }
    }
    Ok(writeln!(out)?)
}

/// Escaped, but for quotation marks and backslashes, which do no harm.
fn unquoted(text: Text<'_>) -> String {
    let mut shown = String::new();
    for chunk in text.as_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            if matches!(c, '"' | '\'' | '\\') {
                shown.push(c);
            } else {
                shown.extend(c.escape_debug());
            }
        }
        chunk.invalid().iter().for_each(|byte| shown += &format!("\\x{byte:02x}"));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_ids() {
        assert_eq!(parse_range("3"), Ok(3..4));
        assert_eq!(parse_range("3..5"), Ok(3..5));
        assert_eq!(parse_range("..5"), Ok(0..5));
        assert_eq!(parse_range("3.."), Ok(3..usize::MAX));
        for wrong in ["", "x", "-1", "1..x", "1e3", "99999999999999999999"] {
            assert!(parse_range(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_template_drives_no_terminal() {
        let raw = b"{{ '\\n' }}\n\t\x1b[2J\xff";
        let shown = |terminal| {
            let mut out = Vec::new();
            print_template(Text::from(&raw[..]), terminal, &mut out).unwrap();
            out
        };
        assert_eq!(shown(false), raw);
        assert_eq!(shown(true), b"{{ '\\n' }}\n\t\\u{1b}[2J\\xff\n");
    }
}
