//! Long texts take time in proportion, and come back.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use super::*;

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

/// Time that this thread has spent computing, where the system tells it; else time that passed.
pub(crate) fn thread_time() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|told| told.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| START.elapsed(), Duration::from_nanos)
}

/// The tokens of `text`, in the time that ten megabytes may take on a machine that does nothing
/// else.
pub(super) fn encode_in_time(name: &str, tokenizer: &Tokenizer<'_>, text: &[u8]) -> Vec<u32> {
    let start = thread_time();
    let ids = tokenizer.encode_to_vec(text, PLAIN).unwrap();
    let time = thread_time() - start;
    assert!(time < Duration::from_secs(2), "{name}: {} bytes took {time:?}", text.len());
    ids
}

/// Unoptimised code is slower by more than the whole limit, and debug tests should be quick.
pub(super) fn shorter_in_debug(text: &[u8]) -> &[u8] {
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
