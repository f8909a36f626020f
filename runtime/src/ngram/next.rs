//! What may follow a context: all words, or the most probable ones.

use mote_formats::ngram::{Entry, NEVER, Trie};
use mote_kernels::Candidate;

use super::query::State;

/// log10 of every word's probability after the context: `out` has as many places as the vocabulary
/// words. Each is what [`score`](super::score) gives, to the bit.
pub fn distribution(trie: &Trie<'_>, state: &State, out: &mut [f32]) {
    let backoff = state.backoff(trie, 0);
    for (id, place) in (0..).zip(out.iter_mut()) {
        *place = trie.unigram(id).map_or(NEVER, |entry| entry.probability + backoff);
    }
    for words in 1..=state.contexts() {
        let backoff = state.backoff(trie, words);
        for index in state.successors(words) {
            if let Some((id, entry)) = successor(trie, state, words, index)
                && let Some(place) = out.get_mut(id as usize)
            {
                *place = entry.probability + backoff;
            }
        }
    }
}

/// The words that most probably follow the context, best first, with log10 of their probabilities;
/// ties go to the lowest id. Returns their number: as many as `out` has places, or as the vocabulary
/// has words. Looks at the words that were seen after the context and its suffixes, and at the most
/// probable others.
pub fn top(trie: &Trie<'_>, state: &State, out: &mut [Candidate]) -> usize {
    let mut best = Best { out, len: 0 };
    for words in (1..=state.contexts()).rev() {
        let backoff = state.backoff(trie, words);
        let mut longer = state.successors(words + 1);
        let first = state.successors(words).start;
        let mut covered = longer.next();
        for index in state.successors(words) {
            // Keys of the longer context's successors are places among these, and rise.
            if let Some(seen) = covered
                && trie.key(words + 2, seen) == Some(index - first)
            {
                covered = longer.next();
                continue;
            }
            let Some(entry) = trie.get(words + 1, index) else { break };
            let value = entry.probability + backoff;
            if best.takes(value)
                && let Some((id, _)) = successor(trie, state, words, index)
            {
                best.add(Candidate { id, value });
            }
        }
    }
    best.add_unigrams(trie, state);
    best.len
}

/// The most probable of the words that were seen after the context, or after its longest ending that
/// has any, with log10 of its probability. Shorter endings are looked at, too, as long as `most`
/// n-grams suffice; so it is nearly always the first of [`top`], and sooner there.
pub fn likely(trie: &Trie<'_>, state: &State, most: usize) -> Option<Candidate> {
    let (mut best, mut left): (Option<Candidate>, _) = (None, most);
    for words in (1..=state.contexts()).rev() {
        let successors = state.successors(words);
        match left.checked_sub(successors.len()) {
            Some(rest) => left = rest,
            None => break,
        }
        let backoff = state.backoff(trie, words);
        for index in successors {
            let Some(entry) = trie.get(words + 1, index) else { break };
            let value = entry.probability + backoff;
            if best.is_none_or(|best| value > best.value)
                && let Some((id, _)) = successor(trie, state, words, index)
            {
                best = Some(Candidate { id, value });
            }
        }
    }
    best
}

/// The successor at `index` of the context of so many words: its id and its entry.
fn successor(trie: &Trie<'_>, state: &State, words: usize, index: u32) -> Option<(u32, Entry)> {
    let entry = trie.get(words + 1, index)?;
    let mut key = entry.key;
    for shorter in (1..words).rev() {
        let place = state.range(shorter).begin.checked_add(key)?;
        key = trie.key(shorter + 1, place)?;
    }
    Some((key, entry))
}

/// Whether `a` stands before `b`: it is more probable, or as probable and has the lower id.
fn precedes(a: &Candidate, b: &Candidate) -> bool {
    a.value > b.value || (a.value == b.value && a.id < b.id)
}

/// The best so far, best first.
struct Best<'o> {
    out: &'o mut [Candidate],
    len: usize,
}

impl Best<'_> {
    /// Whether a word of this probability has a place, if its id is low enough.
    fn takes(&self, value: f32) -> bool {
        match self.out.last() {
            Some(last) if self.len == self.out.len() => value >= last.value,
            Some(_) => true,
            None => false,
        }
    }

    /// Adds the words that were never seen after the last one.
    fn add_unigrams(&mut self, trie: &Trie<'_>, state: &State) {
        let backoff = state.backoff(trie, 0);
        let mut last = Candidate { value: f32::INFINITY, id: 0 };
        let listed = (0..).map_while(|place| trie.by_probability(place)).map(|id| (id, true));
        // Where the list of the most probable ends too soon, all others are looked at.
        for (id, is_listed) in listed.chain((0..trie.n_words() as u32).map(|id| (id, false))) {
            let Some(entry) = trie.unigram(id) else { break };
            let unigram = Candidate { value: entry.probability, id };
            let new = Candidate { value: entry.probability + backoff, id };
            if !self.takes(new.value) {
                if is_listed {
                    return;
                }
                continue;
            }
            if is_listed {
                last = unigram;
            } else if !precedes(&last, &unigram) {
                continue;
            }
            if trie.find(2, state.range(1), id).is_none() {
                self.add(new);
            }
        }
    }

    fn add(&mut self, new: Candidate) {
        let Some(known) = self.out.get(..self.len) else { return };
        let at = known.partition_point(|old| precedes(old, &new));
        self.len = (self.len + 1).min(self.out.len());
        // The last one gives way.
        if let Some(tail) = self.out.get_mut(at..self.len)
            && let Some(last) = tail.last_mut()
        {
            *last = new;
            tail.rotate_right(1);
        }
    }
}
