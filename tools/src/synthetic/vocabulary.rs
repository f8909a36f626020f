//! A vocabulary without meaning, in the form of SentencePiece, as Llama 2 has it.

use mote_formats::gguf::{BuildError, Builder};

/// Tokens before the bytes.
const SPECIAL: [(&str, i32); 3] = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)];

// Token types, as ggml numbers them.
const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const BYTE: i32 = 6;

/// Adds the keys of a vocabulary of `tokens` tokens: special ones, every byte, then all words of the
/// letters a to z in the order of their lengths, each with and without a blank before it.
pub fn add(builder: &mut Builder, tokens: u32) -> Result<(), BuildError> {
    let special = SPECIAL.map(|(text, kind)| (text.to_owned(), 0.0, kind));
    let bytes = (0..=u8::MAX).map(|byte| (format!("<0x{byte:02X}>"), 0.0, BYTE));
    let pieces = (0..).map(|rank| (piece(rank), -(rank as f32), NORMAL));
    let all = special.into_iter().chain(bytes).chain(pieces).take(tokens as usize);

    let (mut texts, mut scores, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
    for (text, score, kind) in all {
        texts.push(text);
        scores.push(score);
        kinds.push(kind);
    }
    builder.set("tokenizer.ggml.model", "llama")?;
    builder.set("tokenizer.ggml.pre", "default")?;
    builder.set_strings("tokenizer.ggml.tokens", &texts)?;
    builder.set_array::<f32>("tokenizer.ggml.scores", &scores)?;
    builder.set_array::<i32>("tokenizer.ggml.token_type", &kinds)?;
    builder.set("tokenizer.ggml.unknown_token_id", 0_u32)?;
    builder.set("tokenizer.ggml.bos_token_id", 1_u32)?;
    builder.set("tokenizer.ggml.eos_token_id", 2_u32)?;
    builder.set("tokenizer.ggml.add_bos_token", true)
}

/// A blank, a, blank and a, b, blank and b, ...
fn piece(rank: u32) -> String {
    let mut letters = Vec::new();
    // Digits from 1 to 26: no word is another with zeros before it.
    let mut number = rank.div_ceil(2);
    while number > 0 {
        number -= 1;
        letters.push(char::from(b'a' + (number % 26) as u8));
        number /= 26;
    }
    // SentencePiece's blank.
    letters.extend(rank.is_multiple_of(2).then_some('\u{2581}'));
    letters.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_distinct() {
        assert_eq!([0, 1, 2, 3].map(piece), ["\u{2581}", "a", "\u{2581}a", "b"]);
        let pieces: std::collections::BTreeSet<_> = (0..50_000).map(piece).collect();
        assert_eq!(pieces.len(), 50_000);
    }
}
