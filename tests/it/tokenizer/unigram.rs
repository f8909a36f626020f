//! Unigram: of all ways to cut a text into pieces the one whose scores have the largest sum.

use mote_tests::random::Random;

use super::long::{encode_in_time, shorter_in_debug};
use super::*;

const UNUSED: i32 = 5;

/// How much less an unknown character counts than the piece that counts least.
const PENALTY: f64 = 10.0;

/// Token 0 is unknown, token `n + 1` is piece `n`.
fn vocabulary(pieces: &[(String, i32, f32)]) -> Vec<u8> {
    let mut file = Builder::new();
    file.set("tokenizer.ggml.model", "t5").unwrap();
    let scores: Vec<f32> = [0.0].into_iter().chain(pieces.iter().map(|piece| piece.2)).collect();
    file.set_array("tokenizer.ggml.scores", &scores).unwrap();
    let pieces = pieces.iter().map(|(text, kind, _)| (text.as_str(), *kind));
    finish(file, &[("<unk>", UNKNOWN)].into_iter().chain(pieces).collect::<Vec<_>>())
}

fn normal(pieces: impl IntoIterator<Item = (String, f32)>) -> Vec<(String, i32, f32)> {
    pieces.into_iter().map(|(text, score)| (text, NORMAL, score)).collect()
}

/// The best pieces, found slowly. Of ways that are equally good the one with the longest last piece.
fn best(pieces: &[(String, i32, f32)], text: &str) -> Vec<u32> {
    let scores = pieces.iter().filter(|piece| piece.1 == NORMAL).map(|piece| f64::from(piece.2));
    let unknown = scores.fold(f64::INFINITY, f64::min) - PENALTY;
    let mut paths = vec![(f64::NEG_INFINITY, 0, 0); text.len() + 1];
    paths[0].0 = 0.0;
    for (start, character) in text.char_indices() {
        let sum = paths[start].0;
        let mut offer = |len: usize, id: u32, score: f64| {
            if sum + score > paths[start + len].0 {
                paths[start + len] = (sum + score, id, start);
            }
        };
        let mut is_covered = false;
        for (id, (piece, _, score)) in (1..).zip(pieces) {
            if text[start..].starts_with(piece) {
                is_covered |= piece.len() == character.len_utf8();
                // Of equal pieces the first.
                if pieces.iter().position(|other| other.0 == *piece) == Some(id as usize - 1) {
                    offer(piece.len(), id, f64::from(*score));
                }
            }
        }
        if !is_covered {
            offer(character.len_utf8(), 0, unknown);
        }
    }
    let mut ids = Vec::new();
    let mut end = text.len();
    while end > 0 {
        let (_, id, start) = paths[end];
        ids.push(id);
        end = start;
    }
    ids.reverse();
    // Unknown characters in a row are one token.
    ids.dedup_by(|a, b| *a == 0 && *b == 0);
    ids
}

/// Pieces of few letters begin each other and share much, some are there twice, and many ways are equally
/// good.
#[test]
fn pieces_that_share_their_starts() {
    let mut random = Random::new(7);
    let letters = ["a", "b", "é", "你"];
    for round in 0..80 {
        let mut pieces = normal([("a".to_string(), -2.0), ("b".to_string(), -3.0)]);
        for _ in 0..random.below(80) {
            let mut text = match random.below(3) {
                0 => String::new(),
                _ => pieces[random.below(pieces.len())].0.clone(),
            };
            for _ in 0..1 + random.below([2, 9, 60][round % 3]) {
                let rare = random.below(8) < round % 8;
                text += if rare { letters[random.below(letters.len())] } else { "a" };
            }
            let score = match round % 2 {
                0 => -(1.0 + random.below(6) as f32),
                _ => -0.01 * (1 + random.below(2000)) as f32,
            };
            let kind = if random.below(9) == 0 { UNUSED } else { NORMAL };
            if text.len() <= 512 {
                pieces.push((text, kind, score));
            }
        }
        with_bytes(&vocabulary(&pieces), |tokenizer| {
            for _ in 0..20 {
                let mut text = String::new();
                for _ in 0..random.below(9) {
                    text += &pieces[random.below(pieces.len())].0;
                    for _ in 0..random.below(3) {
                        text.pop();
                    }
                    text += ["", "", "cé", "é"][random.below(4)];
                }
                let found = tokenizer.encode_to_vec(text.as_bytes(), PLAIN).unwrap();
                assert_eq!(found, best(&pieces, &text), "{pieces:?} {text:?}");
            }
        });
    }
}

#[test]
fn the_longest_piece_has_512_bytes() {
    let lengths = [1, 511, 512, 513];
    let pieces = normal(lengths.map(|len| ("a".repeat(len), -1.0)));
    with_bytes(&vocabulary(&pieces), |tokenizer| {
        let ids = |len| tokenizer.encode_to_vec(&vec![b'a'; len], PLAIN).unwrap();
        assert_eq!(ids(510), [1; 510]);
        assert_eq!(ids(511), [2]);
        assert_eq!(ids(512), [3]);
        assert_eq!(ids(513).len(), 2);
        assert_eq!(ids(1024), [3, 3]);
    });
}

/// Pieces made so that each place of a text could take many steps: ten megabytes are quick even so. Where
/// many pieces begin at each place, each is weighed, and a text takes longer, but only so much longer as it
/// is longer.
#[test]
fn case_286_ten_megabytes_for_hostile_pieces() {
    let repeat = |len: usize, end: &str| "a".repeat(len) + end;
    let many = |count: usize, piece: &dyn Fn(usize) -> String| {
        normal((0..count).map(|at| (piece(at), -1.0)).chain([("a".into(), -1.0)]))
    };
    // A better way to each place comes from each place before it.
    let falling = normal((1..=512).map(|len| (repeat(len, ""), -((len * len) as f32))));
    let cases = [
        // The text goes on with a piece to its last byte.
        ("the last byte", many(1, &|_| repeat(511, "b")), 10_000_000),
        // It leaves a piece at every byte of another.
        ("every byte", many(511, &|at| repeat(at + 1, "b")), 10_000_000),
        // All of the search is among pieces that are alike for long.
        ("many", many(20_000, &|at| repeat(480, "b") + &at.to_string()), 10_000_000),
        ("512 at each place", falling, 300_000),
    ];
    for (name, pieces, len) in cases {
        let text = "a".repeat(len);
        let text = shorter_in_debug(text.as_bytes());
        with_bytes(&vocabulary(&pieces), |tokenizer| {
            let ids = encode_in_time(name, tokenizer, text);
            // All of `a` alone.
            let a = 1 + pieces.iter().position(|piece| piece.0 == "a").unwrap() as u32;
            assert!(ids.len() == text.len() && ids.iter().all(|&id| id == a), "{name}");
        });
    }
}
