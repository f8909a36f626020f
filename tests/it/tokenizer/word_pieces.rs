//! WordPiece: words become the longest tokens that they begin with.

use mote_tests::random::Random;

use super::long::{encode_in_time, shorter_in_debug};
use super::*;

/// Token 0 is unknown, token `n + 1` is `tokens[n]`; those that begin a word have a ▁ before them.
fn vocabulary(tokens: &[String]) -> Vec<u8> {
    let mut file = Builder::new();
    file.set("tokenizer.ggml.model", "bert").unwrap();
    for name in ["bos", "eos", "unknown", "seperator", "cls"] {
        file.set(&format!("tokenizer.ggml.{name}_token_id"), 0u32).unwrap();
    }
    let tokens = tokens.iter().map(|token| (token.as_str(), NORMAL));
    finish(file, &[("[UNK]", CONTROL)].into_iter().chain(tokens).collect::<Vec<_>>())
}

/// The tokens of a word, found slowly; one token 0 if there are none for all of it.
fn longest(tokens: &[String], word: &str) -> Vec<u32> {
    // ▁ stands for no letter.
    if word.contains('▁') {
        return vec![0];
    }
    let whole = format!("▁{word}");
    let mut rest = whole.as_str();
    let mut ids = Vec::new();
    while !rest.is_empty() {
        let least = if ids.is_empty() { "▁".len() + 1 } else { 1 };
        let fits = tokens.iter().enumerate();
        let fits = fits.filter(|(_, it)| it.len() >= least && rest.starts_with(it.as_str()));
        // Of equal ones the first.
        let Some((at, token)) = fits.rev().max_by_key(|(_, token)| token.len()) else {
            return vec![0];
        };
        ids.push(at as u32 + 1);
        rest = &rest[token.len()..];
    }
    ids
}

/// Tokens of few letters begin each other and share much, and some are there twice.
#[test]
fn tokens_that_share_their_starts() {
    let mut random = Random::new(5);
    let letters = ["a", "b", "я", "▁"];
    for round in 0..60 {
        let mut tokens = vec!["▁a".to_string(), "a".to_string()];
        for _ in 0..random.below(60) {
            let mut token = match random.below(3) {
                0 => ["", "▁"][random.below(2)].to_string(),
                _ => tokens[random.below(tokens.len())].clone(),
            };
            for _ in 0..1 + random.below([2, 9, 30][round % 3]) {
                let rare = random.below(8) < round % 8;
                token += if rare { letters[random.below(letters.len())] } else { "a" };
            }
            tokens.push(token);
        }
        with_bytes(&vocabulary(&tokens), |tokenizer| {
            for _ in 0..30 {
                let mut word = String::new();
                for _ in 0..1 + random.below(4) {
                    word += tokens[random.below(tokens.len())].trim_start_matches('▁');
                    word += ["", "a", "b", "▁"][random.below(4)];
                }
                word = word.chars().take(100).collect();
                let expected = if word.is_empty() { vec![] } else { longest(&tokens, &word) };
                let found = tokenizer.encode_to_vec(word.as_bytes(), PLAIN).unwrap();
                assert_eq!(found, expected, "{tokens:?} {word:?}");
            }
        });
    }
}

#[test]
fn the_longest_word_has_100_characters() {
    let tokens = ["▁𐐨", "𐐨"].map(String::from);
    with_bytes(&vocabulary(&tokens), |tokenizer| {
        let ids = |len| tokenizer.encode_to_vec("𐐨".repeat(len).as_bytes(), PLAIN).unwrap();
        assert_eq!(ids(3), [1, 2, 2]);
        assert_eq!(ids(100).len(), 100);
        assert_eq!(ids(101), [0]);
    });
}

/// Words and tokens made so that each place of a word could take many steps: ten megabytes are quick even
/// so.
#[test]
fn case_286_ten_megabytes_for_hostile_tokens() {
    let letter = |byte: u8| char::from(byte).to_string();
    let with = |long: Vec<String>| [vec!["▁a".to_string(), "a".to_string()], long].concat();
    let letters = (b'a'..=b'd').flat_map(|byte| [letter(byte), "▁".to_string() + &letter(byte)]);
    let a = "a".repeat(100) + " ";
    let mut random = Random::new(1);
    let mixed: String = (0..1000).map(|_| letter(b'a' + random.below(4) as u8)).collect();
    let mixed = mixed.as_bytes().chunks(100).map(|word| String::from_utf8_lossy(word) + " ");
    let cases: [(_, Vec<String>, _); 4] = [
        ("short tokens", with(vec!["a".repeat(100) + "b"]), a.clone()),
        ("every letter", with((1..100).map(|len| "a".repeat(len) + "b").collect()), a.clone()),
        ("many", with((0..9999).map(|at| "a".repeat(90) + "b" + &at.to_string()).collect()), a),
        ("letters", letters.chain(["a".repeat(101)]).collect(), mixed.collect()),
    ];
    for (name, tokens, part) in cases {
        let text = part.repeat(10_000_000 / part.len());
        let text = shorter_in_debug(text.as_bytes());
        with_bytes(&vocabulary(&tokens), |tokenizer| {
            let ids = encode_in_time(name, tokenizer, text);
            let words = part.split_whitespace().flat_map(|word| longest(&tokens, word));
            let expected: Vec<u32> = words.collect();
            assert_eq!(ids[..expected.len()], expected, "{name}");
            assert!(ids.len() >= text.len() / 101 * 100, "{name}");
        });
    }
}
