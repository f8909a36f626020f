//! Texts become the tokens that Hugging Face and llama.cpp give them, and come back from them; no
//! text and no id does harm (case numbers: ROBUSTNESS.md).

use std::path::Path;

use mote_formats::Gguf;
use mote_runtime::tokenizer::{
    DecodeError, DecodeOptions, Decoder, EncodeError, EncodeOptions, TokenKind, Tokenizer,
};
use mote_tests::shared::{json, real_model, root, shared};
use serde_json::Value;

/// Options for a text that may spell control tokens, and for one that may not.
const TRUSTED: EncodeOptions = EncodeOptions { bos: false, eos: false, parse_special: true };
const PLAIN: EncodeOptions = EncodeOptions { bos: false, eos: false, parse_special: false };

/// Runs a test on a file's vocabulary, in exactly the memory that it asks for.
fn with_file<R>(path: &Path, test: impl FnOnce(&Tokenizer<'_>) -> R) -> R {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    with_bytes(&bytes, test)
}

fn with_bytes<R>(bytes: &[u8], test: impl FnOnce(&Tokenizer<'_>) -> R) -> R {
    let file = Gguf::parse(bytes).unwrap();
    let mut memory = vec![0xA5; Tokenizer::bytes_needed(&file).unwrap()];
    test(&Tokenizer::new(&file, &mut memory).unwrap())
}

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

const WITH_SPECIAL: DecodeOptions =
    DecodeOptions { skip_special: false, text_start: true, raw: false };
const WITHOUT_SPECIAL: DecodeOptions = DecodeOptions { skip_special: true, ..WITH_SPECIAL };
const RAW: DecodeOptions = DecodeOptions { raw: true, ..WITH_SPECIAL };

fn ids_of(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// Compares with the answers of the Hugging Face library for the same strings.
fn check_against(tokenizer: &Tokenizer<'_>, strings: &Value, answers: &Value, name: &str) {
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

/// The texts that llama.cpp ships for the vocabularies of released models.
#[test]
fn llama_cpp_vocabularies() {
    let Some(folder) = shared("tokenizers") else { return };
    for name in ["gpt-2", "llama-bpe", "qwen2", "llama-spm", "phi-3", "starcoder"] {
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
