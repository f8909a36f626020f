//! Reading an ARPA file into a table.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use mote_formats::gguf::Text;
use mote_formats::ngram::arpa::{ReadError, ReadLines, Reader};
use mote_formats::ngram::{MAX_ORDER, NEVER};

use super::table::{LevelError, Table};
use super::vocabulary::{Unigrams, Units, Vocabulary};
use crate::failure::{Code, Failure, Result};
use crate::interrupt::Stoppable;
use crate::streams::Streams;

/// A model, read.
pub struct Model {
    /// Its words.
    pub vocabulary: Vocabulary,
    /// Its n-grams.
    pub table: Table,
    /// Values outside of what a file keeps, which were brought to its bounds.
    pub bounded: u64,
}

/// What a file begins with, looked at without reading on.
pub fn starts_with(path: &Path, magic: &[u8]) -> io::Result<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(magic.len() as u64).read_to_end(&mut start)?;
    Ok(start == magic)
}

/// Reads a file, packed by gzip or not. `minus_infinity`: takes `-inf`, too.
pub fn read(
    path: &Path,
    units: &Units<'_>,
    minus_infinity: bool,
    streams: &mut Streams<'_>,
) -> Result<Model> {
    let unreadable = |error: io::Error| Failure::io(error).in_file(path);
    let mut file = File::open(path).map_err(unreadable)?;
    // A pipe has no length, and no end to go to.
    let len = file.seek(io::SeekFrom::End(0)).unwrap_or(0);
    if len > 0 {
        file.rewind().map_err(unreadable)?;
    }
    let bar = streams.bytes_progress(len);
    let mut text = BufReader::with_capacity(1 << 18, Stoppable::new(bar.wrap_read(file)));
    let is_packed = text.fill_buf().map_err(unreadable)?.starts_with(b"\x1F\x8B");
    let model = if is_packed {
        let text = BufReader::with_capacity(1 << 18, MultiGzDecoder::new(text));
        read_text(text, units, minus_infinity)
    } else {
        read_text(text, units, minus_infinity)
    };
    bar.finish_and_clear();
    model.map_err(|failure| failure.in_file(path))
}

/// The n-grams of a text, as they come.
struct Collector<'u> {
    units: &'u Units<'u>,
    unigrams: Option<Unigrams>,
    model: Option<Model>,
    bounded: u64,
}

/// Reads a text.
pub fn read_text(text: impl BufRead, units: &Units<'_>, minus_infinity: bool) -> Result<Model> {
    let mut reader = Reader::new(ReadLines::new(text)).map_err(refused)?;
    if minus_infinity {
        reader = reader.accept_minus_infinity();
    }
    let order = reader.counts().len();
    let unigrams = Some(Unigrams::default());
    let mut all = Collector { units, unigrams, model: None, bounded: 0 };
    while let Some(entry) = reader.next_entry().map_err(refused)? {
        let at_line = |failure: Failure| Failure {
            message: format!("line {}: {}", entry.line, failure.message),
            ..failure
        };
        let probability = all.bounded(entry.probability);
        let backoff = all.bounded(entry.backoff);
        if entry.order == 1 {
            let word = entry.words().next().unwrap_or_default();
            let unigrams = all.unigrams.get_or_insert_default();
            if !unigrams.push(word, probability, backoff) {
                return Err(at_line(twice(1, entry.text())));
            }
            continue;
        }
        let Model { vocabulary, table, .. } = all.at_level(entry.order)?;
        let mut ids = [0; MAX_ORDER];
        for (id, word) in ids.iter_mut().zip(entry.words()) {
            *id = vocabulary.id(word).ok_or_else(|| {
                let word = Text::from(word);
                let sentence = format_args!("the word '{word}' is not among the 1-grams");
                at_line(Failure::new(Code::Format, sentence))
            })?;
        }
        table.push(&ids[..entry.order], probability, backoff);
    }
    all.finish(order)
}

impl Collector<'_> {
    /// A value that a file can keep: NEVER at least, and no more than its opposite.
    fn bounded(&mut self, log10: f32) -> f32 {
        let bounded = log10.clamp(NEVER, -NEVER);
        self.bounded += u64::from(bounded != log10);
        bounded
    }

    /// The model, whose open level is that of n-grams of `order` words, from 2.
    fn at_level(&mut self, order: usize) -> Result<&mut Model> {
        let model = match &mut self.model {
            Some(model) => model,
            none => {
                let vocabulary =
                    self.unigrams.take().unwrap_or_default().into_vocabulary(self.units)?;
                let table = Table::new(vocabulary.values.iter().copied());
                none.insert(Model { vocabulary, table, bounded: 0 })
            }
        };
        while model.table.order() + 1 < order {
            let vocabulary = &model.vocabulary;
            model.table.end_level().map_err(|error| wrong_level(error, vocabulary))?;
        }
        Ok(model)
    }

    fn finish(mut self, order: usize) -> Result<Model> {
        self.at_level(order + 1)?;
        let bounded = self.bounded;
        self.model
            .map(|model| Model { bounded, ..model })
            .ok_or_else(|| Failure::new(Code::Format, "no n-grams"))
    }
}

fn refused(error: ReadError<io::Error>) -> Failure {
    match error {
        ReadError::Arpa(error) => Failure::new(Code::Format, error),
        ReadError::Source(error) => Failure::io(error),
    }
}

fn wrong_level(error: LevelError, vocabulary: &Vocabulary) -> Failure {
    match error {
        LevelError::Duplicate(ids) => twice(ids.len(), &vocabulary.spell(&ids)),
        LevelError::TooMany => Failure::new(Code::Format, "more n-grams than 32 bits count"),
    }
}

fn twice(order: usize, words: &[u8]) -> Failure {
    let words = Text::from(words);
    Failure::new(Code::Format, format_args!("the {order}-gram '{words}' stands in the file twice"))
}
