//! RWKV's vocabulary: any bytes, and the longest token at each place.

use mote_tests::random::Random;

use super::long::{encode_in_time, shorter_in_debug};
use super::*;

/// As Python spells bytes.
fn spelled(bytes: &[u8]) -> String {
    let of = |&byte: &u8| match byte {
        b'\n' => r"\n".to_string(),
        b'\r' => r"\r".to_string(),
        b'\t' => r"\t".to_string(),
        b'\\' => r"\\".to_string(),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!(r"\x{byte:02x}"),
    };
    bytes.iter().map(of).collect()
}

fn vocabulary(texts: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Builder::new();
    file.set("tokenizer.ggml.model", "rwkv").unwrap();
    file.set("tokenizer.ggml.bos_token_id", 0u32).unwrap();
    file.set("tokenizer.ggml.eos_token_id", 0u32).unwrap();
    let names: Vec<String> = texts.iter().map(|text| spelled(text)).collect();
    let names = names.iter().map(|name| (name.as_str(), NORMAL));
    finish(file, &[("<s>", CONTROL)].into_iter().chain(names).collect::<Vec<_>>())
}

/// All bytes, and longer tokens, some of them the beginnings of others.
fn world() -> Vec<Vec<u8>> {
    let longer = [
        "\n\n", "the", " the", "th", "thesis", "\\n", "\\x", "你好", "你", "é", "\r\n", "''",
        "\t\t\t\t",
    ];
    let bytes = (0..=255u8).map(|byte| vec![byte]);
    // Half a character is a token, too.
    let halves = [vec![0xE4, 0xBD], vec![0xA0, 0xE5]];
    bytes.chain(longer.iter().map(|text| text.as_bytes().to_vec())).chain(halves).collect()
}

#[test]
fn texts_become_the_longest_tokens_and_come_back() {
    let texts = world();
    let mut random = Random::new(9);
    with_bytes(&vocabulary(&texts), |tokenizer| {
        let words = [
            "the ",
            "thesis",
            "你好",
            "你",
            "\\n",
            "\n\n\n",
            "é",
            "'",
            "\t\t\t",
            "\u{1F600}",
            "<s>",
        ];
        for _ in 0..300 {
            let mut text = Vec::new();
            for _ in 0..random.below(12) {
                text.extend_from_slice(words[random.below(words.len())].as_bytes());
                text.push(random.below(256) as u8);
            }
            let mut expected = Vec::new();
            let mut rest = &text[..];
            while !rest.is_empty() {
                let fits = texts.iter().enumerate().filter(|(_, it)| rest.starts_with(it));
                let (id, longest) = fits.max_by_key(|(_, it)| it.len()).unwrap();
                expected.push(id as u32 + 1);
                rest = &rest[longest.len()..];
            }
            let found = tokenizer.encode_to_vec(&text, PLAIN).unwrap();
            assert_eq!(found, expected, "{text:?}");
            assert_eq!(decode(tokenizer, &found, RAW), text);
        }
        assert_eq!(tokenizer.encode_to_vec(b"<s>", TRUSTED).unwrap(), [0]);
        assert!(!tokenizer.adds_bos() && !tokenizer.adds_eos() && !tokenizer.adds_space_prefix());
        assert_eq!(tokenizer.find(br"\n\n"), Some(257));
        assert_eq!(tokenizer.scratch_bytes(1000), 0);
    });
}

/// Where a byte has no token, it is unknown or an error.
#[test]
fn a_byte_without_token() {
    with_bytes(&vocabulary(&[b"a".to_vec(), b"ab".to_vec()]), |tokenizer| {
        assert_eq!(tokenizer.encode_to_vec(b"aaba", PLAIN).unwrap(), [1, 2, 1]);
        let error = tokenizer.encode_to_vec(b"abc", PLAIN);
        assert_eq!(error, Err(EncodeError::NoToken { byte: b'c' }));
    });
}

/// Ids of the longest tokens, found slowly. Token `n` of `texts` has the id `n + 1`.
fn longest(texts: &[Vec<u8>], text: &[u8]) -> Vec<u32> {
    let mut ids = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let fits = texts.iter().enumerate().filter(|(_, token)| rest.starts_with(token));
        // Of equal ones the first.
        let (at, token) = fits.rev().max_by_key(|(_, token)| token.len()).unwrap();
        ids.push(at as u32 + 1);
        rest = &rest[token.len()..];
    }
    ids
}

/// Tokens of two letters only begin each other and share much, and some are there twice.
#[test]
fn tokens_that_share_their_starts() {
    let mut random = Random::new(3);
    for round in 0..60 {
        let mut texts = vec![b"a".to_vec(), b"b".to_vec()];
        for _ in 0..random.below(80) {
            let mut token = match random.below(3) {
                0 => Vec::new(),
                _ => texts[random.below(texts.len())].clone(),
            };
            for _ in 0..1 + random.below([2, 9, 60][round % 3]) {
                token.push(if random.below(8) < round % 8 { b'b' } else { b'a' });
            }
            token.truncate(512);
            texts.push(token);
        }
        with_bytes(&vocabulary(&texts), |tokenizer| {
            for _ in 0..20 {
                let mut text = Vec::new();
                for _ in 0..random.below(9) {
                    text.extend_from_slice(&texts[random.below(texts.len())]);
                    text.truncate(text.len() - random.below(3).min(text.len()));
                }
                let found = tokenizer.encode_to_vec(&text, PLAIN).unwrap();
                assert_eq!(found, longest(&texts, &text), "{texts:?} {text:?}");
            }
        });
    }
}

/// Bytes count, not how they are spelled.
#[test]
fn the_longest_token_has_512_bytes() {
    let nuls = |len| vec![0; len];
    let texts = [nuls(1), nuls(511), nuls(512), nuls(513)];
    with_bytes(&vocabulary(&texts), |tokenizer| {
        let ids = |len| tokenizer.encode_to_vec(&nuls(len), PLAIN).unwrap();
        assert_eq!(ids(510), [1; 510]);
        assert_eq!(ids(511), [2]);
        assert_eq!(ids(512), [3]);
        assert_eq!(ids(513), [3, 1]);
        assert_eq!(ids(1025), [3, 3, 1]);
    });
}

/// Tokens made so that each place of a text could take many steps: ten megabytes are quick even so.
#[test]
fn case_286_ten_megabytes_for_hostile_tokens() {
    let repeat = |byte: u8, len: usize, end: &[u8]| [&vec![byte; len][..], end].concat();
    let of_many =
        |token: &dyn Fn(usize) -> Vec<u8>| (0..511).step_by(8).map(token).collect::<Vec<_>>();
    let with = |mut texts: Vec<Vec<u8>>, more: &[&[u8]]| {
        texts.extend(more.iter().map(|text| text.to_vec()));
        texts
    };
    let counted = |at: u32| repeat(b'a', 480, &[&b"b"[..], at.to_string().as_bytes()].concat());
    let cases = [
        // The text goes on with a token to its last byte.
        ("the last byte", vec![b"a".to_vec(), repeat(b'a', 511, b"b")], &b"a"[..]),
        // It leaves a token at every eighth byte of another.
        ("every eighth byte", with(of_many(&|len| repeat(b'a', len, b"b")), &[b"a"]), b"a"),
        ("escapes", with(of_many(&|len| repeat(0, len, b"\n")), &[b"\0"]), b"\0"),
        // The last token before the text has many others that begin it.
        ("parents", with(of_many(&|len| repeat(b'a', len, b"")), &[b"a", b"b"]), b"ab"),
        // All of the search is among tokens that are alike for long.
        ("many", with((0..20_000).map(counted).collect(), &[b"a"]), b"a"),
    ];
    for (name, texts, part) in cases {
        let texts: Vec<Vec<u8>> = texts.into_iter().filter(|text| !text.is_empty()).collect();
        let text = part.repeat(10_000_000 / part.len());
        let text = shorter_in_debug(&text);
        with_bytes(&vocabulary(&texts), |tokenizer| {
            let ids = encode_in_time(name, tokenizer, text);
            assert_eq!(ids[..100], longest(&texts, &text[..2000])[..100], "{name}");
            assert!(decode(tokenizer, &ids, RAW) == text, "{name}");
        });
    }
}
