//! Text to token ids and back, by the vocabulary of a GGUF file.
//!
//! Kinds of vocabulary (`tokenizer.ggml.model`):
//! - `gpt2`, byte-level byte-pair encoding (Radford et al. 2019): the text is cut into words by a
//!   pre-tokenizer (`pre/`), the bytes of each are merged by a list of merges.
//! - `llama`, SentencePiece's byte-pair encoding (Kudo and Richardson 2018): characters of the whole
//!   text are merged to pieces, the piece of the best score first; characters that are no piece
//!   become bytes. `gemma4` is the same by a list of merges, and so is `gpt2` with some pre-tokenizers.
//! - `t5`, SentencePiece's Unigram (`unigram.rs`, `longest.rs`): the pieces with the best sum of scores, of
//!   at most 512 bytes.
//! - `rwkv` (`world.rs`, `longest.rs`): the longest token that begins at each place, of at most 512 bytes.
//! - `bert`, WordPiece (`wordpiece.rs`, `longest.rs`): words become the longest tokens that they begin with.
//! - `words` and `bytes`, of n-gram models (`words.rs`): what stands between blanks, and each byte.
//!
//! The tables stay small because texts stay in the file: [`Tokenizer::new`] reads every token once
//! and fills hash tables in lent memory. Nothing is allocated, here or in [`Tokenizer::encode`].
//!
//! ```text
//! text -> special tokens (special) -> words (pre | scores::word_end) -> merge | chain -> ids
//!                                            memo: words and their ids, recent: pairs of pieces
//! ```
//!
//! Results are those of Hugging Face's tokenizers library. Where llama.cpp differs from it
//! (normalization form C for qwen2; runs of blanks in gemma), Hugging Face is followed.

#[expect(clippy::indexing_slicing, reason = "tables of all bytes")]
mod alphabet;
#[expect(
    clippy::indexing_slicing,
    reason = "lists that it links itself, of places in a word and ranks of merges"
)]
mod chain;
#[expect(clippy::indexing_slicing, reason = "tables of two bits, and of ASCII")]
mod characters;
mod charsmap;
mod class_tables;
mod decode;
mod detail_tables;
mod encode;
mod error;
mod keys;
mod load;
#[expect(clippy::indexing_slicing, reason = "nodes of a tree that it sorted and linked itself")]
mod longest;
mod memo;
#[expect(
    clippy::indexing_slicing,
    reason = "places in a word of at most as many as the arrays have"
)]
mod merge;
mod merges;
#[expect(
    clippy::indexing_slicing,
    reason = "the generated tables belong together; places in a text that it found itself"
)]
mod nfc;
mod nfc_tables;
mod piece;
mod pre;
mod recent;
#[expect(clippy::indexing_slicing, reason = "ids that it counted itself, sorted in place")]
mod scores;
mod scratch;
#[expect(clippy::indexing_slicing, reason = "tables of all bytes")]
mod special;
mod table;
#[expect(clippy::indexing_slicing, reason = "places in a text, in arrays of its length")]
mod unigram;
mod vocabulary;
mod wordpiece;
mod words;
mod world;

use mote_formats::Gguf;

pub use decode::{DecodeOptions, Decoder};
pub use encode::EncodeOptions;
pub use error::{DecodeError, EncodeError, LoadError};
pub use pre::{merged_pieces, pre_tokenizers};
pub use vocabulary::TokenKind;

use crate::memory::{Carver, Measure};
use crate::notes::note;
use charsmap::Charsmap;
use merges::Merges;
use pre::PreTokenizer;
use scores::Pieces;
use special::Specials;
use unigram::{Normalizer, Unigram};
use vocabulary::{Spelling, Vocabulary};
use wordpiece::{Cleaning, WordPieces};
use world::World;

/// The most tokens of a vocabulary.
pub const MAX_TOKENS: usize = 1 << 20;
/// The most words of a vocabulary of words.
pub const MAX_WORDS: usize = mote_formats::ngram::MAX_WORDS;
/// The longest token in bytes.
pub const MAX_TOKEN_BYTES: usize = 1 << 20;
/// The most merges of a vocabulary.
pub const MAX_MERGES: usize = (1 << 24) - 1;
/// The longest text in bytes.
pub const MAX_TEXT_BYTES: usize = 1 << 30;

/// The vocabulary of a file, ready for use. A few hundred bytes that borrow from the file and from
/// lent memory, and may be copied.
#[derive(Clone, Copy, Debug)]
pub struct Tokenizer<'a> {
    vocabulary: Vocabulary<'a>,
    model: Model<'a>,
    specials: Specials<'a>,
    ids: SpecialIds,
    ends: EndIds,
    adds: Adds,
    is_pre_known: bool,
    /// The file says whether a BOS token is added.
    says_bos: bool,
    max_token_bytes: usize,
}

/// How text becomes tokens.
#[derive(Clone, Copy, Debug)]
enum Model<'a> {
    /// Byte-level byte-pair encoding.
    Bytes { pre: PreTokenizer, merges: Merges<'a> },
    /// SentencePiece; with `prefix`, a blank is put before a text.
    Pieces { pieces: Pieces<'a>, prefix: bool },
    /// SentencePiece's Unigram.
    Unigram(Unigram<'a>),
    /// WordPiece.
    WordPieces(WordPieces<'a>),
    /// The longest tokens.
    World(World<'a>),
    /// Words between blanks.
    Words,
    /// A token for each byte.
    SingleBytes,
}

/// Ids that the file names by keys.
#[derive(Clone, Copy, Debug)]
struct SpecialIds {
    bos: Option<u32>,
    eos: Option<u32>,
    eot: Option<u32>,
    eom: Option<u32>,
    unknown: Option<u32>,
    padding: Option<u32>,
}

/// Which tokens a model expects around a text.
#[derive(Clone, Copy, Debug)]
struct Adds {
    bos: bool,
    eos: bool,
}

impl<'a> Tokenizer<'a> {
    /// Bytes to lend to [`new`](Self::new). Reads the token types, but no text.
    pub fn bytes_needed(file: &Gguf<'a>) -> Result<usize, LoadError> {
        let source = Source::new(file)?;
        let mut memory = Measure::default();
        source.measure(&mut memory);
        Ok(memory.bytes())
    }

    /// Reads the vocabulary of a file once, checking all of it, into lent memory of at least
    /// [`bytes_needed`](Self::bytes_needed).
    ///
    /// Of tokens with the same text the first is used, and of equal merges. A token without text
    /// is kept, and no text gives it. Merges of tokens that no text gives, such as control tokens,
    /// merge nothing; merges of texts that are no tokens at all refuse the file.
    pub fn new(file: &Gguf<'a>, memory: &'a mut [u8]) -> Result<Self, LoadError> {
        let source = Source::new(file)?;
        if !source.is_pre_known {
            note!(
                warn,
                "unknown pre-tokenizer, {} unless another is chosen: words may be cut elsewhere than in \
                 training",
                PreTokenizer::default().name()
            );
        }
        source.load(&mut Carver::new(memory))
    }

    /// Tokens of the vocabulary. Ids are below it.
    #[allow(clippy::len_without_is_empty)] // No vocabulary is empty.
    pub fn len(&self) -> usize {
        self.vocabulary.len()
    }

    /// What a token is for; `None` for an id that is no token.
    pub fn kind(&self, id: u32) -> Option<TokenKind> {
        self.vocabulary.kind(id)
    }

    /// The text of a token as the file spells it: `Ġthe`, `▁the`, `<0x0A>`. Empty for an id that is
    /// no token. See [`token_bytes`](Self::token_bytes) for what it stands for.
    pub fn text(&self, id: u32) -> &'a [u8] {
        self.vocabulary.text(id)
    }

    /// Whether every id stands for the same text in both vocabularies.
    pub fn has_same_ids(&self, other: &Tokenizer<'_>) -> bool {
        self.len() == other.len()
            && (0..self.len() as u32).all(|id| self.text(id) == other.text(id))
    }

    /// The token that the file spells so. Of several, the first that text can give.
    pub fn find(&self, text: &[u8]) -> Option<u32> {
        let merged = match &self.model {
            Model::Bytes { .. } | Model::World(_) | Model::Words => {
                self.vocabulary.find_merged(text)
            }
            Model::Pieces { pieces, .. } => self
                .vocabulary
                .find_piece(text)
                .or_else(|| piece::byte_value(text).and_then(|byte| pieces.byte(byte))),
            Model::Unigram(_) | Model::WordPieces(_) => self.vocabulary.find_piece(text),
            Model::SingleBytes => piece::byte_value(text).map(words::id_of_byte),
        };
        merged.or_else(|| self.vocabulary.find_other(text))
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.ids.bos
    }

    /// The token that ends a text.
    pub fn eos(&self) -> Option<u32> {
        self.ids.eos
    }

    /// The token that ends a turn of a conversation, where the file names one.
    pub fn eot(&self) -> Option<u32> {
        self.ids.eot
    }

    /// The token that stands for text without token.
    pub fn unknown(&self) -> Option<u32> {
        self.ids.unknown
    }

    /// The token that fills up shorter texts of a batch.
    pub fn padding(&self) -> Option<u32> {
        self.ids.padding
    }

    /// Whether a model stops when it produces this token: the end of a text, of a turn or of a
    /// message, as the file names them, and control tokens by the names that are customary.
    pub fn is_end_of_generation(&self, id: u32) -> bool {
        self.ends.contains(id)
    }

    /// Whether the model expects the BOS token before a text.
    pub fn adds_bos(&self) -> bool {
        self.adds.bos
    }

    /// Whether the model expects the EOS token after a text.
    pub fn adds_eos(&self) -> bool {
        self.adds.eos
    }

    /// Whether a blank is put before a text: the token that begins it stands for a blank, too.
    pub fn adds_space_prefix(&self) -> bool {
        match &self.model {
            Model::Pieces { prefix, .. } => *prefix,
            Model::Unigram(unigram) => unigram.adds_space_prefix(),
            Model::Words | Model::WordPieces(_) => true,
            Model::Bytes { .. } | Model::World(_) | Model::SingleBytes => false,
        }
    }

    /// Whether the rules by which this vocabulary cuts a text into words are known. If not, those
    /// of GPT-2 are used, and some texts get other tokens than the model was trained on.
    pub fn is_pre_tokenizer_known(&self) -> bool {
        self.is_pre_known
    }

    /// The name of the rules that are used, where the vocabulary has such rules: the best-known of
    /// their names ([`pre_tokenizers`]).
    pub fn pre_tokenizer(&self) -> Option<&'static str> {
        match &self.model {
            Model::Bytes { pre, .. } => Some(pre.name()),
            _ => None,
        }
    }

    /// The same vocabulary with other rules for words, whatever the file says. `None` if no rules
    /// have that name, or if the vocabulary has no such rules.
    pub fn with_pre_tokenizer(mut self, name: &str) -> Option<Self> {
        let rules = PreTokenizer::by_name(name)?;
        let Model::Bytes { pre, .. } = &mut self.model else { return None };
        *pre = rules;
        self.is_pre_known = true;
        if !self.says_bos {
            self.adds.bos = rules.add_bos;
        }
        Some(self)
    }

    /// The length of the longest token's text as the file spells it, with the blank before a word.
    /// None stands for more bytes.
    pub fn max_token_bytes(&self) -> usize {
        self.max_token_bytes
    }

    /// What the model expects around a text, and control tokens in the text not trusted.
    pub fn default_options(&self) -> EncodeOptions {
        EncodeOptions { bos: self.adds.bos, eos: self.adds.eos, parse_special: false }
    }

    /// Bytes of scratch that do for every text of `text_len` bytes. Nearly all of it is for words
    /// of more than 96 bytes; texts without any need little. [`encode`](Self::encode) says how
    /// much it lacks, so starting with less and trying again is a way too.
    pub fn scratch_bytes(&self, text_len: usize) -> usize {
        encode::scratch_bytes(&self.model, text_len)
    }

    /// Writes the ids of a text to `out` and returns their number.
    ///
    /// The text is any bytes. What is not UTF-8 gets the tokens of its bytes where there are such,
    /// and else the unknown token; Unigram takes it for U+FFFD, and WordPiece leaves it out.
    ///
    /// Time grows with n log n at most, whatever the text. What each byte costs depends on the
    /// vocabulary, and a hostile one makes it much, but no more than this: Unigram, WordPiece and
    /// RWKV's vocabulary compare 512 bytes once; WordPiece hashes the rest of a word, too, of up to
    /// 100 characters; and Unigram weighs all pieces that begin there, up to 512, in some two
    /// microseconds.
    pub fn encode(
        &self,
        text: &[u8],
        options: EncodeOptions,
        scratch: &mut [u8],
        out: &mut [u32],
    ) -> Result<usize, EncodeError> {
        encode::encode(self, text, options, scratch, out)
    }
}

#[cfg(feature = "alloc")]
impl Tokenizer<'_> {
    /// The ids of a text, in memory that this makes.
    pub fn encode_to_vec(
        &self,
        text: &[u8],
        options: EncodeOptions,
    ) -> Result<alloc::vec::Vec<u32>, EncodeError> {
        let mut scratch = zeros(encode::usual_scratch_bytes(&self.model, text.len()))?;
        let mut ids = zeros(text.len() / 2 + 16)?;
        loop {
            match self.encode(text, options, &mut scratch, &mut ids) {
                Ok(len) => {
                    ids.truncate(len);
                    return Ok(ids);
                }
                Err(EncodeError::ScratchTooSmall(error)) => {
                    drop(scratch);
                    scratch = zeros(error.needed)?;
                }
                Err(EncodeError::OutputTooSmall { needed }) => {
                    drop(ids);
                    ids = zeros(needed)?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Zeros that the system makes when they are first used (scratch for the worst case mostly is not), or an error
/// where there is no room.
#[cfg(feature = "alloc")]
fn zeros<T: bytemuck::Zeroable>(len: usize) -> Result<alloc::vec::Vec<T>, EncodeError> {
    bytemuck::allocation::try_zeroed_vec(len).map_err(|()| EncodeError::OutOfMemory)
}

/// Pieces with merges in the place of scores.
const GEMMA4: &str = "gemma4";
/// Pre-tokenizers of `gpt2` that cut nothing: tokens are pieces with merges.
const MERGED_PIECES: &[&str] = &[GEMMA4, "granite-embed-multi-311m", "sarvam-moe"];
/// What the file calls Unigram.
const UNIGRAM: &str = "t5";
/// What the file calls RWKV's.
const WORLD: &str = "rwkv";
/// What the file calls WordPiece.
const WORD_PIECES: &str = "bert";
// BERT's own special tokens, which a file of WordPiece need not name.
const BERT_UNKNOWN: u32 = 100;
const BERT_CLASS: u32 = 101;
const BERT_SEPARATOR: u32 = 102;

/// What a file says, before its texts are read.
struct Source<'a> {
    vocabulary: load::Source<'a>,
    rules: Rules<'a>,
    ids: SpecialIds,
    adds: Adds,
    is_pre_known: bool,
    says_bos: bool,
}

enum Rules<'a> {
    Bytes { pre: PreTokenizer, merges: merges::Source<'a> },
    Pieces { scores: scores::Source<'a>, prefix: bool },
    Unigram { scores: scores::Source<'a>, normalizer: Normalizer<'a> },
    WordPieces(Cleaning),
    World,
    Words,
    SingleBytes,
}

impl<'a> Source<'a> {
    fn new(file: &Gguf<'a>) -> Result<Self, LoadError> {
        let model = keys::text(file, keys::MODEL)?.ok_or(LoadError::Missing(keys::MODEL))?;
        let name = keys::text(file, keys::PRE)?;
        let is_merged = model == GEMMA4
            || model == "gpt2" && name.is_some_and(|name| MERGED_PIECES.contains(&name));
        let spelling = match model {
            _ if is_merged => Spelling::Pieces,
            "gpt2" => Spelling::Bytes,
            "llama" | UNIGRAM | WORD_PIECES | words::BYTES => Spelling::Pieces,
            words::WORDS => Spelling::Words,
            WORLD => Spelling::Escaped,
            _ => return Err(LoadError::Model),
        };
        let mut ids = SpecialIds::new(file)?;
        let separator = keys::id(file, keys::SEPARATOR, usize::MAX)?.unwrap_or(BERT_SEPARATOR);
        if model == WORD_PIECES {
            let class = keys::id(file, keys::CLASS, usize::MAX)?;
            ids.bos = ids.bos.or(class).or(Some(BERT_CLASS));
            ids.eos = ids.eos.or(Some(separator));
            ids.unknown = ids.unknown.or(Some(BERT_UNKNOWN));
        }
        let named = [ids.bos, ids.eos, ids.eot, ids.padding];
        let vocabulary = load::Source::new(*file, spelling, ids.unknown, named)?;
        ids.check(file, vocabulary.len())?;
        let of_bert = [(keys::BOS, ids.bos), (keys::UNKNOWN, ids.unknown)];
        for (key, id) in of_bert.into_iter().chain([(keys::SEPARATOR, Some(separator))]) {
            if let Some(id) =
                id.filter(|&id| model == WORD_PIECES && id as usize >= vocabulary.len())
            {
                return Err(LoadError::SpecialId { key, id });
            }
        }
        let add_bos = keys::flag(file, keys::ADD_BOS)?;
        let add_eos = keys::flag(file, keys::ADD_EOS)?;
        let prefix = keys::flag(file, keys::ADD_SPACE_PREFIX)?;
        let (rules, default_bos, is_pre_known) = match spelling {
            Spelling::Bytes => {
                let known = name.and_then(PreTokenizer::by_name);
                let pre = known.unwrap_or_default();
                let merges = merges::Source::new(keys::array(file, keys::MERGES)?)?;
                (Rules::Bytes { pre, merges }, pre.add_bos, known.is_some())
            }
            Spelling::Words => (Rules::Words, true, true),
            Spelling::Escaped => (Rules::World, false, true),
            Spelling::Pieces if model == words::BYTES => (Rules::SingleBytes, true, true),
            Spelling::Pieces if model == UNIGRAM => {
                let scores =
                    scores::Source::new(keys::array(file, keys::SCORES)?, vocabulary.len())?;
                let map = keys::array(file, keys::CHARSMAP)?;
                if map.is_some_and(|map| map.element_type().size() != Some(1)) {
                    return Err(LoadError::WrongType(keys::CHARSMAP));
                }
                let map = map.map_or(&[][..], |map| map.bytes());
                let normalizer = Normalizer {
                    charsmap: Charsmap::new(map).ok_or(LoadError::Charsmap)?,
                    prefix: prefix.unwrap_or(false),
                    merges_blanks: keys::flag(file, keys::REMOVE_EXTRA_BLANKS)?.unwrap_or(false),
                };
                (Rules::Unigram { scores, normalizer }, false, true)
            }
            Spelling::Pieces if model == WORD_PIECES => {
                let lowercase = keys::flag(file, keys::LOWERCASE)?.unwrap_or(true);
                let strips_accents = keys::flag(file, keys::STRIP_ACCENTS)?.unwrap_or(lowercase);
                (Rules::WordPieces(Cleaning { lowercase, strips_accents }), true, true)
            }
            Spelling::Pieces if is_merged => {
                let merges = keys::array(file, keys::MERGES)?;
                let scores = scores::Source::of_merges(merges, vocabulary.len())?;
                let prefix = prefix.unwrap_or(false);
                (Rules::Pieces { scores, prefix }, model == GEMMA4, true)
            }
            Spelling::Pieces => {
                let scores = keys::array(file, keys::SCORES)?;
                let scores = scores::Source::new(scores, vocabulary.len())?;
                (Rules::Pieces { scores, prefix: prefix.unwrap_or(true) }, true, true)
            }
        };
        let default_eos = matches!(model, WORD_PIECES | UNIGRAM);
        let adds =
            Adds { bos: add_bos.unwrap_or(default_bos), eos: add_eos.unwrap_or(default_eos) };
        let says_bos = add_bos.is_some();
        Ok(Source { vocabulary, rules, ids, adds, is_pre_known, says_bos })
    }

    /// The pieces of memory, in the order of [`load`](Self::load).
    fn measure(&self, memory: &mut Measure) {
        special::measure(memory);
        match &self.rules {
            Rules::Bytes { merges, .. } => {
                self.vocabulary.measure(memory);
                merges.measure(memory);
            }
            Rules::Pieces { scores, .. } => {
                scores.measure_notes(memory);
                self.vocabulary.measure(memory);
                scores.measure(memory);
            }
            Rules::Unigram { .. } | Rules::WordPieces(_) => {
                self.vocabulary.measure(memory);
                longest::measure(memory, self.vocabulary.len());
            }
            Rules::World => {
                self.vocabulary.measure(memory);
                world::measure(memory, self.vocabulary.len(), self.vocabulary.text_len());
            }
            Rules::Words | Rules::SingleBytes => {
                self.vocabulary.measure(memory);
            }
        }
    }

    fn load(self, memory: &mut Carver<'a>) -> Result<Tokenizer<'a>, LoadError> {
        let mut specials = special::Builder::new(self.vocabulary.spelling(), memory)?;
        let (vocabulary, model) = match self.rules {
            Rules::Pieces { scores, prefix } => {
                let mut notes = scores::Notes::new(memory)?;
                let vocabulary = self.vocabulary.load(memory, |token| {
                    specials.add(token);
                    notes.add(token);
                })?;
                let pieces = scores.load(&vocabulary, notes, memory)?;
                (vocabulary, Model::Pieces { pieces, prefix })
            }
            rules => {
                let vocabulary = self.vocabulary.load(memory, |token| specials.add(token))?;
                let model = match rules {
                    Rules::Bytes { pre, merges } => {
                        Model::Bytes { pre, merges: merges.load(&vocabulary, memory)? }
                    }
                    Rules::Unigram { scores, normalizer } => {
                        let unknown = self.ids.unknown.or(vocabulary.first_unknown());
                        let unknown = unknown.ok_or(LoadError::Missing(keys::UNKNOWN))?;
                        let scores = scores.list();
                        let new = Unigram::new(&vocabulary, scores, normalizer, unknown, memory)?;
                        Model::Unigram(new)
                    }
                    Rules::SingleBytes => {
                        words::check_bytes(&vocabulary)?;
                        Model::SingleBytes
                    }
                    Rules::WordPieces(cleaning) => {
                        Model::WordPieces(WordPieces::new(&vocabulary, cleaning, memory)?)
                    }
                    Rules::World => {
                        Model::World(World::new(&vocabulary, self.vocabulary.text_len(), memory)?)
                    }
                    _ => Model::Words,
                };
                (vocabulary, model)
            }
        };
        let mut ids = self.ids;
        if ids.unknown.is_none() {
            ids.unknown = vocabulary.first_unknown();
        }
        if ids.unknown.is_none() && matches!(model, Model::Words) {
            return Err(LoadError::Missing(keys::UNKNOWN));
        }
        // A blank is written before words, and before control tokens between them.
        let blank = usize::from(matches!(model, Model::Words | Model::WordPieces(_)));
        Ok(Tokenizer {
            specials: specials.finish(ids.unknown),
            ends: EndIds::new(&vocabulary, &ids),
            max_token_bytes: vocabulary.max_text_bytes() + blank,
            vocabulary,
            model,
            ids,
            adds: self.adds,
            is_pre_known: self.is_pre_known,
            says_bos: self.says_bos,
        })
    }
}

impl SpecialIds {
    /// The keys, with ids that are not checked yet.
    fn new(file: &Gguf<'_>) -> Result<Self, LoadError> {
        let id = |key| keys::id(file, key, usize::MAX);
        Ok(SpecialIds {
            bos: id(keys::BOS)?,
            eos: id(keys::EOS)?,
            eot: id(keys::EOT)?,
            eom: id(keys::EOM)?,
            unknown: id(keys::UNKNOWN)?,
            padding: id(keys::PADDING)?,
        })
    }

    /// Every id that the file names is a token.
    fn check(&self, file: &Gguf<'_>, tokens: usize) -> Result<(), LoadError> {
        keys::ALL_IDS.into_iter().try_for_each(|key| keys::id(file, key, tokens).map(drop))
    }
}

/// Tokens at which a model stops.
#[derive(Clone, Copy, Debug)]
struct EndIds {
    ids: [u32; EndIds::NAMES.len() + 3],
    len: usize,
}

impl EndIds {
    /// What the ends of texts, turns and messages are called.
    const NAMES: [&'static str; 16] = [
        "</s>",
        "<eos>",
        "<|endoftext|>",
        "<|end_of_text|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|im_end|>",
        "<|end|>",
        "<|return|>",
        "<|call|>",
        "<end_of_turn>",
        "<turn|>",
        "<|tool_response>",
        "<end_of_utterance>",
        "<EOT>",
        "<｜end▁of▁sentence｜>",
    ];

    fn new(vocabulary: &Vocabulary<'_>, ids: &SpecialIds) -> Self {
        let mut ends = EndIds { ids: [0; _], len: 0 };
        let named =
            Self::NAMES.into_iter().filter_map(|name| vocabulary.find_other(name.as_bytes()));
        for id in [ids.eos, ids.eot, ids.eom].into_iter().flatten().chain(named) {
            if let Some(place) = ends.ids.get_mut(ends.len) {
                *place = id;
                ends.len += 1;
            }
        }
        ends
    }

    fn contains(&self, id: u32) -> bool {
        self.ids.iter().take(self.len).any(|&end| end == id)
    }
}
