//! Vocabularies of n-gram models: words between blanks, and bytes.

use std::time::Duration;

use super::long::{encode_in_time, thread_time};
use super::*;

const ENDS: [(&str, i32); 3] = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)];

/// A vocabulary of this kind; the first three tokens are [`ENDS`]. Without `types`, the file says by
/// ids alone what they are.
fn vocabulary(kind: &str, tokens: &[(&str, i32)], types: bool) -> Vec<u8> {
    let mut file = Builder::new();
    file.set("tokenizer.ggml.model", kind).unwrap();
    file.set("tokenizer.ggml.unknown_token_id", 0u32).unwrap();
    file.set("tokenizer.ggml.bos_token_id", 1u32).unwrap();
    file.set("tokenizer.ggml.eos_token_id", 2u32).unwrap();
    if types {
        return finish(file, tokens);
    }
    let texts: Vec<&str> = tokens.iter().map(|(text, _)| *text).collect();
    file.set_strings("tokenizer.ggml.tokens", &texts).unwrap();
    file.write_index(Vec::new()).unwrap().finish().unwrap()
}

/// The words have ids from 3 on.
fn words(words: &[&str], types: bool) -> Vec<u8> {
    let words = words.iter().map(|word| (*word, NORMAL));
    vocabulary("words", &ENDS.into_iter().chain(words).collect::<Vec<_>>(), types)
}

/// What the tokens of [`bytes`] are called.
fn byte_names() -> Vec<String> {
    (0..=255u8).map(|byte| format!("<0x{byte:02X}>")).collect()
}

fn bytes(types: bool) -> Vec<u8> {
    let names = byte_names();
    let names = names.iter().map(|name| (name.as_str(), BYTE));
    vocabulary("bytes", &ENDS.into_iter().chain(names).collect::<Vec<_>>(), types)
}

/// One of each kind, to be damaged.
pub(super) fn files() -> [Vec<u8>; 3] {
    let some = ["the", "cat", "</s", ">", "a", "é", "<", ""];
    [words(&some, true), words(&some, false), bytes(true)]
}

/// lmplz cuts at blanks, tabs, carriage returns, line ends and NULs, and nowhere else.
#[test]
fn a_text_is_cut_where_lmplz_cuts_it() {
    for types in [true, false] {
        let file = words(&["the", "cat", "sat.", "a\u{B}b", "a\u{C}b", "a\u{A0}b", "Cat"], types);
        with_bytes(&file, |tokenizer| {
            let ids = |text: &[u8]| tokenizer.encode_to_vec(text, PLAIN).unwrap();
            assert_eq!(ids(b"the cat sat."), [3, 4, 5]);
            assert_eq!(ids(b"  the\tcat\rthe\ncat\0the\r\n \n"), [3, 4, 3, 4, 3]);
            assert_eq!(ids("a\u{B}b a\u{C}b a\u{A0}b".as_bytes()), [6, 7, 8]);
            assert_eq!(ids(b"The cat, sat Cat \xFF\xFE"), [0, 0, 0, 9, 0]);
            assert!(ids(b"").is_empty() && ids(b" \n\t").is_empty());
            // What only the host may write is an unknown word.
            assert_eq!(ids(b"<s> the </s> <unk>"), [0, 3, 0, 0]);
            let trusted = tokenizer.encode_to_vec(b"<s> the </s>", TRUSTED).unwrap();
            assert_eq!(trusted, [1, 3, 2]);
            let around = EncodeOptions { eos: true, ..tokenizer.default_options() };
            assert_eq!(tokenizer.encode_to_vec(b"cat", around).unwrap(), [1, 4, 2]);
            assert_eq!(tokenizer.scratch_bytes(1 << 20), 0);
        });
    }
}

#[test]
fn words_are_joined_by_single_blanks() {
    with_bytes(&words(&["the", "cat", "sät"], true), |tokenizer| {
        let text =
            |ids: &[u32], options| String::from_utf8(decode(tokenizer, ids, options)).unwrap();
        assert_eq!(text(&[1, 3, 4, 5, 2], WITHOUT_SPECIAL), "the cat sät");
        assert_eq!(text(&[1, 3, 0, 4, 2], WITH_SPECIAL), "<s> the <unk> cat </s>");
        let continues = DecodeOptions { text_start: false, ..WITHOUT_SPECIAL };
        assert_eq!(text(&[4, 2], continues), " cat");
        let mut buffer = [0; 9];
        assert_eq!(tokenizer.token_bytes(5, &mut buffer), Ok(5));
        assert_eq!(buffer[..5], *" sät".as_bytes());
        assert!(tokenizer.is_end_of_generation(2) && !tokenizer.is_end_of_generation(3));
        assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(1), Some(2)));
        assert_eq!((tokenizer.unknown(), tokenizer.find(b"cat")), (Some(0), Some(4)));
        assert_eq!((tokenizer.find(b"</s>"), tokenizer.find(b"dog")), (Some(2), None));
        assert!(
            tokenizer.adds_bos() && !tokenizer.adds_eos() && tokenizer.is_pre_tokenizer_known()
        );
        // The longest word and its blank, thrice for bytes that are no text.
        assert_eq!(tokenizer.max_token_bytes(), 6);
    });
}

#[test]
fn bytes_are_their_values_and_three() {
    for types in [true, false] {
        with_bytes(&bytes(types), |tokenizer| {
            let all: Vec<u8> = (0..=255).collect();
            let ids = tokenizer.encode_to_vec(&all, tokenizer.default_options()).unwrap();
            assert_eq!(ids, [1].into_iter().chain(3..259).collect::<Vec<u32>>());
            assert_eq!(decode(tokenizer, &ids, DecodeOptions { skip_special: true, ..RAW }), all);
            let text = " ▁é\n</s>".as_bytes();
            let ids = tokenizer.encode_to_vec(text, PLAIN).unwrap();
            assert_eq!(ids.len(), text.len());
            assert_eq!(decode(tokenizer, &ids, WITH_SPECIAL), text);
            assert_eq!(tokenizer.encode_to_vec(b"a</s>", TRUSTED).unwrap(), [100, 2]);
            for (byte, name) in byte_names().iter().enumerate() {
                assert_eq!(tokenizer.find(name.as_bytes()), Some(3 + byte as u32));
            }
            assert_eq!((tokenizer.unknown(), tokenizer.find(b"<s>")), (Some(0), Some(1)));
        });
    }
}

#[test]
fn vocabularies_of_words_that_cannot_be_are_refused() {
    let refused = |file: &[u8]| try_with_bytes(file, |_| ()).unwrap_err();
    // No unknown word, neither by key nor by type.
    let mut file = Builder::new();
    file.set("tokenizer.ggml.model", "words").unwrap();
    let without = finish(file, &[("a", NORMAL), ("b", NORMAL)]);
    assert_eq!(refused(&without), LoadError::Missing("tokenizer.ggml.unknown_token_id"));
    assert_eq!(
        refused(&vocabulary("words", &ENDS[..2], true)),
        LoadError::SpecialId { key: "tokenizer.ggml.eos_token_id", id: 2 }
    );
    let names = byte_names();
    let token = |at: usize| (names[at].as_str(), BYTE);
    let of = |at: &mut dyn Iterator<Item = usize>| {
        vocabulary("bytes", &ENDS.into_iter().chain(at.map(token)).collect::<Vec<_>>(), true)
    };
    assert_eq!(refused(&of(&mut (0..255))), LoadError::BytePlace(258));
    assert_eq!(refused(&of(&mut (0..256).chain([7]))), LoadError::BytePlace(259));
    assert_eq!(refused(&of(&mut (0..9).chain([10, 9]).chain(11..256))), LoadError::BytePlace(12));
    assert!(try_with_bytes(&of(&mut (0..256)), |_| ()).is_ok());
    let ordinary = names.iter().map(|name| (name.as_str(), NORMAL));
    let ordinary: Vec<_> = ENDS.into_iter().chain(ordinary).collect();
    assert_eq!(refused(&vocabulary("bytes", &ordinary, true)), LoadError::BytePlace(3));
    let form = [ENDS[0], ENDS[1], ENDS[2], ("<0xZZ>", BYTE)];
    assert_eq!(refused(&vocabulary("bytes", &form, true)), LoadError::ByteToken(3));
}

/// Of equal words the first is used; an empty one is never met.
#[test]
fn equal_and_empty_words_do_no_harm() {
    with_bytes(&words(&["a", "", "b", "a", ""], true), |tokenizer| {
        assert_eq!(tokenizer.encode_to_vec(b"a  b a", PLAIN).unwrap(), [3, 5, 3]);
        assert_eq!(decode(tokenizer, &[3, 4, 6], WITH_SPECIAL), b"a  a");
    });
}

#[test]
fn a_small_buffer_gets_the_words_that_fit() {
    with_bytes(&words(&["a", "b"], true), |tokenizer| {
        let mut ids = [9; 3];
        let found = tokenizer.encode(b"a b c b", PLAIN, &mut [], &mut ids[..2]);
        assert_eq!(found, Err(EncodeError::OutputTooSmall { needed: 4 }));
        assert_eq!(ids, [3, 4, 9]);
    });
}

/// A vocabulary of the size that a corpus of a hundred million words has, and a long text.
#[test]
fn many_words_load_and_are_found() {
    let names: Vec<String> = (0..300_000).map(|n| format!("w{n:x}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let file = words(&names, false);
    let start = thread_time();
    with_bytes(&file, |tokenizer| {
        let loaded = thread_time() - start;
        assert!(loaded < Duration::from_millis(500), "{loaded:?}");
        let ids: Vec<u32> = (3..3 + names.len() as u32).rev().cycle().take(1_300_000).collect();
        let text: Vec<&str> = ids.iter().map(|&id| names[id as usize - 3]).collect();
        let text = text.join(" ");
        let found = encode_in_time("words", tokenizer, text.as_bytes());
        assert!(found == ids && decode(tokenizer, &ids, RAW) == text.as_bytes());
    });
}
