//! Text to tokens: words of lines, kept as provisional ids in a temporary file, because standard
//! input cannot be read twice.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use mote_runtime::tokenizer::MAX_TOKEN_BYTES;

use super::Error;
use super::temporary::{Temporary, Writer};
use super::vocabulary::{END, SPECIAL, Words};

/// In the place of an id: a sentence ends here without `</s>`.
pub const BREAK: u32 = u32::MAX;

/// How text is cut.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The whole input is one sentence.
    pub stream: bool,
    /// `<s>`, `</s>` and `<unk>` in the text are blanks, not errors.
    pub skip_symbols: bool,
}

/// The tokens of the text.
pub struct Tokens {
    /// Ids and [`BREAK`]s, four bytes each.
    pub spool: Arc<Temporary>,
    /// What is predicted: all tokens, and `</s>`.
    pub predicted: u64,
    /// Sentences begun.
    pub sentences: u64,
}

/// Writes tokens, as they are found.
pub struct Spool {
    out: Writer,
    predicted: u64,
    sentences: u64,
    /// The sentence has begun, perhaps by a blank line's end.
    begun: bool,
}

impl Spool {
    /// An empty one.
    pub fn new(folder: &Path, memory: usize) -> io::Result<Spool> {
        let out = Writer::new(Temporary::new(folder)?, memory);
        Ok(Spool { out, predicted: 0, sentences: 0, begun: false })
    }

    /// A token of the sentence.
    #[inline]
    pub fn token(&mut self, id: u32) -> io::Result<()> {
        self.predicted += 1;
        if !self.begun {
            self.begun = true;
            self.sentences += 1;
        }
        self.out.word(id)
    }

    /// The sentence ends with the token `end`.
    pub fn end(&mut self, end: u32) -> io::Result<()> {
        self.token(end)?;
        self.begun = false;
        self.out.word(BREAK)
    }

    /// The text ends; a sentence that has begun has no end.
    pub fn stop(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.begun) { self.out.word(BREAK) } else { Ok(()) }
    }

    /// All inputs are read: a stream of bytes or tokens ends with its last line, if that ends.
    pub fn end_stream(&mut self, end: u32) -> io::Result<()> {
        if self.begun { self.end(end) } else { Ok(()) }
    }

    /// All of it.
    pub fn finish(self) -> io::Result<Tokens> {
        let Spool { out, predicted, sentences, .. } = self;
        Ok(Tokens { spool: out.finish()?, predicted, sentences })
    }
}

/// What a byte is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Word,
    Blank,
    Newline,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Word; 256];
    classes[b' ' as usize] = Class::Blank;
    classes[b'\t' as usize] = Class::Blank;
    classes[b'\r' as usize] = Class::Blank;
    classes[0] = Class::Blank;
    classes[b'\n' as usize] = Class::Newline;
    classes
};

/// Cuts a text into words. Blanks are the space, the tab, the carriage return and the zero byte. A
/// newline ends the sentence; a last line without one has no `</s>`.
pub struct WordReader<'a> {
    rules: Rules,
    words: &'a mut Words,
    spool: &'a mut Spool,
    line: u64,
    /// The last byte was a newline.
    ended: bool,
}

const BLOCK: usize = 1 << 18;

impl<'a> WordReader<'a> {
    /// Adds to `words` and `spool`.
    pub fn new(rules: Rules, words: &'a mut Words, spool: &'a mut Spool) -> Self {
        WordReader { rules, words, spool, line: 1, ended: false }
    }

    /// Reads one input to its end.
    pub fn read(&mut self, input: &mut dyn Read) -> Result<(), Error> {
        self.line = 1;
        let mut block = vec![0; BLOCK];
        let mut filled = 0;
        loop {
            let n = match input.read(&mut block[filled..]) {
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::Input(error)),
            };
            if n == 0 {
                self.cut(&block[..filled])?;
                break;
            }
            filled += n;
            // Up to the last byte that is no word's: the rest may go on.
            let whole = block[..filled].iter().rposition(|b| CLASSES[*b as usize] != Class::Word);
            let whole = whole.map_or(0, |last| last + 1);
            self.cut(&block[..whole])?;
            block.copy_within(whole..filled, 0);
            filled -= whole;
            if filled > MAX_TOKEN_BYTES {
                return Err(Error::LongWord { line: self.line });
            }
            if filled == block.len() {
                block.resize(2 * filled, 0);
            }
        }
        if !self.rules.stream {
            self.spool.stop()?;
        }
        Ok(())
    }

    /// All inputs are read.
    pub fn finish(self) -> Result<(), Error> {
        if self.rules.stream && self.ended && self.spool.predicted > 0 {
            self.words.count(END);
            self.spool.end(END)?;
        }
        Ok(self.spool.stop()?)
    }

    fn cut(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut rest = bytes;
        while let Some((&first, behind)) = rest.split_first() {
            let class = CLASSES[first as usize];
            if class == Class::Word {
                let end = rest.iter().position(|b| CLASSES[*b as usize] != Class::Word);
                let (word, behind) = rest.split_at(end.unwrap_or(rest.len()));
                self.word(word)?;
                rest = behind;
                continue;
            }
            rest = behind;
            if class == Class::Newline {
                self.line += 1;
                if !self.rules.stream {
                    self.words.count(END);
                    self.spool.end(END)?;
                }
            }
        }
        if let Some(last) = bytes.last() {
            self.ended = *last == b'\n';
        }
        Ok(())
    }

    #[inline]
    fn word(&mut self, word: &[u8]) -> Result<(), Error> {
        let id = self.words.insert(word);
        if id <= END {
            return self.symbol(id);
        }
        if word.len() > MAX_TOKEN_BYTES {
            return Err(Error::LongWord { line: self.line });
        }
        if self.words.len() > super::vocabulary::MAX_WORDS {
            return Err(Error::TooManyWords);
        }
        self.words.count(id);
        Ok(self.spool.token(id)?)
    }

    /// A special word, spelt out: `<s>` in a text is nearly always a mistake.
    #[cold]
    fn symbol(&mut self, id: u32) -> Result<(), Error> {
        if self.rules.skip_symbols {
            return Ok(());
        }
        let word = SPECIAL.get(id as usize).copied().unwrap_or_default();
        Err(Error::Symbol { word: String::from_utf8_lossy(word).into_owned(), line: self.line })
    }
}

#[cfg(test)]
mod tests {
    use super::super::temporary::Reader;
    use super::*;

    fn tokens(texts: &[&[u8]], rules: Rules) -> Result<String, Error> {
        let folder = std::env::temp_dir();
        let (mut words, mut spool) = (Words::new(), Spool::new(&folder, 1).unwrap());
        let mut reader = WordReader::new(rules, &mut words, &mut spool);
        for text in texts {
            reader.read(&mut &text[..])?;
        }
        reader.finish()?;
        let mut ids = Reader::whole(spool.finish().unwrap().spool, 1).unwrap();
        let mut text = Vec::new();
        while let Some(id) = ids.word().unwrap() {
            text.push(match id {
                BREAK => "/".to_owned(),
                id => String::from_utf8_lossy(words.get(id)).into_owned(),
            });
        }
        Ok(text.join(" "))
    }

    #[test]
    fn lines_are_sentences() {
        let rules = Rules { stream: false, skip_symbols: false };
        let cut = |text: &[u8]| tokens(&[text], rules).unwrap();
        assert_eq!(cut(b"a b\nc\n"), "a b </s> / c </s> /");
        assert_eq!(cut(b"a\t\0 b \r\n\nc\x0bd"), "a b </s> / </s> / c\u{b}d /");
        assert_eq!(cut(b""), "");
        assert_eq!(tokens(&[b"a", b"b\n"], rules).unwrap(), "a / b </s> /");
        let error = tokens(&[b"a\nb <s>\n"], rules).unwrap_err();
        assert!(matches!(error, Error::Symbol { line: 2, .. }), "{error}");
        let rules = Rules { skip_symbols: true, ..rules };
        assert_eq!(tokens(&[b"a <s> b </s>\n"], rules).unwrap(), "a b </s> /");
    }

    #[test]
    fn a_stream_is_one_sentence() {
        let rules = Rules { stream: true, skip_symbols: false };
        assert_eq!(tokens(&[b"a b\n\nc", b"d\n"], rules).unwrap(), "a b c d </s> /");
        assert_eq!(tokens(&[b"a b\nc"], rules).unwrap(), "a b c /");
    }

    #[test]
    fn words_longer_than_a_block_are_words() {
        let rules = Rules { stream: false, skip_symbols: false };
        let text = |n| [&b"a "[..], &vec![b'x'; n], b" b\n"].concat();
        let cut = tokens(&[&text(3 * BLOCK)], rules).unwrap();
        assert_eq!(cut.len(), "a  b </s> /".len() + 3 * BLOCK);
        let error = tokens(&[&text(MAX_TOKEN_BYTES + BLOCK)], rules).unwrap_err();
        assert!(matches!(error, Error::LongWord { line: 1 }), "{error}");
    }
}
