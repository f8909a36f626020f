//! What is in the file of an n-gram model.

use std::io::{self, Write};

use mote_formats::gguf::Gguf;
use mote_formats::ngram::{Trie, level::VALUE_BITS_EXACT};
use serde::Serialize;

/// What is known of an n-gram model.
#[derive(Serialize)]
pub struct NgramReport {
    order: usize,
    /// n-grams of each length.
    counts: Vec<u64>,
    smoothing: &'static str,
    /// Of stupid backoff; 1 for all else.
    alpha: f32,
    value_bits: u32,
    /// Bytes of the whole file for each n-gram.
    bytes_per_n_gram: f64,
}

impl NgramReport {
    /// Of a file; `None` if it is no n-gram model, or a damaged one.
    pub fn new(gguf: &Gguf<'_>) -> Option<NgramReport> {
        let trie = Trie::new(gguf).ok()?;
        let counts = (1..=trie.order()).map(|length| trie.n_grams(length) as u64);
        let counts: Vec<u64> = counts.collect();
        let n_grams: u64 = counts.iter().sum();
        Some(NgramReport {
            order: trie.order(),
            counts,
            smoothing: trie.smoothing().name(),
            alpha: trie.alpha(),
            value_bits: trie.value_bits(),
            bytes_per_n_gram: gguf.bytes().len() as f64 / n_grams.max(1) as f64,
        })
    }

    /// As text.
    pub fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let NgramReport { order, smoothing, value_bits, counts, bytes_per_n_gram, .. } = self;
        let values = match *value_bits {
            VALUE_BITS_EXACT => "exact values".to_string(),
            bits => format!("values of {bits} bits"),
        };
        writeln!(out, "  n-gram model: order {order}, {smoothing}, {values}")?;
        for (length, count) in (1..).zip(counts) {
            writeln!(out, "    {count:>12} {length}-grams")?;
        }
        let n_grams: u64 = counts.iter().sum();
        writeln!(out, "    {n_grams:>12} together, {bytes_per_n_gram:.2} bytes of the file each")
    }
}
