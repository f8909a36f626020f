//! Shannon's alphabet: 26 letters and the blank.

/// Symbols of the alphabet.
pub const SYMBOLS: usize = 27;

/// The symbols: a blank, then the letters.
pub fn alphabet() -> impl Iterator<Item = u8> {
    [b' '].into_iter().chain(b'a'..=b'z')
}

/// A text in the alphabet: small letters, and one blank for whatever stands between them.
pub fn reduce(text: &[u8]) -> Vec<u8> {
    let mut letters = Vec::with_capacity(text.len());
    for byte in text {
        match byte.to_ascii_lowercase() {
            letter @ b'a'..=b'z' => letters.push(letter),
            _ if letters.last().is_some_and(|&last| last != b' ') => letters.push(b' '),
            _ => {}
        }
    }
    if letters.last() == Some(&b' ') {
        letters.pop();
    }
    letters
}

/// How the alphabet is shown: capitals, as in the paper, and a blank that is seen.
pub fn shown(letters: &[u8]) -> String {
    let show = |&letter: &u8| if letter == b' ' { '_' } else { letter.to_ascii_uppercase().into() };
    letters.iter().map(show).collect()
}

/// A letter that has to be guessed.
#[derive(Clone, Debug)]
pub struct Turn {
    letter: u8,
    tried: Vec<u8>,
}

/// What a guess is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is the letter, after so many guesses.
    Right(usize),
    /// It is another letter.
    Wrong,
    /// It was tried before, and does not count.
    Again,
    /// It is no symbol of the alphabet.
    NoSymbol,
}

impl Turn {
    /// Nothing is tried yet.
    pub fn new(letter: u8) -> Turn {
        Turn { letter, tried: Vec::with_capacity(SYMBOLS) }
    }

    /// A guess: a letter, or `_` or a blank.
    pub fn guess(&mut self, guess: char) -> Answer {
        let symbol = match guess.to_ascii_lowercase() {
            '_' | ' ' => b' ',
            letter @ 'a'..='z' => letter as u8,
            _ => return Answer::NoSymbol,
        };
        if self.tried.contains(&symbol) {
            return Answer::Again;
        }
        self.tried.push(symbol);
        if symbol == self.letter { Answer::Right(self.tried.len()) } else { Answer::Wrong }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_27_symbols() {
        assert_eq!(alphabet().count(), SYMBOLS);
        let text = reduce("  The Cat, \n sat-- on 2 mats! ".as_bytes());
        assert_eq!(text, b"the cat sat on mats");
        assert_eq!(shown(&text[..7]), "THE_CAT");
        assert_eq!(reduce("Étés".as_bytes()), b"t s");
        assert!(reduce(b"").is_empty() && reduce(b" 12 ").is_empty());
    }

    #[test]
    fn guesses_are_counted_once() {
        let mut turn = Turn::new(b' ');
        assert_eq!(turn.guess('E'), Answer::Wrong);
        assert_eq!(turn.guess('e'), Answer::Again);
        assert_eq!(turn.guess('é'), Answer::NoSymbol);
        assert_eq!(turn.guess('t'), Answer::Wrong);
        assert_eq!(turn.guess('_'), Answer::Right(3));
        assert_eq!(Turn::new(b'z').guess('Z'), Answer::Right(1));
    }
}
