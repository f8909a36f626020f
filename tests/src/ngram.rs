//! n-gram models in tests: from ARPA text to scores.

use std::collections::HashMap;

use mote_formats::gguf::Gguf;
use mote_formats::ngram::Trie;
use mote_formats::ngram::arpa::{Reader, SliceLines};
use mote_runtime::ngram::{State, score};
use mote_tools::failure::{Code, Failure};
use mote_tools::ngram::convert::text_to_gguf;

/// The GGUF file of an ARPA text, with exact values; or the sentence that refuses it.
pub fn convert(text: &[u8]) -> Result<Vec<u8>, String> {
    convert_to(text, 32)
}

/// The same with values of so many bits.
pub fn convert_to(text: &[u8], value_bits: u32) -> Result<Vec<u8>, String> {
    let mut file = Vec::new();
    match text_to_gguf(text, value_bits, &mut file) {
        Ok(()) => Ok(file),
        Err(Failure { code, message, .. }) => {
            assert_eq!(code, Code::Format, "{message}");
            Err(message)
        }
    }
}

/// A model of words and their ids.
#[derive(Debug)]
pub struct Words<'a> {
    /// The model.
    pub trie: Trie<'a>,
    ids: HashMap<Vec<u8>, u32>,
}

impl<'a> Words<'a> {
    /// Of a file.
    pub fn new(gguf: &Gguf<'a>) -> Self {
        let trie = Trie::new(gguf).unwrap();
        trie.verify().unwrap();
        let tokens = gguf.get("tokenizer.ggml.tokens").and_then(|tokens| tokens.as_array());
        let texts = tokens.and_then(|tokens| tokens.strings()).unwrap();
        let ids = texts.zip(0..).map(|(text, id)| (text.as_bytes().to_vec(), id)).collect();
        Words { trie, ids }
    }

    /// A word's id; the unknown word's for one that is not there.
    pub fn id(&self, word: &str) -> u32 {
        self.ids.get(word.as_bytes()).copied().unwrap_or(0)
    }

    /// The state after these words.
    pub fn state<'w>(&self, words: impl IntoIterator<Item = &'w str>) -> State {
        let ids = words.into_iter().map(|word| self.id(word));
        ids.fold(State::EMPTY, |state, id| score(&self.trie, &state, id).1)
    }

    /// log10 of each word's probability after those before it, from `<s>` (which is not among them) on.
    pub fn scores(&self, words: &[&str]) -> Vec<f32> {
        let mut state = self.state(["<s>"]);
        let mut scores = Vec::new();
        for word in words {
            let (found, next) = score(&self.trie, &state, self.id(word));
            scores.push(found.log10);
            state = next;
        }
        scores
    }
}

/// A back-off model as the definition has it, slowly.
#[derive(Debug, Default)]
pub struct Definition {
    /// Words, then log10 of probability and backoff.
    pub n_grams: HashMap<Vec<String>, (f32, f32)>,
}

impl Definition {
    /// Of an ARPA text.
    pub fn new(text: &[u8]) -> Self {
        Self::try_new(text).unwrap()
    }

    /// Of any text; `None` of one that is none, or whose words are not.
    pub fn try_new(text: &[u8]) -> Option<Self> {
        let mut model = Definition::default();
        let mut reader = Reader::new(SliceLines::new(text)).ok()?;
        while let Some(entry) = reader.next_entry().ok()? {
            let words = entry.words().map(|word| String::from_utf8(word.to_vec()).ok());
            let words = words.collect::<Option<_>>()?;
            model.n_grams.insert(words, (entry.probability, entry.backoff));
        }
        Some(model)
    }

    /// log10 of the last word's probability after the others.
    pub fn score(&self, words: &[&str]) -> f32 {
        let key = |words: &[&str]| -> Vec<String> { words.iter().map(|w| w.to_string()).collect() };
        if let Some((probability, _)) = self.n_grams.get(&key(words)) {
            return *probability;
        }
        match words {
            [] => 0.0,
            [_] => self.score(&["<unk>"]),
            [context @ .., _] => {
                let backoff = self.n_grams.get(&key(context)).map_or(0.0, |values| values.1);
                backoff + self.score(&words[1..])
            }
        }
    }
}
