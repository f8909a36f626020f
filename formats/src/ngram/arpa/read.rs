//! Reading: header, sections, one n-gram after the other.

use super::error::{ArpaError, ReadError, Reason};
use super::lines::Lines;
use super::{MAX_IDLE_LINES, MAX_LINE_BYTES, MAX_NGRAMS, MAX_WORD_BYTES, is_blank};
use crate::gguf::ShortName;
use crate::ngram::MAX_ORDER;

/// An ARPA text whose header is read; gives its n-grams in the order of the text.
#[derive(Debug)]
pub struct Reader<L> {
    lines: L,
    /// Of the current line, from 1.
    number: u64,
    counts: [u64; MAX_ORDER],
    order: usize,
    /// Whose section it is; 0 in the header.
    section: usize,
    /// n-grams of this section so far.
    found: u64,
    ended: bool,
    minus_infinity: bool,
}

/// One n-gram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry<'a> {
    /// How many words it has.
    pub order: usize,
    /// log10 of the last word's probability after the others: finite and not positive (unless `-inf`
    /// was asked for).
    pub probability: f32,
    /// log10 of the back-off weight: finite; 0 where there is none.
    pub backoff: f32,
    /// The line that it stands in, from 1.
    pub line: u64,
    /// The words with blanks between them, before and after perhaps.
    words: &'a [u8],
}

/// The words of an n-gram in order.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a>(&'a [u8]);

type Result<T, L> = core::result::Result<T, ReadError<<L as Lines>::Error>>;

impl<L: Lines> Reader<L> {
    /// Reads as far as the header goes: `\data\`, the counts, the first heading.
    pub fn new(lines: L) -> Result<Self, L> {
        let mut reader = Reader {
            lines,
            number: 0,
            counts: [0; MAX_ORDER],
            order: 0,
            section: 0,
            found: 0,
            ended: false,
            minus_infinity: false,
        };
        reader.read_header()?;
        Ok(reader)
    }

    /// Takes the probability `-inf`, which lmplz writes under some options, for negative infinity.
    pub fn accept_minus_infinity(mut self) -> Self {
        self.minus_infinity = true;
        self
    }

    /// n-grams of each order, 1-grams first, as announced. Nothing may be reserved by these numbers.
    pub fn counts(&self) -> &[u64] {
        self.counts.get(..self.order).unwrap_or_default()
    }

    /// The source of lines.
    pub fn lines(&self) -> &L {
        &self.lines
    }

    /// The next n-gram; `None` after the last, when all was as announced. The orders come one after
    /// the other, 1-grams first.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'_>>, L> {
        if self.ended {
            return Ok(None);
        }
        while !self.next_text(Reason::NoEnd)? {
            match self.heading()? {
                Some(order) => self.begin_section(order)?,
                None => {
                    self.ended = true;
                    return self.finish().map(|()| None);
                }
            }
        }
        self.found += 1;
        if self.found > self.announced(self.section) {
            return Err(self.wrong_count());
        }
        let highest = self.section == self.order;
        parse_entry(self.lines.line(), self.section, highest, self.minus_infinity)
            .map(|entry| Some(Entry { line: self.number, ..entry }))
            .map_err(|reason| self.error(reason))
    }

    /// Moves to the next line that is not blank; says whether it may be an n-gram: what has a
    /// backslash is a heading. `at_end` is the error if there is no such line.
    fn next_text(&mut self, at_end: Reason) -> Result<bool, L> {
        for _ in 0..=MAX_IDLE_LINES {
            if !self.advance()? {
                return Err(self.error(at_end));
            }
            if let Some(&first) = trimmed(self.lines.line()).first() {
                return Ok(first != b'\\');
            }
        }
        Err(self.error(Reason::Idle))
    }

    fn advance(&mut self) -> Result<bool, L> {
        let more = self.lines.advance().map_err(ReadError::Source)?;
        self.number += u64::from(more);
        if more && self.lines.line().len() > MAX_LINE_BYTES {
            return Err(self.error(Reason::LineTooLong));
        }
        Ok(more)
    }

    fn read_header(&mut self) -> Result<(), L> {
        for idle in 0.. {
            if idle > MAX_IDLE_LINES || !self.advance()? {
                return Err(self.error(Reason::NoData));
            }
            if trimmed(self.lines.line()) == b"\\data\\" {
                break;
            }
        }
        while self.next_text(Reason::NoEnd)? {
            let line = trimmed(self.lines.line());
            let (order, count) = parse_count(line).map_err(|reason| self.error(reason))?;
            self.announce(order, count)?;
        }
        if self.announced(1) == 0 {
            return Err(self.error(Reason::NoUnigrams));
        }
        match self.heading()? {
            Some(order) => self.begin_section(order),
            None => Err(self.error(Reason::NoSection(1))),
        }
    }

    fn announce(&mut self, order: u64, count: u64) -> Result<(), L> {
        if order > MAX_ORDER as u64 {
            return Err(self.error(Reason::OrderTooHigh(order)));
        }
        let expected = self.order + 1;
        match self.counts.get_mut(self.order) {
            Some(place) if order == expected as u64 => *place = count,
            _ => return Err(self.error(Reason::Orders { found: order, expected })),
        }
        self.order = expected;
        Ok(())
    }

    /// The order of the current line `\ORDER-grams:`, or `None` for `\end\`.
    fn heading(&self) -> Result<Option<u64>, L> {
        let line = trimmed(self.lines.line());
        if line == b"\\end\\" {
            return Ok(None);
        }
        let order = line
            .strip_prefix(b"\\")
            .and_then(|rest| rest.strip_suffix(b"-grams:"))
            .filter(|digits| !digits.starts_with(b"0"))
            .and_then(parse_decimal)
            .ok_or_else(|| self.error(Reason::Heading(ShortName::new(line))))?;
        Ok(Some(order))
    }

    fn begin_section(&mut self, order: u64) -> Result<(), L> {
        if order > self.order as u64 {
            return Err(self.error(Reason::NotAnnounced(order)));
        }
        if order <= self.section as u64 {
            return Err(self.error(Reason::SectionAgain(order)));
        }
        // At most MAX_ORDER.
        self.leave_for(order as usize)
    }

    /// The current section is complete, and between it and the section `next` nothing is missing.
    fn leave_for(&mut self, next: usize) -> Result<(), L> {
        if self.section > 0 && self.found != self.announced(self.section) {
            return Err(self.wrong_count());
        }
        let skipped = self.section + 1..next;
        if let Some(order) = skipped.into_iter().find(|&order| self.announced(order) > 0) {
            return Err(self.error(Reason::NoSection(order)));
        }
        (self.section, self.found) = (next, 0);
        Ok(())
    }

    /// After `\end\`.
    fn finish(&mut self) -> Result<(), L> {
        self.leave_for(self.order + 1)?;
        for _ in 0..=MAX_IDLE_LINES {
            if !self.advance()? {
                return Ok(());
            }
            if !trimmed(self.lines.line()).is_empty() {
                return Err(self.error(Reason::AfterEnd));
            }
        }
        Err(self.error(Reason::Idle))
    }

    fn announced(&self, order: usize) -> u64 {
        self.counts.get(order.wrapping_sub(1)).copied().unwrap_or(0)
    }

    fn wrong_count(&self) -> ReadError<L::Error> {
        let (order, found) = (self.section, self.found);
        self.error(Reason::Count { order, announced: self.announced(order), found })
    }

    fn error(&self, reason: Reason) -> ReadError<L::Error> {
        ArpaError::new(self.number, reason).into()
    }
}

impl<'a> Entry<'a> {
    /// Its words, as many as its order.
    pub fn words(&self) -> Words<'a> {
        Words(self.words)
    }

    /// Its words as they stand in the text, with blanks between them.
    pub fn text(&self) -> &'a [u8] {
        trimmed(self.words)
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (word, rest) = field(self.0);
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }
}

/// A line of the section `order`, whose number is not known here.
fn parse_entry(
    line: &[u8],
    order: usize,
    highest: bool,
    minus_infinity: bool,
) -> core::result::Result<Entry<'_>, Reason> {
    let (text, words) = field(line);
    let probability = match text {
        b"-inf" if minus_infinity => f32::NEG_INFINITY,
        b"-inf" => return Err(Reason::MinusInfinity),
        _ => parse_number(text)?,
    };
    if probability > 0.0 {
        return Err(Reason::Positive(ShortName::new(text)));
    }
    let mut rest = words;
    for found in 0..order {
        let (word, after) = field(rest);
        match word.len() {
            0 => return Err(Reason::Words { order, found }),
            1..=MAX_WORD_BYTES if !word.contains(&0) => rest = after,
            1..=MAX_WORD_BYTES => return Err(Reason::WordHasNul),
            _ => return Err(Reason::WordTooLong),
        }
    }
    let (backoff, after) = field(rest);
    let separator = |text: &[u8]| text.iter().take_while(|&&b| is_blank(b)).any(|&b| b == b'\t');
    let is_word = !backoff.is_empty() && separator(words) && !separator(rest);
    if is_word || !field(after).0.is_empty() {
        return Err(Reason::Words { order, found: order + 1 });
    }
    let words = words.get(..words.len() - rest.len()).unwrap_or_default();
    let backoff = match backoff {
        b"" => 0.0,
        text => match parse_number(text)? {
            weight if highest && weight != 0.0 => {
                return Err(Reason::Backoff(ShortName::new(text)));
            }
            _ if highest => 0.0,
            weight => weight,
        },
    };
    Ok(Entry { order, probability, backoff, line: 0, words })
}

/// The first field of a text, and what comes after it. Empty if there is none.
fn field(text: &[u8]) -> (&[u8], &[u8]) {
    let start = text.iter().position(|&byte| !is_blank(byte)).unwrap_or(text.len());
    let text = text.get(start..).unwrap_or_default();
    let len = text.iter().position(|&byte| is_blank(byte)).unwrap_or(text.len());
    text.split_at_checked(len).unwrap_or_default()
}

fn trimmed(mut line: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = line
        && is_blank(*first)
    {
        line = rest;
    }
    while let [rest @ .., last] = line
        && is_blank(*last)
    {
        line = rest;
    }
    line
}

/// Order and count of a line `ngram ORDER=COUNT`.
fn parse_count(line: &[u8]) -> core::result::Result<(u64, u64), Reason> {
    let malformed = Reason::Header(ShortName::new(line));
    let rest =
        line.strip_prefix(b"ngram").filter(|rest| rest.first().is_some_and(|&b| is_blank(b)));
    let mut parts = rest.ok_or(malformed)?.splitn(2, |&byte| byte == b'=').map(trimmed);
    let (order, count) = parts.next().zip(parts.next()).ok_or(malformed)?;
    let is_number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if !is_number(order) || !is_number(count) {
        return Err(malformed);
    }
    let count = parse_decimal(count)
        .filter(|&count| count <= MAX_NGRAMS)
        .ok_or(Reason::TooMany(ShortName::new(count)))?;
    Ok((parse_decimal(order).unwrap_or(u64::MAX), count))
}

/// Digits and nothing else, as far as 64 bits go.
fn parse_decimal(digits: &[u8]) -> Option<u64> {
    let is_number = digits.iter().all(u8::is_ascii_digit);
    core::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

/// A finite number, to the nearest f32.
fn parse_number(text: &[u8]) -> core::result::Result<f32, Reason> {
    // Without letters but the exponent's: core would also read words for infinity.
    let plain =
        text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    core::str::from_utf8(text)
        .ok()
        .filter(|_| plain)
        .and_then(|text| text.parse::<f32>().ok())
        .filter(|number| number.is_finite())
        .ok_or(Reason::Number(ShortName::new(text)))
}
