//! tokenizer.json, as the tokenizers library saves it.
//!
//! Texts borrow from the file where no escape stands in them: a vocabulary of 262,144 tokens has
//! half a million merges. Maps become lists, so that a text or an id that stands twice is seen.

use std::borrow::Cow;
use std::fmt;
use std::string::String;
use std::vec::Vec;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::error::{Reason, TokenizerError};

/// The file's usual name.
pub(super) const FILE: &str = "tokenizer.json";

/// The parts of a tokenizer.json that decide which tokens a text gets.
#[derive(Debug, serde::Deserialize)]
pub(super) struct TokenizerJson<'a> {
    #[serde(default)]
    pub(super) truncation: Option<Truncation>,
    #[serde(default, borrow)]
    pub(super) added_tokens: Option<Vec<AddedToken<'a>>>,
    #[serde(default)]
    pub(super) normalizer: Value,
    #[serde(default)]
    pub(super) pre_tokenizer: Value,
    #[serde(default)]
    pub(super) post_processor: Value,
    #[serde(default)]
    pub(super) decoder: Value,
    #[serde(borrow)]
    pub(super) model: Model<'a>,
}

#[derive(Debug, serde::Deserialize)]
pub(super) struct Truncation {
    max_length: u64,
    #[serde(default)]
    stride: u64,
}

/// A token that is found in a text before anything else.
#[derive(Debug, serde::Deserialize)]
pub(super) struct AddedToken<'a> {
    pub(super) id: u32,
    #[serde(borrow)]
    pub(super) content: Text<'a>,
    #[serde(default)]
    pub(super) special: bool,
}

/// The vocabulary and its merges.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Model<'a> {
    #[serde(default, rename = "type")]
    pub(super) kind: Option<String>,
    #[serde(borrow)]
    pub(super) vocab: Vocab<'a>,
    #[serde(default, borrow)]
    pub(super) merges: Option<Vec<Merge<'a>>>,
    #[serde(default)]
    pub(super) unk_token: Option<String>,
    #[serde(default)]
    pub(super) unk_id: Option<u64>,
    #[serde(default)]
    pub(super) max_input_chars_per_word: Option<u64>,
    #[serde(default)]
    pub(super) continuing_subword_prefix: Option<String>,
    #[serde(default)]
    pub(super) end_of_word_suffix: Option<String>,
    #[serde(default)]
    pub(super) byte_fallback: bool,
    #[serde(default)]
    pub(super) ignore_merges: bool,
}

/// Tokens in the order of the file.
#[derive(Debug)]
pub(super) enum Vocab<'a> {
    /// Texts and ids.
    Ids(Vec<(Text<'a>, u32)>),
    /// Texts and scores; an id is the place.
    Scores(Vec<(Text<'a>, f64)>),
}

/// A merge.
#[derive(Debug)]
pub(super) enum Merge<'a> {
    /// Both texts with a blank between them.
    Line(Text<'a>),
    /// Both texts.
    Pair(Text<'a>, Text<'a>),
}

/// A string, borrowed where possible.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Text<'a>(Cow<'a, str>);

/// Reads the file and checks what every kind of vocabulary must keep.
pub(super) fn read(bytes: &[u8]) -> Result<TokenizerJson<'_>, TokenizerError> {
    let json: TokenizerJson<'_> =
        serde_json::from_slice(bytes).map_err(|error| TokenizerError::json(FILE, &error))?;
    if json.truncation.as_ref().is_some_and(|by| by.stride >= by.max_length) {
        return Err(TokenizerError::new(FILE, Reason::Truncation));
    }
    if strips_more_than_a_blank(&json.decoder) {
        return Err(TokenizerError::new(FILE, Reason::Strip));
    }
    Ok(json)
}

/// The blank before a text is all that a vocabulary's decoder takes away.
fn strips_more_than_a_blank(decoder: &Value) -> bool {
    parts(decoder, "decoders").any(|part| {
        let count = |key| part.get(key).map_or(Some(0), Value::as_u64);
        kind(part) == "Strip" && !matches!((count("start"), count("stop")), (Some(0 | 1), Some(0)))
    })
}

/// The members of a `Sequence`, whose list has the given name, or the part itself; none of `null`.
pub(super) fn parts<'v>(part: &'v Value, list: &str) -> impl Iterator<Item = &'v Value> {
    let is_sequence = kind(part) == "Sequence";
    let members = part.get(list).and_then(Value::as_array).filter(|_| is_sequence);
    let alone = (members.is_none() && !part.is_null()).then_some(part);
    members.into_iter().flatten().chain(alone)
}

/// The `type` of a part.
pub(super) fn kind(part: &Value) -> &str {
    part.get("type").and_then(Value::as_str).unwrap_or_default()
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Text(Cow::Borrowed(text))
    }
}

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.into())))
            }
        }
        from.deserialize_str(TextVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Merge<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct MergeVisitor;
        impl<'de> Visitor<'de> for MergeVisitor {
            type Value = Merge<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a merge: two strings, or one with a blank between them")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Merge<'de>, E> {
                Ok(Merge::Line(Text(Cow::Borrowed(text))))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Merge<'de>, E> {
                Ok(Merge::Line(Text(Cow::Owned(text.into()))))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Merge<'de>, A::Error> {
                let mut next = |n| {
                    let text = list.next_element::<Text<'de>>()?;
                    text.ok_or_else(|| A::Error::invalid_length(n, &self))
                };
                let (left, right) = (next(0)?, next(1)?);
                if list.next_element::<Text<'de>>()?.is_some() {
                    return Err(A::Error::invalid_length(3, &self));
                }
                Ok(Merge::Pair(left, right))
            }
        }
        from.deserialize_any(MergeVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Vocab<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct VocabVisitor;
        impl<'de> Visitor<'de> for VocabVisitor {
            type Value = Vocab<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a vocabulary: ids by text, or texts with scores")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocab<'de>, A::Error> {
                let mut tokens = Vec::new();
                while let Some(token) = map.next_entry()? {
                    tokens.push(token);
                }
                Ok(Vocab::Ids(tokens))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vocab<'de>, A::Error> {
                let mut tokens = Vec::new();
                while let Some(token) = list.next_element()? {
                    tokens.push(token);
                }
                Ok(Vocab::Scores(tokens))
            }
        }
        from.deserialize_any(VocabVisitor)
    }
}

/// A file of texts and their ids, and nothing else (vocab.json, added_tokens.json).
pub(super) fn read_ids<'a>(
    file: &'static str,
    bytes: &'a [u8],
) -> Result<Vec<(Text<'a>, u32)>, TokenizerError> {
    match serde_json::from_slice(bytes) {
        Ok(Vocab::Ids(tokens)) => Ok(tokens),
        Ok(Vocab::Scores(_)) => {
            let wrong = "a list, where ids by text belong";
            Err(TokenizerError::new(file, Reason::Json(wrong.into())))
        }
        Err(error) => Err(TokenizerError::json(file, &error)),
    }
}
