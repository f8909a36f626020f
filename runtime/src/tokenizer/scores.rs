//! The pieces of a SentencePiece vocabulary: any two whose texts in a row are a piece merge, the
//! better piece first.

use mote_formats::gguf::{Array, Elements};

use super::error::LoadError;
use super::load::Token;
use super::merge::{NO_RANK, NO_TOKEN, Pairs};
use super::vocabulary::{TokenKind, Vocabulary};
use super::{MAX_MERGES, keys, piece};
use crate::memory::{Carver, Measure, TooSmall};

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
pub(super) struct Source<'a> {
    /// For each token; or nothing.
    list: Elements<'a, f32>,
    /// In their place a list of merges, two texts each: the earlier a piece is made, the better it is.
    merges: Option<Array<'a>>,
    tokens: usize,
}

impl<'a> Source<'a> {
    pub(super) fn new(scores: Option<Array<'a>>, tokens: usize) -> Result<Self, LoadError> {
        let scores = scores.ok_or(LoadError::Missing(keys::SCORES))?;
        let list = scores.elements::<f32>().ok_or(LoadError::WrongType(keys::SCORES))?;
        if scores.len() != tokens {
            return Err(LoadError::Length { key: keys::SCORES, found: scores.len(), tokens });
        }
        Ok(Source { list, merges: None, tokens })
    }

    /// Of a file that has merges.
    pub(super) fn of_merges(merges: Option<Array<'a>>, tokens: usize) -> Result<Self, LoadError> {
        let merges = merges.ok_or(LoadError::Missing(keys::MERGES))?;
        if merges.strings().is_none() && !merges.is_empty() {
            return Err(LoadError::WrongType(keys::MERGES));
        }
        if merges.len() > MAX_MERGES {
            return Err(LoadError::TooManyMerges(merges.len()));
        }
        Ok(Source { list: Elements::EMPTY, merges: Some(merges), tokens })
    }

    /// The scores by id, where the file lists them.
    pub(super) fn list(&self) -> Elements<'a, f32> {
        self.list
    }

    pub(super) fn measure_notes(&self, memory: &mut Measure) {
        memory.add::<u32>(256);
    }

    pub(super) fn measure(&self, memory: &mut Measure) {
        memory.add::<f32>(self.n_made());
        memory.add::<u32>(self.tokens).add::<u32>(self.tokens).add::<u32>(256);
    }

    /// Scores that are made.
    fn n_made(&self) -> usize {
        if self.merges.is_some() { self.tokens } else { 0 }
    }

    /// Gives each piece the rank of the first merge that makes it, below zero. What no merge makes comes
    /// after, and what is no piece is left alone.
    fn make(&self, vocabulary: &Vocabulary<'a>, made: &mut [f32]) -> Result<(), LoadError> {
        let Some(merges) = self.merges else { return Ok(()) };
        made.fill(f32::NEG_INFINITY);
        for (rank, merge) in merges.strings().into_iter().flatten().enumerate() {
            let merge = merge.as_bytes();
            let blank = merge.iter().position(|&byte| byte == b' ');
            let halves = blank.map(|blank| (&merge[..blank], &merge[blank + 1..]));
            let whole = |half: &&[u8]| !half.is_empty();
            let (left, right) = halves
                .filter(|(left, right)| whole(left) && whole(right))
                .ok_or(LoadError::MergeForm(rank))?;
            let id = vocabulary.find_joined_piece(left, right);
            if let Some(score) = id.and_then(|id| made.get_mut(id as usize))
                && *score == f32::NEG_INFINITY
            {
                *score = -(rank as f32);
            }
        }
        for (id, score) in made.iter_mut().enumerate().filter(|(_, score)| score.is_infinite()) {
            *score = -((merges.len() + id) as f32);
        }
        Ok(())
    }

    pub(super) fn load(
        &self,
        vocabulary: &Vocabulary<'a>,
        notes: Notes<'a>,
        memory: &mut Carver<'a>,
    ) -> Result<Pieces<'a>, LoadError> {
        let made = memory.take::<f32>(self.n_made())?;
        let order = memory.take::<u32>(self.tokens)?;
        let ranks = memory.take::<u32>(self.tokens)?;
        let units = memory.take::<u32>(256)?;
        self.make(vocabulary, made)?;
        Order { scores: self.list, made, vocabulary }.fill(order, ranks)?;
        for (byte, unit) in units.iter_mut().enumerate() {
            *unit = vocabulary.find_merged(&[byte as u8]).unwrap_or(NO_TOKEN);
        }
        let Notes { bytes, before_blank } = notes;
        Ok(Pieces { vocabulary: *vocabulary, order, ranks, units, bytes, before_blank })
    }
}

/// What is noted while the tokens are read.
pub(super) struct Notes<'a> {
    /// The token of type byte for each byte.
    bytes: &'a mut [u32],
    /// Bytes that a piece has before a blank inside it, one bit each.
    before_blank: [u64; 4],
}

impl<'a> Notes<'a> {
    pub(super) fn new(memory: &mut Carver<'a>) -> Result<Self, TooSmall> {
        let bytes = memory.take::<u32>(256)?;
        bytes.fill(NO_TOKEN);
        Ok(Notes { bytes, before_blank: [0; 4] })
    }

    #[inline]
    pub(super) fn add(&mut self, token: Token<'_>) {
        let Token { id, kind, text, may_have_blanks } = token;
        match kind {
            TokenKind::Normal | TokenKind::UserDefined if may_have_blanks => self.add_blanks(text),
            TokenKind::Byte => {
                let byte = piece::byte_value(text);
                if let Some(token) = byte.and_then(|byte| self.bytes.get_mut(usize::from(byte)))
                    && *token == NO_TOKEN
                {
                    *token = id;
                }
            }
            _ => {}
        }
    }

    /// Notes the bytes that come before blanks inside a piece.
    fn add_blanks(&mut self, text: &[u8]) {
        let mut before = None;
        for byte in piece::bytes(text) {
            if let Some(before) = before.filter(|_: &u8| byte == b' ') {
                self.before_blank[usize::from(before / 64)] |= 1 << (before % 64);
            }
            before = Some(byte);
        }
    }
}

/// The order of tokens: those that are not of the normal kind first (user-defined ones, and what
/// is never made), by id; then the normal ones by score.
struct Order<'v, 'a> {
    scores: Elements<'a, f32>,
    /// In their place, if there are any.
    made: &'v [f32],
    vocabulary: &'v Vocabulary<'a>,
}

impl Order<'_, '_> {
    /// Fills one slice with the ids in order, the other with the place of each.
    fn fill(&self, order: &mut [u32], ranks: &mut [u32]) -> Result<(), LoadError> {
        let ids = 0..self.vocabulary.len() as u32;
        let others = ids.filter(|&id| !self.is_normal(id)).count();
        let (mut other, mut normal) = (0, others);
        // Nearly every vocabulary has its normal tokens in order: this pass is all it takes.
        let mut before = 0;
        let mut in_order = true;
        for id in 0..self.vocabulary.len() as u32 {
            let score = self.score(id);
            if !score.is_finite() {
                return Err(LoadError::Score(id));
            }
            let place = if self.is_normal(id) {
                let key = key(id, score);
                in_order &= before < key;
                before = key;
                &mut normal
            } else {
                &mut other
            };
            order[*place] = id;
            ranks[id as usize] = *place as u32;
            *place += 1;
        }
        if !in_order {
            self.sort(&mut order[others..], &mut ranks[others..]);
            for (rank, &id) in order.iter().enumerate() {
                ranks[id as usize] = rank as u32;
            }
        }
        Ok(())
    }

    /// Sorts normal tokens: the ascending runs that there are get merged. Uses a second slice of
    /// the same length.
    fn sort(&self, ids: &mut [u32], spare: &mut [u32]) {
        loop {
            let mut done = 0;
            let mut merges = 0;
            while done < ids.len() {
                let middle = self.run_end(ids, done);
                let end = self.run_end(ids, middle);
                self.merge(&ids[done..middle], &ids[middle..end], &mut spare[done..end]);
                done = end;
                merges += 1;
            }
            ids.copy_from_slice(spare);
            if merges <= 1 {
                return;
            }
        }
    }

    fn run_end(&self, ids: &[u32], start: usize) -> usize {
        let rest = ids.get(start..).unwrap_or_default();
        let in_order = |pair: &&[u32]| self.key(pair[0]) < self.key(pair[1]);
        let steps = rest.windows(2).take_while(in_order).count();
        (start + steps + 1).min(ids.len())
    }

    fn merge(&self, left: &[u32], right: &[u32], out: &mut [u32]) {
        let mut left = left.iter().map(|&id| (self.key(id), id)).peekable();
        let mut right = right.iter().map(|&id| (self.key(id), id)).peekable();
        for place in out {
            let next = match (left.peek(), right.peek()) {
                (Some(a), Some(b)) if b < a => right.next(),
                (None, _) => right.next(),
                _ => left.next(),
            };
            if let Some((_, id)) = next {
                *place = id;
            }
        }
    }

    fn is_normal(&self, id: u32) -> bool {
        self.vocabulary.kind(id) == Some(TokenKind::Normal)
    }

    fn key(&self, id: u32) -> u64 {
        key(id, self.score(id))
    }

    #[inline]
    fn score(&self, id: u32) -> f32 {
        let made = self.made.get(id as usize).copied();
        made.or_else(|| self.scores.get(id as usize)).unwrap_or_default()
    }
}

/// Ascends as a score falls; for equal scores, with the id.
#[inline]
fn key(id: u32, score: f32) -> u64 {
    // Zero is added so that -0.0 is 0.0. As numbers, the bits of negative floats ascend as the
    // float falls.
    let bits = (score + 0.0).to_bits();
    let descending = if bits >> 31 == 1 { bits } else { !(bits | 1 << 31) };
    u64::from(descending) << 32 | u64::from(id)
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
