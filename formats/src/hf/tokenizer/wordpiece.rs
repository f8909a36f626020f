//! WordPiece vocabularies: tokenizer.json, or vocab.txt.
//!
//! In the checkpoint a token that continues a word begins with `##`; in a GGUF file one that begins a
//! word does with ▁, and control tokens are as they are.

use std::collections::{BTreeMap, HashMap};
use std::string::{String, ToString};
use std::vec::Vec;

use serde_json::Value;

use super::error::{Reason, TokenizerError, quote};
use super::json::{self, Text, TokenizerJson, Vocab, kind};
use super::settings::Settings;
use super::vocabulary::{self, Added, Kind, Token};
use super::{Files, Read, Rules, bytes, lines};

pub(super) const VOCAB_TXT: &str = "vocab.txt";
/// The name of the rules, of which there is one set.
const PRE: &str = "default";
const CONTINUES: &str = "##";
/// The most characters of a word that is not unknown, in every GGUF file.
const MAX_CHARACTERS: u64 = 100;
/// What Hugging Face calls the special tokens, where no other file says so.
const SPECIAL: &[(&str, &str)] =
    &[("unk", "[UNK]"), ("sep", "[SEP]"), ("pad", "[PAD]"), ("cls", "[CLS]"), ("mask", "[MASK]")];

/// What is done with a text first, as keys of the file: `lowercase` and `strip_accents`.
pub(super) type Cleaning = BTreeMap<&'static str, bool>;

pub(super) fn is_word_piece(json: &TokenizerJson<'_>) -> bool {
    json.model.kind.as_deref() == Some("WordPiece")
}

pub(super) fn from_json(
    json: &TokenizerJson<'_>,
    settings: &Settings,
    rows: usize,
    pre: Option<&str>,
) -> Result<Read, TokenizerError> {
    let Vocab::Ids(vocab) = &json.model.vocab else {
        return Err(TokenizerError::new(json::FILE, Reason::Json("a list of tokens".into())));
    };
    if json.model.continuing_subword_prefix.as_deref().is_some_and(|prefix| prefix != CONTINUES) {
        let reason = Reason::Unsupported("another prefix than ## of what continues a word");
        return Err(TokenizerError::new(json::FILE, reason));
    }
    if json.model.max_input_chars_per_word.is_some_and(|most| most != MAX_CHARACTERS) {
        let reason = Reason::Unsupported("words that are unknown from another length than 100 on");
        return Err(TokenizerError::new(json::FILE, reason));
    }
    let cleaning = cleaning(json)?;
    let ids = vocabulary::index(json::FILE, vocab)?;
    if json.model.unk_token.as_deref().is_some_and(|unknown| !ids.contains_key(unknown)) {
        let reason = Reason::Unsupported("an unknown token that is not in the vocabulary");
        return Err(TokenizerError::new(json::FILE, reason));
    }
    let mut added = bytes::added(json, &ids, settings.added()?)?;
    add_special(&mut added, &ids, json.model.unk_token.as_deref());
    let tokens = vocabulary::tokens(json::FILE, vocab, &added, rows)?;
    Ok(finish(tokens, cleaning, settings, pre))
}

pub(super) fn from_text(
    file: &[u8],
    files: &Files<'_>,
    settings: &Settings,
    rows: usize,
    pre: Option<&str>,
) -> Result<Read, TokenizerError> {
    let text = lines::text(VOCAB_TXT, file)?;
    // One more than there may be is refused as too many.
    let words = text
        .lines()
        .take(super::MAX_TOKENS + 1)
        .zip(0..)
        .map(|(line, id)| (Text::from(line.trim_end()), id));
    let vocab: Vec<(Text<'_>, u32)> = words.collect();
    let ids = vocabulary::index(VOCAB_TXT, &vocab)?;
    let listed = bytes::added_by_id(files)?;
    let mut added: Vec<Added<'_>> = listed.iter().map(bytes::from_list).collect();
    added.extend(settings.added()?);
    add_special(&mut added, &ids, None);
    let tokens = vocabulary::tokens(VOCAB_TXT, &vocab, &added, rows)?;
    let lowercase = settings.flag("do_lower_case").unwrap_or(true);
    let mut cleaning = Cleaning::from([("lowercase", lowercase)]);
    cleaning.extend(settings.flag("strip_accents").map(|strips| ("strip_accents", strips)));
    Ok(finish(tokens, cleaning, settings, pre))
}

/// Adds the special tokens of the vocabulary that no file lists: they are no words.
fn add_special<'t>(added: &mut Vec<Added<'t>>, ids: &HashMap<&str, u32>, unknown: Option<&'t str>) {
    for text in SPECIAL.iter().map(|&(_, text)| text).chain(unknown) {
        let is_known = added.iter().any(|token| token.text == text);
        if let Some(&id) = ids.get(text).filter(|_| !is_known) {
            added.push(Added { id, text, special: true });
        }
    }
}

/// The settings of BERT's normalizer. Others, and other rules for words, are unknown.
fn cleaning(json: &TokenizerJson<'_>) -> Result<Cleaning, TokenizerError> {
    let refuse = |reason: fn(String) -> Reason, rules: &Value| {
        Err(TokenizerError::new(json::FILE, reason(quote(&rules.to_string()))))
    };
    if kind(&json.pre_tokenizer) != "BertPreTokenizer" {
        return refuse(Reason::PreTokenizer, &json.pre_tokenizer);
    }
    let flag = |key: &str| json.normalizer.get(key).and_then(Value::as_bool);
    let cleans = |key| flag(key).unwrap_or(true);
    let is_berts = kind(&json.normalizer) == "BertNormalizer";
    if !is_berts || !cleans("clean_text") || !cleans("handle_chinese_chars") {
        return refuse(Reason::Normalizer, &json.normalizer);
    }
    let mut cleaning = Cleaning::from([("lowercase", flag("lowercase").unwrap_or(true))]);
    cleaning.extend(flag("strip_accents").map(|strips| ("strip_accents", strips)));
    Ok(cleaning)
}

fn finish(
    mut tokens: Vec<Token>,
    cleaning: Cleaning,
    settings: &Settings,
    pre: Option<&str>,
) -> Read {
    for token in &mut tokens {
        match (token.kind, token.text.strip_prefix(CONTINUES)) {
            (Kind::Control | Kind::Unused, _) => {}
            (_, Some(rest)) if !rest.is_empty() => token.text = rest.into(),
            _ => token.text.insert(0, '\u{2581}'),
        }
    }
    Read {
        model: "bert",
        pre: pre.unwrap_or(PRE).into(),
        tokens,
        rules: Rules::WordPieces { cleaning, token_types: settings.token_types() },
        adds_bos: true,
        usual: SPECIAL,
    }
}
