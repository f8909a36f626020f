//! Writing a table as a trie in a GGUF file.

use std::io::{self, Cursor, Write};

use mote_formats::gguf::Builder;
use mote_formats::ngram::{
    Codebook, Header, Histogram, LevelSource, LevelWriter, Smoothing, Unigrams, write_model,
};

use super::table::{Level, Table};

/// Writes the model. `builder` has the keys of its vocabulary.
pub fn write(
    table: &Table,
    builder: Builder,
    value_bits: u32,
    out: &mut impl Write,
) -> io::Result<()> {
    let lengths = 2..=table.order();
    let books: Vec<_> = lengths.map(|length| codebooks(table, length, value_bits)).collect();
    let mut suffixes = Vec::new();
    let mut levels = Vec::new();
    for (length, (probability, backoff)) in (2..).zip(&books) {
        let own = table.suffixes_above(length, &suffixes);
        let mut writer = LevelWriter::new(Vec::new(), Vec::new(), probability, backoff.as_ref());
        for (i, node) in table.level(length).nodes.iter().enumerate() {
            // Where the siblings of its suffix begin.
            let begin = match length {
                2 => 0,
                _ => {
                    let context = suffixes[node.parent as usize];
                    table.level(length - 2).children(context).start as u32
                }
            };
            let children = table.level(length).children(i as u32).len() as u32;
            writer.push(own[i] - begin, node.probability, node.backoff, children)?;
        }
        let (parts, data, directory) = writer.finish()?;
        let [data, directory] = [data, directory].map(Cursor::new);
        levels.push(LevelSource { parts, data, directory, probability, backoff: backoff.as_ref() });
        suffixes = own;
    }
    let words = table.level(1);
    let probability: Vec<f32> = words.nodes.iter().map(|node| node.probability).collect();
    let backoff: Vec<f32> = words.nodes.iter().map(|node| node.backoff).collect();
    let children: Vec<u32> =
        (0..words.nodes.len() as u32).map(|word| words.children(word).len() as u32).collect();
    let unigrams = Unigrams { probability: &probability, backoff: &backoff, children: &children };
    let header = Header { smoothing: Smoothing::Arpa, alpha: 1.0, value_bits };
    let rewind = |place: &mut Cursor<Vec<u8>>| {
        place.set_position(0);
        Ok(())
    };
    write_model(out, builder, &header, &unigrams, &mut levels, rewind)
}

/// Of the probabilities of a level, and of its backoffs, which the last has not.
fn codebooks(table: &Table, length: usize, bits: u32) -> (Codebook, Option<Codebook>) {
    let Level { nodes, .. } = table.level(length);
    let (mut probability, mut backoff) = (Histogram::new(), Histogram::new());
    for node in nodes {
        probability.add(node.probability);
        if node.backoff != 0.0 {
            backoff.add(node.backoff);
        }
    }
    let has_backoffs = length < table.order();
    (probability.codebook(bits, false), has_backoffs.then(|| backoff.codebook(bits, true)))
}
