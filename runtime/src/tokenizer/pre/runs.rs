//! What the families of rules share: runs of characters of one kind.

use super::super::characters::{Class, class_at, decode};

/// The end of `'s`, `'t`, `'re`, `'ve`, `'m`, `'ll` or `'d` at `start`. Without regard to case,
/// U+017F is an s too, by Unicode's simple case folding.
#[inline]
pub(super) fn contraction(text: &[u8], start: usize, any_case: bool) -> Option<usize> {
    let rest = text.get(start..)?;
    if rest.first() != Some(&b'\'') {
        return None;
    }
    let fold = |at: usize| {
        let byte = rest.get(at).copied().unwrap_or_default();
        if any_case { byte.to_ascii_lowercase() } else { byte }
    };
    match (fold(1), fold(2)) {
        (b's' | b't' | b'm' | b'd', _) => Some(start + 2),
        (b'r' | b'v', b'e') | (b'l', b'l') => Some(start + 3),
        _ if any_case && rest.starts_with("'\u{17F}".as_bytes()) => Some(start + 3),
        _ => None,
    }
}

/// The end of the characters of `class` from `at` on.
#[inline]
pub(super) fn run_end(text: &[u8], mut at: usize, class: Class) -> usize {
    while at < text.len() {
        let (found, len) = class_at(text, at);
        if found != class {
            break;
        }
        at += len;
    }
    at
}

/// The end of at most `most` numbers from `at` on.
#[inline]
pub(super) fn numbers_end(text: &[u8], mut at: usize, most: usize) -> usize {
    for _ in 0..most {
        match decode(text, at) {
            (Some(_), len) if class_at(text, at).0 == Class::Number => at += len,
            _ => break,
        }
    }
    at
}

/// The end of the carriage returns and line feeds from `at` on.
#[inline]
pub(super) fn newlines_end(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count()
}

/// A run of white space.
pub(super) struct SpaceRun {
    start: usize,
    pub(super) end: usize,
    /// Where its last character begins.
    last: usize,
    /// The end of its last newline.
    pub(super) after_newline: Option<usize>,
}

impl SpaceRun {
    pub(super) fn at(text: &[u8], start: usize) -> SpaceRun {
        let mut run = SpaceRun { start, end: start, last: start, after_newline: None };
        while run.end < text.len() {
            let (class, len) = class_at(text, run.end);
            match class {
                Class::Newline => run.after_newline = Some(run.end + len),
                Class::Space => {}
                _ => break,
            }
            run.last = run.end;
            run.end += len;
        }
        run
    }

    /// `\s+(?!\S)|\s+`: the last character is left to what follows, if there is another before it.
    pub(super) fn without_last(&self, text_end: usize) -> usize {
        if self.end == text_end || self.last == self.start { self.end } else { self.last }
    }

    /// `\s*[\r\n]+|\s+(?!\S)|\s+`.
    pub(super) fn to_newline_or_without_last(&self, text_end: usize) -> usize {
        self.after_newline.unwrap_or_else(|| self.without_last(text_end))
    }
}
