//! An n-gram model with its vocabulary.

use mote_formats::gguf::Gguf;
use mote_formats::ngram::Trie;

use crate::error::LoadError;
use crate::notes::note;
use crate::tokenizer::Tokenizer;

/// An immutable n-gram model. The trie and the vocabulary stay in the file's bytes; the vocabulary's
/// tables live in lent memory. Many sessions may share it.
#[derive(Debug)]
pub struct NgramModel<'a> {
    trie: Trie<'a>,
    tokenizer: Tokenizer<'a>,
}

impl<'a> NgramModel<'a> {
    /// Bytes that [`NgramModel::new`] needs for its tables.
    pub fn bytes_needed(gguf: &Gguf<'a>) -> Result<usize, LoadError> {
        Ok(Tokenizer::bytes_needed(gguf)?)
    }

    /// Checks the trie, its checksum and every token, and fills the tables in `memory`. Reads the whole
    /// file once.
    pub fn new(gguf: &Gguf<'a>, memory: &'a mut [u8]) -> Result<Self, LoadError> {
        let trie = Trie::new(gguf)?;
        trie.verify()?;
        let tokenizer = Tokenizer::new(gguf, memory)?;
        if tokenizer.len() != trie.n_words() {
            let (tokens, rows) = (tokenizer.len(), trie.n_words());
            return Err(LoadError::Vocabulary { tokens, rows });
        }
        note!(debug, "model: n-grams of order {}, {} tokens", trie.order(), trie.n_words());
        Ok(NgramModel { trie, tokenizer })
    }

    /// The n-grams.
    pub fn trie(&self) -> &Trie<'a> {
        &self.trie
    }

    /// How many n-grams it has, of all lengths.
    pub fn n_grams(&self) -> u64 {
        (1..=self.trie.order()).map(|length| self.trie.n_grams(length) as u64).sum()
    }

    /// Cuts texts into words by other rules than the file's:
    /// [`Tokenizer::with_pre_tokenizer`]. Whether there are such.
    pub fn set_pre_tokenizer(&mut self, name: &str) -> bool {
        let tokenizer = self.tokenizer.with_pre_tokenizer(name);
        self.tokenizer = tokenizer.unwrap_or(self.tokenizer);
        tokenizer.is_some()
    }

    /// Text to token ids and back.
    pub fn tokenizer(&self) -> &Tokenizer<'a> {
        &self.tokenizer
    }
}
