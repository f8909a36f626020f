//! Tokens to pieces of text: whole characters, cut before the first stop string.

use crate::error::SessionError;
use crate::memory::TooSmall;
use crate::tokenizer::{DecodeError, Decoder};

/// Turns the tokens of a text into pieces that may be shown: the beginning of a character, or of what
/// could become a stop string, is held back until it is certain. Its memory is lent.
#[derive(Debug)]
pub struct Pieces<'t, 'm> {
    decoder: Decoder<'m>,
    /// `text[..shown]` is the last piece, `text[shown..len]` is held back.
    text: &'t mut [u8],
    shown: usize,
    len: usize,
}

impl<'t, 'm> Pieces<'t, 'm> {
    /// Bytes that [`Pieces::new`] needs for stop strings of at most `longest_stop` bytes: what is held
    /// back, one token's text, and the end of the last character.
    pub fn bytes_needed(decoder: &Decoder<'_>, longest_stop: usize) -> usize {
        longest_stop + decoder.max_text_bytes() + 3
    }

    /// Before the first token.
    pub fn new(decoder: Decoder<'m>, text: &'t mut [u8]) -> Self {
        Pieces { decoder, text, shown: 0, len: 0 }
    }

    /// Forgets what is held back, and starts another text.
    pub fn restart(&mut self, decoder: Decoder<'m>) {
        (self.decoder, self.shown, self.len) = (decoder, 0, 0);
    }

    /// Decodes a token, and decides how much of the text is certain; `ends` if no token follows.
    /// Returns whether one of the stop strings came (none is empty); the text ends before it.
    pub fn push<'s>(
        &mut self,
        id: u32,
        stops: impl Iterator<Item = &'s [u8]> + Clone,
        ends: bool,
    ) -> Result<bool, SessionError> {
        self.text.copy_within(self.shown..self.len, 0);
        self.len -= self.shown;
        self.shown = 0;
        let room = self.text.get_mut(self.len..).unwrap_or_default();
        let mut pushed = self.decoder.push(id, room).map_err(decoding)?;
        if ends {
            let room = room.get_mut(pushed..).unwrap_or_default();
            pushed += self.decoder.finish(room).map_err(decoding)?;
        }
        self.len += pushed;
        let text = self.text.get(..self.len).unwrap_or_default();
        let stop = first_of(text, stops.clone());
        match stop {
            Some(at) => (self.shown, self.len) = (at, at),
            None if ends => self.shown = self.len,
            None => self.shown = self.len - begun(text, stops),
        }
        Ok(stop.is_some())
    }

    /// The piece that the last token made certain. It may belong to earlier tokens.
    pub fn text(&self) -> &str {
        let shown = self.text.get(..self.shown).unwrap_or_default();
        core::str::from_utf8(shown).unwrap_or_default()
    }
}

fn decoding(error: DecodeError) -> SessionError {
    match error {
        DecodeError::UnknownId(id) => SessionError::Token(id),
        DecodeError::OutputTooSmall { needed } => TooSmall { needed, given: 0 }.into(),
    }
}

/// Where the first of the stop strings begins.
fn first_of<'s>(text: &[u8], stops: impl Iterator<Item = &'s [u8]>) -> Option<usize> {
    let at = |stop: &[u8]| text.windows(stop.len().max(1)).position(|window| window == stop);
    stops.filter_map(at).min()
}

/// How many bytes at the end of the text could be the beginning of a stop string.
fn begun<'s>(text: &[u8], stops: impl Iterator<Item = &'s [u8]>) -> usize {
    let begun = |stop: &[u8]| {
        let begins = |&len: &usize| stop.get(..len).is_some_and(|begun| text.ends_with(begun));
        (1..stop.len().min(text.len() + 1)).rev().find(begins).unwrap_or(0)
    };
    stops.map(begun).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stops<'a>(stops: &'a [&'a str]) -> impl Iterator<Item = &'a [u8]> {
        stops.iter().map(|stop| stop.as_bytes())
    }

    #[test]
    fn the_first_stop_string_ends_the_text() {
        assert_eq!(first_of(b"one two three", stops(&["three", "two"])), Some(4));
        assert_eq!(first_of(b"one", stops(&["none", "one!"])), None);
        assert_eq!(first_of(b"one", stops(&[])), None);
    }

    #[test]
    fn what_may_become_a_stop_string_is_held_back() {
        assert_eq!(begun(b"a line\n", stops(&["\n\n"])), 1);
        assert_eq!(begun(b"ab", stops(&["abc", "b?"])), 2);
        assert_eq!(begun(b"aaaa", stops(&["aab"])), 2);
        assert_eq!(begun(b"text", stops(&["x"])), 0);
        assert_eq!(begun(b"", stops(&["stop"])), 0);
    }
}
