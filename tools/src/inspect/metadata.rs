//! Keys and values, one a line.

use std::io::Write;

use mote_formats::gguf::{Array, Gguf, Text, Value};

use crate::failure::Result;

/// All keys in the order of the file.
pub fn print(gguf: &Gguf<'_>, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "metadata: {} keys", gguf.n_keys())?;
    let keys = gguf.metadata().map(|(key, _)| Text::from(key).to_string().len());
    let width = keys.max().unwrap_or(0).min(60);
    for (key, value) in gguf.metadata() {
        // Padding applies to strings, not to what is formatted piece by piece.
        let key = Text::from(key).to_string();
        writeln!(out, "  {key:<width$}  {}", brief(&value))?;
    }
    Ok(())
}

/// Bytes of a string that are shown.
const SHOWN_BYTES: usize = 100;
/// Elements of an array that are shown.
const SHOWN_ELEMENTS: usize = 6;

/// A value in one line, cut short and escaped.
pub fn brief(value: &Value<'_>) -> String {
    match value {
        Value::U8(v) => format!("u8   {v}"),
        Value::I8(v) => format!("i8   {v}"),
        Value::U16(v) => format!("u16  {v}"),
        Value::I16(v) => format!("i16  {v}"),
        Value::U32(v) => format!("u32  {v}"),
        Value::I32(v) => format!("i32  {v}"),
        Value::U64(v) => format!("u64  {v}"),
        Value::I64(v) => format!("i64  {v}"),
        Value::F32(v) => format!("f32  {v}"),
        Value::F64(v) => format!("f64  {v}"),
        Value::Bool(v) => format!("bool {v}"),
        Value::Str(text) => format!("str  {}", cut(*text)),
        Value::Array(array) => {
            let (kind, len) = (array.element_type().name(), array.len());
            format!("{kind}[{len}]{}", elements(array))
        }
    }
}

fn elements(array: &Array<'_>) -> String {
    let mut text = String::new();
    for value in array.iter().take(SHOWN_ELEMENTS) {
        text.push(' ');
        match value {
            Value::Str(element) => text.push_str(&format!("\"{}\"", cut(element))),
            // Without the type, which all elements share.
            value => text.push_str(brief(&value).split_whitespace().nth(1).unwrap_or_default()),
        }
    }
    if array.len() > SHOWN_ELEMENTS {
        text.push_str(" ...");
    }
    text
}

/// A string's beginning, escaped.
pub fn cut(text: Text<'_>) -> String {
    match text.as_bytes().get(..SHOWN_BYTES) {
        Some(start) if text.len() > SHOWN_BYTES => {
            let start = &start[..start.len() - incomplete(start)];
            format!("{}... ({} bytes)", Text::from(start), text.len())
        }
        _ => text.to_string(),
    }
}

/// Bytes at the end that begin a character without completing it.
fn incomplete(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.len() - error.valid_up_to(),
        _ => 0,
    }
}
