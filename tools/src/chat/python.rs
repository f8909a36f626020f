//! Values as Python writes them: what templates print was written for Python's jinja2.

use std::fmt::Write as _;

use minijinja::value::{Kwargs, Tuple, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

/// Values in values that are written; deeper ones are an error, as in Python.
const MAX_DEPTH: usize = 200;

/// Bytes that a value may become. Lists that share their members become much longer than they are.
const MAX_WRITTEN: usize = 1 << 24;
/// Bytes of an indent and of a separator, which stand once for each member.
const MAX_BETWEEN: usize = 100;

/// Whether a value may be written: each adds a byte or more, so that this ends.
fn may_go_on(depth: usize, to: &str) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(wrong("the value is nested too deeply"));
    }
    if to.len() > MAX_WRITTEN {
        return Err(wrong("the value is too long to be written"));
    }
    Ok(())
}

/// How `json.dumps` writes.
struct Style {
    ensure_ascii: bool,
    /// Blanks of each level, or all in one line.
    indent: Option<String>,
    item: String,
    key: String,
    sort_keys: bool,
}

/// The filter `tojson`, as the transformers library defines it: `json.dumps`, without HTML escapes.
pub fn tojson(state: &mut State, value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent = match options.get::<Option<Value>>("indent")? {
        None => None,
        Some(indent) if indent.is_none() => None,
        Some(indent) => Some(match indent.as_str() {
            Some(text) => between(text)?,
            None => " ".repeat(usize::try_from(indent)?.min(MAX_BETWEEN)),
        }),
    };
    let separators = options.get::<Option<Value>>("separators")?;
    let separator = |i: usize, default: &str| -> Result<String, Error> {
        match separators.as_ref().filter(|both| !both.is_none()) {
            None => Ok(default.to_string()),
            Some(both) => {
                between(both.get_item_by_index(i)?.as_str().ok_or_else(|| wrong("no text"))?)
            }
        }
    };
    let item = separator(0, if indent.is_some() { "," } else { ", " })?;
    let style = Style {
        ensure_ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        item,
        key: separator(1, ": ")?,
        sort_keys: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        indent,
    };
    options.assert_all_used()?;
    let mut text = String::new();
    style.write(value, 0, &mut text)?;
    state.consume_fuel(text.len() as u64 / 64)?;
    Ok(text)
}

fn between(text: &str) -> Result<String, Error> {
    match text.len() {
        ..=MAX_BETWEEN => Ok(text.to_string()),
        _ => Err(wrong("tojson: the indent or a separator is too long")),
    }
}

fn wrong(sentence: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, sentence)
}

impl Style {
    fn write(&self, value: &Value, depth: usize, to: &mut String) -> Result<(), Error> {
        may_go_on(depth, to)?;
        match value.kind() {
            ValueKind::None => to.push_str("null"),
            ValueKind::Bool => to.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => to.push_str(&number(value)),
            ValueKind::String => self.string(value.as_str().unwrap_or_default(), to),
            ValueKind::Seq | ValueKind::Iterable => {
                let items = value.try_iter()?.map(|item| (None, item)).collect();
                self.members(['[', ']'], items, depth, to)?;
            }
            ValueKind::Map => {
                let mut members = Vec::new();
                for key in value.try_iter()? {
                    let member = value.get_item(&key)?;
                    members.push((Some(key), member));
                }
                if self.sort_keys {
                    members.sort_by(|(a, _), (b, _)| a.cmp(b));
                }
                self.members(['{', '}'], members, depth, to)?;
            }
            kind => return Err(wrong(format!("tojson: {kind} is not JSON"))),
        }
        Ok(())
    }

    fn members(
        &self,
        [open, close]: [char; 2],
        members: Vec<(Option<Value>, Value)>,
        depth: usize,
        to: &mut String,
    ) -> Result<(), Error> {
        to.push(open);
        let is_empty = members.is_empty();
        for (i, (key, member)) in members.into_iter().enumerate() {
            if i > 0 {
                to.push_str(&self.item);
            }
            self.line(depth + 1, to);
            if let Some(key) = key {
                match key.kind() {
                    ValueKind::String => self.string(key.as_str().unwrap_or_default(), to),
                    ValueKind::None => to.push_str("\"null\""),
                    ValueKind::Bool => {
                        to.push_str(if key.is_true() { "\"true\"" } else { "\"false\"" })
                    }
                    ValueKind::Number => _ = write!(to, "\"{}\"", number(&key)),
                    kind => return Err(wrong(format!("tojson: {kind} is no key in JSON"))),
                }
                to.push_str(&self.key);
            }
            self.write(&member, depth + 1, to)?;
        }
        if !is_empty {
            self.line(depth, to);
        }
        to.push(close);
        Ok(())
    }

    /// A new line, where there are several.
    fn line(&self, depth: usize, to: &mut String) {
        if let Some(indent) = &self.indent {
            to.push('\n');
            to.push_str(&indent.repeat(depth));
        }
    }

    fn string(&self, text: &str, to: &mut String) {
        to.push('"');
        for c in text.chars() {
            match c {
                '"' => to.push_str("\\\""),
                '\\' => to.push_str("\\\\"),
                '\n' => to.push_str("\\n"),
                '\r' => to.push_str("\\r"),
                '\t' => to.push_str("\\t"),
                '\u{8}' => to.push_str("\\b"),
                '\u{c}' => to.push_str("\\f"),
                c if c < ' '
                    || (self.ensure_ascii && !c.is_ascii())
                    || c == '\u{7f}' && self.ensure_ascii =>
                {
                    let mut units = [0; 2];
                    for unit in c.encode_utf16(&mut units) {
                        let _ = write!(to, "\\u{unit:04x}");
                    }
                }
                c => to.push(c),
            }
        }
        to.push('"');
    }
}

/// A number as Python's `repr` has it.
fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    match f64::try_from(value.clone()) {
        Ok(float) => repr(float),
        Err(_) => value.to_string(),
    }
}

/// A float as Python's `repr` has it: the shortest digits that give it back, with an exponent below
/// 1e-4 and from 1e16 on.
fn repr(float: f64) -> String {
    if float.is_nan() {
        return "NaN".to_string();
    }
    if float.is_infinite() {
        return if float > 0.0 { "Infinity" } else { "-Infinity" }.to_string();
    }
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&exponent) || float == 0.0 {
        let plain = float.to_string();
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// A value inside a list or a map, as Python's `repr` has it.
fn write_repr(value: &Value, depth: usize, to: &mut String) -> Result<(), Error> {
    may_go_on(depth, to)?;
    match value.kind() {
        ValueKind::String => quoted(value.as_str().unwrap_or_default(), to),
        ValueKind::Number => to.push_str(&python_number(value)),
        ValueKind::Undefined => to.push_str("Undefined"),
        ValueKind::Seq => {
            let is_tuple = value.downcast_object_ref::<Tuple>().is_some();
            to.push(if is_tuple { '(' } else { '[' });
            let mut n = 0;
            for item in value.try_iter()? {
                if n > 0 {
                    to.push_str(", ");
                }
                n += 1;
                write_repr(&item, depth + 1, to)?;
            }
            match (is_tuple, n) {
                (true, 1) => to.push_str(",)"),
                (true, _) => to.push(')'),
                (false, _) => to.push(']'),
            }
        }
        ValueKind::Map => {
            to.push('{');
            for (i, key) in value.try_iter()?.enumerate() {
                if i > 0 {
                    to.push_str(", ");
                }
                write_repr(&key, depth + 1, to)?;
                to.push_str(": ");
                write_repr(&value.get_item(&key)?, depth + 1, to)?;
            }
            to.push('}');
        }
        _ => to.push_str(&value.to_string()),
    }
    Ok(())
}

/// A value as Python's `str` has it.
pub fn str(state: &mut State, value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::Number => Ok(python_number(value)),
        ValueKind::Seq | ValueKind::Map => {
            let mut text = String::new();
            write_repr(value, 0, &mut text)?;
            state.consume_fuel(text.len() as u64 / 64)?;
            Ok(text)
        }
        _ => Ok(value.to_string()),
    }
}

fn python_number(value: &Value) -> String {
    match number(value).as_str() {
        "NaN" => "nan".to_string(),
        "Infinity" => "inf".to_string(),
        "-Infinity" => "-inf".to_string(),
        number => number.to_string(),
    }
}

/// In single quotes, or in double ones if it has single ones only.
fn quoted(text: &str, to: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    to.push(quote);
    for c in text.chars() {
        match c {
            '\\' => to.push_str("\\\\"),
            '\n' => to.push_str("\\n"),
            '\r' => to.push_str("\\r"),
            '\t' => to.push_str("\\t"),
            c if c == quote => {
                to.push('\\');
                to.push(c);
            }
            c if c.is_control() && (c as u32) < 0x100 => _ = write!(to, "\\x{:02x}", c as u32),
            c => to.push(c),
        }
    }
    to.push(quote);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_in_python() {
        for (float, text) in [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (1e-4, "0.0001"),
            (1.25e-5, "1.25e-05"),
            (-2.5, "-2.5"),
            (0.0, "0.0"),
            (f64::INFINITY, "Infinity"),
        ] {
            assert_eq!(repr(float), text);
        }
    }

    #[test]
    fn shared_lists_end() {
        let mut list = Value::from(vec![1]);
        for _ in 0..60 {
            list = Value::from(vec![list.clone(), list]);
        }
        let text = &mut String::new();
        assert!(write_repr(&list, 0, text).is_err() && text.len() < 2 * MAX_WRITTEN);
        let style = Style {
            ensure_ascii: false,
            indent: None,
            item: ",".into(),
            key: ":".into(),
            sort_keys: false,
        };
        text.clear();
        assert!(style.write(&list, 0, text).is_err() && text.len() < 2 * MAX_WRITTEN);
    }

    #[test]
    fn strings_are_quoted_as_in_python() {
        let shown = |text: &str| {
            let mut to = String::new();
            quoted(text, &mut to);
            to
        };
        assert_eq!(shown("a'b"), "\"a'b\"");
        assert_eq!(shown("a'\"b"), "'a\\'\"b'");
        assert_eq!(shown("\n\\\u{1}é"), "'\\n\\\\\\x01é'");
    }
}
