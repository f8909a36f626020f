//! `mote ngram bench`: nanoseconds a query.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use mote_formats::gguf::{Gguf, Value};
use mote_formats::ngram::{Index, Trie};
use mote_runtime::ngram::{IndexState, State, score, score_by_index};
use serde::Serialize;

use crate::cli::write_json;
use crate::failure::{Code, Failure, Result};
use crate::host::with_gguf;
use crate::input;
use crate::options::ModelOption;
use crate::streams::Streams;

/// Measure how fast an n-gram model answers
#[derive(Args, Debug)]
#[command(after_help = "\
Every word of every line is scored after those before it, the line's end too, as
`kenlm_benchmark query` does; words become ids before the clock starts. The hash index is asked
if the file has one.

JSON keys: queries; nanoseconds (for each query, the best of the rounds); log10 (sum over all
queries); index: whether one was asked; file_bytes; n_grams; bytes_per_n_gram.

Example:
  mote ngram bench -m lm.gguf -f text.txt")]
pub struct Command {
    #[command(flatten)]
    model: ModelOption,
    /// A text, one sentence a line
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// How often the text is scored, after once without the clock
    #[arg(short, long, value_name = "N", default_value = "3")]
    rounds: u32,
    /// Ask the trie, even if the file has a hash index
    #[arg(long)]
    no_index: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report {
    queries: usize,
    nanoseconds: f64,
    log10: f64,
    index: bool,
    file_bytes: usize,
    n_grams: usize,
    bytes_per_n_gram: f64,
}

/// Measures.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    let path = &command.model.model;
    with_gguf(path, |gguf| {
        let refused = |error| Failure::new(Code::Format, error).in_file(path);
        let trie = Trie::new(gguf).map_err(refused)?;
        let index = if command.no_index { None } else { Index::new(&trie).map_err(refused)? };
        let text = input::read_file(&command.file)?;
        let sentences = Sentences::new(gguf, &text)?;
        let pass = || match &index {
            Some(index) => sentences.score_by_index(index),
            None => sentences.score(&trie),
        };
        let mut log10 = pass();
        let mut best = f64::INFINITY;
        for _ in 0..command.rounds {
            let start = Instant::now();
            log10 = pass();
            best = best.min(start.elapsed().as_secs_f64());
        }
        let queries = sentences.ids.len();
        let n_grams = (1..=trie.order()).map(|length| trie.n_grams(length)).sum();
        let file_bytes = gguf.bytes().len();
        let report = Report {
            queries,
            nanoseconds: best * 1e9 / queries.max(1) as f64,
            log10,
            index: index.is_some(),
            file_bytes,
            n_grams,
            bytes_per_n_gram: file_bytes as f64 / n_grams as f64,
        };
        if command.json {
            return write_json(&report, streams);
        }
        let Report { nanoseconds, bytes_per_n_gram, .. } = report;
        let out = &mut *streams.output;
        writeln!(out, "{nanoseconds:.1} ns a query ({queries} queries, sum of log10 {log10:.4})")?;
        Ok(writeln!(out, "{bytes_per_n_gram:.3} bytes an n-gram ({n_grams} n-grams)")?)
    })
}

/// Words as ids; every line ends with [`Sentences::END`]'s.
struct Sentences {
    ids: Vec<u32>,
    start: u32,
    end: u32,
}

impl Sentences {
    fn new(gguf: &Gguf<'_>, text: &[u8]) -> Result<Self> {
        let tokens = match gguf.get("tokenizer.ggml.tokens") {
            Some(Value::Array(tokens)) => tokens.strings(),
            _ => None,
        };
        let tokens = tokens.ok_or(Failure::new(Code::Model, "the model has no words"))?;
        let ids: HashMap<&[u8], u32> = tokens.map(|token| token.as_bytes()).zip(0..).collect();
        let id = |word: &[u8]| ids.get(word).copied();
        let unknown = id(b"<unk>").unwrap_or(0);
        let (start, end) = (id(b"<s>").unwrap_or(unknown), id(b"</s>").unwrap_or(unknown));
        let mut sentences = Sentences { ids: Vec::new(), start, end };
        for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            sentences.ids.extend(words.map(|word| id(word).unwrap_or(unknown)));
            sentences.ids.push(end);
        }
        Ok(sentences)
    }

    fn score(&self, trie: &Trie<'_>) -> f64 {
        let (_, start) = score(trie, &State::EMPTY, self.start);
        let (mut state, mut sum) = (start, 0.0);
        for &id in &self.ids {
            let (score, next) = score(trie, &state, id);
            sum += f64::from(score.log10);
            state = if id == self.end { start } else { next };
        }
        sum
    }
    fn score_by_index(&self, index: &Index<'_>) -> f64 {
        let mut start = IndexState::EMPTY;
        score_by_index(index, &mut start, self.start);
        let (mut state, mut sum) = (start, 0.0);
        for &id in &self.ids {
            sum += f64::from(score_by_index(index, &mut state, id).log10);
            if id == self.end {
                state = start;
            }
        }
        sum
    }
}
