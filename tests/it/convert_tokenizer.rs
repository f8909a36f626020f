//! Tokenizer files of checkpoints become the keys that llama.cpp's converter writes, and texts the
//! tokens that Hugging Face gives them; no file does harm (case numbers: ROBUSTNESS.md).

use std::collections::BTreeMap;
use std::path::Path;

use mote_formats::Gguf;
use mote_formats::gguf::{Builder, Value};
use mote_formats::hf::tokenizer::{self, Files, Tokenizer, TokenizerError};
use mote_tests::shared::{json, shared};

use crate::tokenizer::{check_against, with_bytes};

/// The tokenizer files of a folder, by name.
type Folder = BTreeMap<String, Vec<u8>>;

fn folder(path: &Path) -> Folder {
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
fn read(folder: &Folder, rows: usize) -> Result<Tokenizer, TokenizerError> {
    read_as(folder, rows, None)
}

fn read_as(folder: &Folder, rows: usize, pre: Option<&str>) -> Result<Tokenizer, TokenizerError> {
    let file = |name: &str| folder.get(name).map(Vec::as_slice);
    let files = Files {
        tokenizer_json: file("tokenizer.json"),
        tokenizer_model: file("tokenizer.model"),
        tokenizer_config: file("tokenizer_config.json"),
        vocab_json: file("vocab.json"),
        merges_txt: file("merges.txt"),
        vocab_txt: file("vocab.txt"),
        added_tokens: file("added_tokens.json"),
        special_tokens_map: file("special_tokens_map.json"),
        chat_template: file("chat_template.jinja"),
        chat_template_json: file("chat_template.json"),
        additional_chat_templates: &[],
        generation_config: file("generation_config.json"),
        config: file("config.json"),
    };
    tokenizer::read(&files, rows, pre)
}

/// A GGUF file of the tokenizer alone.
fn gguf(tokenizer: &Tokenizer) -> Vec<u8> {
    let mut builder = Builder::new();
    tokenizer.write(&mut builder).unwrap();
    builder.write_index(Vec::new()).unwrap().finish().unwrap()
}

/// The keys of a tokenizer, each value spelt out.
fn keys(file: &[u8]) -> BTreeMap<String, String> {
    let gguf = Gguf::parse(file).unwrap();
    let keys = gguf.metadata().filter(|(key, _)| key.starts_with("tokenizer."));
    keys.map(|(key, value)| (key.to_owned(), spell(&value))).collect()
}

fn spell(value: &Value<'_>) -> String {
    let Value::Array(array) = value else { return format!("{value:?}") };
    if let Some(strings) = array.strings() {
        let texts: Vec<_> =
            strings.map(|s| String::from_utf8_lossy(s.as_bytes()).into_owned()).collect();
        return format!("{texts:?}");
    }
    format!("{:?} {:?}", array.element_type(), array.bytes())
}

fn rows(folder: &Folder) -> usize {
    let config: serde_json::Value = serde_json::from_slice(&folder["config.json"]).unwrap();
    config["vocab_size"].as_u64().unwrap() as usize
}

/// Every key that llama.cpp's converter wrote has the same value here, and there are no others.
#[test]
fn keys_are_those_of_llama_cpp() {
    let Some(reference) = shared("reference") else { return };
    let mut compared = 0;
    for entry in std::fs::read_dir(reference.join("models")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let Ok(expected) = std::fs::read(reference.join(format!("gguf/{name}-f32.gguf"))) else {
            continue;
        };
        let folder = folder(&path);
        let written = match read(&folder, rows(&folder)) {
            Ok(tokenizer) => gguf(&tokenizer),
            Err(error) => {
                println!("{name}: {error}");
                continue;
            }
        };
        let (found, expected) = (keys(&written), keys(&expected));
        for key in found.keys().chain(expected.keys()) {
            let (f, e) = (found.get(key), expected.get(key));
            if f != e {
                let short = |s: Option<&String>| s.map(|s| s.chars().take(200).collect::<String>());
                println!("{name}: {key}\n  {:?}\n  {:?}", short(f), short(e));
            }
        }
        compared += 1;
    }
    assert!(compared > 10, "only {compared} compared");
}
