//! Expressions that find words, each with what may be joined to it: every character of a text is in
//! one of their matches, but for the [family](punctuated) that knows marks and punctuation.

use super::super::characters::{Class, Detail, class_at, decode, detail_of};
use super::runs::{SpaceRun, contraction, newlines_end, numbers_end, run_end};
use super::sets::is_han;

/// What distinguishes the expressions that begin with Llama 3's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Words {
    /// Any of `(?i:'s|'t|'re|'ve|'m|'ll|'d)` is a word.
    pub(super) contractions: bool,
    pub(super) letters: Letters,
    /// Numbers of a word.
    pub(super) max_numbers: usize,
    pub(super) tail: Tail,
}

/// What a word's letters are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Letters {
    /// `\p{L}+`.
    Alone,
    /// `[\p{L}\p{M}]+`; and marks are no punctuation.
    Marked,
    /// `(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+`: with single blanks between them.
    Spaced,
}

/// What punctuation takes along behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    None,
    /// `[\r\n]*`.
    Newlines,
    /// `[\r\n/]*`.
    NewlinesAndSlashes,
    /// `[\r\n/]?`.
    One,
}

/// What distinguishes the expressions that begin with that of GPT-4o, where words end before
/// capitals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cased {
    /// A word takes `(?i:'s|'t|'re|'ve|'m|'ll|'d)?` along.
    pub(super) contractions: bool,
    /// Characters of the script Han are words of their own.
    pub(super) han: bool,
    pub(super) max_numbers: usize,
    pub(super) tail: Tail,
}

/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`. With `digits`, every
/// number is cut out first.
#[inline]
pub(super) fn gpt2(text: &[u8], start: usize, digits: bool) -> usize {
    if let Some(end) = contraction(text, start, false) {
        return end;
    }
    let (class, len) = class_at(text, start);
    if digits && class == Class::Number {
        return start + len;
    }
    if !class.is_space() {
        return run_end(text, start + len, class);
    }
    // One blank joins the word after it.
    if text.get(start) == Some(&b' ') && start + 1 < text.len() {
        let (class, len) = class_at(text, start + 1);
        let joins = !class.is_space() && (class != Class::Number || !digits);
        if joins {
            return run_end(text, start + 1 + len, class);
        }
    }
    let run = SpaceRun::at(text, start);
    // A text that ends before a digit ends there for the look-ahead too.
    if digits && run.end < text.len() && class_at(text, run.end).0 == Class::Number {
        return run.end;
    }
    run.without_last(text.len())
}

/// `(?i:'s|…)|[^\r\n\p{L}\p{N}]?LETTERS|\p{N}{1,max}| ?[^\s\p{L}\p{N}]+TAIL|\s*[\r\n]+|\s+(?!\S)|\s+`.
#[inline]
pub(super) fn words(text: &[u8], start: usize, rules: Words) -> usize {
    if rules.contractions
        && let Some(end) = contraction(text, start, true)
    {
        return end;
    }
    let marked = rules.letters == Letters::Marked;
    let (class, len) = word_class(text, start, marked);
    let next = start + len;
    let after = if next < text.len() { word_class(text, next, marked).0 } else { Class::Newline };
    match class {
        Class::Letter => return letters_end(text, next, rules.letters),
        Class::Number => return numbers_end(text, next, rules.max_numbers - 1),
        // Any one character but a newline joins the letters after it.
        Class::Space | Class::Other if after == Class::Letter => {
            return letters_end(text, next, rules.letters);
        }
        Class::Other => return others_end(text, next, marked, rules.tail),
        Class::Space if text.get(start) == Some(&b' ') && after == Class::Other => {
            return others_end(text, next, marked, rules.tail);
        }
        Class::Space | Class::Newline => {}
    }
    SpaceRun::at(text, start).to_newline_or_without_last(text.len())
}

/// The class of a character, where a mark may be a letter.
#[inline]
fn word_class(text: &[u8], at: usize, marked: bool) -> (Class, usize) {
    let (class, len) = class_at(text, at);
    if marked && class == Class::Other && len > 1 && is_mark(text, at) {
        return (Class::Letter, len);
    }
    (class, len)
}

#[inline]
fn is_mark(text: &[u8], at: usize) -> bool {
    let character = decode(text, at).0;
    character.is_some_and(|character| detail_of(character, Class::Other) == Detail::Mark)
}

/// The end of the letters from `at` on, behind a first one.
#[inline]
fn letters_end(text: &[u8], at: usize, letters: Letters) -> usize {
    match letters {
        Letters::Alone => run_end(text, at, Class::Letter),
        Letters::Marked => marked_end(text, at, Class::Letter),
        Letters::Spaced => spaced_end(text, at),
    }
}

/// The end of characters of a class from `at` on, where marks are letters.
fn marked_end(text: &[u8], mut at: usize, class: Class) -> usize {
    while at < text.len() {
        let (found, len) = word_class(text, at, true);
        if found != class {
            break;
        }
        at += len;
    }
    at
}

/// The end of letters and their marks from `at` on, with single blanks between them.
fn spaced_end(text: &[u8], mut at: usize) -> usize {
    while at < text.len() {
        let (class, len) = class_at(text, at);
        let is_blank = text.get(at) == Some(&b' ');
        if is_blank && at + 1 < text.len() && class_at(text, at + 1).0 == Class::Letter {
            at += 1 + class_at(text, at + 1).1;
        } else if class == Class::Letter || class == Class::Other && is_mark(text, at) {
            at += len;
        } else {
            break;
        }
    }
    at
}

/// The end of punctuation from `at` on, and of what it takes along.
#[inline]
fn others_end(text: &[u8], at: usize, marked: bool, tail: Tail) -> usize {
    let end =
        if marked { marked_end(text, at, Class::Other) } else { run_end(text, at, Class::Other) };
    tail_end(text, end, tail)
}

#[inline]
fn tail_end(text: &[u8], at: usize, tail: Tail) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let is_one = |byte: &&u8| matches!(byte, b'\r' | b'\n' | b'/');
    match tail {
        Tail::None => at,
        Tail::Newlines => newlines_end(text, at),
        Tail::NewlinesAndSlashes => at + rest.iter().take_while(is_one).count(),
        Tail::One => at + rest.iter().take(1).filter(is_one).count(),
    }
}

/// What letters are to an expression that ends words before capitals.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    /// `[\p{Lu}\p{Lt}]`.
    Upper,
    /// `\p{Ll}`.
    Lower,
    /// `[\p{Lm}\p{Lo}\p{M}]`, which both sides of a word may have.
    Both,
    /// No letter.
    None,
}

/// `[^\r\n\p{L}\p{N}]?U*L+S?|[^\r\n\p{L}\p{N}]?U+L*S?|\p{N}{1,max}| ?[^\s\p{L}\p{N}]+TAIL|`
/// `\s*[\r\n]+|\s+(?!\S)|\s+`, where U is `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`, L
/// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]` and S a contraction.
pub(super) fn cased(text: &[u8], start: usize, rules: Cased) -> usize {
    if rules.han
        && let Some(end) = han_end(text, start)
    {
        return end;
    }
    let (class, len) = class_at(text, start);
    let next = start + len;
    let prefix = matches!(class, Class::Space | Class::Other).then_some(next);
    // Of the two alternatives the first is tried with the prefix and without it, then the second.
    let starts = || prefix.into_iter().chain([start]);
    let first = starts().find_map(|at| lower_end(text, at, rules.han));
    let word = first.or_else(|| {
        starts().find_map(|at| Some(uppers_end(text, at, rules.han).0).filter(|&end| end > at))
    });
    if let Some(end) = word {
        return contraction(text, end, true).filter(|_| rules.contractions).unwrap_or(end);
    }
    match class {
        Class::Number => return numbers_end(text, next, rules.max_numbers - 1),
        Class::Other => return others_end(text, next, false, rules.tail),
        Class::Space
            if text.get(start) == Some(&b' ')
                && next < text.len()
                && class_at(text, next).0 == Class::Other =>
        {
            return others_end(text, next, false, rules.tail);
        }
        // Every letter is in a word.
        Class::Letter => return next,
        Class::Space | Class::Newline => {}
    }
    SpaceRun::at(text, start).to_newline_or_without_last(text.len())
}

#[inline]
fn case_at(text: &[u8], at: usize, han: bool) -> (Case, usize) {
    let case = match text.get(at) {
        Some(b'a'..=b'z') => return (Case::Lower, 1),
        Some(b'A'..=b'Z') => return (Case::Upper, 1),
        Some(0x80..) => Case::Both,
        _ => return (Case::None, 1),
    };
    let (class, len) = class_at(text, at);
    let Some(character) = decode(text, at).0 else { return (Case::None, len) };
    if han && is_han(character) {
        return (Case::None, len);
    }
    let case = match (class, detail_of(character, class)) {
        (Class::Letter, Detail::Upper) => Case::Upper,
        (Class::Letter, Detail::Lower) => Case::Lower,
        (Class::Letter, _) | (Class::Other, Detail::Mark) => case,
        _ => Case::None,
    };
    (case, len)
}

/// The end of `U*` from `at` on, and the end of the last character there that may be in `L` too.
fn uppers_end(text: &[u8], mut at: usize, han: bool) -> (usize, Option<usize>) {
    let mut both = None;
    while at < text.len() {
        let (case, len) = case_at(text, at, han);
        match case {
            Case::Upper => {}
            Case::Both => both = Some(at + len),
            Case::Lower | Case::None => break,
        }
        at += len;
    }
    (at, both)
}

/// The end of `U*L+` from `at` on. Where no small letter follows, `L+` is the last character that
/// both may have.
fn lower_end(text: &[u8], at: usize, han: bool) -> Option<usize> {
    let (upper_end, both) = uppers_end(text, at, han);
    let mut end = upper_end;
    while end < text.len() {
        let (case, len) = case_at(text, end, han);
        if !matches!(case, Case::Lower | Case::Both) {
            break;
        }
        end += len;
    }
    if end > upper_end { Some(end) } else { both }
}

/// The end of characters of the script Han from `start` on, if there are any.
fn han_end(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    while let (Some(character), len) = decode(text, at) {
        if !is_han(character) {
            break;
        }
        at += len;
    }
    (at > start).then_some(at)
}

/// `[!-/:-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|`
/// `\s+(?!\S)|\s+` (where `[!-/:-~]` is ASCII's punctuation), DeepSeek-V3's. With `lines`, punctuation
/// takes no newlines along and each newline is a word of its own.
///
/// What is in no match, such as a control character, stands alone up to the next match.
pub(super) fn punctuated(text: &[u8], start: usize, lines: bool) -> usize {
    let mut at = start;
    while at < text.len() {
        match punctuated_match(text, at, lines) {
            Ok(end) if at == start => return end,
            Ok(_) => return at,
            Err(len) => at += len,
        }
    }
    at
}

/// What a character is to [`punctuated`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `[\p{L}\p{M}]`.
    Letter,
    Mark,
    /// `[\p{P}\p{S}]`.
    Punctuation,
    Space,
    Newline,
    Other,
}

#[inline]
fn kind_at(text: &[u8], at: usize) -> (Kind, usize) {
    let (class, len) = class_at(text, at);
    let kind = match class {
        Class::Letter => Kind::Letter,
        Class::Space => Kind::Space,
        Class::Newline => Kind::Newline,
        Class::Number => Kind::Other,
        Class::Other => match decode(text, at).0.map(|character| detail_of(character, class)) {
            Some(Detail::Mark) => Kind::Mark,
            Some(Detail::Punctuation | Detail::Symbol) => Kind::Punctuation,
            // A byte that is no character is U+FFFD, a symbol.
            None => Kind::Punctuation,
            Some(_) => Kind::Other,
        },
    };
    (kind, len)
}

/// The end of a match at `at`, or the length of the character where none begins.
fn punctuated_match(text: &[u8], at: usize, lines: bool) -> Result<usize, usize> {
    let (kind, len) = kind_at(text, at);
    let next = at + len;
    let after = if next < text.len() { kind_at(text, next).0 } else { Kind::Newline };
    let is_letter = |kind: Kind| matches!(kind, Kind::Letter | Kind::Mark);
    let run = |from: usize, of: fn(Kind) -> bool| {
        let mut end = from;
        while end < text.len() {
            let (kind, len) = kind_at(text, end);
            if !of(kind) {
                break;
            }
            end += len;
        }
        end
    };
    let letters = |from| run(from, |kind| matches!(kind, Kind::Letter | Kind::Mark));
    let ascii = |at: usize| text.get(at).is_some_and(u8::is_ascii_alphabetic);
    let punctuation = |from| {
        let end = run(from, |kind| kind == Kind::Punctuation);
        if lines { end } else { newlines_end(text, end) }
    };
    if kind == Kind::Punctuation && text.get(at).is_some_and(u8::is_ascii) && ascii(next) {
        let rest = text.get(next..).unwrap_or_default();
        return Ok(next + rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count());
    }
    match kind {
        Kind::Letter | Kind::Mark => Ok(letters(next)),
        Kind::Space | Kind::Other if is_letter(after) => Ok(letters(next)),
        Kind::Punctuation => Ok(punctuation(next)),
        Kind::Space if text.get(at) == Some(&b' ') && after == Kind::Punctuation => {
            Ok(punctuation(next))
        }
        Kind::Newline if lines => Ok(next),
        Kind::Space if lines => Ok(SpaceRun::at(text, at).without_last(text.len())),
        Kind::Space | Kind::Newline => {
            Ok(SpaceRun::at(text, at).to_newline_or_without_last(text.len()))
        }
        Kind::Other => Err(len),
    }
}
