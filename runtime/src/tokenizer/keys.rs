//! The metadata keys of a vocabulary, read with their types checked.

use mote_formats::Gguf;
use mote_formats::gguf::Array;

use super::error::LoadError;

pub(super) const MODEL: &str = "tokenizer.ggml.model";
pub(super) const PRE: &str = "tokenizer.ggml.pre";
pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";
pub(super) const TYPES: &str = "tokenizer.ggml.token_type";
pub(super) const SCORES: &str = "tokenizer.ggml.scores";
pub(super) const MERGES: &str = "tokenizer.ggml.merges";
pub(super) const BOS: &str = "tokenizer.ggml.bos_token_id";
pub(super) const EOS: &str = "tokenizer.ggml.eos_token_id";
pub(super) const EOT: &str = "tokenizer.ggml.eot_token_id";
pub(super) const EOM: &str = "tokenizer.ggml.eom_token_id";
pub(super) const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";
pub(super) const PADDING: &str = "tokenizer.ggml.padding_token_id";
pub(super) const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
pub(super) const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
pub(super) const ADD_SPACE_PREFIX: &str = "tokenizer.ggml.add_space_prefix";
pub(super) const REMOVE_EXTRA_BLANKS: &str = "tokenizer.ggml.remove_extra_whitespaces";
pub(super) const CHARSMAP: &str = "tokenizer.ggml.precompiled_charsmap";
pub(super) const LOWERCASE: &str = "tokenizer.ggml.normalizer.lowercase";
pub(super) const STRIP_ACCENTS: &str = "tokenizer.ggml.normalizer.strip_accents";
// As the format spells it.
pub(super) const SEPARATOR: &str = "tokenizer.ggml.seperator_token_id";
pub(super) const CLASS: &str = "tokenizer.ggml.cls_token_id";

/// Every key that holds the id of a token.
pub(super) const ALL_IDS: [&str; 9] =
    [BOS, EOS, EOT, EOM, UNKNOWN, PADDING, SEPARATOR, "tokenizer.ggml.mask_token_id", CLASS];

/// A string.
pub(super) fn text<'a>(file: &Gguf<'a>, key: &'static str) -> Result<Option<&'a str>, LoadError> {
    let Some(value) = file.get(key) else { return Ok(None) };
    value.as_str().map(Some).ok_or(LoadError::WrongType(key))
}

pub(super) fn array<'a>(
    file: &Gguf<'a>,
    key: &'static str,
) -> Result<Option<Array<'a>>, LoadError> {
    let Some(value) = file.get(key) else { return Ok(None) };
    value.as_array().map(Some).ok_or(LoadError::WrongType(key))
}

pub(super) fn flag(file: &Gguf<'_>, key: &'static str) -> Result<Option<bool>, LoadError> {
    let Some(value) = file.get(key) else { return Ok(None) };
    value.as_bool().map(Some).ok_or(LoadError::WrongType(key))
}

/// An id, below `tokens`.
pub(super) fn id(
    file: &Gguf<'_>,
    key: &'static str,
    tokens: usize,
) -> Result<Option<u32>, LoadError> {
    let Some(value) = file.get(key) else { return Ok(None) };
    let id = value.as_u32().ok_or(LoadError::WrongType(key))?;
    if id as usize >= tokens {
        return Err(LoadError::SpecialId { key, id });
    }
    Ok(Some(id))
}
