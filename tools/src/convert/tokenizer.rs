//! The tokenizer's files of a checkpoint.

use mote_formats::hf::Folder;
use mote_formats::hf::tokenizer::{self, Files, Tokenizer, TokenizerError};

use crate::failure::{Code, Failure, Result};

/// The largest tokenizer's file that is read: several times those of 262,144 tokens.
const MAX_BYTES: u64 = 1 << 28;
/// As much as a GGUF file's string may have; templates with names of their own, all together.
const MAX_TEMPLATES_BYTES: u64 = 1 << 24;
/// How many of those are read.
const MAX_TEMPLATES: usize = 64;
/// Templates with names of their own.
const TEMPLATES: &str = "additional_chat_templates";

/// Reads the tokenizer of a model whose embedding has `rows` rows. `config`: the text of config.json;
/// `pre`: what the rules that cut texts into words are called, unless they are to be recognised.
pub fn read(folder: &Folder, config: &[u8], rows: u64, pre: Option<&str>) -> Result<Tokenizer> {
    let file = |name: &str| folder.read(name, MAX_BYTES);
    let tokenizer_json = file("tokenizer.json")?;
    let tokenizer_model = file("tokenizer.model")?;
    let tokenizer_config = file("tokenizer_config.json")?;
    let vocab_json = file("vocab.json")?;
    let merges_txt = file("merges.txt")?;
    let vocab_txt = file("vocab.txt")?;
    let rwkv_vocab = file("rwkv_vocab_v20230424.txt")?;
    let added_tokens = file("added_tokens.json")?;
    let special_tokens_map = file("special_tokens_map.json")?;
    let chat_template = file("chat_template.jinja")?;
    let chat_template_json = file("chat_template.json")?;
    let generation_config = file("generation_config.json")?;
    // They go with the one that has no name.
    let templates = match chat_template {
        Some(_) => templates(folder)?,
        None => Vec::new(),
    };
    let templates: Vec<(&str, &[u8])> =
        templates.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
    let files = Files {
        tokenizer_json: tokenizer_json.as_deref(),
        tokenizer_model: tokenizer_model.as_deref(),
        tokenizer_config: tokenizer_config.as_deref(),
        vocab_json: vocab_json.as_deref(),
        merges_txt: merges_txt.as_deref(),
        vocab_txt: vocab_txt.as_deref(),
        rwkv_vocab: rwkv_vocab.as_deref(),
        added_tokens: added_tokens.as_deref(),
        special_tokens_map: special_tokens_map.as_deref(),
        chat_template: chat_template.as_deref(),
        chat_template_json: chat_template_json.as_deref(),
        additional_chat_templates: &templates,
        generation_config: generation_config.as_deref(),
        config: Some(config),
    };
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    Ok(tokenizer::read(&files, rows, pre)?)
}

/// Names and bytes of `additional_chat_templates/NAME.jinja`.
fn templates(folder: &Folder) -> Result<Vec<(String, Vec<u8>)>> {
    let Some(folder) = folder.folder(TEMPLATES)? else { return Ok(Vec::new()) };
    let (mut templates, mut left) = (Vec::new(), MAX_TEMPLATES_BYTES);
    for file in folder.names()?.into_iter().take(MAX_TEMPLATES) {
        if let Some(name) = file.strip_suffix(".jinja")
            && let Some(bytes) = folder.read(&file, left)?
        {
            left -= bytes.len() as u64;
            templates.push((name.to_string(), bytes));
        }
    }
    Ok(templates)
}

impl From<TokenizerError> for Failure {
    fn from(error: TokenizerError) -> Self {
        let code = if error.is_unsupported() { Code::Model } else { Code::Format };
        Failure::new(code, error)
    }
}
