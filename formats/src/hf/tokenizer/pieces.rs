//! SentencePiece vocabularies: tokenizer.model, tokenizer.json or both.

use std::string::String;
use std::vec::Vec;

use super::error::TokenizerError;
use super::json::{self, TokenizerJson};
use super::merges::{Check, pair};
use super::sentencepiece::{self, Model};
use super::settings::Settings;
use super::vocabulary::{self, Added, Kind, Token};
use super::{Files, Read, Rules, bytes, pre, unigram};

/// The name of the rules: such vocabularies do not cut texts into words.
const PRE: &str = "default";

/// From tokenizer.model alone.
pub(super) fn from_model(
    file: &[u8],
    files: &Files<'_>,
    settings: &Settings,
    rows: usize,
    pre: Option<&str>,
) -> Result<Read, TokenizerError> {
    let model = sentencepiece::read(file)?;
    if model.is_unigram() {
        return unigram::from_model(&model, files, settings, rows, pre);
    }
    model.check_kind()?;
    if pre.is_none() {
        model.check_normalizer()?;
    }
    let mut tokens = model.tokens(rows)?;
    let listed = bytes::added_by_id(files)?;
    let listed: Vec<Added<'_>> = listed.iter().map(bytes::from_list).collect();
    vocabulary::replace("added_tokens.json", &mut tokens, &listed)?;
    vocabulary::replace("tokenizer_config.json", &mut tokens, &settings.added()?)?;
    let said = settings.flag("add_prefix_space");
    let blank = said.unwrap_or(model.puts_blank_first);
    Ok(finish(tokens, blank, said.is_some(), pre))
}

/// From tokenizer.json, with the scores of tokenizer.model if that has the same pieces.
pub(super) fn from_json(
    json: &TokenizerJson<'_>,
    files: &Files<'_>,
    settings: &Settings,
    rows: usize,
    pre: Option<&str>,
) -> Result<Read, TokenizerError> {
    let vocab = bytes::ids_of(json)?;
    let ids = vocabulary::index(json::FILE, vocab)?;
    let added = bytes::added(json, &ids, settings.added()?)?;
    let blank = match pre {
        Some(_) => pre::puts_blank_first(json).unwrap_or(true),
        None => pre::puts_blank_first(json)?,
    };
    let mut tokens = vocabulary::tokens(json::FILE, vocab, &added, rows)?;
    let mut check = Check { file: json::FILE, ids: &ids, whole: String::new() };
    score_by_merges(json, &mut check, &mut tokens)?;
    if let Some(file) = files.tokenizer_model {
        let model = sentencepiece::read(file)?;
        if model.check_kind().is_ok() && has_pieces_of(&model, &added, &tokens) {
            score_by_pieces(&model, &mut tokens);
        }
    }
    Ok(finish(tokens, blank, settings.flag("add_prefix_space").is_some(), pre))
}

/// Gives each token the rank of the first merge that makes it, below zero: the order in which
/// SentencePiece merges, of which the list was made. What no merge makes comes after.
fn score_by_merges(
    json: &TokenizerJson<'_>,
    check: &mut Check<'_>,
    tokens: &mut [Token],
) -> Result<(), TokenizerError> {
    let merges = json.model.merges.as_deref().unwrap_or_default();
    let mut ranks: Vec<Option<usize>> = std::vec![None; tokens.len()];
    for (index, merge) in merges.iter().enumerate() {
        let (left, right) = pair(merge)
            .ok_or_else(|| TokenizerError::new(json::FILE, super::Reason::MergeFields(index)))?;
        let id = check.tokens(index, left, right)?;
        if let Some(rank) = ranks.get_mut(id as usize) {
            rank.get_or_insert(index);
        }
    }
    let unknown = json.model.unk_token.as_deref();
    for (id, (token, rank)) in tokens.iter_mut().zip(ranks).enumerate() {
        if token.kind != Kind::Normal {
            continue;
        }
        if unknown == Some(&token.text) {
            token.kind = Kind::Unknown;
        } else if json.model.byte_fallback && is_byte(&token.text) {
            token.kind = Kind::Byte;
        } else {
            token.score = -(rank.unwrap_or(merges.len() + id) as f32);
        }
    }
    Ok(())
}

/// Whether the model has a piece for each token that nothing added, and the same one.
fn has_pieces_of(model: &Model<'_>, added: &[Added<'_>], tokens: &[Token]) -> bool {
    let mut is_added = std::vec![false; tokens.len()];
    for token in added {
        if let Some(place) = is_added.get_mut(token.id as usize) {
            *place = true;
        }
    }
    let rest = tokens.iter().zip(is_added).enumerate().filter(|(_, (_, is_added))| !is_added);
    rest.filter(|(_, (token, _))| token.kind != Kind::Unused)
        .all(|(id, (token, _))| model.pieces.get(id).is_some_and(|piece| piece.text == token.text))
}

/// Takes over the scores and kinds of the pieces that nothing added.
fn score_by_pieces(model: &Model<'_>, tokens: &mut [Token]) {
    for (token, piece) in tokens.iter_mut().zip(&model.pieces) {
        if matches!(token.kind, Kind::Normal | Kind::Unknown | Kind::Byte) {
            token.score = piece.score;
            token.kind = piece.kind;
        }
    }
}

/// Whether a text is `<0x00>` to `<0xFF>`.
pub(super) fn is_byte(text: &str) -> bool {
    let digits = text.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    digits.is_some_and(|digits| {
        digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    })
}

/// A blank before a text is what other programs expect; only that there is none must be said.
fn finish(tokens: Vec<Token>, blank: bool, is_said: bool, pre: Option<&str>) -> Read {
    Read {
        model: "llama",
        pre: pre.unwrap_or(PRE).into(),
        tokens,
        rules: Rules::Scores { puts_blank_first: (is_said || !blank).then_some(blank) },
        adds_bos: true,
        usual: &[],
    }
}
