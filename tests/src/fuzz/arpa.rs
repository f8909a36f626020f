//! Any text as an n-gram model in ARPA's form.

use mote_formats::Gguf;
use mote_formats::ngram::NEVER;
use mote_runtime::ngram::{State, distribution, score};

use super::ngram::check_answers;
use crate::ngram::{Definition, Words, convert, convert_to};

/// Texts that are longer are no other code.
const MOST_BYTES: usize = 1 << 16;

/// A text that is accepted becomes twice the same file, in which every word has the probability that the
/// text gives it, and in coarse values one that is a number.
pub fn run(text: &[u8]) {
    if text.len() > MOST_BYTES {
        return;
    }
    let file = convert(text);
    assert!(convert(text) == file, "converted twice, with other results");
    let Ok(file) = file else { return };
    let gguf = Gguf::parse(&file).expect("what was converted is a file");
    let words = Words::new(&gguf);
    check_answers(&words.trie);
    check_definition(&gguf, text);
    let coarse = convert_to(text, 4).expect("accepted in exact values");
    check_answers(&Words::new(&Gguf::parse(&coarse).expect("a file")).trie);
}

/// Compares with the definition of a back-off model, along the words of the model's own n-grams.
fn check_definition(gguf: &Gguf<'_>, text: &[u8]) {
    let Some(definition) = Definition::try_new(text) else { return };
    // Values beyond the limits are set to these.
    let is_bounded = |(p, b): &(f32, f32)| p.abs() <= -NEVER && b.abs() <= -NEVER;
    if !definition.n_grams.values().all(is_bounded) {
        return;
    }
    let words = Words::new(gguf);
    let mut all = vec![0.0; words.trie.n_words()];
    for n_gram in definition.n_grams.keys().take(50) {
        let n_gram: Vec<&str> = n_gram.iter().map(String::as_str).collect();
        let Some((last, context)) = n_gram.split_last() else { continue };
        // Which is never predicted, whatever the text says.
        if *last == "<s>" {
            continue;
        }
        let state = context
            .iter()
            .fold(State::EMPTY, |state, word| score(&words.trie, &state, words.id(word)).1);
        let found = score(&words.trie, &state, words.id(last)).0.log10;
        let expected = definition.score(&n_gram);
        let differ = (found.max(NEVER) - expected.max(NEVER)).abs();
        assert!(differ < 1e-3, "{n_gram:?}: {found}, not {expected}");
        distribution(&words.trie, &state, &mut all);
        assert_eq!(all[words.id(last) as usize].to_bits(), found.to_bits(), "{n_gram:?}");
    }
}
