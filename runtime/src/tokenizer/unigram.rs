//! Unigram (Kudo 2018), SentencePiece's other model, of T5 and its kin: of all ways to cut a text into
//! pieces the one whose scores have the largest sum.
//!
//! The text is normalized first: characters by the [map](super::charsmap) of the file, blanks become
//! ▁, of several one is left where the file says so, and one is put before the text.

use mote_formats::gguf::Elements;

use super::characters::decode;
use super::charsmap::Charsmap;
use super::error::{EncodeError, LoadError};
use super::longest::{self, Longest};
use super::piece;
use super::scratch::Scratch;
use super::vocabulary::{TokenKind, Vocabulary};
use crate::memory::{Carver, Measure};

/// How much less an unknown character counts than the piece that counts least.
const PENALTY: f64 = 10.0;

/// Pieces with scores.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unigram<'a> {
    scores: Elements<'a, f32>,
    pieces: Longest<'a>,
    normalizer: Normalizer<'a>,
    unknown_score: f64,
    unknown: u32,
}

/// What is done with a text first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Normalizer<'a> {
    pub(super) charsmap: Charsmap<'a>,
    /// A blank is put before a text.
    pub(super) prefix: bool,
    /// Blanks around a text are left out, and all but one between words.
    pub(super) merges_blanks: bool,
}

impl<'a> Unigram<'a> {
    /// `scores` has one for each token, `unknown` is one.
    pub(super) fn new(
        vocabulary: &Vocabulary<'a>,
        scores: Elements<'a, f32>,
        normalizer: Normalizer<'a>,
        unknown: u32,
        memory: &mut Carver<'a>,
    ) -> Result<Self, LoadError> {
        let mut least = f64::INFINITY;
        for (id, score) in (0..).zip(scores.iter()) {
            if !score.is_finite() {
                return Err(LoadError::Score(id));
            }
            if vocabulary.kind(id) == Some(TokenKind::Normal) {
                least = least.min(f64::from(score));
            }
        }
        let mut pieces = longest::Builder::new(vocabulary.len(), memory)?;
        for id in 0..vocabulary.len() as u32 {
            if let Some(TokenKind::Normal | TokenKind::UserDefined | TokenKind::Unused) =
                vocabulary.kind(id)
            {
                pieces.add(id, vocabulary.place(id));
            }
        }
        let pieces = pieces.finish(vocabulary.file.bytes());
        let least = if least.is_finite() { least } else { 0.0 };
        Ok(Unigram { scores, pieces, normalizer, unknown_score: least - PENALTY, unknown })
    }

    /// Whether a blank is put before a text.
    pub(super) fn adds_space_prefix(&self) -> bool {
        self.normalizer.prefix
    }

    /// Bytes of scratch that do for every text of that length.
    pub(super) fn scratch_bytes(&self, len: usize) -> usize {
        // Of one byte at most the longest text comes, or a ▁ and three bytes of U+FFFD.
        let growth = self.normalizer.charsmap.longest().saturating_mul(3).max(6);
        let normal = len.saturating_mul(growth).saturating_add(piece::BLANK.len());
        normal.saturating_add(paths_bytes(normal))
    }

    /// Calls `push` with the tokens of a text.
    pub(super) fn encode(
        &self,
        vocabulary: &Vocabulary<'_>,
        text: &[u8],
        scratch: Scratch<'_>,
        mut push: impl FnMut(u32),
    ) -> Result<(), EncodeError> {
        let mut len = 0usize;
        self.normalizer.run(text, |bytes| len = len.saturating_add(bytes.len()));
        // Places are kept as u32.
        if len >= u32::MAX as usize {
            return Err(EncodeError::TextTooLong { len: text.len() });
        }
        let (normal, mut scratch) = scratch.split(len)?;
        let mut rest = &mut normal[..];
        self.normalizer.run(text, |bytes| {
            if let Some((place, after)) =
                core::mem::take(&mut rest).split_at_mut_checked(bytes.len())
            {
                place.copy_from_slice(bytes);
                rest = after;
            }
        });
        // A ▁ of the text itself is a blank too, where blanks at the end are left out.
        while self.normalizer.merges_blanks && normal[..len].ends_with(&piece::BLANK) {
            len -= piece::BLANK.len();
        }
        let normal = &normal[..len];
        let mut memory = scratch.carver(paths_bytes(len))?;
        let mut paths = Paths {
            sums: memory.take(len + 1)?,
            tokens: memory.take(len + 1)?,
            links: memory.take(len + 1)?,
        };
        self.find(vocabulary, normal, &mut paths);
        paths.turn(len);
        let mut after_unknown = false;
        let mut at = 0;
        while at < len {
            at = paths.links[at] as usize;
            let id = paths.tokens[at];
            // Unknown characters in a row are one token.
            if !(after_unknown && id == self.unknown) {
                push(id);
            }
            after_unknown = id == self.unknown;
        }
        Ok(())
    }

    /// Viterbi's algorithm: the best last piece of every beginning of the text.
    fn find(&self, vocabulary: &Vocabulary<'_>, text: &[u8], paths: &mut Paths<'_>) {
        paths.sums.fill(f64::NEG_INFINITY);
        paths.sums[0] = 0.0;
        let mut start = 0;
        while start < text.len() {
            let character_end = start + decode(text, start).1;
            let sum = paths.sums[start];
            let mut is_covered = false;
            for (id, len) in self.pieces.beginnings(text.get(start..).unwrap_or_default()) {
                let end = start + len;
                is_covered |= end == character_end;
                paths.offer(start, end, id, sum + self.score(vocabulary, id));
            }
            if !is_covered {
                paths.offer(start, character_end, self.unknown, sum + self.unknown_score);
            }
            start = character_end;
        }
    }

    /// Of user-defined pieces 0, which is more than any other has.
    fn score(&self, vocabulary: &Vocabulary<'_>, id: u32) -> f64 {
        match vocabulary.kind(id) {
            Some(TokenKind::UserDefined) => 0.0,
            _ => f64::from(self.scores.get(id as usize).unwrap_or_default()),
        }
    }
}

/// For each place in a text the best way to it.
struct Paths<'s> {
    sums: &'s mut [f64],
    /// The piece that ends there.
    tokens: &'s mut [u32],
    /// Where that begins; after [`turn`](Self::turn), where the one that begins there ends.
    links: &'s mut [u32],
}

fn paths_bytes(len: usize) -> usize {
    let mut memory = Measure::default();
    let places = len.saturating_add(1);
    memory.add::<f64>(places).add::<u32>(places).add::<u32>(places);
    memory.bytes()
}

impl Paths<'_> {
    fn offer(&mut self, start: usize, end: usize, id: u32, sum: f64) {
        if sum > self.sums[end] {
            self.sums[end] = sum;
            self.tokens[end] = id;
            self.links[end] = start as u32;
        }
    }

    /// Turns the links of the best way to `end` around.
    fn turn(&mut self, end: usize) {
        let (mut at, mut after) = (end, end);
        while at > 0 {
            let before = self.links[at] as usize;
            self.links[at] = after as u32;
            (after, at) = (at, before);
        }
        self.links[0] = after as u32;
    }
}

impl Normalizer<'_> {
    /// Calls `write` with the parts of a text after normalization.
    fn run(&self, text: &[u8], mut write: impl FnMut(&[u8])) {
        let mut is_begun = false;
        let mut in_word = false;
        let mut at = 0;
        while at < text.len() {
            let rest = text.get(at..).unwrap_or_default();
            let (len, part) = match self.charsmap.find(rest) {
                Some(found) => found,
                None => match decode(text, at) {
                    (Some(_), len) => (len, rest.get(..len).unwrap_or_default()),
                    (None, len) => (len, "\u{FFFD}".as_bytes()),
                },
            };
            at += len;
            for bytes in part.chunk_by(|&a, &b| a != b' ' && b != b' ') {
                if bytes == b" " {
                    in_word = false;
                    if !self.merges_blanks {
                        write(&piece::BLANK);
                    }
                    continue;
                }
                if !in_word && (self.merges_blanks || self.prefix && !is_begun) {
                    // Words after the first have a blank before them; the first, if one is put there.
                    if is_begun || self.prefix {
                        write(&piece::BLANK);
                    }
                    is_begun = true;
                }
                in_word = true;
                write(bytes);
            }
        }
    }
}
