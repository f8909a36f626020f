//! Asking an n-gram model by its hash index: the same answers as the trie's, in half the time.

use mote_formats::ngram::{Index, MAX_ORDER, NEVER, Smoothing};

use super::query::Score;

/// What has to be remembered of the words so far, where an index is asked.
#[derive(Clone, Copy, Debug)]
pub struct IndexState {
    /// Words of context, as far as the model looks back.
    words: u8,
    /// How many of the last words form a context that the model has.
    matched: u8,
    /// Of the last word, the last two words and so on: their hashes,
    hashes: [u64; MAX_ORDER],
    /// and log10 of the factors for words that do not follow them in the model.
    backoffs: [f32; MAX_ORDER],
}

impl IndexState {
    /// No context.
    pub const EMPTY: IndexState =
        IndexState { words: 0, matched: 0, hashes: [0; _], backoffs: [0.0; _] };

    fn backoffs(&self) -> &[f32] {
        self.backoffs.get(..self.matched.into()).unwrap_or(&self.backoffs)
    }

    /// As `State::backoff`, to the bit.
    fn backoff(&self, index: &Index<'_>, used: usize) -> f32 {
        if index.trie().smoothing() == Smoothing::StupidBackoff {
            let steps = usize::from(self.words).saturating_sub(used);
            return steps as f32 * libm::log10f(index.trie().alpha());
        }
        self.backoffs().get(used..).unwrap_or_default().iter().sum()
    }
}

/// Equal states give equal scores to whatever follows.
impl PartialEq for IndexState {
    fn eq(&self, other: &Self) -> bool {
        let bits = |backoff: &f32| backoff.to_bits();
        let matched = usize::from(self.matched);
        self.words == other.words
            && self.matched == other.matched
            && self.hashes.get(..matched) == other.hashes.get(..matched)
            && self.backoffs().iter().map(bits).eq(other.backoffs().iter().map(bits))
    }
}

/// The score of a word after a context, which becomes that of the next word: what [`score`](super::score)
/// gives, to the bit.
#[inline]
pub fn score_by_index(index: &Index<'_>, state: &mut IndexState, word: u32) -> Score {
    let trie = index.trie();
    let longest = trie.order() - 1;
    let words = (state.words + 1).min(longest as u8);
    let contexts = usize::from(state.matched).min(longest);
    let Some(unigram) = trie.unigram(word) else {
        *state = IndexState { words, ..IndexState::EMPTY };
        return Score { log10: NEVER, matched: 0 };
    };
    // Memory is asked for all of them before the first answer. Each is one word longer than its context.
    for place in (0..contexts).rev() {
        let (contexts, longer) = state.hashes.split_at_mut(place + 1);
        if let (Some(context), Some(hash)) = (contexts.last(), longer.first_mut()) {
            *hash = index.extended(*context, word);
            index.touch(*hash);
        }
    }
    state.hashes[0] = index.hash(word);
    let (mut probability, mut backoff) = (unigram.probability, unigram.backoff);
    let mut matched = 1;
    for (hash, own) in state.hashes.iter().skip(1).zip(&mut state.backoffs).take(contexts) {
        let Some(longer) = index.find(matched + 1, *hash) else { break };
        // The contexts' backoffs from here on are still needed, those of shorter ones are not.
        *own = backoff;
        (probability, backoff) = longer;
        matched += 1;
    }
    let log10 = probability + state.backoff(index, matched - 1);
    if let Some(own) = state.backoffs.get_mut(matched - 1) {
        *own = backoff;
    }
    state.words = words;
    state.matched = matched.min(longest) as u8;
    Score { log10, matched }
}
