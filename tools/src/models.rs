//! `mote models`: what this program runs, from the lists by which it runs it.

use clap::Args;
use mote_kernels::QuantType;
use mote_runtime::arch::ARCHITECTURES;
use mote_runtime::tokenizer;
use serde::Serialize;

use crate::cli::write_json;
use crate::failure::Result;
use crate::streams::Streams;

/// List the architectures, encodings and pre-tokenizers that are supported
#[derive(Args, Debug)]
#[command(after_help = "\
What a file needs is what mote inspect shows of it: its architecture, the encodings of its tensors
and its tokenizer's pre-tokenizer. n-gram models (mote ngram) are run, too.

JSON keys: architectures; encodings: {name, bits: of a weight}; pre_tokenizers.

Examples:
  mote models
  mote models --json")]
pub struct Command {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Command {
    /// Whether the result is wanted as JSON.
    pub fn json(&self) -> bool {
        self.json
    }
}

#[derive(Serialize)]
struct Report {
    architectures: Vec<&'static str>,
    encodings: Vec<Encoding>,
    pre_tokenizers: Vec<&'static str>,
}

#[derive(Serialize)]
struct Encoding {
    name: &'static str,
    bits: f64,
    written: bool,
}

/// Lists.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    let encodings = QuantType::ALL.iter().map(|kind| Encoding {
        name: kind.name(),
        bits: 8.0 * kind.block_bytes() as f64 / kind.block_len() as f64,
        written: kind.is_written(),
    });
    let report = Report {
        architectures: architectures().collect(),
        encodings: encodings.collect(),
        pre_tokenizers: tokenizer::pre_tokenizers()
            .chain([tokenizer::merged_pieces()])
            .flatten()
            .copied()
            .collect(),
    };
    if command.json {
        return write_json(&report, streams);
    }
    let encodings = report.encodings.iter().map(|it| {
        let star = if it.written { "" } else { "*" };
        format!("{}{star} ({})", it.name, it.bits)
    });
    let out = &mut *streams.output;
    writeln!(out, "architectures   {}", wrapped(report.architectures.iter().copied()))?;
    writeln!(out, "encodings       {}", wrapped(encodings))?;
    writeln!(out, "                (in brackets: bits of a weight; * is read, not written)")?;
    Ok(writeln!(out, "pre-tokenizers  {}", wrapped(report.pre_tokenizers.iter().copied()))?)
}

/// The names of all architectures.
pub fn architectures() -> impl Iterator<Item = &'static str> {
    ARCHITECTURES.iter().map(|architecture| architecture.name)
}

/// Lines of at most so many characters.
const COLUMNS: usize = 80;

/// Words in lines that begin below each other.
fn wrapped(words: impl Iterator<Item = impl AsRef<str>>) -> String {
    let (mut text, mut used) = (String::new(), 0);
    for word in words {
        let word = word.as_ref();
        if used > 0 && used + word.len() + 2 > COLUMNS {
            text.push_str(",\n                ");
            used = 0;
        } else if used > 0 {
            text.push_str(", ");
        }
        text.push_str(word);
        used += word.len() + 2;
    }
    text
}

/// The name that is most like one that is not known.
pub fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    // Nobody's names are longer, but a file's may be.
    let end = name.char_indices().nth(64).map_or(name.len(), |(end, _)| end);
    let name = name.get(..end).unwrap_or_default();
    let shared = |known: &str| known.chars().zip(name.chars()).take_while(|(a, b)| a == b).count();
    // Names of a family begin alike: what they share counts first, then how little else there is.
    known.max_by_key(|known| (shared(known), core::cmp::Reverse(distance(name, known))))
}

/// Characters to be changed, left out or added (Levenshtein 1966).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        let mut left = i + 1;
        for (above, y) in row.iter_mut().skip(1).zip(b.chars()) {
            let changed = diagonal + usize::from(x != y);
            diagonal = *above;
            left = changed.min(*above + 1).min(left + 1);
            *above = left;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_names_are_of_the_family() {
        let of = |name| nearest(name, ["llama", "qwen2", "qwen3", "qwen3moe"].into_iter());
        assert_eq!(of("qwen2moe"), Some("qwen2"));
        assert_eq!(of("qwen3vlmoe"), Some("qwen3moe"));
        assert_eq!(of("llama4"), Some("llama"));
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "ab"), 2);
    }
}
