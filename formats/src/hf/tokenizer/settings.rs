//! The small files beside a vocabulary, which name its special tokens.

use std::collections::HashSet;
use std::string::String;
use std::vec::Vec;

use serde_json::Value;

use super::Files;
use super::error::{Reason, TokenizerError};
use super::vocabulary::Added;
use crate::hf::config;

const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// tokenizer_config.json and its like, parsed; `null` where a file is not there.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) tokenizer: Value,
    special_tokens_map: Value,
    pub(super) config: Value,
    pub(super) generation: Value,
    chat_template_json: Value,
}

/// A chat template and its name; none is the default.
pub(super) type Template = (Option<String>, String);

impl Settings {
    pub(super) fn read(files: &Files<'_>) -> Result<Self, TokenizerError> {
        Ok(Settings {
            tokenizer: object(TOKENIZER_CONFIG, files.tokenizer_config)?,
            special_tokens_map: object("special_tokens_map.json", files.special_tokens_map)?,
            config: object("config.json", files.config)?,
            generation: object("generation_config.json", files.generation_config)?,
            chat_template_json: object("chat_template.json", files.chat_template_json)?,
        })
    }

    /// The text of a special token (`bos`, `eos`, `unk` …).
    pub(super) fn special_token(&self, kind: &str) -> Option<&str> {
        let key = std::format!("{kind}_token");
        [&self.tokenizer, &self.special_tokens_map]
            .into_iter()
            .find_map(|file| content(file.get(&key)?))
    }

    /// Whether the model tells kinds of segments apart.
    pub(super) fn has_token_types(&self) -> bool {
        self.config.get("type_vocab_size").is_some()
    }

    /// Kinds of segments that an encoder tells apart.
    pub(super) fn token_types(&self) -> u32 {
        let types = self.config.get("type_vocab_size").and_then(Value::as_u64);
        types.and_then(|types| types.try_into().ok()).unwrap_or(1)
    }

    /// A flag of tokenizer_config.json.
    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        self.tokenizer.get(key)?.as_bool()
    }

    /// The class that reads the tokenizer.
    pub(super) fn class(&self) -> Option<&str> {
        self.tokenizer.get("tokenizer_class")?.as_str()
    }

    /// The tokens of `added_tokens_decoder`, by id.
    pub(super) fn added(&self) -> Result<Vec<Added<'_>>, TokenizerError> {
        let wrong = |what: &str| {
            let reason = Reason::Json(std::format!("added_tokens_decoder: {what}"));
            TokenizerError::new(TOKENIZER_CONFIG, reason)
        };
        let Some(list) = self.tokenizer.get("added_tokens_decoder").filter(|list| !list.is_null())
        else {
            return Ok(Vec::new());
        };
        let list = list.as_object().ok_or_else(|| wrong("not a map"))?;
        let mut added = Vec::new();
        let mut seen = HashSet::new();
        for (id, token) in list {
            let id = id.parse().map_err(|_| wrong("a key that is no id"))?;
            let text = content(token).ok_or_else(|| wrong("a token without text"))?;
            let special = token.get("special").and_then(Value::as_bool).unwrap_or(false);
            if !seen.insert(id) {
                return Err(wrong("an id that stands twice"));
            }
            added.push(Added { id, text, special });
        }
        added.sort_unstable_by_key(|token| token.id);
        Ok(added)
    }

    /// The chat templates: of tokenizer_config.json if it has any, else of files of their own.
    pub(super) fn templates(&self, files: &Files<'_>) -> Result<Vec<Template>, TokenizerError> {
        match self.tokenizer.get("chat_template") {
            Some(Value::String(text)) => return Ok(std::vec![(None, text.clone())]),
            Some(Value::Array(list)) => return Ok(list.iter().filter_map(named).collect()),
            _ => {}
        }
        let mut templates = Vec::new();
        if let Some(bytes) = files.chat_template {
            templates.push((None, text("chat_template.jinja", bytes)?));
            for (name, bytes) in files.additional_chat_templates {
                let text = text("additional_chat_templates", bytes)?;
                templates.push((Some(key_name(name)), text));
            }
        } else if let Some(text) = self.chat_template_json.get("chat_template") {
            templates.extend(text.as_str().map(|text| (None, text.into())));
        }
        Ok(templates)
    }
}

/// A template of a list.
fn named(entry: &Value) -> Option<Template> {
    let text = |key| entry.get(key).and_then(Value::as_str);
    let name = key_name(text("name")?);
    let name = (name != "default").then_some(name);
    Some((name, text("template")?.into()))
}

/// Letters, digits and underscores alone may stand in a key.
fn key_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// A special token is a string, or a map that has one.
fn content(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token.get("content")?.as_str())
}

fn object(file: &'static str, bytes: Option<&[u8]>) -> Result<Value, TokenizerError> {
    let Some(bytes) = bytes else { return Ok(Value::Null) };
    let value: Value = config::json(bytes).map_err(|error| TokenizerError::json(file, &error))?;
    match value.is_object() {
        true => Ok(value),
        false => Err(TokenizerError::new(file, Reason::Json("not a map".into()))),
    }
}

fn text(file: &'static str, bytes: &[u8]) -> Result<String, TokenizerError> {
    super::lines::text(file, bytes).map(String::from)
}
