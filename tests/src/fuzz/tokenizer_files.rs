//! Any bytes as the tokenizer's files of a checkpoint.

use mote_formats::Gguf;
use mote_formats::gguf::Builder;
use mote_formats::hf::tokenizer::{Files, read};
use mote_runtime::tokenizer::{EncodeOptions, Tokenizer};

use super::vocabulary::{check_decoding, encoded};

/// Stands before each file; the byte behind it says which one it is.
const SEPARATOR: [u8; 2] = [0xff, 0xfe];
/// Rows of the embedding: more than the vocabularies of the fixtures have tokens.
const ROWS: usize = 700;
/// Texts that every vocabulary is asked to encode.
const TEXTS: [&str; 4] =
    ["hello a world", " Ünïcode\u{301} 日本 12345\n\t", "<s></s>", "\u{0}\u{2581}"];

/// What is accepted is accepted twice alike, and becomes a vocabulary that loads and knows any text.
pub fn run(bytes: &[u8]) {
    let mut files = Files::default();
    let mut parts = parts(bytes).into_iter();
    // Before the first mark: the file that most checkpoints have.
    files.tokenizer_json = parts.next().filter(|part| !part.is_empty());
    for part in parts {
        if let Some((kind, file)) = part.split_first() {
            *place(&mut files, kind % 13) = Some(file);
        }
    }
    let (first, second) = (written(&files), written(&files));
    assert!(first == second, "read twice, with other results");
    let Ok(file) = first else { return };
    let gguf = Gguf::parse(&file).expect("what was written is a file");
    let needed = Tokenizer::bytes_needed(&gguf).unwrap_or_else(|error| panic!("{error}"));
    let mut memory = vec![0xa5; needed];
    let tokenizer = Tokenizer::new(&gguf, &mut memory).unwrap_or_else(|error| panic!("{error}"));
    for text in TEXTS {
        let options = EncodeOptions { parse_special: true, ..tokenizer.default_options() };
        let ids = encoded(&tokenizer, text.as_bytes(), options).unwrap_or_default();
        check_decoding(&tokenizer, &ids);
    }
}

fn parts(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut parts, mut start, mut at) = (Vec::new(), 0, 0);
    while let Some(pair) = bytes.get(at..at + 2) {
        if pair == SEPARATOR {
            parts.push(&bytes[start..at]);
            start = at + 2;
            at += 1;
        }
        at += 1;
    }
    parts.push(&bytes[start..]);
    parts
}

fn place<'f, 'a>(files: &'f mut Files<'a>, kind: u8) -> &'f mut Option<&'a [u8]> {
    match kind {
        0 => &mut files.tokenizer_json,
        1 => &mut files.tokenizer_model,
        2 => &mut files.tokenizer_config,
        3 => &mut files.vocab_json,
        4 => &mut files.merges_txt,
        5 => &mut files.vocab_txt,
        6 => &mut files.rwkv_vocab,
        7 => &mut files.added_tokens,
        8 => &mut files.special_tokens_map,
        9 => &mut files.chat_template,
        10 => &mut files.chat_template_json,
        11 => &mut files.generation_config,
        _ => &mut files.config,
    }
}

fn written(files: &Files<'_>) -> Result<Vec<u8>, String> {
    let tokenizer = read(files, ROWS, None).map_err(|error| error.to_string())?;
    assert_eq!(tokenizer.len(), ROWS);
    let mut builder = Builder::new();
    tokenizer.write(&mut builder).map_err(|error| error.to_string())?;
    Ok(builder.write_index(Vec::new()).expect("an index").finish().expect("no tensors"))
}
