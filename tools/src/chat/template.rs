//! Chat templates: a conversation becomes the text that the model was trained on.
//!
//! They are jinja2 programs that come with the model. What the transformers library sets for them is
//! set here: blocks take their line's blanks away, `raise_exception`, `strftime_now`, `tojson` without
//! HTML escapes, loop controls, Python's methods; `generation` blocks show what is in them. A template
//! is not trusted: its steps and what it writes are limited, and every failure is an error with its line.

use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, Value};
use mote_formats::gguf::Gguf;

use super::python;
use crate::failure::{Code, Failure, Result};

/// Where a GGUF file has it.
pub const KEY: &str = "tokenizer.chat_template";

/// Steps that a template may take, and 64 times as many bytes that it may make: some thousand
/// messages' worth, a second's work at most.
const FUEL: u64 = 4_000_000;

/// Macros in macros, loops in loops.
const DEPTH: usize = 100;

/// A template that was understood.
pub struct Template {
    environment: Environment<'static>,
}

const NAME: &str = "chat";

impl Template {
    /// Of a source text. `date`: days since 1970, and the second of the day, for `strftime_now`.
    pub fn new(source: &str, date: Moment) -> Result<Template> {
        let mut environment = Environment::new();
        let mut syntax = SyntaxConfig::builder();
        environment.set_syntax(
            syntax
                .trim_blocks(true)
                .lstrip_blocks(true)
                .build()
                .map_err(|error| failure(&error, Code::Model))?,
        );
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(DEPTH);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_formatter(format);
        environment.set_unknown_method_callback(method);
        environment.add_filter("tojson", python::tojson);
        environment.add_test("iterable", is_iterable);
        environment.add_filter("string", python::str);
        environment.add_function(
            "raise_exception",
            |state: &mut State, text: &Value| -> std::result::Result<Value, Error> {
                Err(Error::new(ErrorKind::InvalidOperation, python::str(state, text)?))
            },
        );
        environment.add_function("strftime_now", move |format: &str| date.format(format));
        environment
            .add_template_owned(NAME, without_generation(source))
            .map_err(|error| failure(&error, Code::Model))?;
        Ok(Template { environment })
    }

    /// The template that a model file brings; `None` if it brings none.
    pub fn of(gguf: &Gguf<'_>, date: Moment) -> Result<Option<Template>> {
        let Some(source) = gguf.get(KEY) else { return Ok(None) };
        let Some(source) = source.as_str() else {
            let sentence = format_args!("{KEY} is not a text");
            return Err(Failure::new(Code::Model, sentence));
        };
        Template::new(source, date).map(Some)
    }

    /// The text of a conversation: a map with `messages`, `add_generation_prompt`, `bos_token` and what
    /// else the template asks for.
    pub fn render(&self, context: Value) -> Result<String> {
        let rendered = self.environment.get_template(NAME).and_then(|it| it.render(context));
        rendered.map_err(|error| failure(&error, Code::Text))
    }
}

/// An error of the template, with its line.
fn failure(error: &Error, code: Code) -> Failure {
    let mut what = error.kind().to_string();
    if let Some(detail) = error.detail() {
        // What a template raises speaks for itself.
        what = match error.kind() {
            ErrorKind::InvalidOperation => detail.to_string(),
            _ => format!("{what}: {detail}"),
        };
    }
    let what: String = what
        .chars()
        .take(300)
        .flat_map(|c| match c.is_control() {
            true => c.escape_default().collect::<Vec<_>>(),
            false => vec![c],
        })
        .collect();
    match error.line() {
        Some(line) => Failure::new(code, format_args!("chat template, line {line}: {what}")),
        None => Failure::new(code, format_args!("chat template: {what}")),
    }
}

/// `generation` blocks mark what an assistant wrote, for training: here they are blocks that always
/// show what is in them. The number of lines stays.
fn without_generation(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        // What stands in a comment is none.
        if let Some(comment) = rest[..start].find("{#") {
            let inner = comment + 2;
            let end = rest[inner..].find("#}").map_or(rest.len(), |end| inner + end + 2);
            text.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        let (before, block) = rest.split_at(start);
        text.push_str(before);
        // The end is not in the beginning, as it seems in `{%}`.
        let Some((inner, after)) = block[2..].split_once("%}") else {
            text.push_str(block);
            return text;
        };
        let word = inner.trim_matches(|c: char| c == '-' || c == '+' || c.is_whitespace());
        let replacement = match word {
            "generation" => Some("if true"),
            "endgeneration" => Some("endif"),
            _ => None,
        };
        text.push_str("{%");
        match replacement {
            Some(replacement) => text.push_str(&inner.replacen(word, replacement, 1)),
            None => text.push_str(inner),
        }
        text.push_str("%}");
        rest = after;
    }
    text.push_str(rest);
    text
}

/// Whether it can be gone through: Python's None cannot.
fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}

/// Prints as Python does.
fn format(out: &mut Output, state: &mut State, value: &Value) -> std::result::Result<(), Error> {
    let written = match value.kind() {
        ValueKind::Undefined => Ok(()),
        ValueKind::String => out.write_str(value.as_str().unwrap_or_default()),
        _ => out.write_str(&python::str(state, value)?),
    };
    written.map_err(|_| Error::new(ErrorKind::WriteFailure, "the text cannot be written"))
}

/// Python's methods.
fn method(
    state: &mut State,
    value: &Value,
    name: &str,
    args: &[Value],
) -> std::result::Result<Value, Error> {
    match (value.kind(), name) {
        (ValueKind::String, "removeprefix" | "removesuffix") => {
            let (text, (part,)): (&str, (&str,)) =
                (value.as_str().unwrap_or_default(), minijinja::value::from_args(args)?);
            let rest = match name {
                "removeprefix" => text.strip_prefix(part),
                _ => text.strip_suffix(part),
            };
            Ok(Value::from(rest.unwrap_or(text)))
        }
        _ => minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args),
    }
}

/// A moment, in UTC: the same template with the same moment gives the same text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Since 1970.
    days: i64,
    /// Since midnight.
    seconds: u32,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl Moment {
    /// This one.
    pub fn now() -> Moment {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
        Moment { days: (seconds / 86_400) as i64, seconds: (seconds % 86_400) as u32 }
    }

    /// Midnight of a day: `2026-11-26`.
    pub fn parse(text: &str) -> std::result::Result<Moment, String> {
        let wrong = || "not a date: as 2026-11-26".to_string();
        // No signs, which numbers may have otherwise.
        let number = |part: &str| match part.bytes().all(|byte| byte.is_ascii_digit()) {
            true => part.parse().ok(),
            false => None,
        };
        let parts: Vec<Option<i64>> = text.split('-').map(number).collect();
        let [Some(year @ 1..=9999), Some(month @ 1..=12), Some(day @ 1..=31)] = parts[..] else {
            return Err(wrong());
        };
        let moment = Moment { days: days_of(year, month, day), seconds: 0 };
        if moment.date() == (year, month, day) { Ok(moment) } else { Err(wrong()) }
    }

    /// Year, month from 1 and day from 1.
    fn date(self) -> (i64, i64, i64) {
        // Years begin in March here, so that the day that is sometimes there comes last.
        let days = self.days + 719_468;
        let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        (year + era * 400 + next, month, day)
    }

    /// As Python's `strftime` in the C locale. What it does not know stays as it is.
    fn format(self, format: &str) -> String {
        let (year, month, day) = self.date();
        let (hour, minute, second) =
            (self.seconds / 3600, self.seconds / 60 % 60, self.seconds % 60);
        let weekday = (self.days + 4).rem_euclid(7);
        let (month_name, day_name) = (MONTHS[month as usize - 1], DAYS[weekday as usize]);
        let mut text = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                text.push(c);
                continue;
            }
            let mut plain = false;
            let mut letter = chars.next();
            if letter == Some('-') {
                plain = true;
                letter = chars.next();
            }
            let two = |n: i64| if plain { n.to_string() } else { format!("{n:02}") };
            match letter {
                Some('Y') => text.push_str(&year.to_string()),
                Some('y') => text.push_str(&two(year % 100)),
                Some('m') => text.push_str(&two(month)),
                Some('d') => text.push_str(&two(day)),
                Some('e') => text.push_str(&format!("{day:2}")),
                Some('H') => text.push_str(&two(hour.into())),
                Some('I') => text.push_str(&two(((hour + 11) % 12 + 1).into())),
                Some('M') => text.push_str(&two(minute.into())),
                Some('S') => text.push_str(&two(second.into())),
                Some('p') => text.push_str(if hour < 12 { "AM" } else { "PM" }),
                Some('B') => text.push_str(month_name),
                Some('b' | 'h') => text.push_str(&month_name[..3]),
                Some('A') => text.push_str(day_name),
                Some('a') => text.push_str(&day_name[..3]),
                Some('j') => {
                    let yearday = self.days - days_of(year, 1, 1) + 1;
                    text.push_str(&if plain {
                        yearday.to_string()
                    } else {
                        format!("{yearday:03}")
                    });
                }
                Some('F') => text.push_str(&format!("{year}-{month:02}-{day:02}")),
                Some('T') => text.push_str(&format!("{hour:02}:{minute:02}:{second:02}")),
                Some('Z') => {}
                Some('%') => text.push('%'),
                Some(other) => {
                    text.push('%');
                    text.push(other);
                }
                None => text.push('%'),
            }
        }
        text
    }
}

/// Days from 1970 to a date.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let day = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year * 365 + year / 4 - year / 100 + day - 719_468
}
