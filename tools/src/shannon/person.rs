//! The game as people play it, a line of guesses at a time.

use std::io::{BufRead, BufReader};

use super::bounds::Ranks;
use super::letters::{Answer, Turn, shown};
use crate::failure::{Failure, Result};
use crate::streams::Streams;

/// Symbols of the text so far that are shown.
const SHOWN: usize = 64;

const RULES: &str = "\
Guess the next letter: type it and Enter. _ is the blank between words. Several letters in a line
are guesses one after the other. A dot ends the game.";

/// Lets somebody guess every letter of `text` behind the `known` first ones. The conversation goes to
/// the errors; it ends with the text, with the input, or by a dot.
pub fn play(text: &[u8], known: usize, streams: &mut Streams<'_>) -> Result<Ranks> {
    let mut ranks = Ranks::default();
    let mut input = BufReader::new(&mut *streams.input);
    writeln!(streams.errors, "{RULES}")?;
    for place in known..text.len() {
        let mut turn = Turn::new(text[place]);
        let seen = shown(&text[place.saturating_sub(SHOWN)..place]);
        let guesses = loop {
            write!(streams.errors, "{seen}? ")?;
            streams.errors.flush()?;
            let mut line = Vec::new();
            let read = input.read_until(b'\n', &mut line);
            read.map_err(|error| Failure::io(error).at_input())?;
            let line = String::from_utf8_lossy(&line);
            if line.is_empty() || line.trim_end() == "." {
                return Ok(ranks);
            }
            match answer(&mut turn, line.trim_end_matches(['\n', '\r'])) {
                Answer::Right(guesses) => break guesses,
                Answer::Wrong => writeln!(streams.errors, "no")?,
                Answer::Again => writeln!(streams.errors, "that was tried")?,
                Answer::NoSymbol => writeln!(streams.errors, "a letter, or _ for the blank")?,
            }
        };
        let times = if guesses == 1 { "guess" } else { "guesses" };
        writeln!(streams.errors, "yes, {guesses} {times}")?;
        ranks.add(guesses);
    }
    Ok(ranks)
}

/// The guesses of a line, until one is right. What is behind it counts no more.
fn answer(turn: &mut Turn, line: &str) -> Answer {
    let mut last = Answer::NoSymbol;
    for guess in line.chars() {
        last = turn.guess(guess);
        if matches!(last, Answer::Right(_)) {
            break;
        }
    }
    last
}
