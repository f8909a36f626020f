//! Asking an n-gram model: how probable is this word after that context?
//!
//! The model of order n backs off (Katz 1987; interpolated models are stored in this form): a word's
//! probability is that of the longest n-gram which ends with it and is in the model, times the
//! backoffs of the longer contexts which are. The scores of all lengths are found from the shortest
//! to the longest, since an entry's key is a place among the successors of the context that is one
//! word shorter; where one is missing, all longer ones are.

use mote_formats::ngram::{Entry, MAX_ORDER, NEVER, Range, Smoothing, Trie};

/// What a model has to remember of the words so far: a value to be copied, of a fixed size.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// Words of context, as far as the model looks back.
    words: u8,
    /// How many of the last words form a context that the model has.
    matched: u8,
    /// The last word, the last two words and so on.
    nodes: [Node; MAX_ORDER - 1],
}

/// A context that is in the model.
#[derive(Clone, Copy, Debug, Default)]
struct Node {
    successors: Range,
    /// log10 of the factor for words that are not among them.
    backoff: f32,
}

/// How probable a word is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// log10 of its probability after the context.
    pub log10: f32,
    /// Words of the longest n-gram that ends with it and is in the model, from 1; 0 for an id that is
    /// no word.
    pub matched: usize,
}

impl State {
    /// No context.
    pub const EMPTY: State = State {
        words: 0,
        matched: 0,
        nodes: [Node { successors: Range { begin: 0, end: 0 }, backoff: 0.0 }; _],
    };

    fn nodes(&self) -> &[Node] {
        self.nodes.get(..self.matched.into()).unwrap_or(&self.nodes)
    }
}

/// Equal states give equal scores to whatever follows.
impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&Node, &Node)| {
            a.successors == b.successors && a.backoff.to_bits() == b.backoff.to_bits()
        };
        self.words == other.words
            && self.matched == other.matched
            && self.nodes().iter().zip(other.nodes()).all(same)
    }
}

/// The score of a word after a context, and the context that it becomes.
pub fn score(trie: &Trie<'_>, state: &State, word: u32) -> (Score, State) {
    let longest = trie.order() - 1;
    let mut next = State::EMPTY;
    next.words = (state.words + 1).min(longest as u8);
    let Some(mut entry) = trie.unigram(word) else {
        return (Score { log10: NEVER, matched: 0 }, next);
    };
    let (mut matched, mut key) = (1, word);
    for (node, length) in state.nodes().iter().zip(2..) {
        trie.touch(length, node.successors);
    }
    next.remember(0, &entry, longest);
    for (node, length) in state.nodes().iter().zip(2..) {
        let Some(longer) = trie.find(length, node.successors, key) else { break };
        (entry, matched) = (longer, length);
        key = longer.index - node.successors.begin;
        next.remember(length - 1, &entry, longest);
    }
    let log10 = entry.probability + state.backoff(trie, matched - 1);
    (Score { log10, matched }, next)
}

impl State {
    /// The word is in the model at the end of a context of `length` words: of the state after it, that
    /// is the context of one word more.
    fn remember(&mut self, length: usize, entry: &Entry, longest: usize) {
        if length < longest
            && let Some(node) = self.nodes.get_mut(length)
        {
            *node = Node { successors: entry.children, backoff: entry.backoff };
            self.matched = length as u8 + 1;
        }
    }

    /// How many of the contexts that end here, of one word, two words and so on, the model has.
    pub(super) fn contexts(&self) -> usize {
        self.matched.into()
    }

    /// The successors of the last so many words, from 1.
    pub(super) fn range(&self, words: usize) -> Range {
        let node = words.checked_sub(1).and_then(|i| self.nodes().get(i));
        node.map_or(Range::default(), |node| node.successors)
    }

    /// The same, to be walked.
    pub(super) fn successors(&self, words: usize) -> core::ops::Range<u32> {
        let Range { begin, end } = self.range(words);
        begin..end
    }

    /// log10 of what a probability after the last `used` words is multiplied by, because it is not in the
    /// model after more of them.
    pub(super) fn backoff(&self, trie: &Trie<'_>, used: usize) -> f32 {
        if trie.smoothing() == Smoothing::StupidBackoff {
            let steps = usize::from(self.words).saturating_sub(used);
            return steps as f32 * libm::log10f(trie.alpha());
        }
        self.nodes().get(used..).unwrap_or_default().iter().map(|node| node.backoff).sum()
    }
}
