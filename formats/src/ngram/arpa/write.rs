//! Writing, as KenLM's lmplz does.

use alloc::vec::Vec;
use core::fmt;
use core::mem;

use super::{MAX_WORD_BYTES, is_blank};
use crate::gguf::Sink;
use crate::ngram::MAX_ORDER;

/// Takes the n-grams of a model, order by order, and writes them as text.
#[derive(Debug)]
pub struct Writer<S> {
    sink: S,
    counts: [u64; MAX_ORDER],
    order: usize,
    /// Whose section it is.
    section: usize,
    /// n-grams that this section still lacks.
    left: u64,
    line: Vec<u8>,
}

/// Why writing stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError<E> {
    /// No order, or more than [`MAX_ORDER`].
    Order(usize),
    /// More n-grams than announced, or finished before all were there.
    Count,
    /// Not so many words as the section's order.
    Words,
    /// A word that readers would cut: empty, too long, with a blank, a line end or a NUL inside.
    Word,
    /// A log probability above 0 or NaN, or a back-off weight that is not finite.
    Number,
    /// The sink failed.
    Sink(E),
}

impl<S: Sink> Writer<S> {
    /// Begins a text of `counts` n-grams, 1-grams first.
    pub fn new(sink: S, counts: &[u64]) -> Result<Self, WriteError<S::Error>> {
        let mut own = [0; MAX_ORDER];
        match own.get_mut(..counts.len()) {
            Some(own) if !counts.is_empty() => own.copy_from_slice(counts),
            _ => return Err(WriteError::Order(counts.len())),
        }
        let order = counts.len();
        let mut line = Vec::from(b"\\data\\\n");
        for (i, count) in counts.iter().enumerate() {
            append(&mut line, format_args!("ngram {}={count}\n", i + 1));
        }
        let mut writer = Writer { sink, counts: own, order, section: 0, left: 0, line };
        writer.flush()?;
        writer.begin_section()?;
        Ok(writer)
    }

    /// The next n-gram: its words, log10 of its probability and of its back-off weight. Of the
    /// highest order the weight is not written.
    pub fn push<'w>(
        &mut self,
        words: impl IntoIterator<Item = &'w [u8]>,
        probability: f32,
        backoff: f32,
    ) -> Result<(), WriteError<S::Error>> {
        while self.left == 0 && self.section < self.order {
            self.begin_section()?;
        }
        self.left = self.left.checked_sub(1).ok_or(WriteError::Count)?;
        let is_probability = (f32::NEG_INFINITY..=0.0).contains(&probability);
        if !is_probability || !backoff.is_finite() {
            return Err(WriteError::Number);
        }
        self.line.clear();
        append(&mut self.line, format_args!("{probability}"));
        let mut found = 0;
        for word in words {
            let cut = |&byte: &u8| is_blank(byte) || byte == b'\n' || byte == 0;
            if !(1..=MAX_WORD_BYTES).contains(&word.len()) || word.iter().any(cut) {
                return Err(WriteError::Word);
            }
            self.line.push(if found == 0 { b'\t' } else { b' ' });
            self.line.extend_from_slice(word);
            found += 1;
        }
        if found != self.section {
            return Err(WriteError::Words);
        }
        if self.section < self.order {
            append(&mut self.line, format_args!("\t{backoff}"));
        }
        self.line.push(b'\n');
        self.flush()
    }

    /// Ends the text and gives the sink back, if all n-grams are there.
    pub fn finish(mut self) -> Result<S, WriteError<S::Error>> {
        while self.left == 0 && self.section < self.order {
            self.begin_section()?;
        }
        if self.left > 0 {
            return Err(WriteError::Count);
        }
        self.sink.write_all(b"\n\\end\\\n").map_err(WriteError::Sink)?;
        Ok(self.sink)
    }

    fn begin_section(&mut self) -> Result<(), WriteError<S::Error>> {
        self.left = self.counts.get(self.section).copied().unwrap_or(0);
        self.section += 1;
        self.line.clear();
        append(&mut self.line, format_args!("\n\\{}-grams:\n", self.section));
        self.flush()
    }

    fn flush(&mut self) -> Result<(), WriteError<S::Error>> {
        let line = mem::take(&mut self.line);
        let written = self.sink.write_all(&line).map_err(WriteError::Sink);
        self.line = line;
        written
    }
}

/// Appends formatted text, which cannot fail.
fn append(line: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    struct Append<'a>(&'a mut Vec<u8>);
    impl fmt::Write for Append<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
    let _ = fmt::Write::write_fmt(&mut Append(line), text);
}

impl<E: fmt::Display> fmt::Display for WriteError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::Order(n) => write!(f, "order {n} is not one from 1 to {MAX_ORDER}"),
            WriteError::Count => f.write_str("not so many n-grams as announced"),
            WriteError::Words => f.write_str("not so many words as the section's order"),
            WriteError::Word => f.write_str("a word that an ARPA file cannot have"),
            WriteError::Number => f.write_str("a number that an ARPA file cannot have"),
            WriteError::Sink(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for WriteError<E> {}
