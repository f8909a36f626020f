//! From text to ids.

use super::chain::{self, Chain};
use super::error::EncodeError;
use super::memo::{self, Key, Memo};
use super::merge::{NO_TOKEN, Pairs, SHORT, ShortWord};
use super::merges::Merges;
use super::pre::PreTokenizer;
use super::recent::{self, Recent, Remembered};
use super::scores::Pieces;
use super::scratch::Scratch;
use super::{MAX_TEXT_BYTES, Model, Tokenizer, characters, nfc, piece, words};
use crate::memory::Measure;

/// What is added to a text's own tokens, and which of them it may spell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Begin with the BOS token, if there is one.
    pub bos: bool,
    /// End with the EOS token, if there is one.
    pub eos: bool,
    /// Control tokens that the text spells (`</s>`, `<|im_start|>`) become those tokens. Only for
    /// texts that the host wrote itself, such as filled-in chat templates. Off: they are text.
    pub parse_special: bool,
}

/// Bytes of scratch that do for every text of `text_len` bytes.
pub(super) fn scratch_bytes(model: &Model<'_>, text_len: usize) -> usize {
    aids_bytes(model, text_len).saturating_add(stretch_bytes(model, text_len))
}

/// Bytes of scratch that do for most texts.
#[cfg(feature = "alloc")]
pub(super) fn usual_scratch_bytes(model: &Model<'_>, text_len: usize) -> usize {
    aids_bytes(model, text_len).saturating_add(text_len).saturating_add(1)
}

/// Bytes of what makes long texts faster.
fn aids_bytes(model: &Model<'_>, text_len: usize) -> usize {
    match model {
        Model::Unigram(_)
        | Model::WordPieces(_)
        | Model::World(_)
        | Model::Words
        | Model::SingleBytes => 0,
        _ if text_len < memo::WORTHWHILE => 0,
        Model::Bytes { .. } => memo::bytes(),
        Model::Pieces { .. } => memo::bytes() + recent::bytes(),
    }
}

/// The same as [`scratch_bytes`] for a text without special tokens.
fn stretch_bytes(model: &Model<'_>, text_len: usize) -> usize {
    match model {
        Model::Bytes { pre, merges } if pre.nfc => {
            let composed = text_len.saturating_mul(nfc::MAX_GROWTH);
            let more = marks_bytes(text_len).max(chain_bytes(composed, merges.ranks()));
            composed.saturating_add(more)
        }
        Model::Bytes { merges, .. } => chain_bytes(text_len, merges.ranks()),
        Model::Pieces { pieces, .. } => {
            let copy = text_len.saturating_add(1);
            copy.saturating_add(chain_bytes(copy, pieces.ranks()))
        }
        Model::Unigram(unigram) => unigram.scratch_bytes(text_len),
        Model::WordPieces(_) | Model::World(_) | Model::Words | Model::SingleBytes => 0,
    }
}

/// Bytes for merging a word.
fn chain_bytes(len: usize, ranks: usize) -> usize {
    if len <= SHORT {
        return 0;
    }
    let mut memory = Measure::default();
    chain::measure(&mut memory, len, ranks);
    memory.bytes()
}

/// Bytes for normalizing a text.
fn marks_bytes(len: usize) -> usize {
    let mut memory = Measure::default();
    memory.add::<u64>(nfc::scratch_len(len));
    memory.bytes()
}

/// Writes the ids of a text and returns their number.
pub(super) fn encode(
    tokenizer: &Tokenizer<'_>,
    text: &[u8],
    options: EncodeOptions,
    scratch: &mut [u8],
    out: &mut [u32],
) -> Result<usize, EncodeError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(EncodeError::TextTooLong { len: text.len() });
    }
    let room = out.len();
    let aids = aids_bytes(&tokenizer.model, text.len());
    let (aids, rest) = scratch.split_at_mut(if aids <= scratch.len() { aids } else { 0 });
    let used = aids.len();
    let (for_memo, for_recent) = aids.split_at_mut(memo::bytes().min(used));
    let mut encoder = Encoder {
        scratch: Scratch::after(used, rest),
        memo: Memo::new(for_memo).ok(),
        recent: Recent::new(for_recent).unwrap_or(Recent::none()),
        out,
        count: 0,
        unknown: tokenizer.unknown(),
        after_unknown: false,
        short: ShortWord::new(),
    };
    encoder.extend(tokenizer.bos().filter(|_| options.bos));
    let mut done = 0;
    loop {
        let special =
            tokenizer.specials.next(&tokenizer.vocabulary, text, done, options.parse_special);
        let end = special.map_or(text.len(), |special| special.start);
        encoder.encode_text(tokenizer, text.get(done..end).unwrap_or_default())?;
        let Some(special) = special else { break };
        encoder.push(special.id);
        done = special.end;
    }
    encoder.extend(tokenizer.eos().filter(|_| options.eos));
    match encoder.count {
        needed if needed > room => Err(EncodeError::OutputTooSmall { needed }),
        count => Ok(count),
    }
}

struct Encoder<'s, 'o> {
    scratch: Scratch<'s>,
    /// In long texts, if there was memory for it.
    memo: Option<Memo<'s>>,
    recent: Recent<'s>,
    out: &'o mut [u32],
    /// Ids so far, written or not.
    count: usize,
    unknown: Option<u32>,
    /// The last id stands for unknown text, which more of it joins.
    after_unknown: bool,
    short: ShortWord,
}

impl Encoder<'_, '_> {
    /// A stretch of text between special tokens.
    fn encode_text(&mut self, tokenizer: &Tokenizer<'_>, text: &[u8]) -> Result<(), EncodeError> {
        if text.is_empty() {
            return Ok(());
        }
        self.after_unknown = false;
        // Each stretch of text uses all of the scratch anew.
        let mut whole = core::mem::take(&mut self.scratch);
        let scratch = whole.reborrow();
        let result = match &tokenizer.model {
            Model::Bytes { pre, merges } if pre.nfc && !nfc::is_inert(text) => {
                self.encode_composed(pre, merges, text, scratch)
            }
            Model::Bytes { pre, merges } => self.encode_words(pre, merges, text, scratch),
            Model::Pieces { pieces, prefix } => self.encode_pieces(pieces, *prefix, text, scratch),
            Model::Unigram(unigram) => {
                let push = |id| self.push(id);
                unigram.encode(&tokenizer.vocabulary, text, scratch, push)
            }
            Model::WordPieces(pieces) => {
                // There always is one.
                let unknown = self.unknown.unwrap_or_default();
                let push = |id: Option<u32>| self.push(id.unwrap_or(unknown));
                pieces.encode(&tokenizer.vocabulary, text, push);
                Ok(())
            }
            Model::World(world) => {
                let unknown = self.unknown;
                world.encode(text, unknown, |id| self.push(id))
            }
            Model::Words => {
                let unknown = self.unknown.unwrap_or_default();
                let id = |word| tokenizer.vocabulary.find_merged(word).unwrap_or(unknown);
                self.extend(words::of(text).map(id));
                Ok(())
            }
            Model::SingleBytes => {
                self.extend(text.iter().copied().map(words::id_of_byte));
                Ok(())
            }
        };
        self.scratch = whole;
        result
    }

    #[inline]
    fn push(&mut self, id: u32) {
        if let Some(place) = self.out.get_mut(self.count) {
            *place = id;
        }
        self.count += 1;
        self.after_unknown = false;
    }

    fn extend(&mut self, ids: impl IntoIterator<Item = u32>) {
        ids.into_iter().for_each(|id| self.push(id));
    }

    /// Writes the tokens of a word that the memo has.
    #[inline]
    fn push_known(&mut self, key: Option<&Key>) -> bool {
        let (Some(memo), Some(key)) = (&self.memo, key) else { return false };
        let Some(ids) = memo.get(key) else { return false };
        for (at, &id) in (self.count..).zip(ids) {
            if let Some(place) = self.out.get_mut(at) {
                *place = id;
            }
        }
        self.count += ids.len();
        self.after_unknown = false;
        true
    }

    /// Keeps the word that was just merged, if it has tokens for all of its symbols.
    fn keep(&mut self, key: Option<&Key>) {
        let (Some(memo), Some(key)) = (&mut self.memo, key) else { return };
        let ids = (0..self.short.len()).map(|at| self.short.symbol(at).0);
        if ids.clone().all(|id| id != NO_TOKEN) {
            memo.put(key, ids);
        }
    }
}

/// Byte-level vocabularies.
impl Encoder<'_, '_> {
    fn encode_composed(
        &mut self,
        pre: &PreTokenizer,
        merges: &Merges<'_>,
        text: &[u8],
        scratch: Scratch<'_>,
    ) -> Result<(), EncodeError> {
        let (composed, mut rest) = scratch.split(text.len().saturating_mul(nfc::MAX_GROWTH))?;
        let marks = rest.carver(marks_bytes(text.len()))?.take(nfc::scratch_len(text.len()))?;
        let len = nfc::normalize(text, composed, marks);
        self.encode_words(pre, merges, composed.get(..len).unwrap_or_default(), rest)
    }

    fn encode_words(
        &mut self,
        pre: &PreTokenizer,
        merges: &Merges<'_>,
        text: &[u8],
        mut scratch: Scratch<'_>,
    ) -> Result<(), EncodeError> {
        let mut cutter = pre.cutter();
        let mut start = 0;
        while start < text.len() {
            // A word has at least one byte.
            let end = cutter.word_end(text, start).max(start + 1);
            let word = text.get(start..end).unwrap_or_default();
            match pre.whole_words.then(|| merges.whole_word(word)).flatten() {
                Some(id) => self.push(id),
                None if word.len() <= SHORT => self.encode_short_word(merges, word)?,
                None => self.encode_long_word(merges, word, &mut scratch)?,
            }
            start = end;
        }
        Ok(())
    }

    fn encode_short_word(&mut self, merges: &Merges<'_>, word: &[u8]) -> Result<(), EncodeError> {
        let key = self.memo.as_ref().and_then(|_| Key::new(word));
        if self.push_known(key.as_ref()) {
            return Ok(());
        }
        self.short.clear();
        for (at, &byte) in word.iter().enumerate() {
            self.short.push(merges.unit(byte), at + 1);
        }
        self.short.merge(merges, word);
        self.keep(key.as_ref());
        for at in 0..self.short.len() {
            self.push_or_unknown(self.short.symbol(at).0, merges, word)?;
        }
        Ok(())
    }

    fn encode_long_word(
        &mut self,
        merges: &Merges<'_>,
        word: &[u8],
        scratch: &mut Scratch<'_>,
    ) -> Result<(), EncodeError> {
        let mut memory = scratch.carver(chain_bytes(word.len(), merges.ranks()))?;
        let mut chain = Chain::new(merges, word, &mut memory)?;
        for &byte in word {
            chain.push(merges.unit(byte), 1);
        }
        chain.merge();
        chain.symbols().try_for_each(|(id, _)| self.push_or_unknown(id, merges, word))
    }

    #[inline]
    fn push_or_unknown(
        &mut self,
        id: u32,
        merges: &Merges<'_>,
        word: &[u8],
    ) -> Result<(), EncodeError> {
        if id != NO_TOKEN {
            self.push(id);
            return Ok(());
        }
        match self.unknown {
            Some(unknown) => self.push(unknown),
            None => {
                let missing = word.iter().find(|&&byte| merges.unit(byte) == NO_TOKEN);
                return Err(EncodeError::NoToken { byte: missing.copied().unwrap_or_default() });
            }
        }
        Ok(())
    }
}

/// SentencePiece vocabularies.
impl Encoder<'_, '_> {
    fn encode_pieces(
        &mut self,
        pieces: &Pieces<'_>,
        prefix: bool,
        text: &[u8],
        scratch: Scratch<'_>,
    ) -> Result<(), EncodeError> {
        let (copy, mut scratch) = scratch.split(text.len().saturating_add(1))?;
        let len = piece::copy(text, prefix, copy);
        let text = copy.get(..len).unwrap_or_default();
        let pairs = Remembered { pairs: pieces, recent: self.recent };
        let mut start = 0;
        while start < text.len() {
            let end = pieces.word_end(text, start).max(start + 1);
            let word = text.get(start..end).unwrap_or_default();
            if word.len() <= SHORT {
                self.encode_short_pieces(&pairs, word)?;
            } else {
                self.encode_long_pieces(&pairs, word, &mut scratch)?;
            }
            start = end;
        }
        Ok(())
    }

    fn encode_short_pieces(
        &mut self,
        pairs: &Remembered<'_, Pieces<'_>>,
        word: &[u8],
    ) -> Result<(), EncodeError> {
        let pieces = pairs.pairs;
        let key = self.memo.as_ref().and_then(|_| Key::new(word));
        if self.push_known(key.as_ref()) {
            return Ok(());
        }
        self.short.clear();
        for_each_character(word, |start, end| {
            self.short.push(pieces.find(word.get(start..end).unwrap_or_default()), end);
        });
        self.short.merge(pairs, word);
        self.keep(key.as_ref());
        let mut start = 0;
        for at in 0..self.short.len() {
            let (id, end) = self.short.symbol(at);
            self.push_piece(id, pieces, word.get(start..end).unwrap_or_default())?;
            start = end;
        }
        Ok(())
    }

    fn encode_long_pieces(
        &mut self,
        pairs: &Remembered<'_, Pieces<'_>>,
        word: &[u8],
        scratch: &mut Scratch<'_>,
    ) -> Result<(), EncodeError> {
        let pieces = pairs.pairs;
        let mut memory = scratch.carver(chain_bytes(word.len(), pieces.ranks()))?;
        let mut chain = Chain::new(pairs, word, &mut memory)?;
        for_each_character(word, |start, end| {
            chain.push(pieces.find(word.get(start..end).unwrap_or_default()), end - start);
        });
        chain.merge();
        let mut start = 0;
        chain.symbols().try_for_each(|(id, end)| {
            let symbol = word.get(start..end).unwrap_or_default();
            start = end;
            self.push_piece(id, pieces, symbol)
        })
    }

    /// A symbol that is no piece is written in bytes if there are tokens for all of them, and is
    /// unknown otherwise, together with what is unknown before it.
    #[inline]
    fn push_piece(
        &mut self,
        id: u32,
        pieces: &Pieces<'_>,
        symbol: &[u8],
    ) -> Result<(), EncodeError> {
        if id != NO_TOKEN {
            self.push(id);
            return Ok(());
        }
        let bytes = if symbol == b" " { &piece::BLANK } else { symbol };
        let Some(missing) = bytes.iter().find(|&&byte| pieces.byte(byte).is_none()) else {
            self.extend(bytes.iter().filter_map(|&byte| pieces.byte(byte)));
            return Ok(());
        };
        match self.unknown {
            Some(_) if self.after_unknown => {}
            Some(unknown) => {
                self.push(unknown);
                self.after_unknown = true;
            }
            None => return Err(EncodeError::NoToken { byte: *missing }),
        }
        Ok(())
    }
}

/// Calls `each` with start and end of every character, and of every byte that belongs to none.
#[inline]
fn for_each_character(text: &[u8], mut each: impl FnMut(usize, usize)) {
    let mut start = 0;
    while start < text.len() {
        let end = start + characters::decode(text, start).1;
        each(start, end);
        start = end;
    }
}
