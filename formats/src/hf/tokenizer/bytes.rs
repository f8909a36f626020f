//! Byte-level vocabularies: tokenizer.json, or vocab.json and merges.txt.

use std::collections::HashMap;
use std::string::String;
use std::vec::Vec;

use super::error::{Reason, TokenizerError, quote};
use super::json::{self, Text, TokenizerJson, Vocab, kind, parts};
use super::settings::Settings;
use super::vocabulary::{self, Added};
use super::{Files, Read, Rules, has_merges, merges, pre, pre_name};

const VOCAB_JSON: &str = "vocab.json";

/// Whether bytes become characters before texts are merged.
pub(super) fn is_byte_level(json: &TokenizerJson<'_>) -> bool {
    let steps = parts(&json.pre_tokenizer, "pretokenizers");
    let decoders = parts(&json.decoder, "decoders");
    has_merges(json) && steps.chain(decoders).any(|part| kind(part) == "ByteLevel")
}

pub(super) fn from_json(
    json: &TokenizerJson<'_>,
    settings: &Settings,
    rows: usize,
    pre: Option<&str>,
) -> Result<Read, TokenizerError> {
    let vocab = ids_of(json)?;
    let pre = pre_name(pre, || pre::name(json))?;
    let ids = vocabulary::index(json::FILE, vocab)?;
    let merges = json.model.merges.as_deref().unwrap_or_default();
    let merges = merges::from_json(merges, &ids)?;
    let added = added(json, &ids, settings.added()?)?;
    finish(json::FILE, vocab, &added, merges, rows, pre)
}

pub(super) fn from_text(
    vocab: &[u8],
    merges: &[u8],
    files: &Files<'_>,
    settings: &Settings,
    rows: usize,
    pre: Option<&str>,
) -> Result<Read, TokenizerError> {
    let vocab = json::read_ids(VOCAB_JSON, vocab)?;
    let pre = pre_name(pre, || pre::name_of_class(settings.class()))?;
    let ids = vocabulary::index(VOCAB_JSON, &vocab)?;
    let merges = merges::from_text(merges, &ids)?;
    let more = added_by_id(files)?;
    let mut added: Vec<Added<'_>> = more.iter().map(from_list).collect();
    added.extend(settings.added()?);
    // The files repeat each other; of different texts the vocabulary's are right.
    let mut texts: HashMap<&str, u32> = ids.clone();
    let mut by_id: HashMap<u32, &str> = ids.iter().map(|(&text, &id)| (id, text)).collect();
    added.retain(|token| {
        *texts.entry(token.text).or_insert(token.id) == token.id
            && *by_id.entry(token.id).or_insert(token.text) == token.text
    });
    finish(VOCAB_JSON, &vocab, &added, merges, rows, pre)
}

/// Texts and ids of a tokenizer.json with byte-pair encoding, and no affixes.
pub(super) fn ids_of<'j, 'a>(
    json: &'j TokenizerJson<'a>,
) -> Result<&'j [(Text<'a>, u32)], TokenizerError> {
    let model = &json.model;
    let affixes = [&model.continuing_subword_prefix, &model.end_of_word_suffix];
    if affixes.into_iter().flatten().any(|affix| !affix.is_empty()) {
        let reason = Reason::Unsupported("a text that is put before or after parts of words");
        return Err(TokenizerError::new(json::FILE, reason));
    }
    match (&model.vocab, has_merges(json)) {
        (Vocab::Ids(vocab), true) => Ok(vocab),
        _ => {
            let name = model.kind.as_deref().unwrap_or("without name");
            Err(TokenizerError::new(json::FILE, Reason::Model(quote(name))))
        }
    }
}

/// The added tokens of tokenizer.json, and those of `more` that do not contradict it.
pub(super) fn added<'f>(
    json: &'f TokenizerJson<'_>,
    ids: &HashMap<&str, u32>,
    more: Vec<Added<'f>>,
) -> Result<Vec<Added<'f>>, TokenizerError> {
    let mut added: Vec<Added<'f>> = Vec::new();
    let mut by_text: HashMap<&str, u32> = HashMap::new();
    let mut by_id: HashMap<u32, &str> = HashMap::new();
    for token in json.added_tokens.as_deref().unwrap_or_default() {
        let text = token.content.as_str();
        if ids.get(text).is_some_and(|&id| id != token.id)
            || by_text.insert(text, token.id).is_some_and(|id| id != token.id)
        {
            return Err(TokenizerError::new(json::FILE, Reason::DuplicateText(quote(text))));
        }
        if by_id.insert(token.id, text).is_some_and(|other| other != text) {
            let reason = Reason::DuplicateId { id: token.id, text: quote(text) };
            return Err(TokenizerError::new(json::FILE, reason));
        }
        added.push(Added { id: token.id, text, special: token.special });
    }
    let ids_taken: HashMap<u32, &str> = ids.iter().map(|(&text, &id)| (id, text)).collect();
    added.extend(more.into_iter().filter(|token| {
        let is_listed = by_id.contains_key(&token.id) || by_text.contains_key(token.text);
        let id_fits = ids_taken.get(&token.id).is_none_or(|&text| text == token.text);
        let text_fits = ids.get(token.text).is_none_or(|&id| id == token.id);
        !is_listed && id_fits && text_fits
    }));
    Ok(added)
}

/// The tokens of added_tokens.json.
pub(super) fn added_by_id<'a>(files: &Files<'a>) -> Result<Vec<(Text<'a>, u32)>, TokenizerError> {
    match files.added_tokens {
        Some(bytes) => json::read_ids("added_tokens.json", bytes),
        None => Ok(Vec::new()),
    }
}

/// A token of added_tokens.json, which does not say what it is for.
pub(super) fn from_list<'t>((text, id): &'t (Text<'_>, u32)) -> Added<'t> {
    Added { id: *id, text: text.as_str(), special: false }
}

fn finish(
    file: &'static str,
    vocab: &[(Text<'_>, u32)],
    added: &[Added<'_>],
    merges: Vec<String>,
    rows: usize,
    pre: String,
) -> Result<Read, TokenizerError> {
    Ok(Read {
        model: "gpt2",
        tokens: vocabulary::tokens(file, vocab, added, rows)?,
        rules: Rules::Merges(merges),
        adds_bos: pre::adds_bos(&pre),
        usual: &[],
        pre,
    })
}
