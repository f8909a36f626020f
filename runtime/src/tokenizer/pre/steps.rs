//! Steps that cut a stretch of text: each finds some matches, which stand alone, and what is between
//! two of them stands alone too.

use super::super::characters::{Class, Detail, class_at, decode, detail_of};
use super::runs::numbers_end;
use super::sets::{Set, is_word};
use super::words::{Cased, Words, cased, gpt2, punctuated, words};

/// A step. In brackets, what it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// GPT-2's words; with `digits`, numbers stand alone first.
    Gpt2 { digits: bool },
    /// Words of Llama 3's kind.
    Words(Words),
    /// Words of GPT-4o's kind.
    Cased(Cased),
    /// Words of DeepSeek-V3's kind.
    Punctuated { lines: bool },
    /// `[…]+` for any of these sets.
    Runs(&'static [Set]),
    /// ` ?[…]+`.
    BlankAndRun(Set),
    /// `\s?[…]+`.
    SpaceAndRun(Set),
    /// `[…]`.
    Each(Set),
    /// `\p{N}{1,most}`.
    Numbers { most: usize },
    /// Numbers in threes, counted from the right.
    Threes(Digits),
    /// `[0-9][0-9][0-9]`.
    ThreeAscii,
    /// Runs of what is a number after bytes have become characters: ASCII's digits, and the bytes
    /// of ², ³, ¹, ¼, ½ and ¾ in Latin-1, which are parts of other characters here.
    NumberBytes,
    /// `\s+$`.
    FinalSpace,
    /// `[^\n]+|[\n]+`.
    Lines,
    /// White space without newlines in pieces of 512, 256 and so on down to 4, 2 and 1.
    SpacePowers,
    /// `<sentinel:[0-9]+>`.
    Sentinel,
    /// `IMGIMG[A-I]{1,4}Z`.
    Image,
    /// `[\t\n]|    |  `.
    Indents,
}

/// What [`Step::Threes`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Digits {
    /// `(?=(\d{3})+(?!\d))` cuts.
    Cut,
    /// `\d{1,3}(?=(?:\d{3})*\b)`: not digits before a letter.
    BeforeBoundary,
    /// The same of `\p{N}`, whatever follows.
    Numbers,
}

impl Step {
    /// The end of the segment that begins at `start`, before the end of the text. Texts begin at
    /// 0, or where another step began its segment. Up to `threes`, numbers are known to be a
    /// multiple of three.
    #[inline]
    pub(super) fn end(self, text: &[u8], start: usize, threes: &mut usize) -> usize {
        match self {
            Step::Gpt2 { digits } => gpt2(text, start, digits),
            Step::Words(rules) => words(text, start, rules),
            step => step.other_end(text, start, threes),
        }
    }

    fn other_end(self, text: &[u8], start: usize, threes: &mut usize) -> usize {
        let find = |find: &dyn Fn(usize) -> Option<usize>| found_or_gap(text, start, find);
        match self {
            Step::Gpt2 { digits } => gpt2(text, start, digits),
            Step::Words(rules) => words(text, start, rules),
            Step::Cased(rules) => cased(text, start, rules),
            Step::Punctuated { lines } => punctuated(text, start, lines),
            Step::Runs(sets) => {
                find(&|at| sets.iter().find_map(|&set| some_run(text, at, at, set)))
            }
            Step::BlankAndRun(set) => find(&|at| {
                let from = at + usize::from(text.get(at) == Some(&b' '));
                some_run(text, from, at, set)
            }),
            Step::SpaceAndRun(set) => find(&|at| {
                let (class, len) = class_at(text, at);
                let joined = class.is_space().then(|| some_run(text, at + len, at, set)).flatten();
                joined.or_else(|| some_run(text, at, at, set))
            }),
            Step::Each(set) => find(&|at| {
                let (class, len) = class_at(text, at);
                set.has(decode(text, at).0, class).then_some(at + len)
            }),
            Step::Numbers { most } => {
                find(&|at| Some(numbers_end(text, at, most)).filter(|&end| end > at))
            }
            Step::Threes(digits) => threes_end(text, start, digits, threes),
            Step::ThreeAscii => find(&|at| {
                let three = text.get(at..at + 3)?;
                three.iter().all(u8::is_ascii_digit).then_some(at + 3)
            }),
            Step::NumberBytes => number_bytes_end(text, start),
            Step::FinalSpace => final_space_end(text, start),
            Step::Lines => {
                let rest = text.get(start..).unwrap_or_default();
                let is_line = rest.first() != Some(&b'\n');
                start + rest.iter().take_while(|&&byte| (byte != b'\n') == is_line).count()
            }
            Step::SpacePowers => space_power_end(text, start),
            Step::Sentinel => find(&|at| {
                let digits = text.get(at..)?.strip_prefix(b"<sentinel:")?;
                let len = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let is_one = len > 0 && digits.get(len) == Some(&b'>');
                is_one.then_some(at + 10 + len + 1)
            }),
            Step::Image => find(&|at| {
                let name = text.get(at..)?.strip_prefix(b"IMGIMG")?;
                let len =
                    name.iter().take(4).take_while(|byte| (b'A'..=b'I').contains(byte)).count();
                (len > 0 && name.get(len) == Some(&b'Z')).then_some(at + 6 + len + 1)
            }),
            Step::Indents => find(&|at| {
                let rest = text.get(at..)?;
                match rest {
                    [b'\t' | b'\n', ..] => Some(at + 1),
                    [b' ', b' ', b' ', b' ', ..] => Some(at + 4),
                    [b' ', b' ', ..] => Some(at + 2),
                    _ => None,
                }
            }),
        }
    }
}

/// The end of a match at `start`; or else where the next one begins.
fn found_or_gap(text: &[u8], start: usize, find: &dyn Fn(usize) -> Option<usize>) -> usize {
    let mut at = start;
    while at < text.len() {
        match find(at) {
            Some(end) if at == start => return end,
            Some(_) => return at,
            None => at += class_at(text, at).1,
        }
    }
    text.len()
}

/// The end of characters of a set from `from` on, if there are any; of a match from `at` on.
fn some_run(text: &[u8], from: usize, at: usize, set: Set) -> Option<usize> {
    let mut end = from;
    while end < text.len() {
        let (class, len) = class_at(text, end);
        if !set.has(decode(text, end).0, class) {
            break;
        }
        end += len;
    }
    (end > from && end > at).then_some(end)
}

/// A run of digits from `at` on: its end, its first one or two characters that make the rest a
/// multiple of three (or the first three), and whether it is one to cut.
struct DigitRun {
    end: usize,
    head: usize,
    count: usize,
    cuts: bool,
}

impl DigitRun {
    fn at(text: &[u8], start: usize, digits: Digits) -> DigitRun {
        let mut run = DigitRun { end: start, head: start, count: 0, cuts: true };
        while run.end < text.len() && is_digit(text, run.end, digits) {
            run.end += class_at(text, run.end).1;
            run.count += 1;
        }
        let head = if run.count == 0 { 0 } else { (run.count - 1) % 3 + 1 };
        for _ in 0..head {
            run.head += class_at(text, run.head).1;
        }
        if digits == Digits::BeforeBoundary && run.end < text.len() {
            let class = class_at(text, run.end).0;
            run.cuts = !decode(text, run.end).0.is_some_and(|next| is_word(next, class));
        }
        run
    }
}

fn is_digit(text: &[u8], at: usize, digits: Digits) -> bool {
    let class = class_at(text, at).0;
    let character = decode(text, at).0;
    class == Class::Number
        && (digits == Digits::Numbers
            || character.is_some_and(|digit| detail_of(digit, class) == Detail::Digit))
}

fn threes_end(text: &[u8], start: usize, digits: Digits, threes: &mut usize) -> usize {
    if *threes > start {
        let end = (0..3).fold(start, |at, _| at + class_at(text, at).1).min(text.len());
        // Nothing cuts behind the last three.
        let is_last = digits == Digits::Cut && end >= *threes;
        return if is_last { next_threes(text, end, digits, threes) } else { end };
    }
    let run = DigitRun::at(text, start, digits);
    if run.count > 0 && run.cuts && (run.count > 3 || digits != Digits::Cut) {
        *threes = run.end;
        return run.head;
    }
    next_threes(text, run.end, digits, threes)
}

/// The next place from `at` on where a match begins, or a cut is.
fn next_threes(text: &[u8], mut at: usize, digits: Digits, threes: &mut usize) -> usize {
    while at < text.len() {
        let run = DigitRun::at(text, at, digits);
        let is_cut = digits == Digits::Cut;
        match run.count {
            0 => at += class_at(text, at).1,
            count if is_cut && count >= 3 => {
                *threes = run.end;
                return if count % 3 == 0 { at } else { run.head };
            }
            _ if !is_cut && run.cuts => return at,
            _ => at = run.end,
        }
    }
    text.len()
}

fn number_bytes_end(text: &[u8], start: usize) -> usize {
    let is_number =
        |byte: &u8| matches!(byte, b'0'..=b'9' | 0xB2 | 0xB3 | 0xB9 | 0xBC | 0xBD | 0xBE);
    let rest = text.get(start..).unwrap_or_default();
    let first = rest.first().is_some_and(is_number);
    start + rest.iter().take_while(|byte| is_number(byte) == first).count()
}

fn final_space_end(text: &[u8], start: usize) -> usize {
    let (mut at, mut space) = (start, start);
    while at < text.len() {
        let (class, len) = class_at(text, at);
        at += len;
        if !class.is_space() {
            space = at;
        }
    }
    if space == start { text.len() } else { space }
}

fn space_power_end(text: &[u8], start: usize) -> usize {
    if matches!(text.last(), Some(b'\r' | b'\n')) {
        return text.len();
    }
    let (mut at, mut end, mut power, mut count) = (start, start, 1, 0);
    while at < text.len() && count < 512 {
        let (class, len) = class_at(text, at);
        if class != Class::Space {
            return text.len();
        }
        at += len;
        count += 1;
        if count == power {
            end = at;
            power *= 2;
        }
    }
    end
}
