//! Counts that another program made of a text too large for this machine: a folder with the folders
//! `1-grams`, `2-grams` and so on, each with text files in any number, perhaps packed by gzip. A line
//! has an n-gram's words with spaces between them, a tab, how often it is in the text, a tab, and its
//! adjusted count (which is not read: it follows from the others). Every n-gram stands on one line.
//! Files whose names begin with `_` or `.` are ignored; Spark leaves such.
//!
//! All that is needed are the words, the n-grams of the highest order, and the shorter ones that
//! begin with `<s>`: they are what the local way counts.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::count::Layout;
use super::record::{Record, put};
use super::sort::{Equal, Sorted, Sorter};
use super::vocabulary::{BEGIN, END, SPECIAL, Words};
use super::{Error, Ids, Settings, Told};
use crate::interrupt::{Interrupted, Stoppable};

/// The longest line.
const MAX_LINE_BYTES: u64 = 16 << 20;
/// The largest count: no text is so long, and larger ones would take sorting as long as they like.
const MAX_COUNT: u64 = 1 << 40;

/// The folder of such counts.
pub struct Shards {
    folder: PathBuf,
    /// Words by their spelling.
    words: Words,
    /// Predicted words, ends of sentences included.
    pub predicted: u64,
    /// Ends of sentences.
    pub sentences: u64,
}

impl Shards {
    /// Reads the words.
    pub fn open(folder: &Path) -> Result<(Shards, Words), Error> {
        let (mut words, mut predicted) = (Words::new(), 0u64);
        each_line(folder, 1, |line| {
            let id = words.insert(line.words);
            if id < END {
                return Ok(());
            }
            words.add_count(id, line.count);
            predicted = predicted.saturating_add(line.count);
            let full = words.len() > super::vocabulary::MAX_WORDS;
            if full { Err(Error::TooManyWords) } else { Ok(()) }
        })?;
        let sentences = words.count_of(END);
        let folder = folder.to_path_buf();
        Ok((Shards { folder, words: words.clone(), predicted, sentences }, words))
    }

    /// The same records as counting a text gives.
    pub fn count<const W: usize>(
        &self,
        ids: &Ids,
        layout: Layout,
        settings: &Settings,
        memory: usize,
        told: &Told<'_>,
    ) -> Result<Sorted<W>, Error> {
        let (helpers, folder) = (settings.threads - 1, &settings.folder);
        let equal = Equal::Add(layout.count_bits);
        let mut sorter = Sorter::<W>::new(memory, helpers, folder, equal, self.predicted)?;
        let order = layout.order as usize;
        for k in 2.min(order)..=order {
            each_line(&self.folder, k, |line| {
                let begins = line.words.split(|byte| *byte == b' ').next() == Some(SPECIAL[1]);
                if k < order && !begins {
                    return Ok(());
                }
                let record = self.record(&line, k, ids, layout)?;
                if let Some(record) = record {
                    push(&mut sorter, record, line.count, layout)?;
                    told.inc(line.count)?;
                }
                Ok(())
            })?;
        }
        Ok(sorter.finish()?)
    }

    /// The words in their places: the context backwards, then the last.
    fn record<const W: usize>(
        &self,
        line: &Line<'_>,
        k: usize,
        ids: &Ids,
        layout: Layout,
    ) -> Result<Option<Record<W>>, Error> {
        let mut record = [0; W];
        let mut n = 0;
        for word in line.words.split(|byte| *byte == b' ') {
            n += 1;
            let id = self.words.find(word).ok_or_else(|| line.wrong("a word that is no 1-gram"))?;
            let id = ids.of(id);
            let place = match n == k {
                // <s> is not predicted.
                true if id == BEGIN => return Ok(None),
                true => layout.order - 1,
                false => (k - 1).saturating_sub(n) as u32,
            };
            put(&mut record, place * layout.bits, layout.bits, id + 1);
        }
        if n == k { Ok(Some(record)) } else { Err(line.wrong("not so many words")) }
    }
}

/// A count that its field has no room for goes in pieces.
fn push<const W: usize>(
    sorter: &mut Sorter<W>,
    record: Record<W>,
    mut count: u64,
    layout: Layout,
) -> io::Result<()> {
    let most = u64::MAX >> (64 - layout.count_bits);
    while count > 0 {
        let piece = count.min(most);
        let mut record = record;
        record[W - 1] |= piece;
        sorter.push(record)?;
        count -= piece;
    }
    Ok(())
}

/// An n-gram and its count in the text.
struct Line<'a> {
    words: &'a [u8],
    count: u64,
    path: &'a Path,
    number: u64,
}

impl Line<'_> {
    fn wrong(&self, what: &str) -> Error {
        wrong(self.path, self.number, what)
    }
}

fn wrong(path: &Path, number: u64, what: &str) -> Error {
    Error::Counts(format!("{}, line {number}: {what}", crate::failure::shown(path)))
}

fn each_line(
    folder: &Path,
    order: usize,
    mut take: impl FnMut(Line<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    for path in &files(&folder.join(format!("{order}-grams")))? {
        let unreadable = |error: io::Error| match Interrupted::is_in(&error) {
            true => Error::Input(error),
            false => Error::Counts(format!("{}: {error}", crate::failure::shown(path))),
        };
        let file = Stoppable::new(File::open(path).map_err(unreadable)?);
        let mut file = BufReader::with_capacity(1 << 16, file);
        let packed = file.fill_buf().map_err(unreadable)?.starts_with(&[0x1f, 0x8b]);
        let mut input: Box<dyn BufRead> = match packed {
            true => Box::new(BufReader::new(MultiGzDecoder::new(file))),
            false => Box::new(file),
        };
        let (mut line, mut number) = (Vec::new(), 0);
        let next = |input: &mut dyn BufRead, line: &mut Vec<u8>| {
            input.take(MAX_LINE_BYTES + 1).read_until(b'\n', line)
        };
        while next(&mut *input, &mut line).map_err(unreadable)? > 0 {
            number += 1;
            if line.len() as u64 > MAX_LINE_BYTES {
                return Err(wrong(path, number, "a line of more than 16 MiB"));
            }
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let mut fields = text.split(|byte| *byte == b'\t');
            let words = fields.next().unwrap_or_default();
            let count =
                fields.next().and_then(|field| std::str::from_utf8(field).ok()?.parse().ok());
            let Some(count) = count.filter(|_| !words.is_empty()) else {
                return Err(wrong(path, number, "not words, a tab and a count"));
            };
            if count > MAX_COUNT {
                return Err(wrong(path, number, "a count beyond 2^40"));
            }
            take(Line { words, count, path, number })?;
            line.clear();
        }
    }
    Ok(())
}

/// The files of a folder, by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let unreadable =
        |error: io::Error| Error::Counts(format!("{}: {error}", crate::failure::shown(folder)));
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let ignored = entry.file_name().as_encoded_bytes().starts_with(b"_")
            || entry.file_name().as_encoded_bytes().starts_with(b".");
        if !ignored && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}
