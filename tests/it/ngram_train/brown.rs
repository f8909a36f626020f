//! The Brown corpus in the split of Bengio et al. 2003: perplexities of KenLM's models in the
//! convention of that paper, one long stream in which every token counts alike.

use std::io::Read;

use mote_formats::Gguf;

use super::*;

/// Order, and the perplexity of the test part.
const KENLM: [(usize, f64); 3] = [(3, 314.2), (4, 312.3), (5, 311.6)];

/// Words of the whole vocabulary, the unseen one included.
const VOCABULARY: &str = "16384";

fn unpacked(path: &Path) -> String {
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn perplexities_of_a_stream() {
    let Some(folder) = shared("ngram/brown") else { return };
    let test = unpacked(&folder.join("brown.rareB.test.txt.gz"));
    for (order, want) in KENLM {
        let options = ["-n", &order.to_string(), "--stream", "--vocab-pad", VOCABULARY];
        let input = folder.join("brown.rareB.train.txt.gz");
        let (file, report) = model(&format!("brown-{order}.gguf"), &input, &options);
        assert_eq!(report["sentences"], 1);
        let gguf = Gguf::parse(&file).unwrap();
        let scored = Asked::new(&gguf).score(test.split_ascii_whitespace());
        let sum: f64 = scored.iter().map(|scored| scored.log10).sum();
        let got = 10f64.powf(-sum / scored.len() as f64);
        println!("order {order}: perplexity {got:.3} of {} tokens, KenLM {want}", scored.len());
        assert!((got / want - 1.0).abs() < 1e-3, "order {order}: {got}, KenLM {want}");
    }
}
