//! Tokens that an n-gram model has never seen, of vocabularies that name them all.

use mote_formats::ngram::{Entry, NEVER, Trie};
use mote_runtime::AnyModel;
use mote_runtime::tokenizer::Tokenizer;

/// The tokens among which a model over bytes or token ids shares the probability of the unknown word:
/// they are as improbable as any token, and nothing is known to follow them.
#[derive(Clone, Copy, Debug)]
pub struct Unseen<'a> {
    trie: Trie<'a>,
    markers: [Option<u32>; 3],
    least: f32,
    sharing: usize,
}

impl<'a> Unseen<'a> {
    /// Of a model; `None` if it is no such, or has seen everything.
    pub fn of(model: &AnyModel<'a>) -> Option<Unseen<'a>> {
        let AnyModel::Ngram(model) = model else { return None };
        let (trie, tokenizer) = (*model.trie(), model.tokenizer());
        let kind = trie.gguf().get("tokenizer.ggml.model")?.as_text()?;
        if kind.as_bytes() == b"words" {
            return None;
        }
        let markers = markers(tokenizer);
        let words = || (0..trie.n_words() as u32).filter_map(|id| trie.unigram(id));
        let predicted = words().map(|entry| entry.probability).filter(|&p| p > NEVER);
        let least = predicted.fold(0.0, f32::min);
        let mut unseen = Unseen { trie, markers, least, sharing: 0 };
        unseen.sharing = words().filter(|entry| unseen.shares(entry)).count();
        (unseen.sharing > 0).then_some(unseen)
    }

    /// Whether a token is one of them.
    pub fn contains(&self, id: u32) -> bool {
        self.trie.unigram(id).is_some_and(|entry| self.shares(&entry))
    }

    /// How many there are.
    pub fn sharing(&self) -> usize {
        self.sharing
    }

    fn shares(&self, entry: &Entry) -> bool {
        let is_alone = entry.children.is_empty() && entry.backoff == 0.0;
        is_alone && entry.probability <= self.least && !self.markers.contains(&Some(entry.index))
    }
}

fn markers(tokenizer: &Tokenizer<'_>) -> [Option<u32>; 3] {
    [tokenizer.unknown(), tokenizer.bos(), tokenizer.eos()]
}
