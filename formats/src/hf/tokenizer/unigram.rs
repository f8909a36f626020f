//! SentencePiece's Unigram: tokenizer.json, or tokenizer.model.

use std::string::{String, ToString};
use std::vec::Vec;

use serde_json::Value;

use super::error::{Reason, TokenizerError, quote};
use super::json::{self, TokenizerJson, Vocab, kind, parts};
use super::sentencepiece::{self, Model};
use super::settings::Settings;
use super::vocabulary::{self, Added, Kind, Token};
use super::{Files, MAX_TOKEN_BYTES, MAX_TOKENS, Read, Rules, bytes};

/// The name of the rules: such vocabularies do not cut texts into words.
const PRE: &str = "default";
const BYTES: Reason = Reason::Unsupported("bytes in the place of unknown characters");
const NO_UNKNOWN: Reason = Reason::Unsupported("a vocabulary without unknown token");

/// What is done with a text first.
#[derive(Clone, Debug, Default)]
pub(super) struct Normalizer {
    /// SentencePiece's compiled map of characters.
    pub(super) charsmap: Vec<u8>,
    /// A blank is put before a text.
    pub(super) puts_blank_first: bool,
    /// Blanks around a text are left out, and all but one between words.
    pub(super) merges_blanks: bool,
}

pub(super) fn is_unigram(json: &TokenizerJson<'_>) -> bool {
    match json.model.kind.as_deref() {
        Some(kind) => kind == "Unigram",
        None => matches!(json.model.vocab, Vocab::Scores(_)),
    }
}

pub(super) fn from_json(
    json: &TokenizerJson<'_>,
    settings: &Settings,
    rows: usize,
    pre: Option<&str>,
) -> Result<Read, TokenizerError> {
    let refuse = |reason| Err(TokenizerError::new(json::FILE, reason));
    let Vocab::Scores(vocab) = &json.model.vocab else {
        return refuse(Reason::Json("a map of tokens, where texts with scores belong".into()));
    };
    if json.model.byte_fallback {
        return refuse(BYTES);
    }
    match vocab.len() {
        0 => return refuse(Reason::Empty),
        n if n > MAX_TOKENS => return refuse(Reason::TooManyTokens(n)),
        _ => {}
    }
    let unknown = json.model.unk_id.filter(|&id| id < vocab.len() as u64);
    let Some(unknown) = unknown else {
        return refuse(NO_UNKNOWN);
    };
    let mut tokens = Vec::with_capacity(rows);
    for (id, (text, score)) in vocab.iter().enumerate() {
        let (text, score) = (text.as_str(), *score as f32);
        if text.len() > MAX_TOKEN_BYTES {
            return refuse(Reason::TokenTooLong { id: id as u32, len: text.len() });
        }
        if !score.is_finite() {
            return refuse(Reason::Score(id as u32));
        }
        if id >= rows {
            let text = quote(text);
            return refuse(Reason::IdOutOfRange { id: id as u64, rows, text });
        }
        let kind = if id as u64 == unknown { Kind::Unknown } else { Kind::Normal };
        tokens.push(Token::new(text, score, kind));
    }
    tokens.extend((tokens.len()..rows).map(Token::padding));
    let listed = json.added_tokens.as_deref().unwrap_or_default().iter();
    let mut added: Vec<Added<'_>> = listed
        .map(|token| Added { id: token.id, text: token.content.as_str(), special: token.special })
        .collect();
    let known: Vec<u32> = added.iter().map(|token| token.id).collect();
    added.extend(settings.added()?.into_iter().filter(|token| !known.contains(&token.id)));
    put(&mut tokens, json::FILE, &added)?;
    Ok(finish(tokens, normalizer(json)?, settings, pre))
}

/// From tokenizer.model alone.
pub(super) fn from_model(
    model: &Model<'_>,
    files: &Files<'_>,
    settings: &Settings,
    rows: usize,
    pre: Option<&str>,
) -> Result<Read, TokenizerError> {
    let mut tokens = model.tokens(rows)?;
    let has = |kind| tokens.iter().any(|token| token.kind == kind);
    if has(Kind::Byte) || !has(Kind::Unknown) {
        let reason = if has(Kind::Byte) { BYTES } else { NO_UNKNOWN };
        return Err(TokenizerError::new(sentencepiece::FILE, reason));
    }
    let listed = bytes::added_by_id(files)?;
    let listed: Vec<Added<'_>> = listed.iter().map(bytes::from_list).collect();
    put(&mut tokens, "added_tokens.json", &listed)?;
    put(&mut tokens, "tokenizer_config.json", &settings.added()?)?;
    let normalizer = Normalizer {
        charsmap: model.charsmap.to_vec(),
        puts_blank_first: model.puts_blank_first,
        merges_blanks: model.removes_blanks,
    };
    Ok(finish(tokens, normalizer, settings, pre))
}

/// Puts added tokens in their places. Those of the vocabulary keep their scores, and what stands for
/// unknown text goes on doing so.
fn put(
    tokens: &mut [Token],
    file: &'static str,
    added: &[Added<'_>],
) -> Result<(), TokenizerError> {
    let before: Vec<Option<Token>> =
        added.iter().map(|new| tokens.get(new.id as usize).cloned()).collect();
    vocabulary::replace(file, tokens, added)?;
    for (new, before) in added.iter().zip(before) {
        let (Some(token), Some(before)) = (tokens.get_mut(new.id as usize), before) else {
            continue;
        };
        if before.kind == Kind::Unknown {
            *token = before;
        } else if before.kind != Kind::Unused {
            token.score = before.score;
        }
    }
    Ok(())
}

fn finish(
    tokens: Vec<Token>,
    normalizer: Normalizer,
    settings: &Settings,
    pre: Option<&str>,
) -> Read {
    let token_types = settings.has_token_types().then(|| settings.token_types());
    Read {
        model: "t5",
        pre: pre.unwrap_or(PRE).into(),
        tokens,
        rules: Rules::Unigram { normalizer, token_types },
        adds_bos: false,
        usual: &[],
    }
}

/// The steps that SentencePiece's own normalization becomes in the tokenizers library.
fn normalizer(json: &TokenizerJson<'_>) -> Result<Normalizer, TokenizerError> {
    let mut found = Normalizer::default();
    let refused = || {
        let rules = Reason::Normalizer(quote(&json.normalizer.to_string()));
        TokenizerError::new(json::FILE, rules)
    };
    let mut strips = false;
    let text = |part: &Value, key: &str| part.get(key).and_then(Value::as_str).map(String::from);
    for part in parts(&json.normalizer, "normalizers") {
        let pattern = part.get("pattern").and_then(|pattern| text(pattern, "Regex"));
        let content = text(part, "content");
        let is_blank = matches!(content.as_deref(), Some(" " | "\u{2581}"));
        let map = text(part, "precompiled_charsmap").and_then(|map| base64(map.as_bytes()));
        match (kind(part), map) {
            ("Precompiled", Some(map)) => found.charsmap = map,
            ("Strip", _) => {
                let is_on = |key| part.get(key).and_then(Value::as_bool) != Some(false);
                strips |= is_on("strip_left") || is_on("strip_right");
            }
            ("Replace", _) if pattern.as_deref() == Some(" {2,}") && is_blank => {
                found.merges_blanks = true;
            }
            _ => return Err(refused()),
        }
    }
    for part in parts(&json.pre_tokenizer, "pretokenizers") {
        let marks = text(part, "replacement").as_deref() == Some("\u{2581}");
        match kind(part) {
            "WhitespaceSplit" => found.merges_blanks = true,
            "Metaspace" if marks => {
                let legacy = part.get("add_prefix_space").and_then(Value::as_bool);
                found.puts_blank_first = match text(part, "prepend_scheme").as_deref() {
                    Some("never") => false,
                    Some(_) => true,
                    None => legacy.unwrap_or(true),
                };
            }
            _ => {
                let rules = Reason::PreTokenizer(quote(&json.pre_tokenizer.to_string()));
                return Err(TokenizerError::new(json::FILE, rules));
            }
        }
    }
    // No key says that blanks around a text are left out, but those between words are not.
    if strips && !found.merges_blanks {
        return Err(refused());
    }
    Ok(found)
}

/// The bytes that a text in base 64 stands for.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let end = text.iter().position(|&byte| byte == b'=').unwrap_or(text.len());
    let (digits, padding) = text.split_at(end);
    if !text.len().is_multiple_of(4) || padding.len() > 2 || padding.iter().any(|&b| b != b'=') {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in digits.chunks(4) {
        let mut bits = 0u32;
        for place in 0..4 {
            let digit = group.get(place).map_or(Some(0), |&byte| digit(byte))?;
            bits = bits << 6 | u32::from(digit);
        }
        let [_, decoded @ ..] = bits.to_be_bytes();
        bytes.extend_from_slice(decoded.get(..group.len() - 1)?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_decoded_or_refused() {
        for (text, bytes) in [("", &b""[..]), ("TQ==", b"M"), ("TWE=", b"Ma"), ("TWFu", b"Man")] {
            assert_eq!(base64(text.as_bytes()).as_deref(), Some(bytes));
        }
        assert_eq!(base64(b"/+8A").as_deref(), Some(&[0xFF, 0xEF, 0][..]));
        for text in ["T", "TQ=", "TQ=a", "T===", "T!Fu", "====", "TWFuTQ"] {
            assert_eq!(base64(text.as_bytes()), None, "{text}");
        }
    }
}
