//! Tokenizer files of checkpoints become the keys that llama.cpp's converter writes, and texts the
//! tokens that Hugging Face gives them; no file does harm (case numbers: ROBUSTNESS.md).

use std::collections::BTreeMap;
use std::path::Path;

use mote_formats::Gguf;
use mote_formats::gguf::{Builder, Value};
use mote_formats::hf::tokenizer::{self, Files, Tokenizer, TokenizerError};
use mote_tests::shared::{json, root, shared};
use serde_json::Value as Json;

use crate::tokenizer::{check_against, with_bytes};

mod malformed;

/// The tokenizer files of a folder, by name.
pub(super) type Folder = BTreeMap<String, Vec<u8>>;

pub(super) fn folder(path: &Path) -> Folder {
    let is_small = |name: &str| !name.ends_with(".safetensors") && name != "ref.json";
    let entries = std::fs::read_dir(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let paths = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let named = paths.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path));
    named
        .filter(|(name, _)| is_small(name))
        .map(|(name, path)| (name, std::fs::read(path).unwrap()))
        .collect()
}

/// Reads a tokenizer as the converter does.
pub(super) fn read(folder: &Folder, rows: usize) -> Result<Tokenizer, TokenizerError> {
    read_as(folder, rows, None)
}

pub(super) fn read_as(
    folder: &Folder,
    rows: usize,
    pre: Option<&str>,
) -> Result<Tokenizer, TokenizerError> {
    let file = |name: &str| folder.get(name).map(Vec::as_slice);
    let files = Files {
        tokenizer_json: file("tokenizer.json"),
        tokenizer_model: file("tokenizer.model"),
        tokenizer_config: file("tokenizer_config.json"),
        vocab_json: file("vocab.json"),
        merges_txt: file("merges.txt"),
        vocab_txt: file("vocab.txt"),
        rwkv_vocab: file("rwkv_vocab_v20230424.txt"),
        added_tokens: file("added_tokens.json"),
        special_tokens_map: file("special_tokens_map.json"),
        chat_template: file("chat_template.jinja"),
        chat_template_json: file("chat_template.json"),
        additional_chat_templates: &[("tool use", b"{{ tools }}"), ("a", b"{{ a }}")],
        generation_config: file("generation_config.json"),
        config: file("config.json"),
    };
    tokenizer::read(&files, rows, pre)
}

/// A GGUF file of the tokenizer alone.
pub(super) fn gguf(tokenizer: &Tokenizer) -> Vec<u8> {
    let mut builder = Builder::new();
    tokenizer.write(&mut builder).unwrap();
    builder.write_index(Vec::new()).unwrap().finish().unwrap()
}

/// The keys of a tokenizer, each value spelt out.
pub(super) fn keys(file: &[u8]) -> BTreeMap<String, String> {
    let gguf = Gguf::parse(file).unwrap();
    let keys = gguf.metadata().filter(|(key, _)| key.starts_with("tokenizer."));
    keys.map(|(key, value)| (key.to_owned(), spell(&value))).collect()
}

fn spell(value: &Value<'_>) -> String {
    let Value::Array(array) = value else { return format!("{value:?}") };
    match array.strings() {
        Some(strings) => {
            let texts = strings.map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned());
            format!("{:?}", texts.collect::<Vec<_>>())
        }
        None => format!("{:?} {:?}", array.element_type(), array.bytes()),
    }
}

/// Rows of the embedding: one for each token, where no model is there.
pub(super) fn rows(folder: &Folder) -> usize {
    let parse = |name: &str| serde_json::from_slice::<Json>(&folder[name]).unwrap();
    if folder.contains_key("config.json") {
        return parse("config.json")["vocab_size"].as_u64().unwrap() as usize;
    }
    let json = parse("tokenizer.json");
    let added = json["added_tokens"].as_array().unwrap().iter().map(|token| &token["id"]);
    let ids = json["model"]["vocab"].as_object().unwrap().values().chain(added);
    ids.map(|id| id.as_u64().unwrap() as usize + 1).max().unwrap()
}

/// A JSON file of the folder, changed.
pub(super) fn edit(folder: &mut Folder, name: &str, change: impl FnOnce(&mut Json)) {
    let mut value = serde_json::from_slice(&folder[name]).unwrap();
    change(&mut value);
    folder.insert(name.into(), serde_json::to_vec(&value).unwrap());
}

/// The folders of models and of tokenizers in the reference set.
fn references() -> Vec<(String, Folder)> {
    let Some(reference) = shared("reference") else { return Vec::new() };
    let mut folders = Vec::new();
    for part in ["models", "tok"] {
        for entry in std::fs::read_dir(reference.join(part)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            folders.push((name, folder(&path)));
        }
    }
    folders
}

/// A tiny byte-level vocabulary and a tiny SentencePiece one, in the repository.
pub(super) fn fixture(name: &str) -> Folder {
    folder(&root().join("tests/fixtures/tokenizer").join(name))
}

/// Every key that llama.cpp's converter wrote has the same value here, and there are no others.
#[test]
fn keys_are_those_of_llama_cpp() {
    let Some(reference) = shared("reference") else { return };
    let mut compared = 0;
    for (name, folder) in references() {
        let path = reference.join(format!("gguf/{name}-f32.gguf"));
        let Ok(expected) = std::fs::read(path) else { continue };
        let written = gguf(&read(&folder, rows(&folder)).unwrap_or_else(|e| panic!("{name}: {e}")));
        let (mut found, mut expected) = (keys(&written), keys(&expected));
        // These were written without added_tokens_decoder: special tokens have the types and
        // scores of the pieces, the unknown token among them.
        if ["llama", "llama_linear_rope"].contains(&name.as_str()) {
            for key in ["tokenizer.ggml.token_type", "tokenizer.ggml.scores"] {
                found.remove(key);
                expected.remove(key);
            }
        }
        let differ = |key: &&String| found.get(*key) != expected.get(*key);
        let wrong: Vec<_> = found.keys().chain(expected.keys()).filter(differ).collect();
        assert!(wrong.is_empty(), "{name}: {wrong:?}");
        compared += 1;
    }
    assert!(compared >= 13, "only {compared} compared");
}

/// Rules are known by their structure and expressions.
#[test]
fn rules_have_the_names_of_llama_cpp() {
    for (name, folder) in references() {
        let expected = std::str::from_utf8(&folder["pre.txt"]).unwrap().trim();
        let tokenizer = read(&folder, rows(&folder)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(tokenizer.pre(), expected, "{name}");
        let tokenizer = read_as(&folder, rows(&folder), Some("mine")).unwrap();
        assert_eq!(tokenizer.pre(), "mine");
    }
}

/// All strings of the shared set get their ids through every converted vocabulary.
#[test]
fn texts_become_the_tokens_of_hugging_face() {
    let Some(reference) = shared("reference") else { return };
    let strings = json(&reference.join("tokrefs/strings.json"));
    for name in [
        "bpe_gpt2",
        "bpe_smollm",
        "bpe_starcoder",
        "bpe_llama3",
        "bpe_qwen2",
        "bpe_neox",
        "bpe_opt",
        "bpe_bloom",
        "bpe_deepseek3",
        "bpe_falcon",
        "bpe_o200k",
        "bpe_qwen35",
        "spm_llama",
        "spm_gemma",
        "wordpiece_bert",
    ] {
        let files = folder(&reference.join("tok").join(name));
        let answers = json(&reference.join(format!("tokrefs/{name}.json")));
        check_strings(name, &files, &strings, &answers);
    }
}

/// The same in a fresh clone, with a part of the strings.
#[test]
fn fixtures_become_the_same_files_and_tokens() {
    let vocabularies = root().join("tests/fixtures/tokenizer");
    let strings = json(&vocabularies.join("strings.json"));
    for name in ["bpe_llama3", "spm_gemma"] {
        let files = fixture(name);
        let answers = json(&vocabularies.join(format!("{name}.json")));
        check_strings(name, &files, &strings, &answers);
        let expected = std::fs::read(vocabularies.join(format!("{name}.gguf"))).unwrap();
        let mut written = keys(&gguf(&read(&files, rows(&files)).unwrap()));
        // Cut out of the file in the repository.
        assert!(written.remove("tokenizer.chat_template").is_some());
        assert_eq!(written, keys(&expected), "{name}");
    }
}

/// Rule sets of several steps, and WordPiece, in a fresh clone.
#[test]
fn fixtures_of_checkpoints_become_the_same_tokens() {
    let vocabularies = root().join("tests/fixtures/tokenizer");
    let strings = json(&vocabularies.join("strings.json"));
    for name in ["bpe_bloom", "bpe_deepseek3", "bpe_falcon", "bpe_o200k", "wordpiece_bert"] {
        let answers = json(&vocabularies.join(format!("{name}.json")));
        check_strings(name, &fixture(name), &strings, &answers);
    }
}

/// Tokens are the same without files that repeat each other.
fn check_strings(name: &str, files: &Folder, strings: &Json, answers: &Json) {
    let rows = rows(files);
    for without in ["", "tokenizer_config.json", "tokenizer.model", "tokenizer.json"] {
        let mut files = files.clone();
        files.remove(without);
        let vocabularies = ["tokenizer.json", "tokenizer.model", "vocab.txt"];
        if !vocabularies.iter().any(|name| files.contains_key(*name)) {
            continue;
        }
        let tokenizer = read(&files, rows).unwrap_or_else(|e| panic!("{name}: {e}"));
        let what = format!("{name} without {without:?}");
        with_bytes(&gguf(&tokenizer), |tokenizer| {
            check_against(tokenizer, strings, answers, &what);
        });
    }
}

/// The converter knows which rules add a BOS token where nothing says so, as the runtime does: the key
/// is written where the two would differ, and nowhere else.
#[test]
fn rules_that_add_a_bos_token_are_the_same_here_and_there() {
    const ADDS: &str = "tokenizer.ggml.add_bos_token";
    let mut files = fixture("bpe_llama3");
    edit(&mut files, "tokenizer.json", |json| json["post_processor"] = Json::Null);
    edit(&mut files, "tokenizer_config.json", |json| {
        json.as_object_mut().unwrap().remove("add_bos_token");
    });
    let mut adding = 0;
    let merged = mote_runtime::tokenizer::merged_pieces();
    for name in mote_runtime::tokenizer::pre_tokenizers().chain([merged]).flatten() {
        let file = gguf(&read_as(&files, rows(&files), Some(name)).unwrap());
        let silent = {
            let gguf = Gguf::parse(&file).unwrap();
            let mut silent = Builder::new();
            for (key, value) in gguf.metadata().filter(|(key, _)| **key != *ADDS) {
                silent.set(key, value).unwrap();
            }
            silent.write_index(Vec::new()).unwrap().finish().unwrap()
        };
        let adds = with_bytes(&silent, |tokenizer| tokenizer.adds_bos());
        assert_eq!(keys(&file).contains_key(ADDS), adds, "{name}");
        assert!(!with_bytes(&file, |tokenizer| tokenizer.adds_bos()), "{name}");
        adding += usize::from(adds);
    }
    assert!(adding > 5);
}

/// What of WordPiece a GGUF file cannot say is refused; special tokens are no words, listed or not.
#[test]
fn word_pieces_of_a_tokenizer_json() {
    let with = |change: &dyn Fn(&mut Json)| {
        let mut files = fixture("wordpiece_bert");
        for name in ["tokenizer_config.json", "vocab.txt"] {
            files.remove(name);
        }
        edit(&mut files, "tokenizer.json", |json| change(json));
        let rows = rows(&files);
        read(&files, rows).map(|tokenizer| gguf(&tokenizer))
    };
    let plain = with(&|_| ()).unwrap();
    // Not listed, but in the vocabulary.
    let unlisted = with(&|json| json["added_tokens"] = serde_json::json!([])).unwrap();
    assert_eq!(keys(&unlisted), keys(&plain));
    let longer = with(&|json| json["model"]["max_input_chars_per_word"] = 200.into());
    assert!(longer.unwrap_err().to_string().contains("100"));
    let nowhere = with(&|json| json["model"]["unk_token"] = "<nowhere>".into());
    assert!(nowhere.unwrap_err().to_string().contains("unknown token"));
    let other = with(&|json| json["model"]["unk_token"] = "[MASK]".into()).unwrap();
    let mask = with_bytes(&plain, |tokenizer| tokenizer.find(b"[MASK]")).unwrap();
    with_bytes(&other, |tokenizer| {
        assert_eq!(tokenizer.unknown(), Some(mask));
        let options = mote_runtime::tokenizer::EncodeOptions::default();
        assert_eq!(tokenizer.encode_to_vec("\u{2603}".as_bytes(), options).unwrap(), [mask]);
    });
}

/// The tokenizer.json that says the same as the fixture of a Unigram vocabulary.
fn unigram_json(file: &[u8]) -> Json {
    let gguf = Gguf::parse(file).unwrap();
    let array = |key: &str| gguf.get(&format!("tokenizer.ggml.{key}")).unwrap().as_array().unwrap();
    let texts = array("tokens").strings().unwrap();
    let texts = texts.map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned());
    let scores = array("scores").elements::<f32>().unwrap();
    let kinds = array("token_type").elements::<i32>().unwrap();
    let tokens: Vec<(String, f32, i32)> =
        texts.zip(scores.iter()).zip(kinds.iter()).map(|((t, s), k)| (t, s, k)).collect();
    let vocab: Vec<Json> = tokens
        .iter()
        .map(|(text, score, _)| serde_json::json!([text, f64::from(*score)]))
        .collect();
    let added: Vec<Json> = tokens
        .iter()
        .enumerate()
        .filter(|(_, (_, _, kind))| [2, 3, 4].contains(kind))
        .map(|(id, (text, _, kind))| {
            serde_json::json!({
                "id": id, "content": text, "special": *kind != 4, "normalized": false,
                "single_word": false, "lstrip": false, "rstrip": false,
            })
        })
        .collect();
    let metaspace = serde_json::json!({ "type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always" });
    serde_json::json!({
        "version": "1.0", "added_tokens": added, "truncation": null, "padding": null,
        "normalizer": { "type": "Precompiled", "precompiled_charsmap": base64(array("precompiled_charsmap").bytes()) },
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": [{ "type": "WhitespaceSplit" }, metaspace] },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "SpecialToken": { "id": "</s>", "type_id": 0 } }],
            "pair": [],
            "special_tokens": { "</s>": { "id": "</s>", "ids": [1], "tokens": ["</s>"] } },
        },
        "decoder": metaspace,
        "model": { "type": "Unigram", "unk_id": 2, "vocab": vocab, "byte_fallback": false },
    })
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0, |bits, &byte| bits << 8 | u32::from(byte))
            << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// A Unigram vocabulary's tokenizer.json becomes the keys of its GGUF file, and texts their tokens.
#[test]
fn unigram_vocabularies_are_converted() {
    let vocabularies = root().join("tests/fixtures/tokenizer");
    let file = std::fs::read(vocabularies.join("unigram.gguf")).unwrap();
    let json_text = unigram_json(&file).to_string();
    let special =
        serde_json::json!({ "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>" });
    let folder: Folder = [
        ("tokenizer.json".to_string(), json_text.into_bytes()),
        ("tokenizer_config.json".to_string(), special.to_string().into_bytes()),
    ]
    .into();
    let written = gguf(&read(&folder, 700).unwrap());
    let (mut found, expected) = (keys(&written), keys(&file));
    // Said, where the other is silent.
    for key in ["add_bos_token", "add_eos_token", "add_sep_token"] {
        found.remove(&format!("tokenizer.ggml.{key}"));
    }
    for (key, value) in &expected {
        assert_eq!(found.get(key), Some(value), "{key}");
    }
    with_bytes(&written, |tokenizer| {
        assert!(tokenizer.adds_eos() && !tokenizer.adds_bos());
        let rows = json(&vocabularies.join("unigram.json"));
        for row in rows.as_array().unwrap() {
            let options = mote_runtime::tokenizer::EncodeOptions::default();
            let text = row[0].as_str().unwrap();
            let ids: Vec<u32> =
                row[1].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
            assert_eq!(tokenizer.encode_to_vec(text.as_bytes(), options).unwrap(), ids, "{text:?}");
        }
    });
    let refused = |change: &dyn Fn(&mut Json)| {
        let mut folder = folder.clone();
        edit(&mut folder, "tokenizer.json", |json| change(json));
        read(&folder, 700).unwrap_err().to_string()
    };
    assert!(refused(&|json| json["model"]["unk_id"] = Json::Null).contains("unknown"));
    assert!(refused(&|json| json["model"]["byte_fallback"] = true.into()).contains("bytes"));
    assert!(
        refused(&|json| json["normalizer"] = serde_json::json!({ "type": "NFKC" }))
            .contains("NFKC")
    );
    assert!(
        refused(&|json| json["normalizer"]["precompiled_charsmap"] = "?".into())
            .contains("Precompiled")
    );
    assert!(
        refused(&|json| json["pre_tokenizer"] = serde_json::json!({ "type": "Digits" }))
            .contains("Digits")
    );
    let strip = |json: &mut Json| {
        json["normalizer"] =
            serde_json::json!({ "type": "Strip", "strip_left": true, "strip_right": true });
    };
    // Where blanks are merged, those around a text are left out.
    let mut stripping = folder.clone();
    edit(&mut stripping, "tokenizer.json", strip);
    assert!(read(&stripping, 700).is_ok());
    assert!(
        refused(&|json| {
            strip(json);
            json["pre_tokenizer"] = json["decoder"].clone();
        })
        .contains("Strip")
    );
}

/// RWKV's file of tokens as Python spells them, some by characters and some by bytes.
#[test]
fn rwkvs_vocabulary_is_read() {
    let bytes = (0..=255_u8).map(|byte| match byte {
        b'\n' => r"'\n' 1".to_owned(),
        b'\t' => r"'\t' 1".to_owned(),
        b'\r' => r"'\r' 1".to_owned(),
        b'\\' => r"'\\' 1".to_owned(),
        b'\'' => r#""'" 1"#.to_owned(),
        b' '..=b'~' => format!("'{}' 1", char::from(byte)),
        0..=0x7F => format!(r"'\x{byte:02x}' 1"),
        _ => format!(r"b'\x{byte:02x}' 1"),
    });
    let others =
        [r"'\n\n' 2", "' the' 4", "'你好' 6", r"'\u3000' 3", r"b'\xe4\xbd' 2", r#"'"\'' 2"#];
    let lines = bytes.chain(others.map(str::to_owned)).zip(1..);
    let file: String = lines.map(|(line, id)| format!("{id} {line}\n")).collect();
    let folder = |file: &str| Folder::from([("rwkv_vocab_v20230424.txt".into(), file.into())]);
    let written = gguf(&read(&folder(&file), 266).unwrap());
    let keys = keys(&written);
    assert_eq!(keys["tokenizer.ggml.model"], "Str(\"rwkv\")");
    assert_eq!(keys["tokenizer.ggml.eot_token_id"], "U32(257)");
    with_bytes(&written, |tokenizer| {
        let options = mote_runtime::tokenizer::EncodeOptions::default();
        for (text, ids) in [
            ("a the\n\n\n", &[98, 258, 257, 11][..]),
            ("你好你\u{3000}", &[259, 261, 161, 260]),
            ("\"'\0\\n", &[262, 1, 93, 111]),
        ] {
            assert_eq!(tokenizer.encode_to_vec(text.as_bytes(), options).unwrap(), ids, "{text:?}");
        }
        assert_eq!(tokenizer.find(b"[PAD265]"), Some(265));
        assert!(!tokenizer.adds_bos() && !tokenizer.adds_eos());
    });
    let refused = |file: &str, rows| read(&folder(file), rows).unwrap_err().to_string();
    assert!(refused(&file, 262).contains("262"));
    assert!(refused("1 'a' 1\n3 'b' 1\n", 9).contains("line 2 "));
}
