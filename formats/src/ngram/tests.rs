//! A trie of known n-grams, written and read.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::vec;
use std::vec::Vec;

use super::level::{VALUE_BITS_EXACT, exact};
use super::*;
use crate::gguf::{Builder, Gguf};

/// n-grams of 1 to `order` words over `words` ids with every prefix and suffix of each, and values
/// that tell them apart.
fn n_grams(order: usize, words: u32) -> BTreeMap<Vec<u32>, (f32, f32)> {
    let mut all: BTreeSet<Vec<u32>> = (0..words).map(|id| vec![id]).collect();
    let mut seed = 7_u32;
    let mut text = Vec::new();
    for _ in 0..3000 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let x = (seed >> 8) as f32 / (1 << 24) as f32;
        text.push((x * x * x * words as f32) as u32);
    }
    for length in 2..=order {
        all.extend(text.windows(length).map(<[u32]>::to_vec));
    }
    let number = |i: usize| -(i as f32) / 512.0;
    all.into_iter().enumerate().map(|(i, words)| (words, (number(i), number(i % 99)))).collect()
}

/// The file of these n-grams.
fn written(all: &BTreeMap<Vec<u32>, (f32, f32)>, order: usize, bits: u32) -> Vec<u8> {
    let successors = |context: &[u32]| -> Vec<u32> {
        let longer = all.keys().filter(|words| words.len() == context.len() + 1);
        longer
            .filter(|words| words.starts_with(context))
            .map(|words| words[context.len()])
            .collect()
    };
    let mut books = Vec::new();
    for length in 2..=order {
        let (mut probability, mut backoff) = (Histogram::new(), Histogram::new());
        for (_, &(p, b)) in all.iter().filter(|(words, _)| words.len() == length) {
            probability.add(p);
            backoff.add(b);
        }
        let backoff = (length < order).then(|| backoff.codebook(bits, true));
        books.push((probability.codebook(bits, false), backoff));
    }
    let mut levels = Vec::new();
    for (length, (probability, backoff)) in (2..=order).zip(&books) {
        let mut writer = LevelWriter::new(Vec::new(), Vec::new(), probability, backoff.as_ref());
        for (words, &(p, b)) in all.iter().filter(|(words, _)| words.len() == length) {
            let last = words[length - 1];
            let key = match length {
                2 => last,
                _ => successors(&words[1..length - 1]).binary_search(&last).unwrap() as u32,
            };
            writer.push(key, p, b, successors(words).len() as u32).unwrap();
        }
        let (parts, data, directory) = writer.finish().unwrap();
        let [data, directory] = [data, directory].map(Cursor::new);
        levels.push(LevelSource { parts, data, directory, probability, backoff: backoff.as_ref() });
    }
    let unigrams: Vec<_> = all.iter().filter(|(words, _)| words.len() == 1).collect();
    let probability: Vec<f32> = unigrams.iter().map(|(_, values)| values.0).collect();
    let backoff: Vec<f32> = unigrams.iter().map(|(_, values)| values.1).collect();
    let children: Vec<u32> = unigrams.iter().map(|(w, _)| successors(w).len() as u32).collect();
    let unigrams = Unigrams { probability: &probability, backoff: &backoff, children: &children };
    let header = Header { smoothing: Smoothing::Arpa, alpha: 1.0, value_bits: bits };
    let mut file = Vec::new();
    let rewind = |place: &mut Cursor<Vec<u8>>| {
        place.set_position(0);
        Ok(())
    };
    write_model(&mut file, Builder::new(), &header, &unigrams, &mut levels, rewind).unwrap();
    file
}

/// Every n-gram's entry, found word by word.
fn find(trie: &Trie<'_>, words: &[u32]) -> Option<Entry> {
    let mut entry = trie.unigram(words[0])?;
    for length in 2..=words.len() {
        let key = match length {
            2 => words[1],
            _ => {
                let context = find(trie, &words[1..length - 1])?;
                find(trie, &words[1..length])?.index - context.children.begin
            }
        };
        entry = trie.find(length, entry.children, key)?;
    }
    Some(entry)
}

#[test]
fn every_n_gram_is_found() {
    for order in [1, 2, 3, 5] {
        let all = n_grams(order, 40);
        let file = written(&all, order, VALUE_BITS_EXACT);
        let gguf = Gguf::parse(&file).unwrap();
        let trie = Trie::new(&gguf).unwrap();
        trie.verify().unwrap();
        assert_eq!(trie.order(), order);
        for (words, &(probability, backoff)) in &all {
            let entry = find(&trie, words).unwrap_or_else(|| panic!("{words:?}"));
            assert_eq!(entry.probability, probability, "{words:?}");
            if words.len() < order || order == 1 {
                assert_eq!(entry.backoff, backoff, "{words:?}");
            }
            if words.len() > 1 {
                assert_eq!(trie.get(words.len(), entry.index), Some(entry));
                assert_eq!(trie.key(words.len(), entry.index), Some(entry.key));
            }
        }
        if order > 1 {
            assert!(find(&trie, &[39, 39]).is_none());
            assert_eq!(trie.find(2, trie.unigram(0).unwrap().children, 4_000_000), None);
        }
        assert_eq!(trie.n_grams(order), all.keys().filter(|words| words.len() == order).count());
    }
}

#[test]
fn codes_are_near() {
    let all = n_grams(3, 40);
    let file = written(&all, 3, 8);
    let trie = Trie::new(&Gguf::parse(&file).unwrap()).unwrap();
    for (words, &(probability, _)) in all.iter().filter(|(words, _)| words.len() > 1) {
        let entry = find(&trie, words).unwrap();
        assert!((entry.probability - probability).abs() < 0.1, "{words:?}");
    }
}

#[test]
fn damage_is_refused_or_harmless() {
    let all = n_grams(3, 12);
    let file = written(&all, 3, 8);
    let contexts: Vec<&Vec<u32>> = all.keys().collect();
    let mut accepted = 0;
    for at in 0..file.len() {
        for flip in [1, 0x80, 0xff] {
            let mut file = file.clone();
            file[at] ^= flip;
            let Ok(gguf) = Gguf::parse(&file) else { continue };
            let Ok(trie) = Trie::new(&gguf) else { continue };
            accepted += 1;
            for words in contexts.iter().step_by(7).filter(|words| words.len() <= trie.order()) {
                find(&trie, words);
            }
        }
    }
    assert!(accepted > file.len(), "bytes of values may be anything: {accepted}");
    let end = |tensor: crate::gguf::Tensor<'_>| tensor.offset() + tensor.data().len();
    for len in 0..Gguf::parse(&file).unwrap().tensors().map(end).max().unwrap() {
        let cut = &file[..len];
        assert!(Gguf::parse(cut).ok().is_none_or(|gguf| Trie::new(&gguf).is_err()), "{len} bytes");
    }
}

#[test]
fn changed_data_fails_the_checksum() {
    let file = written(&n_grams(3, 12), 3, 8);
    let data = Gguf::parse(&file).unwrap().tensor("3gram.data").unwrap().offset();
    let mut damaged = file.clone();
    damaged[data + 3] ^= 4;
    let trie = Trie::new(&Gguf::parse(&damaged).unwrap()).unwrap();
    assert!(matches!(trie.verify(), Err(TrieError::Checksum { .. })));
}

/// The file with an index.
fn indexed(file: &[u8]) -> Vec<u8> {
    let gguf = Gguf::parse(file).unwrap();
    let mut out = Vec::new();
    write_indexed(&Trie::new(&gguf).unwrap(), &mut out).unwrap();
    out
}

fn hash(index: &Index<'_>, words: &[u32]) -> u64 {
    let first = index.hash(words[0]);
    words[1..].iter().fold(first, |hash, &word| index.extended(hash, word))
}

#[test]
fn the_index_knows_what_the_trie_knows() {
    for (order, bits) in [(1, 8), (2, 8), (3, 1), (5, 8), (5, 4), (5, VALUE_BITS_EXACT)] {
        let all = n_grams(order, 40);
        let plain = written(&all, order, bits);
        let gguf = Gguf::parse(&plain).unwrap();
        assert!(Index::new(&Trie::new(&gguf).unwrap()).unwrap().is_none());
        let file = indexed(&plain);
        let gguf = Gguf::parse(&file).unwrap();
        let trie = Trie::new(&gguf).unwrap();
        trie.verify().unwrap();
        assert_eq!(indexed(&file), file, "written again, the same");
        let index = Index::new(&trie).unwrap().unwrap();
        for words in all.keys().filter(|words| words.len() > 1) {
            let entry = find(&trie, words).unwrap();
            let found = index.find(words.len(), hash(&index, words));
            assert_eq!(found, Some((entry.probability, entry.backoff)), "{words:?}");
        }
        let mut absent = 0;
        for words in (0..40 * 40 * 40).map(|i| [i / 1600, i / 40 % 40, i % 40]) {
            if order >= 3 && find(&trie, &words).is_none() {
                assert_eq!(index.find(3, hash(&index, &words)), None, "{words:?}");
                absent += 1;
            }
        }
        assert!(order < 3 || absent > 50_000);
    }
}

#[test]
fn damage_of_an_index_is_refused_or_harmless() {
    let all = n_grams(3, 12);
    for bits in [8, VALUE_BITS_EXACT] {
        let file = indexed(&written(&all, 3, bits));
        let slots = Gguf::parse(&file).unwrap().tensor(index::TENSOR).unwrap();
        let (at, len) = (slots.offset(), slots.data().len());
        let mut full = file.clone();
        full[at..].fill(0xff);
        let mut marked = file.clone();
        marked[at..].iter_mut().skip(2).step_by(8).for_each(|byte| *byte |= 1);
        let mut foreign = file.clone();
        let codes = foreign[at..].iter_mut().step_by(8);
        codes.for_each(|byte| *byte = 0xff);
        for damaged in [full, marked, foreign] {
            let gguf = Gguf::parse(&damaged).unwrap();
            let trie = Trie::new(&gguf).unwrap();
            let index = Index::new(&trie).unwrap().unwrap();
            assert!(trie.verify().is_err());
            for words in all.keys() {
                index.find(words.len(), hash(&index, words));
                index.find(words.len(), !hash(&index, words));
            }
            index.find(99, hash(&index, &[1, 2]));
        }
        // Too few slots, none, not whole buckets; and no seed.
        for left in [len / 2 / 64 * 64, 8, len - 8] {
            assert_eq!(refusal(&with_slots(&file, left, true)), TrieError::Index, "{left}");
        }
        assert_eq!(refusal(&with_slots(&file, len, false)), TrieError::Key(keys::INDEX_SEED));
    }
}

/// The file with only so many bytes of slots, and with or without the hashes' seed.
fn with_slots(file: &[u8], len: usize, with_seed: bool) -> Vec<u8> {
    let gguf = Gguf::parse(file).unwrap();
    let mut builder = Builder::new();
    for (key, value) in gguf.metadata() {
        if with_seed || key != keys::INDEX_SEED {
            builder.set(key, value).unwrap();
        }
    }
    let data = |tensor: &crate::gguf::Tensor<'_>| match tensor.name() {
        index::TENSOR => len,
        _ => tensor.data().len(),
    };
    for tensor in gguf.tensors() {
        let dims = [(data(&tensor) / tensor.tensor_type().block_bytes() as usize) as u64];
        builder.add_tensor(tensor.name(), &dims, tensor.tensor_type()).unwrap();
    }
    let mut out = Vec::new();
    let mut writer = builder.write_index(&mut out).unwrap();
    gguf.tensors().for_each(|tensor| writer.write(&tensor.data()[..data(&tensor)]).unwrap());
    writer.finish().unwrap();
    out
}

fn refusal(file: &[u8]) -> TrieError {
    let gguf = Gguf::parse(file).unwrap();
    Index::new(&Trie::new(&gguf).unwrap()).unwrap_err()
}

/// Values of longer n-grams are not looked at when a file is opened.
#[test]
fn exact_values_stay_in_their_bounds() {
    for value in [NEVER, -3.25, -0.0, 0.0, 1.5, -NEVER] {
        assert_eq!(exact(value.to_bits()).to_bits(), value.to_bits());
    }
    for beyond in [f32::NAN, -f32::NAN, f32::NEG_INFINITY, -1e30] {
        assert_eq!(exact(beyond.to_bits()), NEVER);
    }
    assert_eq!(exact(f32::INFINITY.to_bits()), -NEVER);
}
