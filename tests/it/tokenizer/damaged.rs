//! Texts that are none, vocabularies that cannot be, ids that are no tokens.

use super::*;

/// Memory is asked for exactly: one byte less is refused, for vocabularies and for texts.
#[test]
fn less_memory_than_asked_for_is_refused() {
    for name in FIXTURES {
        let bytes = std::fs::read(fixture(&format!("{name}.gguf"))).unwrap();
        let file = Gguf::parse(&bytes).unwrap();
        let needed = Tokenizer::bytes_needed(&file).unwrap();
        let mut memory = vec![0; needed];
        let start = memory.as_ptr().align_offset(64);
        // From an aligned start on, the slack for alignment is not needed.
        let lent = &mut memory[start..][..needed - 64];
        assert!(matches!(Tokenizer::new(&file, lent), Err(LoadError::Memory(_))), "{name}");
    }
    // A decomposed character makes the normalizer work, a long word the chain.
    let text = "e\u{301} ".to_owned() + &"x".repeat(300);
    let text = text.as_bytes();
    for name in FIXTURES {
        with_fixture(name, |tokenizer| {
            let mut ids = vec![0; text.len() * 3];
            let expected = tokenizer.encode_to_vec(text, PLAIN).unwrap();
            let mut scratch = vec![0xA5; tokenizer.scratch_bytes(text.len())];
            let count = tokenizer.encode(text, PLAIN, &mut scratch, &mut ids).unwrap();
            assert_eq!(ids[..count], expected);
            // What an error asks for is more each time, and enough in the end.
            let mut given = 0;
            loop {
                match tokenizer.encode(text, PLAIN, &mut scratch[..given], &mut ids) {
                    Ok(count) => break assert_eq!(ids[..count], expected),
                    Err(EncodeError::ScratchTooSmall(error)) => {
                        assert_eq!(error.given, given);
                        assert!(error.needed > given && error.needed <= scratch.len());
                        given = error.needed;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
}

/// What is not UTF-8.
const INVALID: [&[u8]; 6] =
    [b"\x80", b"\xC0\x80", b"\xED\xA0\x80", b"\xF4\x90\x80\x80", b"\xE2\x82", b"a\xFFb\xE2"];

#[test]
fn case_283_invalid_utf8_becomes_bytes_and_comes_back() {
    for name in FIXTURES {
        with_fixture(name, |tokenizer| {
            for text in INVALID {
                let ids = tokenizer.encode_to_vec(text, PLAIN).unwrap();
                assert_eq!(decode(tokenizer, &ids, RAW), text, "{name}");
                let text = String::from_utf8_lossy(text).into_owned();
                assert_eq!(decode(tokenizer, &ids, WITH_SPECIAL), text.as_bytes(), "{name}");
            }
        });
    }
}

#[test]
fn case_283_without_byte_tokens_invalid_utf8_is_unknown() {
    let file = pieces(&[("<unk>", UNKNOWN), ("a", NORMAL), ("b", NORMAL)]);
    with_bytes(&file, |tokenizer| {
        for text in INVALID {
            let ids = tokenizer.encode_to_vec(text, PLAIN).unwrap();
            let expected = if text[0] == b'a' { vec![1, 0, 2, 0] } else { vec![0] };
            assert_eq!(ids, expected, "{text:x?}");
        }
    });
    let alphabet = [("a", NORMAL), ("b", NORMAL), ("<unk>", CONTROL)];
    with_bytes(&bytes_and_merges(&alphabet, &[]), |tokenizer| {
        let error = tokenizer.encode_to_vec(b"a\xFF", PLAIN);
        assert_eq!(error, Err(EncodeError::NoToken { byte: 0xFF }));
    });
}

#[test]
fn case_284_a_nul_is_a_character_like_others() {
    for name in FIXTURES {
        with_fixture(name, |tokenizer| {
            let ids = tokenizer.encode_to_vec(b"a\0b", PLAIN).unwrap();
            assert!(ids.len() >= 3);
            assert_eq!(decode(tokenizer, &ids, RAW), b"a\0b");
        });
    }
}

#[test]
fn case_285_letter_missing() {
    let tokens = [("<unk>", UNKNOWN), ("a", NORMAL), ("ab", NORMAL), ("▁", NORMAL), ("c", NORMAL)];
    with_bytes(&pieces(&tokens), |tokenizer| {
        // Neighbours that are unknown are one token, as for Hugging Face and SentencePiece. A
        // letter that is no piece does not merge.
        let ids = tokenizer.encode_to_vec("abxyéc x".as_bytes(), PLAIN).unwrap();
        assert_eq!(ids, [1, 0, 4, 3, 0]);
    });
    let nothing = [("a", NORMAL)];
    with_bytes(&pieces(&nothing), |tokenizer| {
        let error = tokenizer.encode_to_vec(b"ax", PLAIN);
        assert_eq!(error, Err(EncodeError::NoToken { byte: b'x' }));
    });
}

#[test]
fn case_295_an_id_that_is_no_token_is_an_error() {
    for name in FIXTURES {
        with_fixture(name, |tokenizer| {
            let mut buffer = vec![0; tokenizer.max_token_bytes() * 3 + 9];
            for id in [tokenizer.len() as u32, (1 << 31) - 1, u32::MAX] {
                let error = Err(DecodeError::UnknownId(id));
                assert_eq!(Decoder::new(tokenizer, RAW).push(id, &mut buffer), error);
                assert_eq!(tokenizer.token_bytes(id, &mut buffer), error);
                assert_eq!((tokenizer.kind(id), tokenizer.text(id)), (None, &[][..]));
                assert!(!tokenizer.is_end_of_generation(id));
            }
        });
    }
}

#[test]
fn case_296_a_character_in_four_tokens_comes_when_it_is_complete() {
    with_fixture("spm_llama", |tokenizer| {
        let ids: Vec<u32> = ["<0xF0>", "<0x9F>", "<0x98>", "<0x80>", "<0x41>"]
            .map(|byte| tokenizer.find(byte.as_bytes()).unwrap())
            .to_vec();
        let mut buffer = [0; 64];
        let mut decoder = Decoder::new(tokenizer, WITH_SPECIAL);
        for (place, &id) in ids[..3].iter().enumerate() {
            assert_eq!(decoder.push(id, &mut buffer), Ok(0));
            assert_eq!(decoder.pending().len(), place + 1);
        }
        assert_eq!(decoder.push(ids[3], &mut buffer), Ok(4));
        assert_eq!(buffer[..4], *"😀".as_bytes());
        assert_eq!(decoder.finish(&mut buffer), Ok(0));
        // The end comes too early, or another character.
        assert_eq!(decode(tokenizer, &ids[..3], WITH_SPECIAL), "\u{FFFD}".as_bytes());
        assert_eq!(decode(tokenizer, &ids[..3], RAW), "😀".as_bytes()[..3]);
        let early = [ids[0], ids[1], ids[4]];
        assert_eq!(decode(tokenizer, &early, WITH_SPECIAL), "\u{FFFD}A".as_bytes());
        // A buffer that is too small changes nothing.
        let mut decoder = Decoder::new(tokenizer, WITH_SPECIAL);
        for &id in &ids[..3] {
            decoder.push(id, &mut []).unwrap();
        }
        let error = Err(DecodeError::OutputTooSmall { needed: 4 });
        assert_eq!(decoder.push(ids[3], &mut buffer[..3]), error);
        assert_eq!(decoder.push(ids[3], &mut buffer), Ok(4));
    });
}

/// Every vocabulary of the malformed set that is refused for itself, and those that are not.
#[test]
fn malformed_vocabularies_are_refused() {
    let Some(folder) = shared("malformed") else { return };
    let mut seen = 0;
    for case in json(&folder.join("manifest.json"))["cases"].as_array().unwrap() {
        let file = case["file"].as_str().unwrap();
        let accepted = match case["expected"].as_str().unwrap() {
            // A token without text harms nobody; files in use have some.
            _ if file == "tk_empty_token.gguf" => true,
            expected => expected == "accept",
        };
        if file.starts_with("tk_") {
            let bytes = std::fs::read(folder.join(file)).unwrap();
            let found = try_with_bytes(&bytes, |tokenizer| {
                tokenizer.encode_to_vec(b"a text", PLAIN).map(drop)
            });
            assert_eq!(found.is_ok(), accepted, "{file}: {found:?}");
            seen += 1;
        }
    }
    assert!(seen > 30);
}

/// Merges of tokens that only the user may write merge nothing; merges of no tokens are an error.
#[test]
fn merges_are_of_tokens() {
    let tokens = [("a", NORMAL), ("b", NORMAL), ("ab", CONTROL), ("c", NORMAL), ("bc", NORMAL)];
    with_bytes(&bytes_and_merges(&tokens, &["a b", "b c"]), |tokenizer| {
        assert_eq!(
            tokenizer.encode_to_vec(b"ab abc", PLAIN),
            Err(EncodeError::NoToken { byte: b' ' })
        );
        assert_eq!(tokenizer.encode_to_vec(b"abc", PLAIN).unwrap(), [0, 4]);
    });
    for (merge, error) in [
        ("a c", LoadError::MergeToken(0)),
        ("x y", LoadError::MergeToken(0)),
        ("ab", LoadError::MergeForm(0)),
        (" b", LoadError::MergeForm(0)),
    ] {
        let file = bytes_and_merges(&tokens, &[merge]);
        assert_eq!(try_with_bytes(&file, |_| ()), Err(error));
    }
}

/// Of equal texts the first is used, whatever comes later.
#[test]
fn of_equal_tokens_the_first_counts() {
    let tokens = [("a", NORMAL), ("aa", NORMAL), ("a", NORMAL), ("aa", NORMAL)];
    with_bytes(&bytes_and_merges(&tokens, &["a a"]), |tokenizer| {
        assert_eq!(tokenizer.encode_to_vec(b"aaa", PLAIN).unwrap(), [1, 0]);
    });
    with_bytes(&pieces(&tokens), |tokenizer| {
        assert_eq!(tokenizer.encode_to_vec(b"aaa", PLAIN).unwrap(), [1, 0]);
    });
}

/// Vocabularies with bytes changed at random are refused or work; texts of random bytes too.
#[test]
fn damaged_vocabularies_do_no_harm() {
    let mut state = 3u64;
    let mut random = |limit: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % limit
    };
    let rounds = std::env::var("MOTE_ROUNDS").map_or(2000, |rounds| rounds.parse().unwrap());
    let mut worked = 0;
    let names = FIXTURES.into_iter().chain(["unigram"]);
    let files = names.map(|name| std::fs::read(fixture(&format!("{name}.gguf"))).unwrap());
    for bytes in files.chain(words::files()) {
        for _ in 0..rounds {
            let mut damaged = bytes.clone();
            for _ in 0..1 + random(8) {
                let at = random(damaged.len());
                damaged[at] = match random(4) {
                    0 => random(256) as u8,
                    1 => damaged[at] ^ 1 << random(8),
                    2 => damaged[random(bytes.len())],
                    _ => [0, 1, 0x7F, 0x80, 0xFF][random(5)],
                };
            }
            let pieces = [&b"</s>"[..], b"<", "▁".as_bytes(), b" ", b"a", b"\n", "é".as_bytes()];
            let mut text = Vec::new();
            for _ in 0..random(300) {
                text.extend_from_slice(pieces[random(pieces.len())]);
                text.push(random(256) as u8);
            }
            if Gguf::parse(&damaged).is_err() {
                continue;
            }
            let used = try_with_bytes(&damaged, |tokenizer| {
                for options in [PLAIN, TRUSTED, tokenizer.default_options()] {
                    let ids = tokenizer.encode_to_vec(&text, options).unwrap_or_default();
                    assert!(ids.iter().all(|&id| (id as usize) < tokenizer.len()));
                    decode(tokenizer, &ids, WITH_SPECIAL);
                }
                let all: Vec<u32> = (0..tokenizer.len() as u32).collect();
                decode(tokenizer, &all, WITHOUT_SPECIAL);
            });
            worked += usize::from(used.is_ok());
        }
    }
    assert!(worked > 0);
}
