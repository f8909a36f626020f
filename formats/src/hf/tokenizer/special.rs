//! Special tokens: their ids, and which of them are put around a text.
//!
//! They come from five files that partly repeat each other. The order is that of llama.cpp's
//! converter: the texts that tokenizer_config.json names, if tokenizer.json adds such tokens; then
//! the ids of config.json. What none of them says is looked up in the whole vocabulary and in
//! generation_config.json. What is put around a text is read from tokenizer.json's template.

use std::collections::{BTreeMap, BTreeSet};
use std::string::String;
use std::vec::Vec;

use serde_json::Value;

use super::error::{Reason, TokenizerError, quote};
use super::json::{self, TokenizerJson, kind, parts};
use super::settings::Settings;
use super::vocabulary::Token;
use super::wordpiece::is_word_piece;

/// What other programs call the special tokens, and their keys in a GGUF file.
const KINDS: [(&str, Option<&str>); 7] = [
    ("bos", Some("tokenizer.ggml.bos_token_id")),
    ("eos", Some("tokenizer.ggml.eos_token_id")),
    ("unk", Some("tokenizer.ggml.unknown_token_id")),
    // As the format spells it.
    ("sep", Some("tokenizer.ggml.seperator_token_id")),
    ("pad", Some("tokenizer.ggml.padding_token_id")),
    ("cls", None),
    ("mask", Some("tokenizer.ggml.mask_token_id")),
];
const EOS: &str = "tokenizer.ggml.eos_token_id";
/// Where further tokens stand at which a model stops.
const MORE_ENDS: [&str; 2] = ["tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];

/// Keys of special tokens and of what is put around a text.
#[derive(Clone, Debug, Default)]
pub(super) struct Specials {
    pub(super) ids: Vec<(&'static str, u32)>,
    /// `bos`, `eos` and `sep`: whether it is put around texts.
    pub(super) adds: BTreeMap<&'static str, bool>,
}

impl Specials {
    /// Whether the tokens are named for which a reader of WordPiece takes BERT's own ids, whatever they are in
    /// this vocabulary.
    pub(super) fn has_those_of_bert(&self) -> bool {
        let needed = KINDS.iter().filter(|(kind, _)| ["bos", "unk", "sep"].contains(kind));
        needed.filter_map(|&(_, key)| key).all(|key| self.ids.iter().any(|&(name, _)| name == key))
    }
}

/// What is known while the files are read.
struct Reader<'f> {
    settings: &'f Settings,
    json: Option<&'f TokenizerJson<'f>>,
    tokens: &'f [Token],
    /// Texts of special tokens, by kind.
    names: BTreeMap<&'static str, String>,
    adds: BTreeMap<&'static str, bool>,
    /// Texts that ended a turn until the template named another end of text.
    ends: Vec<String>,
}

/// Reads them for a vocabulary of these tokens. `usual` are the texts of kinds that no file names.
pub(super) fn read(
    settings: &Settings,
    json: Option<&TokenizerJson<'_>>,
    tokens: &[Token],
    usual: &[(&'static str, &str)],
) -> Result<Specials, TokenizerError> {
    let mut reader = Reader {
        settings,
        json,
        tokens,
        names: BTreeMap::new(),
        adds: BTreeMap::new(),
        ends: Vec::new(),
    };
    for (kind, _) in KINDS {
        reader.names.extend(settings.special_token(kind).map(|text| (kind, text.into())));
    }
    // What stands for unknown words, whatever the other files call so.
    let unknown =
        json.filter(|json| is_word_piece(json)).and_then(|it| it.model.unk_token.as_deref());
    reader.names.extend(unknown.map(|text| ("unk", text.into())));
    for &(kind, text) in usual {
        reader.names.entry(kind).or_insert_with(|| text.into());
    }
    if json.is_some() || !usual.is_empty() {
        reader.copy("cls", "bos");
        reader.copy("sep", "eos");
    }
    if let Some(json) = json {
        for part in parts(&json.post_processor, "processors") {
            reader.processor(part)?;
        }
    }
    for (kind, key) in
        [("bos", "add_bos_token"), ("eos", "add_eos_token"), ("sep", "add_sep_token")]
    {
        if let Some(flag) = settings.flag(key) {
            reader.adds.entry(kind).or_insert(flag);
        }
    }
    let ids = reader.ids();
    Ok(Specials { ids, adds: reader.adds })
}

impl Reader<'_> {
    /// Gives a kind the text of another, if it has none.
    fn copy(&mut self, from: &str, to: &'static str) {
        if let (false, Some(text)) = (self.names.contains_key(to), self.names.get(from).cloned()) {
            self.names.insert(to, text);
        }
    }

    fn is(&self, kind: &str, text: &str) -> bool {
        self.names.get(kind).is_some_and(|name| name == text)
    }

    fn processor(&mut self, part: &Value) -> Result<(), TokenizerError> {
        match kind(part) {
            "ByteLevel" => {
                self.adds.entry("bos").or_insert(false);
                self.adds.entry("eos").or_insert(false);
            }
            kind @ ("BertProcessing" | "RobertaProcessing") => {
                let twice = kind == "RobertaProcessing";
                self.adds.extend([("bos", true), ("eos", true), ("sep", twice)]);
                for kind in ["cls", "sep"] {
                    let text = part.get(kind).and_then(|pair| pair.get(0)).and_then(Value::as_str);
                    if let Some(text) = text {
                        self.names.entry(kind).or_insert_with(|| text.into());
                    }
                }
            }
            "TemplateProcessing" => {
                self.check_template(part)?;
                let single = members(part, "single");
                let (first, last) = self.around_one(&single);
                self.between_two(&members(part, "pair"), first, last);
            }
            _ => {}
        }
        Ok(())
    }

    /// Every token of a template is listed below it, with tokens of the vocabulary.
    fn check_template(&self, part: &Value) -> Result<(), TokenizerError> {
        let absent =
            |text: &str| Err(TokenizerError::new(json::FILE, Reason::TemplateToken(quote(text))));
        let all = members(part, "single").into_iter().chain(members(part, "pair"));
        // Each once, however often a template names it.
        for text in all.filter_map(special).collect::<BTreeSet<&str>>() {
            let listed = part.get("special_tokens").and_then(|list| list.get(text));
            let ids = listed.and_then(|token| token.get("ids")).and_then(Value::as_array);
            let Some(ids) = ids else { return absent(text) };
            let is_token = |id: &Value| id.as_u64().is_some_and(|id| id < self.tokens.len() as u64);
            if ids.is_empty() || !ids.iter().all(is_token) {
                return absent(text);
            }
        }
        Ok(())
    }

    /// What a template puts before and after a text.
    fn around_one<'v>(&mut self, single: &[&'v Value]) -> (Option<&'v str>, Option<&'v str>) {
        let [first, .., last] = single else { return (None, None) };
        let (first, last) = (special(first), special(last));
        if let Some(text) = first {
            if !self.is("bos", text) && !self.is("cls", text) {
                for kind in ["bos", "cls"] {
                    self.names.entry(kind).or_insert_with(|| text.into());
                }
            }
            let known = self.is("bos", text) || self.is("cls", text);
            self.adds.insert("bos", known);
        }
        if let Some(text) = last {
            // The template's end of text is the one; what was called so ends a turn.
            if !self.is("eos", text) {
                let other = self.names.insert("eos", text.into());
                let has_room = self.ends.len() < MORE_ENDS.len();
                self.ends.extend(other.filter(|_| has_room));
            }
            self.adds.insert("eos", true);
        }
        (first, last)
    }

    /// Whether a template puts a separator between two texts, beyond the end of the first.
    fn between_two(&mut self, pair: &[&Value], first: Option<&str>, last: Option<&str>) {
        let mut rest = pair;
        if let ([start, tail @ ..], true) = (rest, first.is_some())
            && special(start) == first
        {
            rest = tail;
        }
        if let ([head @ .., end], true) = (rest, last.is_some())
            && special(end) == last
        {
            rest = head;
        }
        let sequence = |part: &Value| {
            part.get("Sequence").and_then(|s| s.get("id")).and_then(Value::as_str).map(String::from)
        };
        let [a, middle @ .., b] = rest else { return };
        let in_order = (sequence(a).as_deref(), sequence(b).as_deref()) == (Some("A"), Some("B"));
        if !in_order || middle.is_empty() {
            return;
        }
        let separates =
            |part: &Value| special(part).is_some_and(|s| self.is("sep", s) || self.is("eos", s));
        let adds = match middle {
            [only] => separates(only) && last.is_none(),
            [one, two] => separates(one) && last.is_none() || separates(two),
            [one, ..] => separates(one) && last.is_none(),
            [] => false,
        };
        self.adds.insert("sep", adds);
    }

    fn ids(&self) -> Vec<(&'static str, u32)> {
        let mut ids: Vec<(&'static str, u32)> = Vec::new();
        for (kind, key) in KINDS {
            let Some(key) = key else { continue };
            let name = self.names.get(kind);
            let id = name
                .and_then(|text| self.added(text))
                .or_else(|| self.configured(kind))
                .or_else(|| name.and_then(|text| self.find(text)))
                .or_else(|| self.listed(&self.settings.generation, kind).first().copied());
            ids.extend(id.map(|id| (key, id)));
        }
        self.add_ends(&mut ids);
        ids
    }

    /// Further tokens at which a model stops, as the template or a list of ids has them.
    fn add_ends(&self, ids: &mut Vec<(&'static str, u32)>) {
        let mut ends: Vec<u32> = self.ends.iter().filter_map(|text| self.added(text)).collect();
        for file in [&self.settings.generation, &self.settings.config] {
            ends.extend(self.listed(file, "eos"));
        }
        let mut free = MORE_ENDS.into_iter();
        for end in ends {
            let known =
                ids.iter().any(|&(key, id)| id == end && (key == EOS || MORE_ENDS.contains(&key)));
            if !known && let Some(key) = free.next() {
                ids.push((key, end));
            }
        }
    }

    /// The id of an added token of tokenizer.json.
    fn added(&self, text: &str) -> Option<u32> {
        let added = self.json?.added_tokens.as_deref().unwrap_or_default();
        let token = added.iter().find(|token| token.content.as_str() == text)?;
        self.within(u64::from(token.id))
    }

    /// The id in config.json, or in the part of it that is about text.
    fn configured(&self, kind: &str) -> Option<u32> {
        let config = &self.settings.config;
        let text = config.get("text_config").unwrap_or(&Value::Null);
        let ids = [config, text].into_iter().map(|part| self.listed(part, kind));
        ids.flatten().next()
    }

    /// The id or ids that a file gives, those of tokens.
    fn listed(&self, file: &Value, kind: &str) -> Vec<u32> {
        let Some(value) = file.get(std::format!("{kind}_token_id")) else { return Vec::new() };
        let list = value.as_array().map(Vec::as_slice).unwrap_or(std::slice::from_ref(value));
        list.iter().filter_map(Value::as_u64).filter_map(|id| self.within(id)).collect()
    }

    fn find(&self, text: &str) -> Option<u32> {
        let at = self.tokens.iter().position(|token| token.text == text)?;
        self.within(at as u64)
    }

    fn within(&self, id: u64) -> Option<u32> {
        (id < self.tokens.len() as u64).then_some(id as u32)
    }
}

/// The members of a template.
fn members<'v>(part: &'v Value, list: &str) -> Vec<&'v Value> {
    part.get(list).and_then(Value::as_array).into_iter().flatten().collect()
}

/// The special token that a template's member is.
fn special(member: &Value) -> Option<&str> {
    member.get("SpecialToken")?.get("id")?.as_str()
}
