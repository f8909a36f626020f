//! RWKV's vocabulary: any bytes, and the longest token at each place.

use mote_tests::random::Random;

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
