//! From files or standard input to tokens and a vocabulary.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use indicatif::ProgressBar;
use mote_formats::gguf::Gguf;
use mote_runtime::Tokenizer;

use super::super::estimate::lexicon::{Lexicon, read_bytes, read_ids, read_tokens};
use super::super::estimate::shards::Shards;
use super::super::estimate::text::{Spool, WordReader};
use super::super::estimate::vocabulary::Words;
use super::super::estimate::{Error, Ids, Settings, Source};
use super::options::Units;
use super::{Command, failure, temporary};
use crate::failure::{Code, Failure, Result};
use crate::interrupt::Stoppable;
use crate::streams::Streams;

/// A vocabulary that exists, and its file.
pub type Given<'a> = Option<(&'a Gguf<'a>, &'a Tokenizer<'a>)>;

/// What is counted, and what its tokens are.
pub struct Text<'a> {
    /// Tokens, or counts of them.
    pub source: Source,
    /// The vocabulary.
    pub lexicon: Lexicon<'a>,
    /// Its ids.
    pub ids: Ids,
}

/// Reads all inputs.
pub fn read<'a>(
    command: &'a Command,
    tokenizer: Given<'a>,
    settings: &Settings,
    streams: &mut Streams<'_>,
) -> Result<Text<'a>> {
    let list = command.vocab_limit().map(|path| read_list(path)).transpose()?;
    if let Some(folder) = command.counts() {
        let (shards, words) = Shards::open(folder).map_err(failure)?;
        let (lexicon, ids) = Lexicon::of_words(words, list.as_ref());
        return Ok(Text { source: Source::Counts(shards), lexicon, ids });
    }
    let rules = command.rules();
    let buffer = (settings.memory / 16).clamp(1 << 12, 1 << 20);
    let mut spool = Spool::new(&settings.folder, buffer).map_err(temporary)?;
    let inputs = Inputs::new(command.inputs(), streams)?;
    let (lexicon, ids) = match (command.units(), tokenizer) {
        (Units::Bytes, _) => {
            let (lexicon, ids) = Lexicon::of_bytes();
            inputs.each(|input| read_bytes(input, rules, &mut spool), streams)?;
            spool.end_stream(ids.end).map_err(temporary)?;
            (lexicon, ids)
        }
        (units, Some((gguf, tokenizer))) => {
            let none = "the tokenizer has no token that begins or ends a text";
            let (lexicon, ids) = Lexicon::of_tokens(gguf, tokenizer, command.pre())
                .ok_or(Failure::new(Code::Model, none))?;
            let read = |input: &mut dyn Read| match units {
                Units::Ids => read_ids(input, rules, &ids, &mut spool),
                _ => read_tokens(input, rules, tokenizer, ids.end, &mut spool),
            };
            inputs.each(read, streams)?;
            spool.end_stream(ids.end).map_err(temporary)?;
            (lexicon, ids)
        }
        _ => {
            let mut words = Words::new();
            let mut reader = WordReader::new(rules, &mut words, &mut spool);
            inputs.each(|input| reader.read(input), streams)?;
            reader.finish().map_err(failure)?;
            Lexicon::of_words(words, list.as_ref())
        }
    };
    Ok(Text { source: Source::Tokens(spool.finish().map_err(temporary)?), lexicon, ids })
}

/// The words of a file, divided by blanks.
fn read_list(path: &Path) -> Result<Words> {
    let text = crate::input::read_file(path)?;
    let mut words = Words::new();
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
    for word in text.split(blank).filter(|word| !word.is_empty()) {
        words.insert(word);
    }
    Ok(words)
}

/// Files, or standard input if there are none.
struct Inputs<'a> {
    files: Vec<(&'a Path, File)>,
    bar: ProgressBar,
}

impl<'a> Inputs<'a> {
    fn new(paths: impl Iterator<Item = &'a Path>, streams: &Streams<'_>) -> Result<Self> {
        let unreadable = |path: &Path, error: io::Error| Failure::io(error).in_file(path);
        let (mut files, mut bytes) = (Vec::new(), 0);
        for path in paths {
            let file = File::open(path).map_err(|error| unreadable(path, error))?;
            bytes += file.metadata().map_err(|error| unreadable(path, error))?.len();
            files.push((path, file));
        }
        if files.is_empty() && streams.terminal.input {
            let sentence = "no text: name files, or give it on standard input";
            return Err(Failure::new(Code::Usage, sentence));
        }
        Ok(Inputs { files, bar: streams.bytes_progress(bytes) })
    }

    /// Hands every input over, unpacked if it is packed.
    fn each(
        self,
        mut read: impl FnMut(&mut dyn Read) -> std::result::Result<(), Error>,
        streams: &mut Streams<'_>,
    ) -> Result<()> {
        if self.files.is_empty() {
            let input = BufReader::with_capacity(1 << 16, &mut *streams.input);
            unpacked(input, &mut read).map_err(failure)?;
        }
        for (path, file) in self.files {
            let input = BufReader::with_capacity(1 << 16, Stoppable::new(self.bar.wrap_read(file)));
            unpacked(input, &mut read).map_err(|error| failure(error).in_file(path))?;
        }
        self.bar.finish_and_clear();
        Ok(())
    }
}

fn unpacked(
    mut input: impl BufRead,
    read: &mut dyn FnMut(&mut dyn Read) -> std::result::Result<(), Error>,
) -> std::result::Result<(), Error> {
    const GZIP: &[u8] = &[0x1f, 0x8b];
    let packed = input.fill_buf().map_err(Error::Input)?.starts_with(GZIP);
    if packed { read(&mut MultiGzDecoder::new(input)) } else { read(&mut input) }
}
