//! Texts become the tokens that Hugging Face and llama.cpp give them, and come back from them; no
//! text and no id does harm (case numbers: ROBUSTNESS.md; case 288 with its worst run of marks is
//! in runtime/src/tokenizer/nfc.rs too, case 294 is the session's).

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use mote_formats::Gguf;
use mote_formats::gguf::Builder;
use mote_runtime::tokenizer::{
    DecodeError, DecodeOptions, Decoder, EncodeError, EncodeOptions, LoadError, MAX_TEXT_BYTES,
    TokenKind, Tokenizer,
};
use mote_tests::shared::{json, real_model, root, shared};
use serde_json::Value;

mod words;

/// Options for a text that may spell control tokens, and for one that may not.
const TRUSTED: EncodeOptions = EncodeOptions { bos: false, eos: false, parse_special: true };
const PLAIN: EncodeOptions = EncodeOptions { bos: false, eos: false, parse_special: false };

const WITH_SPECIAL: DecodeOptions =
    DecodeOptions { skip_special: false, text_start: true, raw: false };
const WITHOUT_SPECIAL: DecodeOptions = DecodeOptions { skip_special: true, ..WITH_SPECIAL };
const RAW: DecodeOptions = DecodeOptions { raw: true, ..WITH_SPECIAL };

/// The vocabularies in the folder of fixtures.
const FIXTURES: [&str; 6] =
    ["bpe_gpt2", "bpe_smollm", "bpe_llama3", "bpe_qwen2", "spm_llama", "spm_gemma"];

fn fixture(name: &str) -> PathBuf {
    root().join("tests/fixtures/tokenizer").join(name)
}

fn with_fixture<R>(name: &str, test: impl FnOnce(&Tokenizer<'_>) -> R) -> R {
    with_file(&fixture(&format!("{name}.gguf")), test)
}

/// Runs a test on a file's vocabulary, in exactly the memory that it asks for.
fn with_file<R>(path: &Path, test: impl FnOnce(&Tokenizer<'_>) -> R) -> R {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    with_bytes(&bytes, test)
}

pub(super) fn with_bytes<R>(bytes: &[u8], test: impl FnOnce(&Tokenizer<'_>) -> R) -> R {
    try_with_bytes(bytes, test).unwrap()
}

fn try_with_bytes<R>(bytes: &[u8], test: impl FnOnce(&Tokenizer<'_>) -> R) -> Result<R, LoadError> {
    let file = Gguf::parse(bytes).unwrap();
    let mut memory = vec![0xA5; Tokenizer::bytes_needed(&file)?];
    Ok(test(&Tokenizer::new(&file, &mut memory)?))
}

/// A SentencePiece vocabulary of these tokens with their types, the scores falling.
fn pieces(tokens: &[(&str, i32)]) -> Vec<u8> {
    let mut file = Builder::new();
    file.set("tokenizer.ggml.model", "llama").unwrap();
    file.set("tokenizer.ggml.add_space_prefix", false).unwrap();
    let scores: Vec<f32> = (0..tokens.len()).map(|id| -(id as f32)).collect();
    file.set_array("tokenizer.ggml.scores", &scores).unwrap();
    finish(file, tokens)
}

/// A byte-level vocabulary of these tokens with their types, and merges.
fn bytes_and_merges(tokens: &[(&str, i32)], merges: &[&str]) -> Vec<u8> {
    let mut file = Builder::new();
    file.set("tokenizer.ggml.model", "gpt2").unwrap();
    file.set("tokenizer.ggml.pre", "gpt-2").unwrap();
    file.set_strings("tokenizer.ggml.merges", merges).unwrap();
    finish(file, tokens)
}

fn finish(mut file: Builder, tokens: &[(&str, i32)]) -> Vec<u8> {
    let (texts, types): (Vec<&str>, Vec<i32>) = tokens.iter().copied().unzip();
    file.set_strings("tokenizer.ggml.tokens", &texts).unwrap();
    file.set_array("tokenizer.ggml.token_type", &types).unwrap();
    file.write_index(Vec::new()).unwrap().finish().unwrap()
}

// Token types.
const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const BYTE: i32 = 6;

fn decode(tokenizer: &Tokenizer<'_>, ids: &[u32], options: DecodeOptions) -> Vec<u8> {
    let mut decoder = Decoder::new(tokenizer, options);
    let mut buffer = vec![0; decoder.max_text_bytes()];
    let mut text = Vec::new();
    for &id in ids {
        let len = decoder.push(id, &mut buffer).unwrap();
        assert!(options.raw || std::str::from_utf8(&buffer[..len]).is_ok());
        text.extend_from_slice(&buffer[..len]);
    }
    let len = decoder.finish(&mut buffer).unwrap();
    text.extend_from_slice(&buffer[..len]);
    text
}

fn ids_of(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// Compares with the answers of the Hugging Face library for the same strings.
pub(super) fn check_against(
    tokenizer: &Tokenizer<'_>,
    strings: &Value,
    answers: &Value,
    name: &str,
) {
    let with_bos = EncodeOptions { parse_special: true, ..tokenizer.default_options() };
    let mut wrong = Vec::new();
    for (at, string) in strings.as_array().unwrap().iter().enumerate() {
        let text = string.as_str().unwrap();
        let mut compare = |what: &str, found: String, expected: String| {
            if found != expected {
                wrong.push(format!("{at} {text:?} {what}: {found}, expected {expected}"));
            }
        };
        let ids = ids_of(&answers["ids"][at]);
        for (what, options) in [("ids", TRUSTED), ("ids_special", with_bos)] {
            let found = tokenizer.encode_to_vec(text.as_bytes(), options).unwrap();
            compare(what, format!("{found:?}"), format!("{:?}", ids_of(&answers[what][at])));
        }
        for (what, options) in [("decode", WITH_SPECIAL), ("decode_skip_special", WITHOUT_SPECIAL)]
        {
            let found = String::from_utf8(decode(tokenizer, &ids, options)).unwrap();
            compare(what, found, answers[what][at].as_str().unwrap().into());
        }
    }
    assert!(wrong.is_empty(), "{name}: {} differences\n{}", wrong.len(), wrong.join("\n"));
}

/// A part of the same strings, in the repository.
#[test]
fn fixture_strings() {
    let strings = json(&fixture("strings.json"));
    for name in FIXTURES {
        let answers = json(&fixture(&format!("{name}.json")));
        with_fixture(name, |tokenizer| check_against(tokenizer, &strings, &answers, name));
    }
}

/// All strings of the shared set through every vocabulary that exists as GGUF too.
#[test]
fn hugging_face_reference_strings() {
    let Some(reference) = shared("reference") else { return };
    let strings = json(&reference.join("tokrefs/strings.json"));
    for (name, files) in [
        ("bpe_gpt2", &["gpt2"][..]),
        ("bpe_smollm", &["llama_k256"]),
        ("bpe_starcoder", &["granite"]),
        ("bpe_llama3", &["llama3", "smollm3", "lfm2"]),
        ("bpe_qwen2", &["qwen2", "qwen3"]),
        ("bpe_neox", &["olmo2"]),
        ("spm_llama", &["llama", "phi3"]),
        ("spm_gemma", &["gemma3"]),
        ("wordpiece_bert", &["bert"]),
    ] {
        let answers = json(&reference.join(format!("tokrefs/{name}.json")));
        for file in files {
            with_file(&reference.join(format!("gguf/{file}-f32.gguf")), |tokenizer| {
                assert!(tokenizer.is_pre_tokenizer_known());
                check_against(tokenizer, &strings, &answers, name);
            });
        }
    }
}

/// Unigram, beside what SentencePiece gives.
#[test]
fn unigram_gives_the_pieces_of_sentencepiece() {
    let rows = json(&fixture("unigram.json"));
    with_fixture("unigram", |tokenizer| {
        assert!(tokenizer.adds_eos() && !tokenizer.adds_bos() && tokenizer.adds_space_prefix());
        let mut wrong = Vec::new();
        for row in rows.as_array().unwrap() {
            let (text, expected) = (row[0].as_str().unwrap(), ids_of(&row[1]));
            let found = tokenizer.encode_to_vec(text.as_bytes(), PLAIN).unwrap();
            if found != expected {
                wrong.push(format!("{text:?}: {found:?}, expected {expected:?}"));
            }
            // Exactly what is asked for is enough, and one place more does no harm.
            let mut scratch = vec![0xA5; tokenizer.scratch_bytes(text.len())];
            let mut ids = vec![0; found.len() + 1];
            let count = tokenizer.encode(text.as_bytes(), PLAIN, &mut scratch, &mut ids).unwrap();
            assert_eq!(ids[..count], found);
        }
        assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
        let ids = tokenizer.encode_to_vec(b"the  model", PLAIN).unwrap();
        assert_eq!(decode(tokenizer, &ids, WITH_SPECIAL), b"the model");
    });
}

/// The texts that llama.cpp ships for the vocabularies of released models.
#[test]
fn llama_cpp_vocabularies() {
    let Some(folder) = shared("tokenizers") else { return };
    for name in
        ["gpt-2", "llama-bpe", "qwen2", "llama-spm", "phi-3", "starcoder", "falcon", "bert-bge"]
    {
        let file = folder.join(format!("ggml-vocab-{name}.gguf"));
        let read = |extension| std::fs::read_to_string(file.with_extension(extension)).unwrap();
        let (texts, answers) = (read("gguf.inp"), read("gguf.out"));
        with_file(&file, |tokenizer| {
            let texts = texts.split("\n__ggml_vocab_test__\n");
            for (text, answer) in texts.zip(answers.lines()) {
                let expected: Vec<u32> =
                    answer.split_whitespace().map(|id| id.parse().unwrap()).collect();
                let found = tokenizer.encode_to_vec(text.as_bytes(), PLAIN).unwrap();
                assert_eq!(found, expected, "{name}: {text:?}");
            }
        });
    }
}

/// The prompts of the real models, with BOS where it belongs.
#[test]
fn real_prompts() {
    let Some(reference) = shared("reference/real") else { return };
    for name in ["SmolLM2-135M-Instruct.Q4_1", "gemma-3-270m-Q4_K_M"] {
        let Some(model) = real_model(&format!("{name}.gguf")) else { continue };
        let answers = json(&reference.join(format!("{name}.json")));
        with_file(&model, |tokenizer| {
            let options = EncodeOptions { parse_special: true, ..tokenizer.default_options() };
            for (prompt, answer) in answers["prompts"].as_object().unwrap() {
                let text = answer["text"].as_str().unwrap();
                let found = tokenizer.encode_to_vec(text.as_bytes(), options).unwrap();
                assert_eq!(found, ids_of(&answer["ids"]), "{name}, {prompt}");
            }
        });
    }
}

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

/// Long texts remember their words; the tokens are those of each part alone.
#[test]
fn remembered_words_have_the_same_tokens() {
    let strings = json(&fixture("strings.json"));
    let strings: Vec<&str> =
        strings.as_array().unwrap().iter().map(|string| string.as_str().unwrap()).collect();
    for name in FIXTURES {
        with_fixture(name, |tokenizer| {
            let special = tokenizer.eos().unwrap();
            let mut text = Vec::new();
            let mut expected = Vec::new();
            for string in strings.iter().cycle().take(50 * strings.len()) {
                expected.extend(tokenizer.encode_to_vec(string.as_bytes(), TRUSTED).unwrap());
                expected.push(special);
                text.extend_from_slice(string.as_bytes());
                text.extend_from_slice(tokenizer.text(special));
            }
            assert!(text.len() > 20_000);
            assert!(tokenizer.encode_to_vec(&text, TRUSTED).unwrap() == expected, "{name}");
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

/// Time that this thread has spent computing, where the system tells it; else time that passed.
fn thread_time() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|told| told.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| START.elapsed(), Duration::from_nanos)
}

/// The tokens of `text`, in the time that ten megabytes may take on a machine that does nothing
/// else.
fn encode_in_time(name: &str, tokenizer: &Tokenizer<'_>, text: &[u8]) -> Vec<u32> {
    let start = thread_time();
    let ids = tokenizer.encode_to_vec(text, PLAIN).unwrap();
    let time = thread_time() - start;
    assert!(time < Duration::from_secs(2), "{name}: {} bytes took {time:?}", text.len());
    ids
}

/// Unoptimised code is slower by more than the whole limit, and debug tests should be quick.
fn shorter_in_debug(text: &[u8]) -> &[u8] {
    if cfg!(debug_assertions) { &text[..text.len() / 10] } else { text }
}

fn check_long(name: &str, tokenizer: &Tokenizer<'_>, text: &[u8]) {
    let text = shorter_in_debug(text);
    let ids = encode_in_time(name, tokenizer, text);
    let back = decode(tokenizer, &ids, RAW);
    assert!(back == text, "{name}: {} bytes came back", back.len());
}

fn check_long_in_all(text: &[u8]) {
    for name in ["bpe_gpt2", "bpe_qwen2", "spm_llama", "spm_gemma"] {
        with_fixture(name, |tokenizer| check_long(name, tokenizer, text));
    }
    let name = "gemma-3-270m-Q4_K_M.gguf";
    if let Some(model) = real_model(name).filter(|_| !cfg!(debug_assertions)) {
        with_file(&model, |tokenizer| check_long(name, tokenizer, text));
    }
}

const TEN_MEGABYTES: usize = 10_000_000;

#[test]
fn case_286_ten_megabytes_of_one_letter() {
    check_long_in_all(&vec![b'a'; TEN_MEGABYTES]);
}

#[test]
fn case_287_ten_megabytes_of_blanks() {
    check_long_in_all(&vec![b' '; TEN_MEGABYTES]);
}

#[test]
fn case_287_ten_megabytes_of_newlines() {
    check_long_in_all(&vec![b'\n'; TEN_MEGABYTES]);
}

#[test]
fn case_287_ten_megabytes_of_lower_one_eighth_blocks() {
    // In SentencePiece vocabularies ▁ comes back as the blank for which it stands.
    let text = "▁".repeat(TEN_MEGABYTES / 30 * 10);
    for name in ["bpe_gpt2", "bpe_qwen2"] {
        with_fixture(name, |tokenizer| check_long(name, tokenizer, text.as_bytes()));
    }
    for name in ["spm_llama", "spm_gemma"] {
        with_fixture(name, |tokenizer| {
            let ids = encode_in_time(name, tokenizer, shorter_in_debug(text.as_bytes()));
            let back = decode(tokenizer, &ids, RAW);
            assert_eq!(back.len(), shorter_in_debug(text.as_bytes()).len() / 3, "{name}");
            assert!(back.iter().all(|&byte| byte == b' '), "{name}");
        });
    }
}

#[test]
fn case_288_a_megabyte_of_accents_on_one_letter() {
    let text = "a".to_owned() + &"\u{301}\u{327}".repeat(250_000);
    with_fixture("bpe_gpt2", |tokenizer| check_long("bpe_gpt2", tokenizer, text.as_bytes()));
    with_fixture("spm_gemma", |tokenizer| check_long("spm_gemma", tokenizer, text.as_bytes()));
    with_fixture("bpe_qwen2", |tokenizer| {
        let ids = encode_in_time("bpe_qwen2", tokenizer, text.as_bytes());
        // In normalization form C: a with acute, then marks by class.
        let composed =
            "\u{E1}".to_owned() + &"\u{327}".repeat(250_000) + &"\u{301}".repeat(249_999);
        assert!(decode(tokenizer, &ids, RAW) == composed.as_bytes());
    });
}

#[test]
fn case_289_a_megabyte_of_emoji_comes_back() {
    let text = "👨\u{200D}👩\u{200D}👧\u{200D}👦 🇺🇸🇫🇷\u{200D}\u{200D}🏳️\u{200D}🌈".repeat(12_000);
    for name in FIXTURES {
        with_fixture(name, |tokenizer| check_long(name, tokenizer, text.as_bytes()));
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
#[cfg(target_pointer_width = "64")]
fn case_292_a_text_that_is_too_long_is_refused_unread() {
    // Zeros that the system has not made yet: reading them would take the memory.
    let text = vec![0; 1 << 31];
    with_fixture("bpe_gpt2", |tokenizer| {
        let found = tokenizer.encode(&text, PLAIN, &mut [], &mut []);
        assert_eq!(found, Err(EncodeError::TextTooLong { len: 1 << 31 }));
        let found = tokenizer.encode_to_vec(&text[..MAX_TEXT_BYTES + 1], PLAIN);
        assert_eq!(found, Err(EncodeError::TextTooLong { len: MAX_TEXT_BYTES + 1 }));
    });
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
