//! From the 1-grams of an ARPA file to ids.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::rc::Rc;

use mote_formats::gguf::{BuildError, Builder, Gguf, Text};
use mote_formats::ngram::{MAX_WORDS, NEVER};

use crate::failure::{Code, Failure, Result};

/// What a model's words are.
#[derive(Clone, Copy, Debug)]
pub enum Units<'a> {
    /// Words, spelt out.
    Words,
    /// Bytes in decimal.
    Bytes,
    /// Token ids in decimal.
    Ids(&'a Tokens<'a>),
}

/// The tokens of a model's file.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a> {
    /// The file.
    pub gguf: Gguf<'a>,
    /// How many.
    pub len: usize,
    /// What stands for `<s>`.
    pub bos: u32,
    /// What stands for `</s>`.
    pub eos: u32,
}

pub const UNKNOWN: &[u8] = b"<unk>";
pub const BOS: &[u8] = b"<s>";
pub const EOS: &[u8] = b"</s>";
/// Ids where the vocabulary is the n-gram model's own.
pub const UNKNOWN_ID: u32 = 0;
pub const BOS_ID: u32 = 1;
pub const EOS_ID: u32 = 2;
/// Of the byte 0.
pub const FIRST_BYTE: u32 = 3;
/// ggml's types of tokens.
const UNKNOWN_TYPE: i32 = 2;
const CONTROL_TYPE: i32 = 3;
const BYTE_TYPE: i32 = 6;

/// The 1-grams of a file, in its order.
#[derive(Debug, Default)]
pub struct Unigrams {
    words: Vec<(Rc<[u8]>, Values)>,
    /// Each word's place in `words`.
    places: HashMap<Rc<[u8]>, u32>,
}

/// log10 of a probability and of a backoff.
#[derive(Clone, Copy, Debug)]
struct Values {
    probability: f32,
    backoff: f32,
}

/// Ids and what is known of them on their own.
#[derive(Debug)]
pub struct Vocabulary {
    ids: HashMap<Rc<[u8]>, u32>,
    /// log10 of each id's probability and backoff.
    pub values: Vec<(f32, f32)>,
    /// Where the vocabulary is the model's own: each id's text.
    texts: Vec<Rc<[u8]>>,
    /// What was done that somebody may want to know.
    pub notes: Vec<String>,
}

impl Unigrams {
    /// Adds one; `false` if the word stands there already.
    pub fn push(&mut self, word: &[u8], probability: f32, backoff: f32) -> bool {
        // What KenLM, too, takes for the unknown word.
        let word = if word == b"<UNK>" { UNKNOWN } else { word };
        let word: Rc<[u8]> = word.into();
        let values = Values { probability, backoff };
        self.words.push((word.clone(), values));
        self.places.insert(word, self.words.len() as u32 - 1).is_none()
    }

    /// Gives every word its id.
    pub fn into_vocabulary(mut self, units: &Units<'_>) -> Result<Vocabulary> {
        let mut notes = Vec::new();
        let absent = Values { probability: NEVER, backoff: 0.0 };
        for marker in [UNKNOWN, BOS, EOS] {
            if !self.places.contains_key(marker) {
                let text = Text::from(marker);
                notes.push(format!("the file has no {text}: its probability is 0"));
                self.push(marker, absent.probability, absent.backoff);
            }
        }
        // 0 is lmplz's, for what is never predicted.
        let bos = self.places[BOS] as usize;
        if self.words[bos].1.probability == 0.0 {
            self.words[bos].1.probability = NEVER;
        }
        let mut vocabulary = match units {
            Units::Words => self.into_words()?,
            Units::Bytes => self.into_bytes()?,
            Units::Ids(tokens) => self.into_tokens(tokens)?,
        };
        vocabulary.notes.splice(0..0, notes);
        Ok(vocabulary)
    }

    /// The markers, then the others, the most probable first: frequent words get small ids.
    fn into_words(self) -> Result<Vocabulary> {
        if self.words.len() > MAX_WORDS {
            return Err(too_many(self.words.len()));
        }
        let Unigrams { mut words, places: mut ids } = self;
        let rank = |word: &[u8]| match word {
            UNKNOWN => UNKNOWN_ID,
            BOS => BOS_ID,
            EOS => EOS_ID,
            _ => EOS_ID + 1,
        };
        words.sort_by(|(a, x), (b, y)| match rank(a).cmp(&rank(b)) {
            Ordering::Equal => y.probability.total_cmp(&x.probability),
            different => different,
        });
        for (id, (word, _)) in words.iter().enumerate() {
            if let Some(place) = ids.get_mut(word) {
                *place = id as u32;
            }
        }
        let values = words.iter().map(|(_, v)| (v.probability, v.backoff)).collect();
        let texts = words.into_iter().map(|(word, _)| word).collect();
        Ok(Vocabulary { ids, values, texts, notes: Vec::new() })
    }

    fn into_bytes(self) -> Result<Vocabulary> {
        let byte = |n: u64| u8::try_from(n).ok().map(|byte| FIRST_BYTE + u32::from(byte));
        let markers = [UNKNOWN_ID, BOS_ID, EOS_ID];
        let mut vocabulary =
            self.into_numbers(FIRST_BYTE as usize + 256, "a byte", byte, markers)?;
        let names = (0..=255u8).map(|byte| format!("<0x{byte:02X}>").into_bytes());
        let markers = [UNKNOWN, BOS, EOS].into_iter().map(<[u8]>::to_vec);
        vocabulary.texts = markers.chain(names).map(Rc::from).collect();
        Ok(vocabulary)
    }

    fn into_tokens(self, tokens: &Tokens<'_>) -> Result<Vocabulary> {
        let known = |n: u64| u32::try_from(n).ok().filter(|&id| (id as usize) < tokens.len);
        // No token is unknown: a place behind all of them, for a moment.
        let markers = [tokens.len as u32, tokens.bos, tokens.eos];
        let what = "a token's id";
        let mut vocabulary = self.into_numbers(tokens.len + 1, what, known, markers)?;
        vocabulary.ids.remove(UNKNOWN);
        vocabulary.values.pop();
        Ok(vocabulary)
    }

    /// Words that are numbers, for which `id_of` knows the id, and the markers, whose ids are given.
    /// What the unknown word would get is shared by the ids that the file does not have.
    fn into_numbers(
        mut self,
        len: usize,
        what: &str,
        id_of: impl Fn(u64) -> Option<u32>,
        markers: [u32; 3],
    ) -> Result<Vocabulary> {
        let [unknown, bos, eos] = markers;
        let mut values: Vec<Option<Values>> = vec![None; len];
        for (word, value) in &self.words {
            let id = match &**word {
                UNKNOWN => unknown,
                BOS => bos,
                EOS => eos,
                digits => decimal(digits).and_then(&id_of).ok_or_else(|| {
                    let word = Text::from(digits);
                    Failure::new(Code::Format, format_args!("the word '{word}' is not {what}"))
                })?,
            };
            if let Some(place) = self.places.get_mut(word) {
                *place = id;
            }
            let place = &mut values[id as usize];
            *place = match (*place, &**word) {
                (None, _) => Some(*value),
                // One token for both: predicted as the end, a context as the start.
                (Some(end), BOS) if bos == eos => Some(Values { backoff: value.backoff, ..end }),
                (Some(start), EOS) if bos == eos => {
                    Some(Values { backoff: start.backoff, ..*value })
                }
                _ => {
                    let word = Text::from(&**word);
                    let sentence =
                        format_args!("the word '{word}' and a marker are the same token");
                    return Err(Failure::new(Code::Format, sentence));
                }
            };
        }
        let unseen = values.iter().filter(|value| value.is_none()).count();
        let mass = values[unknown as usize].map_or(NEVER, |unknown| unknown.probability);
        let mut notes = Vec::new();
        let share = if unseen > 0 {
            notes.push(format!("{unseen} ids that the file does not have share p(<unk>)"));
            mass - libm::log10(unseen as f64) as f32
        } else {
            NEVER
        };
        if unseen > 0 {
            values[unknown as usize] = Some(Values { probability: NEVER, backoff: 0.0 });
        }
        let share = Values { probability: share.max(NEVER), backoff: 0.0 };
        let values = values.into_iter().map(|value| value.unwrap_or(share));
        let values = values.map(|value| (value.probability, value.backoff)).collect();
        Ok(Vocabulary { ids: self.places, values, texts: Vec::new(), notes })
    }
}

impl Vocabulary {
    /// The id of a word.
    pub fn id(&self, word: &[u8]) -> Option<u32> {
        let word = if word == b"<UNK>" { UNKNOWN } else { word };
        self.ids.get(word).copied()
    }

    /// The words of these ids with blanks between them, for a message.
    pub fn spell(&self, ids: &[u32]) -> Vec<u8> {
        let word = |id| self.ids.iter().find(|(_, known)| *known == id).map(|(word, _)| &**word);
        let words: Vec<&[u8]> = ids.iter().filter_map(word).collect();
        words.join(&b' ')
    }

    /// The keys by which a file tells its vocabulary.
    pub fn describe(&self, units: &Units<'_>) -> std::result::Result<Builder, BuildError> {
        let mut builder = Builder::new();
        let model = match units {
            Units::Words => "words",
            Units::Bytes => "bytes",
            Units::Ids(tokens) => {
                let keys = tokens.gguf.metadata().filter(|(key, _)| key.starts_with("tokenizer."));
                for (key, value) in keys {
                    builder.set(key, value)?;
                }
                return Ok(builder);
            }
        };
        builder.set("tokenizer.ggml.model", model)?;
        builder.set_strings("tokenizer.ggml.tokens", &self.texts)?;
        if matches!(units, Units::Bytes) {
            let mut types = vec![UNKNOWN_TYPE, CONTROL_TYPE, CONTROL_TYPE];
            types.resize(self.texts.len(), BYTE_TYPE);
            builder.set_array("tokenizer.ggml.token_type", &types)?;
        }
        builder.set("tokenizer.ggml.unknown_token_id", UNKNOWN_ID)?;
        builder.set("tokenizer.ggml.bos_token_id", BOS_ID)?;
        builder.set("tokenizer.ggml.eos_token_id", EOS_ID)?;
        builder.set("tokenizer.ggml.add_bos_token", true)?;
        Ok(builder)
    }
}

impl<'a> Tokens<'a> {
    /// Of a model's file.
    pub fn new(gguf: &Gguf<'a>) -> Result<Tokens<'a>> {
        let missing = |key| Failure::new(Code::Model, format_args!("the file has no {key}"));
        let tokens = gguf.get("tokenizer.ggml.tokens").and_then(|tokens| tokens.as_array());
        let len = tokens.ok_or_else(|| missing("tokenizer.ggml.tokens"))?.len();
        if len > MAX_WORDS {
            return Err(too_many(len));
        }
        let id = |key| {
            let id = gguf.get(key)?.as_u64().and_then(|id| u32::try_from(id).ok());
            id.filter(|&id| (id as usize) < len)
        };
        let (bos, eos) = ("tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id");
        let (bos, eos) = match (id(bos), id(eos)) {
            (Some(bos), Some(eos)) => (bos, eos),
            (Some(both), None) | (None, Some(both)) => (both, both),
            (None, None) => return Err(missing("token for <s> and </s>")),
        };
        Ok(Tokens { gguf: *gguf, len, bos, eos })
    }
}

/// A number in decimal, as short as it can be written.
fn decimal(digits: &[u8]) -> Option<u64> {
    let is_shortest =
        digits.iter().all(u8::is_ascii_digit) && (digits == b"0" || !digits.starts_with(b"0"));
    std::str::from_utf8(digits).ok().filter(|_| is_shortest)?.parse().ok()
}

fn too_many(words: usize) -> Failure {
    let sentence = format_args!("{words} words, more than the limit of {MAX_WORDS}");
    Failure::new(Code::Format, sentence)
}
