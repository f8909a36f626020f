//! The tokenizer files of a checkpoint, as keys of a GGUF file.
//!
//! [`read`] takes the bytes of whatever files there are and [`Tokenizer::write`] gives what
//! llama.cpp's converter writes for them: byte-level vocabularies (`gpt2`), SentencePiece's byte-pair
//! encoding (`llama`), its Unigram (`t5`), WordPiece (`bert`) and RWKV's vocabulary (`rwkv`).
//!
//! tokenizer.json says which tokens a text gets. Where tokenizer.model is beside it and has the
//! same pieces, their scores come from there; otherwise from the order of the merges, which is that
//! of the scores. Small files name special tokens and chat templates.
//!
//! Nothing here runs an expression or a template, and what is stored grows with the files, not
//! with numbers that stand in them; a row of the embedding that no token has costs a few bytes.

mod bytes;
mod error;
mod json;
mod lines;
mod llama2c;
mod merges;
mod pieces;
mod pre;
mod protobuf;
mod sentencepiece;
mod settings;
mod special;
mod unigram;
mod vocabulary;
mod wordpiece;
mod world;

use std::string::String;
use std::vec::Vec;

pub use error::{Reason, TokenizerError};
pub use llama2c::read_llama2c;
pub use protobuf::{ProtobufError, ProtobufReason};

use crate::gguf::{BuildError, Builder};
use json::TokenizerJson;
use settings::{Settings, Template};
use special::Specials;
use vocabulary::Token;

/// The most tokens that are read.
pub const MAX_TOKENS: usize = 1 << 20;
/// Bytes of the longest token.
pub const MAX_TOKEN_BYTES: usize = 1 << 20;
/// Bytes of the longest piece of a SentencePiece model.
pub const MAX_PIECE_BYTES: usize = 1 << 16;

/// The tokenizer files of a checkpoint: the bytes of each that is there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files<'a> {
    /// tokenizer.json, of the tokenizers library.
    pub tokenizer_json: Option<&'a [u8]>,
    /// tokenizer.model, of SentencePiece.
    pub tokenizer_model: Option<&'a [u8]>,
    /// tokenizer_config.json.
    pub tokenizer_config: Option<&'a [u8]>,
    /// vocab.json, beside merges.txt.
    pub vocab_json: Option<&'a [u8]>,
    /// merges.txt.
    pub merges_txt: Option<&'a [u8]>,
    /// vocab.txt, a token on each line.
    pub vocab_txt: Option<&'a [u8]>,
    /// rwkv_vocab_v20230424.txt, a token as Python spells it on each line.
    pub rwkv_vocab: Option<&'a [u8]>,
    /// added_tokens.json.
    pub added_tokens: Option<&'a [u8]>,
    /// special_tokens_map.json.
    pub special_tokens_map: Option<&'a [u8]>,
    /// chat_template.jinja.
    pub chat_template: Option<&'a [u8]>,
    /// chat_template.json, its predecessor.
    pub chat_template_json: Option<&'a [u8]>,
    /// The files of the folder additional_chat_templates: names without `.jinja`, and bytes.
    pub additional_chat_templates: &'a [(&'a str, &'a [u8])],
    /// generation_config.json.
    pub generation_config: Option<&'a [u8]>,
    /// config.json.
    pub config: Option<&'a [u8]>,
}

/// The vocabulary of a checkpoint, ready to be written.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    model: &'static str,
    pre: String,
    /// One for each row of the embedding.
    tokens: Vec<Token>,
    rules: Rules,
    specials: Specials,
    templates: Vec<Template>,
}

/// How texts become tokens, beyond the tokens themselves.
#[derive(Clone, Debug)]
enum Rules {
    /// Byte-level byte-pair encoding by merges, a line each.
    Merges(Vec<String>),
    /// SentencePiece's byte-pair encoding by scores; a blank is put before a text, if the file
    /// says something about it.
    Scores { puts_blank_first: Option<bool> },
    /// SentencePiece's Unigram by scores; what is done with a text first.
    Unigram {
        normalizer: unigram::Normalizer,
        /// Kinds of segments that the model tells apart, if it is an encoder.
        token_types: Option<u32>,
    },
    /// WordPiece; what is done with a text first.
    WordPieces {
        cleaning: wordpiece::Cleaning,
        /// Kinds of segments that the model tells apart.
        token_types: u32,
    },
    /// The longest token at each place.
    Longest,
}

/// What a reader of one kind of vocabulary gives.
struct Read {
    model: &'static str,
    pre: String,
    tokens: Vec<Token>,
    rules: Rules,
    /// The rules put a BOS token before a text unless a key says otherwise.
    adds_bos: bool,
    /// Texts of special tokens by their kinds, where no file names any.
    usual: &'static [(&'static str, &'static str)],
}

/// Reads the tokenizer of a model whose embedding has `rows` rows. Tokens for rows without one are
/// padding. With `pre`, the rules that cut texts into words are called so in the file, and are not
/// looked at.
pub fn read(
    files: &Files<'_>,
    rows: usize,
    pre: Option<&str>,
) -> Result<Tokenizer, TokenizerError> {
    if rows > MAX_TOKENS {
        return Err(TokenizerError::new("config.json", Reason::TooManyTokens(rows)));
    }
    let settings = Settings::read(files)?;
    if let (None, Some(vocab)) = (files.tokenizer_json, files.rwkv_vocab) {
        return world::read(vocab, &settings, files, rows);
    }
    let json = files.tokenizer_json.map(json::read).transpose()?;
    let read = match &json {
        Some(json) if bytes::is_byte_level(json) => bytes::from_json(json, &settings, rows, pre)?,
        Some(json) if wordpiece::is_word_piece(json) => {
            wordpiece::from_json(json, &settings, rows, pre)?
        }
        Some(json) if unigram::is_unigram(json) => unigram::from_json(json, &settings, rows, pre)?,
        Some(json) => pieces::from_json(json, files, &settings, rows, pre)?,
        None => without_json(files, &settings, rows, pre)?,
    };
    let mut specials = special::read(&settings, json.as_ref(), &read.tokens, read.usual)?;
    if matches!(read.rules, Rules::WordPieces { .. }) && !specials.has_those_of_bert() {
        let reason = Reason::Unsupported("a vocabulary without [UNK], [CLS] or [SEP]");
        let file = if json.is_some() { json::FILE } else { wordpiece::VOCAB_TXT };
        return Err(TokenizerError::new(file, reason));
    }
    // tokenizer.json would say so if one were added.
    if json.is_some() && read.adds_bos {
        specials.adds.entry("bos").or_insert(false);
    }
    if json.is_some() && matches!(read.rules, Rules::WordPieces { .. } | Rules::Unigram { .. }) {
        specials.adds.entry("eos").or_insert(false);
    }
    Ok(Tokenizer {
        model: read.model,
        pre: read.pre,
        tokens: read.tokens,
        rules: read.rules,
        specials,
        templates: settings.templates(files)?,
    })
}

fn without_json(
    files: &Files<'_>,
    settings: &Settings,
    rows: usize,
    pre: Option<&str>,
) -> Result<Read, TokenizerError> {
    if let Some(model) = files.tokenizer_model {
        return pieces::from_model(model, files, settings, rows, pre);
    }
    if let Some(vocab) = files.vocab_json {
        let Some(merges) = files.merges_txt else {
            return Err(TokenizerError::new("vocab.json", Reason::Missing("merges.txt")));
        };
        return bytes::from_text(vocab, merges, files, settings, rows, pre);
    }
    match files.vocab_txt {
        Some(vocab) => wordpiece::from_text(vocab, files, settings, rows, pre),
        None => Err(TokenizerError::new("tokenizer.json", Reason::NoVocabulary)),
    }
}

impl Tokenizer {
    /// Tokens: as many as the embedding has rows.
    #[allow(clippy::len_without_is_empty)] // No vocabulary is empty.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are rules that cut texts into words before anything else: `tokenizer.ggml.pre`
    /// names them.
    pub fn has_word_rules(&self) -> bool {
        matches!(self.rules, Rules::Merges(_))
    }

    /// The name of the rules that cut texts into words, as `tokenizer.ggml.pre` has it.
    pub fn pre(&self) -> &str {
        &self.pre
    }

    /// Adds all keys of the tokenizer to a file.
    pub fn write(&self, file: &mut Builder) -> Result<(), BuildError> {
        file.set("tokenizer.ggml.model", self.model)?;
        file.set("tokenizer.ggml.pre", self.pre.as_str())?;
        let texts: Vec<&str> = self.tokens.iter().map(|token| token.text.as_str()).collect();
        file.set_strings("tokenizer.ggml.tokens", &texts)?;
        if matches!(self.rules, Rules::Scores { .. } | Rules::Unigram { .. }) {
            let scores: Vec<f32> = self.tokens.iter().map(|token| token.score).collect();
            file.set_array("tokenizer.ggml.scores", &scores)?;
        }
        let kinds: Vec<i32> = self.tokens.iter().map(|token| token.kind as i32).collect();
        file.set_array("tokenizer.ggml.token_type", &kinds)?;
        if let Rules::Merges(merges) = &self.rules {
            file.set_strings("tokenizer.ggml.merges", merges)?;
        }
        if let Rules::Unigram { normalizer, token_types } = &self.rules {
            file.set("tokenizer.ggml.add_space_prefix", normalizer.puts_blank_first)?;
            if let Some(types) = token_types {
                file.set("tokenizer.ggml.token_type_count", *types)?;
            }
            file.set("tokenizer.ggml.remove_extra_whitespaces", normalizer.merges_blanks)?;
            if !normalizer.charsmap.is_empty() {
                file.set_array("tokenizer.ggml.precompiled_charsmap", &normalizer.charsmap)?;
            }
        }
        for &(key, id) in &self.specials.ids {
            file.set(key, id)?;
        }
        for (kind, &adds) in &self.specials.adds {
            file.set(&std::format!("tokenizer.ggml.add_{kind}_token"), adds)?;
        }
        if let Rules::Scores { puts_blank_first: Some(puts) } = self.rules {
            file.set("tokenizer.ggml.add_space_prefix", puts)?;
        }
        if let Rules::WordPieces { cleaning, token_types } = &self.rules {
            file.set("tokenizer.ggml.token_type_count", *token_types)?;
            for (name, &is) in cleaning {
                file.set(&std::format!("tokenizer.ggml.normalizer.{name}"), is)?;
            }
        }
        self.write_templates(file)
    }

    /// The default template, and others by their names. Of equal names the first is written.
    fn write_templates(&self, file: &mut Builder) -> Result<(), BuildError> {
        if let Some((_, text)) = self.templates.iter().find(|(name, _)| name.is_none()) {
            file.set("tokenizer.chat_template", text.as_str())?;
        }
        let mut named: Vec<(&str, &str)> = self
            .templates
            .iter()
            .filter_map(|(name, text)| Some((name.as_deref()?, text.as_str())))
            .collect();
        named.sort_by_key(|&(name, _)| name);
        named.dedup_by_key(|&mut (name, _)| name);
        for (name, text) in &named {
            file.set(&std::format!("tokenizer.chat_template.{name}"), *text)?;
        }
        if named.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = named.into_iter().map(|(name, _)| name).collect();
        file.set_strings("tokenizer.chat_templates", &names)
    }
}

/// The name of rules: the caller's, or what `find` finds.
fn pre_name(
    pre: Option<&str>,
    find: impl FnOnce() -> Result<&'static str, TokenizerError>,
) -> Result<String, TokenizerError> {
    match pre {
        Some(name) => Ok(name.into()),
        None => find().map(String::from),
    }
}

/// Whether a tokenizer.json has byte-pair encoding; older files do not name it.
fn has_merges(json: &TokenizerJson<'_>) -> bool {
    match json.model.kind.as_deref() {
        Some(kind) => kind == "BPE",
        None => json.model.merges.is_some(),
    }
}
