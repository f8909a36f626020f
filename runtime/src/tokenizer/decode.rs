//! From ids to text, one at a time.

use super::error::DecodeError;
use super::vocabulary::{Spelling, TokenKind};
use super::{Model, Tokenizer, alphabet, piece, world};

/// How tokens are written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Control and unknown tokens are left out. Otherwise they are written as the vocabulary spells
    /// them: `</s>`.
    pub skip_special: bool,
    /// The first token begins a text, so that the blank which the tokenizer put before it is taken
    /// off again (vocabularies that add none are not affected). Off for what continues a text.
    pub text_start: bool,
    /// Bytes are passed on as they are, complete characters or not.
    pub raw: bool,
}

/// Turns a stream of ids into a stream of text.
///
/// A character may be spread over several tokens. What is returned is always complete: the bytes
/// of a character that is not are kept, 3 at most, until the rest comes. Bytes that cannot become
/// UTF-8 any more are written as U+FFFD, one for each maximal part of a character, as
/// [`String::from_utf8_lossy`](https://doc.rust-lang.org/std/string/struct.String.html) does.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    tokenizer: Tokenizer<'a>,
    options: DecodeOptions,
    state: State,
}

/// What a decoder knows between tokens.
#[derive(Clone, Copy, Debug)]
struct State {
    /// Nothing has been written, and the blank at the start is to be taken off.
    strips_blank: bool,
    /// The beginning of a character.
    pending: [u8; 3],
    len: u8,
}

impl Default for DecodeOptions {
    /// A text from its start, without control tokens, in complete characters.
    fn default() -> Self {
        DecodeOptions { skip_special: true, text_start: true, raw: false }
    }
}

impl<'a> Decoder<'a> {
    /// A decoder before its first token.
    pub fn new(tokenizer: &Tokenizer<'a>, options: DecodeOptions) -> Self {
        let strips_blank = options.text_start && tokenizer.adds_space_prefix();
        let state = State { strips_blank, pending: [0; 3], len: 0 };
        Decoder { tokenizer: *tokenizer, options, state }
    }

    /// Writes the text that a token completes, and returns its bytes.
    ///
    /// A buffer of [`max_text_bytes`](Self::max_text_bytes) does for every token.
    pub fn push(&mut self, id: u32, out: &mut [u8]) -> Result<usize, DecodeError> {
        let kind = self.tokenizer.kind(id).ok_or(DecodeError::UnknownId(id))?;
        if self.options.skip_special && matches!(kind, TokenKind::Control | TokenKind::Unknown) {
            return Ok(0);
        }
        let tokenizer = self.tokenizer;
        self.write(out, |state, raw, sink| {
            for byte in tokenizer.bytes_of(id, kind) {
                state.push(byte, raw, sink);
            }
        })
    }

    /// Ends the text: the beginning of a character that is still waiting is written as one U+FFFD.
    /// The decoder can be used again, for a text that continues.
    pub fn finish(&mut self, out: &mut [u8]) -> Result<usize, DecodeError> {
        self.write(out, |state, _, sink| state.flush(sink))
    }

    /// The bytes of a character's beginning that are waiting for its rest.
    pub fn pending(&self) -> &[u8] {
        self.state.pending.get(..usize::from(self.state.len)).unwrap_or_default()
    }

    /// The most that one token can write: every byte of the longest one and every waiting byte
    /// as U+FFFD.
    pub fn max_text_bytes(&self) -> usize {
        (self.tokenizer.max_token_bytes() + 3) * REPLACEMENT.len()
    }

    /// Runs `steps` twice: to count, and to write what fits for sure.
    fn write(
        &mut self,
        out: &mut [u8],
        steps: impl Fn(&mut State, bool, &mut dyn FnMut(u8)),
    ) -> Result<usize, DecodeError> {
        let mut needed = 0;
        let mut trial = self.state;
        steps(&mut trial, self.options.raw, &mut |_| needed += 1);
        let Some(place) = out.get_mut(..needed) else {
            return Err(DecodeError::OutputTooSmall { needed });
        };
        let mut place = place.iter_mut();
        let mut state = self.state;
        steps(&mut state, self.options.raw, &mut |byte| {
            if let Some(place) = place.next() {
                *place = byte;
            }
        });
        self.state = state;
        Ok(needed)
    }
}

/// U+FFFD in UTF-8.
const REPLACEMENT: [u8; 3] = [0xEF, 0xBF, 0xBD];

impl State {
    fn push(&mut self, byte: u8, raw: bool, sink: &mut dyn FnMut(u8)) {
        if core::mem::take(&mut self.strips_blank) && byte == b' ' {
            return;
        }
        if raw {
            return sink(byte);
        }
        // A byte that does not continue what is waiting may begin another character.
        if !self.continues(byte, sink) {
            self.flush(sink);
            self.continues(byte, sink);
        }
    }

    /// Whether a byte continues the character that is waiting. Alone, every byte does: as a character, the
    /// beginning of one, or U+FFFD.
    fn continues(&mut self, byte: u8, sink: &mut dyn FnMut(u8)) -> bool {
        let len = usize::from(self.len);
        let mut bytes = [byte; 4];
        let waiting = bytes.iter_mut().zip(self.pending).take(len);
        waiting.for_each(|(place, waiting)| *place = waiting);
        let character = bytes.get(..=len).unwrap_or_default();
        match core::str::from_utf8(character) {
            Ok(_) => {
                self.len = 0;
                character.iter().for_each(|&byte| sink(byte));
            }
            Err(error) if error.error_len().is_none() && len < 3 => {
                let [pending @ .., _] = bytes;
                self.pending = pending;
                self.len += 1;
            }
            Err(_) if len > 0 => return false,
            Err(_) => REPLACEMENT.into_iter().for_each(sink),
        }
        true
    }

    fn flush(&mut self, sink: &mut dyn FnMut(u8)) {
        if core::mem::take(&mut self.len) > 0 {
            REPLACEMENT.into_iter().for_each(sink);
        }
    }
}

/// Whatever there is of these, in a row.
fn chain(
    byte: Option<u8>,
    spelled: Option<impl Iterator<Item = u8>>,
    piece: Option<impl Iterator<Item = u8>>,
    escaped: Option<impl Iterator<Item = u8>>,
    verbatim: Option<impl Iterator<Item = u8>>,
) -> impl Iterator<Item = u8> {
    byte.into_iter()
        .chain(spelled.into_iter().flatten())
        .chain(piece.into_iter().flatten())
        .chain(escaped.into_iter().flatten())
        .chain(verbatim.into_iter().flatten())
}

/// Whether a blank goes before a token of WordPiece, and its text: before words and marks of the
/// input, but not before punctuation that stands close to the word before it.
fn word_piece(text: &[u8], kind: TokenKind) -> (bool, &[u8]) {
    let word = text.strip_prefix(&piece::BLANK);
    let is_close = word.is_some_and(|word| matches!(word, [b'.' | b',' | b'?' | b'!', ..]));
    let is_text = matches!(kind, TokenKind::Normal | TokenKind::UserDefined);
    ((word.is_some() || !is_text) && !is_close, word.unwrap_or(text))
}

impl<'a> Tokenizer<'a> {
    /// The bytes that a token stands for.
    fn bytes_of(&self, id: u32, kind: TokenKind) -> impl Iterator<Item = u8> + use<'a> {
        let text = self.text(id);
        let is_text = matches!(kind, TokenKind::Normal | TokenKind::Byte);
        let (mut byte, mut spelled, mut piece, mut verbatim) = (None, None, None, None);
        let mut escaped = None;
        if matches!(self.model, Model::WordPieces(_)) {
            let (blank, text) = word_piece(text, kind);
            byte = blank.then_some(b' ');
            verbatim = Some(text.iter().copied());
            return chain(byte, spelled, piece, escaped, verbatim);
        }
        match self.vocabulary.spelling() {
            Spelling::Pieces if kind == TokenKind::Byte => byte = piece::byte_value(text),
            Spelling::Pieces => piece = Some(piece::bytes(text)),
            Spelling::Words => {
                byte = Some(b' ');
                verbatim = Some(text.iter().copied());
            }
            Spelling::Bytes if is_text && alphabet::is_written_in(text) => {
                spelled = Some(alphabet::bytes(text));
            }
            Spelling::Escaped if is_text => escaped = Some(world::bytes(text)),
            Spelling::Bytes | Spelling::Escaped => verbatim = Some(text.iter().copied()),
        }
        chain(byte, spelled, piece, escaped, verbatim)
    }

    /// Writes the bytes that a token stands for and returns their number. They need not be UTF-8:
    /// see [`Decoder`].
    pub fn token_bytes(&self, id: u32, out: &mut [u8]) -> Result<usize, DecodeError> {
        let kind = self.kind(id).ok_or(DecodeError::UnknownId(id))?;
        let mut needed = 0;
        for byte in self.bytes_of(id, kind) {
            if let Some(place) = out.get_mut(needed) {
                *place = byte;
            }
            needed += 1;
        }
        if needed > out.len() {
            return Err(DecodeError::OutputTooSmall { needed });
        }
        Ok(needed)
    }
}
