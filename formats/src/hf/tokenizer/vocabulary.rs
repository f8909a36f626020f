//! Tokens by id: from texts with ids to one list, a token for each row of the embedding.

use std::collections::HashMap;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::error::{Reason, TokenizerError, quote};
use super::json::Text;
use super::{MAX_TOKEN_BYTES, MAX_TOKENS};

/// A token, as a GGUF file has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) text: String,
    /// Of SentencePiece vocabularies: the higher, the earlier a piece is merged.
    pub(super) score: f32,
    pub(super) kind: Kind,
}

/// What a token is for, by the numbers of `tokenizer.ggml.token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

/// A token that is found in a text before anything else, from any of the files.
#[derive(Clone, Debug)]
pub(super) struct Added<'a> {
    pub(super) id: u32,
    pub(super) text: &'a str,
    pub(super) special: bool,
}

/// The score of a token that no merging gives.
pub(super) const SPECIAL_SCORE: f32 = -1000.0;
/// The score of a row without token.
const PADDING_SCORE: f32 = -10000.0;

impl Token {
    pub(super) fn new(text: &str, score: f32, kind: Kind) -> Self {
        Token { text: text.into(), score, kind }
    }

    /// What stands for a row of the embedding that no token has.
    pub(super) fn padding(id: usize) -> Self {
        Token { text: format!("[PAD{id}]"), score: PADDING_SCORE, kind: Kind::Unused }
    }

    /// Blanks in user-defined tokens are blanks: they are found in the text as it came.
    fn added(added: &Added<'_>) -> Self {
        if added.special || looks_special(added.text) {
            return Token::new(added.text, SPECIAL_SCORE, Kind::Control);
        }
        Token {
            text: added.text.replace('\u{2581}', " "),
            score: SPECIAL_SCORE,
            kind: Kind::UserDefined,
        }
    }
}

/// Published files mark some control tokens as ordinary ones.
fn looks_special(text: &str) -> bool {
    let between = |start, end| text.starts_with(start) && text.ends_with(end);
    matches!(text, "<pad>" | "<mask>" | "<2mass>" | "[@BOS@]")
        || between("<|", "|>")
        || between("<\u{ff5c}", "\u{ff5c}>")
        || between("<unused", ">")
}

/// The ids of texts in a vocabulary. A text and an id stand in it once.
pub(super) fn index<'t>(
    file: &'static str,
    vocab: &'t [(Text<'_>, u32)],
) -> Result<HashMap<&'t str, u32>, TokenizerError> {
    if vocab.is_empty() {
        return Err(TokenizerError::new(file, Reason::Empty));
    }
    if vocab.len() > MAX_TOKENS {
        return Err(TokenizerError::new(file, Reason::TooManyTokens(vocab.len())));
    }
    let mut ids = HashMap::with_capacity(vocab.len());
    for (text, id) in vocab {
        let text = text.as_str();
        if text.len() > MAX_TOKEN_BYTES {
            let reason = Reason::TokenTooLong { id: *id, len: text.len() };
            return Err(TokenizerError::new(file, reason));
        }
        if ids.insert(text, *id).is_some() {
            return Err(TokenizerError::new(file, Reason::DuplicateText(quote(text))));
        }
    }
    Ok(ids)
}

/// A token for each of `rows` ids. Ids of the vocabulary leave no hole and have rows; of the added
/// tokens those without a row are dropped, and rows without token are padding.
pub(super) fn tokens(
    file: &'static str,
    vocab: &[(Text<'_>, u32)],
    added: &[Added<'_>],
    rows: usize,
) -> Result<Vec<Token>, TokenizerError> {
    let refuse = |reason| Err(TokenizerError::new(file, reason));
    let added_texts: HashMap<u32, &str> = added.iter().map(|new| (new.id, new.text)).collect();
    let mut texts: Vec<Option<&str>> = std::vec![None; rows];
    let mut end = 0;
    for (text, id) in vocab {
        let text = text.as_str();
        let Some(slot) = texts.get_mut(*id as usize) else {
            if added_texts.get(id) == Some(&text) {
                continue;
            }
            let reason = Reason::IdOutOfRange { id: u64::from(*id), rows, text: quote(text) };
            return refuse(reason);
        };
        if slot.replace(text).is_some() {
            return refuse(Reason::DuplicateId { id: *id, text: quote(text) });
        }
        end = end.max(*id as usize + 1);
    }
    let token = |(id, text): (usize, &Option<&str>)| match text {
        Some(text) => Token::new(text, 0.0, Kind::Normal),
        None => Token::padding(id),
    };
    let mut tokens: Vec<Token> = texts.iter().enumerate().map(token).collect();
    let in_vocabulary = |id: u32| texts.get(id as usize).copied().flatten();
    for token in added {
        let Some(slot) = tokens.get_mut(token.id as usize) else { continue };
        if in_vocabulary(token.id).is_some_and(|text| text != token.text) {
            return refuse(Reason::DuplicateId { id: token.id, text: quote(token.text) });
        }
        check_length(file, token)?;
        *slot = Token::added(token);
    }
    let hole = tokens.iter().take(end).position(|token| token.kind == Kind::Unused);
    match hole {
        Some(id) => refuse(Reason::Hole(id as u32)),
        None => Ok(tokens),
    }
}

/// Puts added tokens in their places, whatever stood there. Those without a row are dropped.
pub(super) fn replace(
    file: &'static str,
    tokens: &mut [Token],
    added: &[Added<'_>],
) -> Result<(), TokenizerError> {
    for token in added {
        check_length(file, token)?;
        if let Some(slot) = tokens.get_mut(token.id as usize) {
            *slot = Token::added(token);
        }
    }
    Ok(())
}

fn check_length(file: &'static str, token: &Added<'_>) -> Result<(), TokenizerError> {
    if token.text.len() <= MAX_TOKEN_BYTES {
        return Ok(());
    }
    let reason = Reason::TokenTooLong { id: token.id, len: token.text.len() };
    Err(TokenizerError::new(file, reason))
}
