//! Texts become the tokens that Hugging Face and llama.cpp give them, and come back from them; no
//! text and no id does harm (case numbers: ROBUSTNESS.md; case 288 with its worst run of marks is
//! in runtime/src/tokenizer/nfc.rs too, case 294 is the session's).

use std::path::{Path, PathBuf};

use mote_formats::Gguf;
use mote_formats::gguf::Builder;
use mote_runtime::tokenizer::{
    DecodeError, DecodeOptions, Decoder, EncodeError, EncodeOptions, LoadError, MAX_TEXT_BYTES,
    TokenKind, Tokenizer,
};
use mote_tests::shared::{json, real_model, root, shared};
use serde_json::Value;

mod damaged;
pub(crate) mod long;
mod oracle;
mod references;
mod special;
mod unigram;
mod word_pieces;
mod words;
mod world;

/// Options for a text that may spell control tokens, and for one that may not.
pub(super) const TRUSTED: EncodeOptions =
    EncodeOptions { bos: false, eos: false, parse_special: true };
pub(super) const PLAIN: EncodeOptions =
    EncodeOptions { bos: false, eos: false, parse_special: false };

pub(super) const WITH_SPECIAL: DecodeOptions =
    DecodeOptions { skip_special: false, text_start: true, raw: false };
pub(super) const WITHOUT_SPECIAL: DecodeOptions =
    DecodeOptions { skip_special: true, ..WITH_SPECIAL };
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

pub(super) fn try_with_bytes<R>(
    bytes: &[u8],
    test: impl FnOnce(&Tokenizer<'_>) -> R,
) -> Result<R, LoadError> {
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

pub(super) fn decode(tokenizer: &Tokenizer<'_>, ids: &[u32], options: DecodeOptions) -> Vec<u8> {
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
