//! n-grams into a model file.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use mote_formats::gguf::Builder;
use mote_formats::ngram::{
    Codebook, Header, Histogram, LevelSource, LevelWriter, NEVER, Unigrams as Written, write_model,
};

use super::emit::{Gram, Unigrams};
use super::temporary::{Reader, Temporary, Writer};

/// Counts the values of each order, for its codebooks. Without any: values are kept as they are.
#[derive(Debug, Default)]
pub struct Histograms {
    /// By order from 2 on.
    probability: Vec<Histogram>,
    /// By length from 2 on.
    backoff: Vec<Histogram>,
}

impl Histograms {
    /// For n-grams up to `order` words; `needed`: for codes.
    pub fn new(order: usize, needed: bool) -> Self {
        let n = if needed { order.saturating_sub(1) } else { 0 };
        let make = |n: usize| (0..n).map(|_| Histogram::new()).collect();
        Histograms { probability: make(n), backoff: make(n.saturating_sub(1)) }
    }

    /// Bytes of memory: a megabyte for each.
    pub fn bytes(&self) -> usize {
        (self.probability.len() + self.backoff.len()) << 20
    }

    /// As many, without values.
    pub fn emptied(&self) -> Self {
        let make = |of: &[Histogram]| of.iter().map(|_| Histogram::new()).collect();
        Histograms { probability: make(&self.probability), backoff: make(&self.backoff) }
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Histograms) {
        self.probability.iter_mut().zip(&other.probability).for_each(|(all, it)| all.merge(it));
        self.backoff.iter_mut().zip(&other.backoff).for_each(|(all, it)| all.merge(it));
    }

    /// Counts the probability of an n-gram of `order` words, from 2 on.
    #[inline]
    pub fn probability(&mut self, order: usize, log10: f32) {
        if let Some(histogram) = order.checked_sub(2).and_then(|i| self.probability.get_mut(i)) {
            histogram.add(finite(log10));
        }
    }

    /// Counts the backoff of a context of `length` words that has successors.
    #[inline]
    pub fn backoff(&mut self, length: usize, log10: f32) {
        if let Some(histogram) = length.checked_sub(2).and_then(|i| self.backoff.get_mut(i)) {
            histogram.add(finite(log10));
        }
    }

    /// The codebooks of the orders from 2 on. `stupid`: there are no backoffs.
    pub fn books(&self, order: usize, bits: u32, stupid: bool) -> Vec<Books> {
        let book = |histograms: &[Histogram], i: usize, zero| {
            histograms.get(i).map_or(Codebook::exact(), |it| it.codebook(bits, zero))
        };
        let books = |i: usize| {
            let last = i + 2 == order;
            let backoff = match stupid {
                true => Codebook::zero(),
                false => book(&self.backoff, i, true),
            };
            let probability = book(&self.probability, i, false);
            Books { probability, backoff: (!last).then_some(backoff) }
        };
        (0..order.saturating_sub(1)).map(books).collect()
    }
}

/// A probability of 0 is a very small one in files.
fn finite(log10: f32) -> f32 {
    log10.max(NEVER)
}

/// Codebooks of an order.
pub struct Books {
    probability: Codebook,
    /// None of the longest n-grams.
    backoff: Option<Codebook>,
}

/// Writes levels to temporary files.
pub struct Levels<'b> {
    writers: Vec<LevelWriter<'b, Writer>>,
    books: &'b [Books],
}

impl<'b> Levels<'b> {
    /// Of the orders from 2 on.
    pub fn new(books: &'b [Books], folder: &Path, buffer: usize) -> io::Result<Self> {
        let place = || Ok::<_, io::Error>(Writer::new(Temporary::new(folder)?, buffer));
        let level = |books: &'b Books| {
            let Books { probability, backoff } = books;
            Ok(LevelWriter::new(place()?, place()?, probability, backoff.as_ref()))
        };
        Ok(Levels { writers: books.iter().map(level).collect::<io::Result<_>>()?, books })
    }

    /// The next n-gram.
    #[inline]
    pub fn gram(&mut self, gram: &Gram<'_>) -> io::Result<()> {
        let Gram { words, key, probability, backoff, children } = *gram;
        match self.writers.get_mut(words.len() - 2) {
            Some(level) => level.push(key, finite(probability), finite(backoff), children),
            None => Ok(()),
        }
    }

    /// Puts the file together.
    pub fn finish(
        self,
        out: &mut dyn Write,
        builder: Builder,
        header: &Header,
        probability: &[f32],
        unigrams: &Unigrams,
    ) -> io::Result<()> {
        let mut sources = Vec::new();
        for (writer, books) in self.writers.into_iter().zip(self.books) {
            let (parts, data, directory) = writer.finish()?;
            let (data, directory) = (Place::new(data)?, Place::new(directory)?);
            let Books { probability, backoff } = books;
            let backoff = backoff.as_ref();
            sources.push(LevelSource { parts, data, directory, probability, backoff });
        }
        let backoff: Vec<f32> = unigrams.backoff.iter().copied().map(finite).collect();
        let n = probability.len();
        let unigrams = Written {
            probability,
            backoff: backoff.get(..n).unwrap_or(&backoff),
            children: unigrams.children.get(..n).unwrap_or(&unigrams.children),
        };
        write_model(out, builder, header, &unigrams, &mut sources, Place::rewind)
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A temporary file, read from its beginning.
struct Place {
    file: Arc<Temporary>,
    reader: Reader,
}

const BUFFER: usize = 1 << 18;

impl Place {
    fn new(writer: Writer) -> io::Result<Place> {
        let file = writer.finish()?;
        Ok(Place { reader: Reader::whole(Arc::clone(&file), BUFFER)?, file })
    }

    fn rewind(&mut self) -> io::Result<()> {
        self.reader = Reader::whole(Arc::clone(&self.file), BUFFER)?;
        Ok(())
    }
}

impl Read for Place {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.reader.bytes(out)
    }
}
