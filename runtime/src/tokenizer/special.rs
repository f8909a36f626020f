//! Tokens that are matched in a text before it is cut into words: user-defined ones always, control
//! ones where the caller trusts the text.
//!
//! At each place the longest match wins, from left to right, as for the added tokens of Hugging
//! Face. What is matched is the text as it came, before any normalization.

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

/// Which special tokens there are, and a quick look whether one may begin at a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Specials<'a> {
    /// For each first byte, the lengths of the tokens that begin with it: bit n for n bytes, bit 0
    /// for more than 62.
    lengths: &'a [u64],
    /// The second bytes of all tokens of two bytes or more.
    seconds: [u64; 4],
    /// The unknown token, which is matched like a control token.
    unknown: u32,
    any_user_defined: bool,
    /// Runs of blanks in pieces are spelled ▁▁.
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
    seconds: [u64; 4],
    any_user_defined: bool,
    spelling: Spelling,
}

pub(super) fn measure(memory: &mut Measure) {
    memory.add::<u64>(256);
}

impl<'a> Builder<'a> {
    pub(super) fn new(spelling: Spelling, memory: &mut Carver<'a>) -> Result<Self, TooSmall> {
        let lengths = memory.take::<u64>(256)?;
        lengths.fill(0);
        Ok(Builder { lengths, seconds: [0; 4], any_user_defined: false, spelling })
    }

    /// Notes a token if it is one that is matched in texts.
    #[inline]
    pub(super) fn add(&mut self, token: Token<'_>) {
        let Token { kind, text, .. } = token;
        if !matches!(kind, TokenKind::Control | TokenKind::UserDefined | TokenKind::Unknown) {
            return;
        }
        self.any_user_defined |= kind == TokenKind::UserDefined;
        let (first, second, len) = match blanks(self.spelling, kind, text) {
            Some(len) => (piece::BLANK.first(), piece::BLANK.get(1), len),
            None => (text.first(), text.get(1), text.len()),
        };
        let Some(&first) = first else { return };
        self.lengths[usize::from(first)] |= 1 << if len < LONG { len } else { 0 };
        if let Some(&second) = second {
            self.seconds[usize::from(second / 64)] |= 1 << (second % 64);
        }
    }

    pub(super) fn finish(self, unknown: Option<u32>) -> Specials<'a> {
        let Builder { lengths, seconds, any_user_defined, spelling } = self;
        let unknown = unknown.unwrap_or(NO_TOKEN);
        Specials { lengths, seconds, unknown, any_user_defined, spelling }
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
        if !control && !self.any_user_defined {
            return None;
        }
        let mut start = from;
        loop {
            let rest = text.get(start..)?;
            let has_lengths = |&byte: &u8| self.lengths.get(usize::from(byte)) > Some(&0);
            start += rest.iter().position(has_lengths)?;
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
        let mut lengths = *self.lengths.get(usize::from(*text.first()?))?;
        let second = text.get(1).copied().unwrap_or_default();
        if self.seconds[usize::from(second / 64)] >> (second % 64) & 1 == 0 {
            lengths &= 1 << 1;
        }
        let found = |len: usize| {
            let id = self.find(vocabulary, text.get(..len)?)?;
            let kind = vocabulary.kind(id)?;
            self.is_matched(id, kind, control).then_some((id, len))
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

    /// The special token whose match is exactly `text`.
    fn find(&self, vocabulary: &Vocabulary<'_>, text: &[u8]) -> Option<u32> {
        if self.spelling == Spelling::Pieces && text.starts_with(&piece::BLANK) {
            let mut blanks = [b' '; MAX_LEN];
            let len = piece::copy(text, false, &mut blanks);
            let blanks = blanks.get(..len).filter(|blanks| blanks.iter().all(|&b| b == b' '));
            return blanks.and_then(|blanks| vocabulary.find_other(blanks));
        }
        let id = vocabulary.find_other(text)?;
        let is_blanks = blanks(self.spelling, vocabulary.kind(id)?, text).is_some();
        (!is_blanks).then_some(id)
    }

    fn is_matched(&self, id: u32, kind: TokenKind, control: bool) -> bool {
        match kind {
            TokenKind::UserDefined => true,
            TokenKind::Control => control,
            TokenKind::Unknown => control && id == self.unknown,
            _ => false,
        }
    }
}

/// The length of what a run of blanks matches: in SentencePiece vocabularies it is the piece,
/// written with ▁, that Hugging Face matches; blanks themselves are left to the merges.
fn blanks(spelling: Spelling, kind: TokenKind, text: &[u8]) -> Option<usize> {
    let is_run = spelling == Spelling::Pieces
        && kind == TokenKind::UserDefined
        && text.iter().all(|&byte| byte == b' ');
    is_run.then_some(text.len() * piece::BLANK.len())
}
