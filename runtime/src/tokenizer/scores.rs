//! The pieces of a SentencePiece vocabulary: any two whose texts in a row are a piece merge, the
//! better piece first.

use mote_formats::gguf::{Array, Elements};

use super::error::LoadError;
use super::merge::{NO_RANK, NO_TOKEN, Pairs};
use super::vocabulary::{TokenKind, Vocabulary};
use super::{keys, piece};
use crate::memory::{Carver, Measure};

/// Which pieces merge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pieces<'a> {
    vocabulary: Vocabulary<'a>,
    /// All tokens in the order in which they are made: user-defined pieces first, whatever score
    /// the file gives them, then by falling score; of equal scores, the lower id first. Hugging
    /// Face orders its merges so; SentencePiece, which takes the leftmost of equal scores, differs
    /// only in runs of blanks.
    order: &'a [u32],
    /// The place of each token in `order`.
    ranks: &'a [u32],
    /// The piece of each character of one byte.
    units: &'a [u32],
    /// The token of type byte for each byte.
    bytes: &'a [u32],
    /// Bytes that a piece has before a blank inside it, one bit each. A blank after any other
    /// byte begins a new word: no merge reaches across.
    before_blank: [u64; 4],
}

/// The scores in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a>(Elements<'a, f32>);

impl<'a> Source<'a> {
    pub(super) fn new(scores: Option<Array<'a>>, tokens: usize) -> Result<Self, LoadError> {
        let scores = scores.ok_or(LoadError::Missing(keys::SCORES))?;
        let list = scores.elements::<f32>().ok_or(LoadError::WrongType(keys::SCORES))?;
        if scores.len() != tokens {
            return Err(LoadError::Length { key: keys::SCORES, found: scores.len(), tokens });
        }
        match list.iter().position(|score| !score.is_finite()) {
            Some(id) => Err(LoadError::Score(id as u32)),
            None => Ok(Source(list)),
        }
    }

    pub(super) fn measure(&self, memory: &mut Measure) {
        memory.add::<u32>(self.0.len()).add::<u32>(self.0.len()).add::<u32>(256).add::<u32>(256);
    }

    pub(super) fn load(
        &self,
        vocabulary: &Vocabulary<'a>,
        memory: &mut Carver<'a>,
    ) -> Result<Pieces<'a>, LoadError> {
        let order = memory.take::<u32>(self.0.len())?;
        let ranks = memory.take::<u32>(self.0.len())?;
        let units = memory.take::<u32>(256)?;
        let bytes = memory.take::<u32>(256)?;
        let (order, ranks) = Sort { scores: self.0, vocabulary }.all(order, ranks);
        for (rank, &id) in order.iter().enumerate() {
            ranks[id as usize] = rank as u32;
        }
        for (byte, unit) in units.iter_mut().enumerate() {
            *unit = vocabulary.find_merged(&[byte as u8]).unwrap_or(NO_TOKEN);
        }
        bytes.fill(NO_TOKEN);
        let mut before_blank = [0; 4];
        for id in 0..vocabulary.len() as u32 {
            match vocabulary.kind(id) {
                Some(TokenKind::Byte) => {
                    let byte = piece::byte_value(vocabulary.text(id));
                    if let Some(token) = byte.and_then(|byte| bytes.get_mut(usize::from(byte)))
                        && *token == NO_TOKEN
                    {
                        *token = id;
                    }
                }
                Some(kind) if vocabulary.spelling().merges(kind) => {
                    note_blanks(vocabulary.text(id), &mut before_blank);
                }
                _ => {}
            }
        }
        Ok(Pieces { vocabulary: *vocabulary, order, ranks, units, bytes, before_blank })
    }
}

/// A merge sort of the runs that there are; most vocabularies are a few runs.
struct Sort<'v, 'a> {
    scores: Elements<'a, f32>,
    vocabulary: &'v Vocabulary<'a>,
}

impl Sort<'_, '_> {
    /// Fills the first of two slices of one length with all ids in order, and returns both.
    fn all<'s>(&self, from: &'s mut [u32], to: &'s mut [u32]) -> (&'s mut [u32], &'s mut [u32]) {
        let (mut from, mut to) = (from, to);
        for (id, place) in from.iter_mut().enumerate() {
            *place = id as u32;
        }
        loop {
            let mut done = 0;
            let mut runs = 0;
            while done < from.len() {
                let middle = self.run_end(from, done);
                let end = self.run_end(from, middle);
                self.merge(&from[done..middle], &from[middle..end], &mut to[done..end]);
                done = end;
                runs += 1;
            }
            (from, to) = (to, from);
            if runs <= 1 {
                return (from, to);
            }
        }
    }

    fn run_end(&self, ids: &[u32], start: usize) -> usize {
        let rest = ids.get(start..).unwrap_or_default();
        let Some((&first, rest)) = rest.split_first() else { return start };
        let mut before = self.key(first);
        let in_order = |&&id: &&u32| {
            let key = self.key(id);
            core::mem::replace(&mut before, key) < key
        };
        start + 1 + rest.iter().take_while(in_order).count()
    }

    fn merge<'r>(&self, mut left: &'r [u32], mut right: &'r [u32], out: &mut [u32]) {
        for place in out {
            let from = match (left.first(), right.first()) {
                (Some(&a), Some(&b)) if self.key(b) < self.key(a) => &mut right,
                (Some(_), _) => &mut left,
                _ => &mut right,
            };
            if let Some((&first, rest)) = from.split_first() {
                *place = first;
                *from = rest;
            }
        }
    }

    /// The place in the order, as a number: first what is no normal piece, which is user-defined
    /// or never made.
    #[inline]
    fn key(&self, id: u32) -> u64 {
        let is_normal = self.vocabulary.kind(id) == Some(TokenKind::Normal);
        // Zero is added so that -0.0 is 0.0.
        let bits = (self.scores.get(id as usize).unwrap_or_default() + 0.0).to_bits();
        // Ascending with the score: negative floats grow with their magnitude as numbers.
        let ascending = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
        let place = if is_normal { !ascending } else { 0 };
        u64::from(place) << 32 | u64::from(id)
    }
}

impl Pieces<'_> {
    /// The piece of a character.
    pub(super) fn find(&self, character: &[u8]) -> u32 {
        match *character {
            [byte] => self.unit(byte),
            _ => self.vocabulary.find_merged(character).unwrap_or(NO_TOKEN),
        }
    }

    /// The token of a byte that no piece covers.
    pub(super) fn byte(&self, byte: u8) -> Option<u32> {
        self.bytes.get(usize::from(byte)).copied().filter(|&id| id != NO_TOKEN)
    }

    /// The end of the word that begins at `start`: up to a blank that begins another.
    pub(super) fn word_end(&self, text: &[u8], start: usize) -> usize {
        let joins = |byte: u8| self.before_blank[usize::from(byte / 64)] >> (byte % 64) & 1 == 1;
        let rest = text.get(start..).unwrap_or_default();
        let begins_word = |pair: &[u8]| pair[1] == b' ' && !joins(pair[0]);
        rest.windows(2).position(begins_word).map_or(text.len(), |place| start + place + 1)
    }
}

impl Pairs for Pieces<'_> {
    const NEEDS_TEXT: bool = true;

    fn ranks(&self) -> usize {
        self.order.len()
    }

    /// A character that is no piece merges with nothing, even if the two would be one: so does
    /// Hugging Face, and SentencePiece's trainer makes no such vocabulary.
    #[inline]
    fn rank(&self, left: u32, right: u32, joined: &[u8]) -> u32 {
        if left == NO_TOKEN || right == NO_TOKEN {
            return NO_RANK;
        }
        let id = self.vocabulary.find_merged(joined);
        id.and_then(|id| self.ranks.get(id as usize).copied()).unwrap_or(NO_RANK)
    }

    #[inline]
    fn token(&self, rank: u32) -> u32 {
        self.order.get(rank as usize).copied().unwrap_or(NO_TOKEN)
    }

    #[inline]
    fn unit(&self, byte: u8) -> u32 {
        self.units.get(usize::from(byte)).copied().unwrap_or(NO_TOKEN)
    }
}

/// Notes the bytes that come before blanks inside a piece.
fn note_blanks(text: &[u8], before_blank: &mut [u64; 4]) {
    let mut from = 1;
    while let Some(blank) = next_blank(text, from) {
        // What is before is a ▁ too, or the last byte of another character.
        let before = match text.get(..blank) {
            Some(before) if before.ends_with(&piece::BLANK) => b' ',
            before => before.and_then(<[u8]>::last).copied().unwrap_or(b' '),
        };
        before_blank[usize::from(before / 64)] |= 1 << (before % 64);
        from = blank + 1;
    }
}

/// Where the next ▁ or blank begins, from `from` on. User-defined pieces have blanks as such.
fn next_blank(text: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let rest = text.get(from..)?;
        from += rest.iter().position(|&byte| byte == b' ' || byte == piece::BLANK[0])?;
        match text.get(from..)? {
            [b' ', ..] => return Some(from),
            rest if rest.starts_with(&piece::BLANK) => return Some(from),
            _ => from += 1,
        }
    }
}
