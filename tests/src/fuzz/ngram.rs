//! Any bytes as an n-gram model's GGUF file.

use mote_formats::Gguf;
use mote_formats::ngram::{Index, Trie};
use mote_kernels::Candidate;
use mote_runtime::ngram::{IndexState, State, distribution, score, score_by_index, top};

use super::gguf::whole;
use super::play::play;

/// A file that opens answers every question, whatever stands in its tables.
pub fn run(bytes: &[u8]) {
    let Some(file) = whole(bytes) else { return };
    let gguf = Gguf::parse(&file).expect("it was parsed before");
    let (trie, again) = (Trie::new(&gguf), Trie::new(&gguf));
    assert_eq!(trie.as_ref().err(), again.as_ref().err());
    let Ok(trie) = trie else { return };
    assert_eq!(trie.verify(), trie.verify());
    check_answers(&trie);
    play(&gguf, 0);
}

/// Asks a model all that can be asked, along a short text: what comes back are numbers, and the same ones
/// by every way to ask.
pub(super) fn check_answers(trie: &Trie<'_>) {
    let n = trie.n_words();
    let index = Index::new(trie).ok().flatten();
    let mut by_index = index.as_ref().map(|_| IndexState::EMPTY);
    let mut state = State::EMPTY;
    let mut all = vec![0.0; n.min(1 << 12)];
    let mut best = [Candidate::default(); 5];
    for i in 0..6_u32 {
        distribution(trie, &state, &mut all);
        assert!(all.iter().all(|log10| log10.is_finite()), "{all:?}");
        let found = top(trie, &state, &mut best);
        let word = best[..found].first().map_or(i, |best| best.id);
        for word in [word, i * 3 % n.max(1) as u32, n as u32, u32::MAX, i * 5 % n.max(1) as u32] {
            let (result, next) = score(trie, &state, word);
            assert!(result.log10.is_finite(), "{word}");
            if let (Some(index), Some(by_index)) = (&index, &mut by_index) {
                assert!(score_by_index(index, by_index, word).log10.is_finite(), "{word}");
            }
            state = next;
        }
    }
    for length in 1..=trie.order() + 1 {
        for place in [0, 1, trie.n_grams(length.min(trie.order())) as u32, u32::MAX] {
            let _ = (trie.get(length, place), trie.key(length, place));
        }
    }
}
