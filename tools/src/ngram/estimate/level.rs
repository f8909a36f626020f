//! The contexts of one length in a temporary file: for each its farthest word, its successors and
//! how often each came, and how many contexts are one word longer. In the order of the contexts read
//! backwards, which is that of a walk through their tree, whether a context is visited before the
//! longer ones or after them.

use std::io;
use std::sync::Arc;

use super::temporary::{Reader, Temporary, Writer};

/// A word that follows a context (its id plus 1; 0: the text breaks off).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Successor {
    /// The word.
    pub word: u32,
    /// Its count after the context, adjusted.
    pub adjusted: u64,
    /// The same as it stands in the text. Where nobody needs it, 0.
    pub raw: u64,
}

/// What stands before the successors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The farthest word, id plus 1; 0 of the empty context.
    pub word: u32,
    /// Contexts that are one word longer.
    pub children: u64,
    /// Words that follow.
    pub successors: usize,
}

/// Which figures are kept.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Contexts of the greatest length have no longer ones, and their counts are not adjusted.
    pub longest: bool,
    /// Raw counts are kept beside the adjusted ones.
    pub raw: bool,
}

/// Writes contexts.
pub struct LevelOut {
    out: Writer,
    form: Form,
}

impl LevelOut {
    pub fn new(file: Arc<Temporary>, form: Form, memory: usize) -> LevelOut {
        LevelOut { out: Writer::new(file, memory), form }
    }

    #[inline]
    pub fn head(&mut self, head: Head) -> io::Result<()> {
        self.out.varint(head.word.into())?;
        let n = (head.successors as u64).saturating_sub(1);
        if self.form.longest {
            return self.out.varint(n);
        }
        // Most have one longer context.
        self.out.varint(n << 1 | u64::from(head.children == 1))?;
        if head.children == 1 { Ok(()) } else { self.out.varint(head.children) }
    }

    /// A successor, behind that of the word `before` (0 for the first).
    #[inline]
    pub fn successor(&mut self, before: u32, successor: Successor) -> io::Result<()> {
        let Successor { word, adjusted, raw } = successor;
        let raw = self.has_raw().then_some(raw);
        let once = adjusted == 1 && raw.is_none_or(|raw| raw == 1);
        self.out.varint(u64::from(word - before) << 1 | u64::from(once))?;
        if once {
            return Ok(());
        }
        self.out.varint(adjusted)?;
        raw.map_or(Ok(()), |raw| self.out.varint(raw))
    }

    fn has_raw(&self) -> bool {
        self.form.raw && !self.form.longest
    }

    /// Bytes so far.
    pub fn written(&self) -> u64 {
        self.out.written()
    }

    pub fn finish(self) -> io::Result<LevelFile> {
        Ok(LevelFile { file: self.out.finish()?, form: self.form })
    }
}

/// A level that is written.
pub struct LevelFile {
    file: Arc<Temporary>,
    form: Form,
}

impl LevelFile {
    /// From a byte on at which a context begins.
    pub fn read(&self, at: u64, memory: usize) -> io::Result<LevelIn> {
        let end = self.file.len()?;
        let reader = Reader::new(Arc::clone(&self.file), at.min(end), end, memory);
        Ok(LevelIn { reader, form: self.form })
    }
}

/// Reads contexts.
pub struct LevelIn {
    reader: Reader,
    form: Form,
}

impl LevelIn {
    /// The next context; its successors come into `successors`.
    #[inline]
    pub fn next(&mut self, successors: &mut Vec<Successor>) -> io::Result<Head> {
        let word = self.reader.varint()? as u32;
        let packed = self.reader.varint()?;
        let (n, children) = if self.form.longest {
            (packed, 0)
        } else if packed & 1 == 1 {
            (packed >> 1, 1)
        } else {
            (packed >> 1, self.reader.varint()?)
        };
        let raw_too = self.form.raw && !self.form.longest;
        successors.clear();
        let mut word_before = 0;
        for _ in 0..=n {
            let packed = self.reader.varint()?;
            let word = word_before + (packed >> 1) as u32;
            let (adjusted, raw) = if packed & 1 == 1 {
                (1, 1)
            } else {
                let adjusted = self.reader.varint()?;
                (adjusted, if raw_too { self.reader.varint()? } else { adjusted })
            };
            successors.push(Successor { word, adjusted, raw });
            word_before = word;
        }
        Ok(Head { word, children, successors: successors.len() })
    }
}
