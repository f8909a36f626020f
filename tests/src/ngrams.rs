//! n-gram models for tests, of any vocabulary.

use std::collections::BTreeMap;
use std::io::Cursor;

use mote_formats::Gguf;
use mote_formats::gguf::Builder;
use mote_formats::ngram::level::VALUE_BITS_EXACT;
use mote_formats::ngram::{
    Codebook, Header, LevelSource, LevelWriter, Smoothing, Unigrams, write_model,
};

/// Discounted from every count.
const DISCOUNT: f64 = 0.5;

/// How often n-grams occur, of every length up to the order.
struct Counts {
    n_vocab: usize,
    counts: BTreeMap<Vec<u32>, u32>,
}

impl Counts {
    fn of(&self, words: &[u32]) -> u32 {
        self.counts.get(words).copied().unwrap_or(0)
    }

    /// The n-grams of one word more that begin with these words, in order.
    fn successors(&self, context: &[u32]) -> Vec<(u32, u32)> {
        let longer = self.counts.range(context.to_vec()..);
        longer
            .take_while(|(words, _)| words.starts_with(context))
            .filter(|(words, _)| words.len() == context.len() + 1)
            .map(|(words, &count)| (words[context.len()], count))
            .collect()
    }

    /// Interpolated absolute discounting.
    fn probability(&self, words: &[u32]) -> f64 {
        let Some((_, context)) = words.split_last() else { return 1.0 / self.n_vocab as f64 };
        let next = self.successors(context);
        let total: u32 = next.iter().map(|(_, count)| count).sum();
        let own = (f64::from(self.of(words)) - DISCOUNT).max(0.0) / f64::from(total);
        let rest = DISCOUNT * next.len() as f64 / f64::from(total);
        own + rest
            * if context.is_empty() {
                1.0 / self.n_vocab as f64
            } else {
                self.probability(&words[1..])
            }
    }

    fn backoff(&self, context: &[u32]) -> f64 {
        let next = self.successors(context);
        let total: u32 = next.iter().map(|(_, count)| count).sum();
        if next.is_empty() { 1.0 } else { DISCOUNT * next.len() as f64 / f64::from(total) }
    }
}

/// A GGUF file with an n-gram model of `text`, whose ids are those of the vocabulary in `file`. Its
/// probabilities sum to 1 after every context.
pub fn ngram(file: &[u8], text: &[u32], order: usize) -> Vec<u8> {
    let gguf = Gguf::parse(file).unwrap();
    let mut builder = Builder::new();
    for (key, value) in gguf.metadata().filter(|(key, _)| key.starts_with("tokenizer.")) {
        builder.set(key, value).unwrap();
    }
    let n_vocab = match gguf.get("tokenizer.ggml.tokens") {
        Some(mote_formats::gguf::Value::Array(tokens)) => tokens.len(),
        _ => panic!("no vocabulary"),
    };
    let mut counts = Counts { n_vocab, counts: BTreeMap::new() };
    for length in 1..=order {
        for words in text.windows(length) {
            *counts.counts.entry(words.to_vec()).or_default() += 1;
        }
    }
    write(builder, &counts, order)
}

fn write(builder: Builder, counts: &Counts, order: usize) -> Vec<u8> {
    let log10 = |p: f64| p.log10() as f32;
    let exact = Codebook::exact();
    let mut levels = Vec::new();
    for length in 2..=order {
        let backoffs = (length < order).then_some(&exact);
        let mut writer = LevelWriter::new(Vec::new(), Vec::new(), &exact, backoffs);
        for words in counts.counts.keys().filter(|words| words.len() == length) {
            let last = words[length - 1];
            let siblings = counts.successors(&words[1..length - 1]);
            let key = match length {
                2 => last,
                _ => siblings.binary_search_by_key(&last, |(id, _)| *id).unwrap() as u32,
            };
            let (p, b) = (log10(counts.probability(words)), log10(counts.backoff(words)));
            writer.push(key, p, b, counts.successors(words).len() as u32).unwrap();
        }
        let (parts, data, directory) = writer.finish().unwrap();
        let [data, directory] = [data, directory].map(Cursor::new);
        levels.push(LevelSource { parts, data, directory, probability: &exact, backoff: backoffs });
    }
    let ids = 0..counts.n_vocab as u32;
    let (mut probability, mut backoff, mut children) = (Vec::new(), Vec::new(), Vec::new());
    for id in ids {
        probability.push(log10(counts.probability(&[id])));
        backoff.push(log10(counts.backoff(&[id])));
        children.push(counts.successors(&[id]).len() as u32);
    }
    let unigrams = Unigrams { probability: &probability, backoff: &backoff, children: &children };
    let header = Header { smoothing: Smoothing::Arpa, alpha: 1.0, value_bits: VALUE_BITS_EXACT };
    let mut file = Vec::new();
    let rewind = |place: &mut Cursor<Vec<u8>>| {
        place.set_position(0);
        Ok(())
    };
    write_model(&mut file, builder, &header, &unigrams, &mut levels, rewind).unwrap();
    file
}
