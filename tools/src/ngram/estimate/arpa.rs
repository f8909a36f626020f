//! n-grams into ARPA text.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use super::emit::{Gram, Unigrams};
use super::lexicon::Lexicon;
use super::temporary::{Reader, Temporary, Writer};
use super::{Estimated, Ids};

/// The sections of an ARPA file, each in a temporary file: n-grams of all orders come at once.
pub struct Arpa<'a> {
    lexicon: &'a Lexicon<'a>,
    /// Orders from 2 on.
    sections: Vec<Writer>,
    line: Vec<u8>,
}

impl<'a> Arpa<'a> {
    /// For n-grams up to `order` words.
    pub fn new(
        lexicon: &'a Lexicon<'a>,
        order: usize,
        folder: &Path,
        buffer: usize,
    ) -> io::Result<Self> {
        let section = |_| Ok(Writer::new(Temporary::new(folder)?, buffer));
        let sections = (2..=order).map(section).collect::<io::Result<_>>()?;
        Ok(Arpa { lexicon, sections, line: Vec::new() })
    }

    /// The next n-gram.
    pub fn gram(&mut self, gram: &Gram<'_>) -> io::Result<()> {
        let last_order = self.sections.len() + 1;
        let Some(section) = self.sections.get_mut(gram.words.len() - 2) else { return Ok(()) };
        let line = &mut self.line;
        line.clear();
        number(gram.probability, line);
        for (i, &word) in gram.words.iter().enumerate() {
            line.push(if i == 0 { b'\t' } else { b' ' });
            self.lexicon.spell(word, i + 1 == gram.words.len(), line);
        }
        if gram.words.len() < last_order {
            line.push(b'\t');
            number(gram.backoff, line);
        }
        line.push(b'\n');
        section.bytes(line)
    }

    /// Puts the file together.
    pub fn finish(self, out: &mut dyn Write, head: &Head, unigrams: &Unigrams) -> io::Result<()> {
        let mut line = Vec::new();
        let lines = head.lines(self.lexicon, unigrams, !self.sections.is_empty());
        writeln!(out, "\\data\\\nngram 1={}", lines.len())?;
        for (order, count) in (2..).zip(head.counts.iter().skip(1)) {
            writeln!(out, "ngram {order}={count}")?;
        }
        writeln!(out, "\n\\1-grams:")?;
        for line in lines {
            out.write_all(&line)?;
        }
        for (order, section) in (2..).zip(self.sections) {
            writeln!(out, "\n\\{order}-grams:")?;
            let file = section.finish()?;
            let mut reader = Reader::whole(Arc::clone(&file), 1 << 18)?;
            line.resize(1 << 18, 0);
            loop {
                let n = reader.bytes(&mut line)?;
                if n == 0 {
                    break;
                }
                out.write_all(&line[..n])?;
            }
        }
        writeln!(out, "\n\\end\\")
    }
}

/// What the sections of an ARPA file do not have.
pub struct Head {
    ids: Ids,
    counts: Vec<u64>,
    /// log10 of each id's probability.
    probability: Vec<Option<f32>>,
    unknown: f32,
}

impl Head {
    /// Of a model whose n-grams are still to come.
    pub fn new(estimated: &Estimated, ids: &Ids) -> Self {
        Head {
            ids: Ids { of_provisional: Vec::new(), ..*ids },
            counts: estimated.counts.clone(),
            probability: estimated.unigrams.clone(),
            unknown: estimated.unknown,
        }
    }

    /// `<unk>`, `<s>`, and the words.
    fn lines(&self, lexicon: &Lexicon<'_>, unigrams: &Unigrams, backs_off: bool) -> Vec<Vec<u8>> {
        let backoff = |id: u32| unigrams.backoff.get(id as usize).copied().unwrap_or(0.0);
        let line = |log10: f32, word: &[u8], backoff: f32| {
            let mut line = Vec::new();
            number(log10, &mut line);
            line.push(b'\t');
            line.extend_from_slice(word);
            if backs_off {
                line.push(b'\t');
                number(backoff, &mut line);
            }
            line.push(b'\n');
            line
        };
        let begin = self.ids.begin;
        let mut lines = vec![line(self.unknown, b"<unk>", 0.0), line(0.0, b"<s>", backoff(begin))];
        for (id, log10) in (0..).zip(&self.probability) {
            let Some(log10) = *log10 else { continue };
            let mut word = Vec::new();
            lexicon.spell(id, true, &mut word);
            // One id may be both ends of a sentence; only its beginning has successors.
            lines.push(line(log10, &word, if id == begin { 0.0 } else { backoff(id) }));
        }
        lines
    }
}

/// As short as it can be and still be the same float.
fn number(x: f32, out: &mut Vec<u8>) {
    let _ = if x == f32::NEG_INFINITY { out.write_all(b"-inf") } else { write!(out, "{x}") };
}
