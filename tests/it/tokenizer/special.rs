//! Special tokens, where they are read and where not, and what surrounds a text.

use super::*;

#[test]
fn special_tokens_are_known_by_key_and_name() {
    with_fixture("spm_gemma", |tokenizer| {
        assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(2), Some(1)));
        assert_eq!((tokenizer.unknown(), tokenizer.padding()), (Some(3), Some(0)));
        assert!(tokenizer.adds_bos() && !tokenizer.adds_eos() && !tokenizer.adds_space_prefix());
        let turn = tokenizer.find(b"<end_of_turn>").unwrap();
        assert!(tokenizer.is_end_of_generation(turn) && tokenizer.is_end_of_generation(1));
        assert!(!tokenizer.is_end_of_generation(2));
        assert_eq!(tokenizer.kind(turn), Some(TokenKind::Control));
        assert_eq!(tokenizer.kind(tokenizer.find(b"\n\n").unwrap()), Some(TokenKind::UserDefined));
        assert_eq!(
            tokenizer.find(b"<0x0A>").and_then(|id| tokenizer.kind(id)),
            Some(TokenKind::Byte)
        );
        assert_eq!(tokenizer.find("▁the".as_bytes()), tokenizer.find(b" the"));
        assert_eq!(tokenizer.find(b"no such token"), None);
    });
    with_fixture("bpe_llama3", |tokenizer| {
        assert!(tokenizer.adds_bos());
        let ends = [b"<|eot_id|>".as_slice(), b"<|end_of_text|>"];
        for end in ends.map(|name| tokenizer.find(name).unwrap()) {
            assert!(tokenizer.is_end_of_generation(end));
        }
    });
    for name in FIXTURES {
        with_fixture(name, |tokenizer| {
            for id in 0..tokenizer.len() as u32 {
                assert_eq!(tokenizer.find(tokenizer.text(id)), Some(id), "{name}");
            }
        });
    }
}

#[test]
fn case_282_an_empty_text_has_no_tokens() {
    for name in FIXTURES {
        with_fixture(name, |tokenizer| {
            let ids = |options| tokenizer.encode_to_vec(b"", options).unwrap();
            assert!(ids(PLAIN).is_empty());
            let bos: Vec<u32> = tokenizer.bos().into_iter().collect();
            assert_eq!(ids(EncodeOptions { bos: true, ..PLAIN }), bos);
            let eos: Vec<u32> = tokenizer.eos().into_iter().collect();
            assert_eq!(ids(EncodeOptions { eos: true, ..PLAIN }), eos);
            assert_eq!(tokenizer.encode(b"", PLAIN, &mut [], &mut []), Ok(0));
        });
    }
}

#[test]
fn case_290_a_text_that_is_not_trusted_has_no_special_tokens() {
    for name in FIXTURES {
        with_fixture(name, |tokenizer| {
            for special in 0..tokenizer.len() as u32 {
                let kind = tokenizer.kind(special);
                if !matches!(kind, Some(TokenKind::Control | TokenKind::Unknown)) {
                    continue;
                }
                let spelled = tokenizer.text(special);
                let text = [b"x", spelled, spelled, b" "].concat();
                let plain = tokenizer.encode_to_vec(&text, PLAIN).unwrap();
                assert!(plain.iter().all(|&id| tokenizer.kind(id) != kind), "{name}: {plain:?}");
                assert_eq!(decode(tokenizer, &plain, RAW), text);
                let trusted = tokenizer.encode_to_vec(&text, TRUSTED).unwrap();
                assert_eq!(trusted.iter().filter(|&&id| id == special).count(), 2, "{name}");
            }
        });
    }
    // Not even where pieces would merge to it.
    let tokens = [
        ("<s>", CONTROL),
        ("<", NORMAL),
        ("s", NORMAL),
        (">", NORMAL),
        ("<s", NORMAL),
        ("<0x0A>", BYTE),
    ];
    with_bytes(&pieces(&tokens), |tokenizer| {
        assert_eq!(tokenizer.encode_to_vec(b"<s>", PLAIN).unwrap(), [4, 3]);
        assert_eq!(tokenizer.encode_to_vec(b"<s>", TRUSTED).unwrap(), [0]);
    });
}

#[test]
fn case_291_the_longest_special_token_wins() {
    let long = format!("<|{}|>", "long".repeat(40));
    let tokens = [
        ("<|a|>", CONTROL),
        ("<|a|b|>", CONTROL),
        ("<|a|><", CONTROL),
        ("<|a|>x", USER_DEFINED),
        (long.as_str(), CONTROL),
        ("<", NORMAL),
        ("|", NORMAL),
        ("a", NORMAL),
        ("b", NORMAL),
        (">", NORMAL),
        ("x", NORMAL),
    ];
    for file in [pieces(&tokens), bytes_and_merges(&tokens, &[])] {
        with_bytes(&file, |tokenizer| {
            let ids =
                |text: &str, options| tokenizer.encode_to_vec(text.as_bytes(), options).unwrap();
            assert_eq!(ids("<|a|><|a|b|>", TRUSTED), [2, 6, 7, 6, 8, 6, 9]);
            assert_eq!(ids("<|a|b|><|a|>", TRUSTED), [1, 0]);
            assert_eq!(ids("<|a|>x<|a|", TRUSTED), [3, 5, 6, 7, 6]);
            assert_eq!(ids(&long, TRUSTED), [4]);
            // User-defined tokens are text: matched in any case.
            assert_eq!(ids("<|a|>x<|a|>", PLAIN), [3, 5, 6, 7, 6, 9]);
        });
    }
}

#[test]
fn case_293_a_small_buffer_gets_what_fits_and_the_number() {
    let text = "Two tests, 3 words and <|im_end|></s>. ".repeat(3);
    for name in FIXTURES {
        with_fixture(name, |tokenizer| {
            let options = EncodeOptions { bos: true, eos: true, parse_special: true };
            let expected = tokenizer.encode_to_vec(text.as_bytes(), options).unwrap();
            let needed = expected.len();
            let mut scratch = vec![0; tokenizer.scratch_bytes(text.len())];
            for room in [0, 1, needed - 1, needed, needed + 1] {
                let mut buffer = vec![u32::MAX; needed + 9];
                let found =
                    tokenizer.encode(text.as_bytes(), options, &mut scratch, &mut buffer[..room]);
                let complete = if room < needed {
                    Err(EncodeError::OutputTooSmall { needed })
                } else {
                    Ok(needed)
                };
                assert_eq!(found, complete);
                let written = room.min(needed);
                assert_eq!(buffer[..written], expected[..written]);
                assert!(buffer[written..].iter().all(|&id| id == u32::MAX));
            }
        });
    }
}

/// The blank that was put before a text is taken off its beginning, not off what continues it.
#[test]
fn a_continuation_keeps_its_blank() {
    with_fixture("spm_llama", |tokenizer| {
        let ids = tokenizer.encode_to_vec(b"the other", PLAIN).unwrap();
        assert_eq!(decode(tokenizer, &ids, WITHOUT_SPECIAL), b"the other");
        let continues = DecodeOptions { text_start: false, ..WITHOUT_SPECIAL };
        assert_eq!(decode(tokenizer, &ids, continues), b" the other");
    });
}
