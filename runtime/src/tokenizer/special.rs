//! Tokens that are matched in a text before it is cut into words: user-defined ones always, control
//! ones where the caller trusts the text.
//!
//! At each place the longest match wins, from left to right, as for the added tokens of Hugging
//! Face. What is matched is the text as it came, before any normalization.
//!
//! Runs of blanks are different in SentencePiece vocabularies. Hugging Face matches their pieces,
//! which are written with ▁, and leaves the blanks of a text to the merges; so does this.

use super::load::Token;
use super::merge::NO_TOKEN;
use super::piece;
use super::vocabulary::{Spelling, TokenKind, Vocabulary};
use crate::memory::{Carver, Measure, TooSmall};

/// Bytes of the longest token that is looked for in texts; real ones have up to 48. It bounds the
/// work at each place of a text.
const MAX_LEN: usize = 255;
/// Lengths from here on share a bit.
const LONG: usize = 63;
const BLANK_RUNS: u64 = 1 << 63;

/// Which special tokens there are, and a quick look whether one may begin at a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Specials<'a> {
    /// For each first byte, the lengths of the tokens that begin with it: bit n for n bytes, bit 0
    /// for more than 62, bit 63 for runs of blanks.
    lengths: &'a [u64],
    filter: Filter,
    /// The unknown token, which is matched like a control token.
    unknown: u32,
}

/// What is known without reading memory.
#[derive(Clone, Copy, Debug)]
struct Filter {
    /// The second bytes of all tokens of two bytes or more.
    seconds: [u64; 4],
    /// Bit n for a piece of n blanks; longer ones than 63 are not matched.
    blank_runs: u64,
    any_user_defined: bool,
    spelling: Spelling,
}

/// A token found in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) id: u32,
}

/// Special tokens that are being collected.
#[derive(Debug)]
pub(super) struct Builder<'a> {
    lengths: &'a mut [u64],
    filter: Filter,
}

pub(super) fn measure(memory: &mut Measure) {
    memory.add::<u64>(256);
}

impl<'a> Builder<'a> {
    pub(super) fn new(spelling: Spelling, memory: &mut Carver<'a>) -> Result<Self, TooSmall> {
        let lengths = memory.take::<u64>(256)?;
        lengths.fill(0);
        let filter = Filter { seconds: [0; 4], blank_runs: 0, any_user_defined: false, spelling };
        Ok(Builder { lengths, filter })
    }

    /// Notes a token if it is one that is matched in texts.
    #[inline]
    pub(super) fn add(&mut self, token: Token<'_>) {
        let Token { kind, text, .. } = token;
        if !matches!(kind, TokenKind::Control | TokenKind::UserDefined | TokenKind::Unknown) {
            return;
        }
        let Some(&first) = text.first() else { return };
        self.filter.any_user_defined |= kind == TokenKind::UserDefined;
        if self.filter.is_blanks(kind, text) {
            if text.len() < 64 {
                self.filter.blank_runs |= 1 << text.len();
                self.lengths[usize::from(piece::BLANK[0])] |= BLANK_RUNS;
            }
            return;
        }
        self.lengths[usize::from(first)] |= 1 << if text.len() < LONG { text.len() } else { 0 };
        if let Some(&second) = text.get(1) {
            self.filter.seconds[usize::from(second / 64)] |= 1 << (second % 64);
        }
    }

    pub(super) fn finish(self, unknown: Option<u32>) -> Specials<'a> {
        let Builder { lengths, filter } = self;
        Specials { lengths, filter, unknown: unknown.unwrap_or(NO_TOKEN) }
    }
}

impl Specials<'_> {
    /// The first special token from `from` on. `control`: control tokens too, not only
    /// user-defined ones.
    pub(super) fn next(
        &self,
        vocabulary: &Vocabulary<'_>,
        text: &[u8],
        from: usize,
        control: bool,
    ) -> Option<Match> {
        if !control && !self.filter.any_user_defined {
            return None;
        }
        let mut start = from;
        loop {
            let rest = text.get(start..)?;
            let begins = |&byte: &u8| self.lengths.get(usize::from(byte)) > Some(&0);
            start += rest.iter().position(begins)?;
            if let Some((id, len)) = self.longest(vocabulary, text.get(start..)?, control) {
                return Some(Match { start, end: start + len, id });
            }
            start += 1;
        }
    }

    /// The longest special token that `text` begins with, and its length.
    fn longest(
        &self,
        vocabulary: &Vocabulary<'_>,
        text: &[u8],
        control: bool,
    ) -> Option<(u32, usize)> {
        if text.starts_with(&piece::BLANK)
            && let Some(run) = self.longest_blanks(vocabulary, text)
        {
            return Some(run);
        }
        let mut lengths = *self.lengths.get(usize::from(*text.first()?))? & !BLANK_RUNS;
        let second = text.get(1).copied().unwrap_or_default();
        if self.filter.seconds[usize::from(second / 64)] >> (second % 64) & 1 == 0 {
            lengths &= 1 << 1;
        }
        let found = |len: usize| {
            let text = text.get(..len)?;
            let id = vocabulary.find_other(text)?;
            let kind = vocabulary.kind(id)?;
            let is_matched = match kind {
                TokenKind::UserDefined => !self.filter.is_blanks(kind, text),
                TokenKind::Control => control,
                TokenKind::Unknown => control && id == self.unknown,
                _ => false,
            };
            is_matched.then_some((id, len))
        };
        if lengths & 1 == 1
            && let Some(found) = (LONG..=MAX_LEN).rev().find_map(found)
        {
            return Some(found);
        }
        lengths &= !1;
        while lengths != 0 {
            let len = lengths.ilog2() as usize;
            if let Some(found) = found(len) {
                return Some(found);
            }
            lengths &= !(1 << len);
        }
        None
    }

    /// The longest piece of blanks that is written, as ▁, at the beginning of `text`.
    fn longest_blanks(&self, vocabulary: &Vocabulary<'_>, text: &[u8]) -> Option<(u32, usize)> {
        let run = text.chunks(piece::BLANK.len()).take(63);
        let run = run.take_while(|chunk| **chunk == piece::BLANK).count();
        let len = (1..=run).rev().find(|len| self.filter.blank_runs >> len & 1 == 1)?;
        let id = vocabulary.find_other([b' '; 64].get(..len)?)?;
        Some((id, len * piece::BLANK.len()))
    }
}

impl Filter {
    /// Whether a token is a piece of blanks only. User-defined pieces have them as such.
    fn is_blanks(&self, kind: TokenKind, text: &[u8]) -> bool {
        self.spelling == Spelling::Pieces
            && kind == TokenKind::UserDefined
            && text.iter().all(|&byte| byte == b' ')
    }
}
