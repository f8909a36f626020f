//! Reading the tokens of a file, each once, at about the speed at which they come from memory.

use mote_formats::Gguf;
use mote_formats::gguf::{Array, Elements, Strings};

use super::error::LoadError;
use super::table::{self, Crowded, TableBuilder};
use super::vocabulary::{KINDS, Spelling, TokenKind, Vocabulary, is_other, text_at};
use super::{MAX_TOKEN_BYTES, MAX_TOKENS, MAX_WORDS, keys, piece};
use crate::memory::{Carver, Measure};

/// Tokens that are read together. Each goes to its own place in a table that no cache holds;
/// reading those places ahead makes them wait once, not one after the other.
pub(super) const BLOCK: usize = 16;

/// What a file says about its tokens, as far as it costs little to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    spelling: Spelling,
    file: Gguf<'a>,
    texts: Array<'a>,
    kinds: Kinds<'a>,
    /// Tokens of each kind, as [`KINDS`] has them.
    counts: [usize; KINDS.len()],
}

/// Token types in the file.
#[derive(Clone, Copy, Debug)]
enum Kinds<'a> {
    Listed(Elements<'a, i32>),
    ListedUnsigned(Elements<'a, u32>),
    /// The file lists none: known are the special ids, and byte pieces by their form.
    Guessed {
        unknown: Option<u32>,
        control: [Option<u32>; 4],
    },
}

/// A token as it is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'t> {
    pub(super) id: u32,
    pub(super) kind: TokenKind,
    pub(super) text: &'t [u8],
    /// Of a piece: blanks after the first character are possible.
    pub(super) may_have_blanks: bool,
}

/// A vocabulary that is being read.
struct Loader<'s, 'a> {
    source: &'s Source<'a>,
    texts: Strings<'a>,
    offsets: &'a mut [u32],
    kinds: &'a mut [u8],
    merged: TableBuilder<'a>,
    others: TableBuilder<'a>,
    is_unique: bool,
    max_text_bytes: usize,
}

impl<'a> Source<'a> {
    /// `unknown` and `control` are the ids that a file without token types names by other keys.
    pub(super) fn new(
        file: Gguf<'a>,
        spelling: Spelling,
        unknown: Option<u32>,
        control: [Option<u32>; 4],
    ) -> Result<Self, LoadError> {
        let texts = keys::array(&file, keys::TOKENS)?.ok_or(LoadError::Missing(keys::TOKENS))?;
        if texts.strings().is_none() {
            return Err(LoadError::WrongType(keys::TOKENS));
        }
        let limit = if spelling == Spelling::Words { MAX_WORDS } else { MAX_TOKENS };
        match texts.len() {
            0 => return Err(LoadError::Empty),
            n if n > limit => return Err(LoadError::TooManyTokens(n)),
            _ => {}
        }
        let kinds = match keys::array(&file, keys::TYPES)? {
            Some(types) => Kinds::listed(types, texts.len())?,
            None => Kinds::Guessed { unknown, control },
        };
        let counts = kinds.count(texts.len())?;
        Ok(Source { spelling, file, texts, kinds, counts })
    }

    /// Tokens.
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// Bytes of all texts together. Reads none.
    pub(super) fn text_len(&self) -> usize {
        self.texts.bytes().len().saturating_sub(size_of::<u64>() * self.len())
    }

    pub(super) fn spelling(&self) -> Spelling {
        self.spelling
    }

    fn n_merged(&self) -> usize {
        self.count(|kind| self.spelling.merges(kind))
    }

    fn n_others(&self) -> usize {
        self.count(is_other)
    }

    fn count(&self, is_counted: impl Fn(TokenKind) -> bool) -> usize {
        let counts = KINDS.into_iter().zip(self.counts);
        counts.filter(|&(kind, _)| is_counted(kind)).map(|(_, count)| count).sum()
    }

    pub(super) fn measure(&self, memory: &mut Measure) {
        memory
            .add::<u32>(self.len())
            .add::<u8>(self.len())
            .add::<u32>(table::capacity(self.n_merged()))
            .add::<u32>(table::capacity(self.n_others()));
    }

    /// Reads every token, and calls `each` with it.
    pub(super) fn load(
        &self,
        memory: &mut Carver<'a>,
        mut each: impl FnMut(Token<'_>),
    ) -> Result<Vocabulary<'a>, LoadError> {
        let mut loader = Loader {
            source: self,
            texts: self.texts.strings().ok_or(LoadError::WrongType(keys::TOKENS))?,
            offsets: memory.take(self.len())?,
            kinds: memory.take(self.len())?,
            merged: TableBuilder::new(memory.take(table::capacity(self.n_merged()))?),
            others: TableBuilder::new(memory.take(table::capacity(self.n_others()))?),
            is_unique: true,
            max_text_bytes: 0,
        };
        let mut first = 0;
        while first < self.len() {
            let end = self.len().min(first + BLOCK);
            loader.add_block(first, end, &mut each)?;
            first = end;
        }
        if loader.max_text_bytes == 0 {
            return Err(LoadError::Empty);
        }
        Ok(Vocabulary {
            spelling: self.spelling,
            file: self.file,
            offsets: loader.offsets,
            kinds: loader.kinds,
            merged: loader.merged.finish(),
            others: loader.others.finish(),
            is_unique: loader.is_unique,
            max_text_bytes: loader.max_text_bytes,
        })
    }
}

impl<'a> Loader<'_, 'a> {
    #[inline]
    fn add_block(
        &mut self,
        first: usize,
        end: usize,
        each: &mut impl FnMut(Token<'_>),
    ) -> Result<(), LoadError> {
        let mut tokens = [(&[][..], TokenKind::Unused); BLOCK];
        let mut hashes = [0; BLOCK];
        for (id, (token, place)) in (first..end).zip(tokens.iter_mut().zip(&mut hashes)) {
            if let Some(offset) = self.offsets.get_mut(id) {
                *offset = self.texts.offset() as u32;
            }
            let text = self.texts.next().unwrap_or_default().as_bytes();
            let kind = self.kind(id, text)?;
            let (hash, blanks) = match self.source.spelling {
                Spelling::Bytes | Spelling::Words | Spelling::Escaped => (table::hash(text), false),
                Spelling::Pieces => piece::hash(text),
            };
            each(Token { id: id as u32, kind, text, may_have_blanks: blanks });
            *token = (text, kind);
            *place = hash;
        }
        core::hint::black_box(hashes.iter().fold(0, |sum, &hash| sum ^ self.merged.guess(hash)));
        for (id, ((text, kind), hash)) in (first..end).zip(tokens.into_iter().zip(hashes)) {
            self.add(id as u32, kind, hash, text)?;
        }
        Ok(())
    }

    /// Checks a token and notes its kind.
    #[inline]
    fn kind(&mut self, id: usize, text: &[u8]) -> Result<TokenKind, LoadError> {
        let number = self.source.kinds.number(id, self.source.spelling, text);
        // Counting has shown that every number is a kind.
        if let Some(kind) = self.kinds.get_mut(id) {
            *kind = number as u8;
        }
        let kind = KINDS.get(number as usize).copied().unwrap_or(TokenKind::Normal);
        if text.len() > MAX_TOKEN_BYTES {
            return Err(LoadError::TokenTooLong { id: id as u32, len: text.len() });
        }
        let is_byte = kind == TokenKind::Byte && self.source.spelling == Spelling::Pieces;
        if is_byte && piece::byte_value(text).is_none() {
            return Err(LoadError::ByteToken(id as u32));
        }
        self.max_text_bytes = self.max_text_bytes.max(text.len());
        Ok(kind)
    }

    /// Puts a token into the tables.
    #[inline]
    fn add(&mut self, id: u32, kind: TokenKind, hash: u64, text: &[u8]) -> Result<(), LoadError> {
        // A token without text is kept, and never found.
        if text.is_empty() {
            return Ok(());
        }
        let Source { spelling, file, .. } = self.source;
        let text_of = |id: u32| {
            self.offsets.get(id as usize).map_or(&[][..], |&offset| text_at(file, offset))
        };
        if spelling.merges(kind) {
            let same = |other| match spelling {
                Spelling::Bytes | Spelling::Words | Spelling::Escaped => text_of(other) == text,
                Spelling::Pieces => piece::bytes(text_of(other)).eq(piece::bytes(text)),
            };
            self.is_unique &= self.merged.insert(hash, id, same)?;
        }
        if is_other(kind) {
            self.others.insert(table::hash(text), id, |other| text_of(other) == text)?;
        }
        Ok(())
    }
}

impl<'a> Kinds<'a> {
    fn listed(types: Array<'a>, tokens: usize) -> Result<Self, LoadError> {
        if types.len() != tokens {
            return Err(LoadError::Length { key: keys::TYPES, found: types.len(), tokens });
        }
        match (types.elements(), types.elements()) {
            (Some(kinds), _) => Ok(Kinds::Listed(kinds)),
            (_, Some(kinds)) => Ok(Kinds::ListedUnsigned(kinds)),
            _ => Err(LoadError::WrongType(keys::TYPES)),
        }
    }

    /// How often each kind is listed; an upper bound where none are. An error if a number is none.
    fn count(&self, tokens: usize) -> Result<[usize; KINDS.len()], LoadError> {
        let mut counts = [0; KINDS.len()];
        let mut wrong = None;
        let mut count = |(id, number): (usize, u32)| match counts.get_mut(number as usize) {
            Some(count) => *count += 1,
            None => wrong = wrong.or(Some(LoadError::TokenType { id: id as u32, found: number })),
        };
        match self {
            Kinds::Listed(kinds) => {
                kinds.iter().map(|number| number as u32).enumerate().for_each(&mut count);
            }
            Kinds::ListedUnsigned(kinds) => kinds.iter().enumerate().for_each(&mut count),
            Kinds::Guessed { control, .. } => {
                let most = [(NORMAL, tokens), (CONTROL, control.len()), (UNKNOWN, 1)];
                for (kind, most) in most {
                    counts.get_mut(kind as usize).into_iter().for_each(|count| *count = most);
                }
            }
        }
        wrong.map_or(Ok(counts), Err)
    }

    /// The number of a token's kind. A negative one is a huge one.
    #[inline]
    fn number(&self, id: usize, spelling: Spelling, text: &[u8]) -> u32 {
        match self {
            Kinds::Listed(kinds) => kinds.get(id).unwrap_or_default() as u32,
            Kinds::ListedUnsigned(kinds) => kinds.get(id).unwrap_or_default(),
            Kinds::Guessed { unknown, control } => match Some(id as u32) {
                id if id == *unknown => UNKNOWN,
                id if control.contains(&id) => CONTROL,
                _ if spelling == Spelling::Pieces && piece::byte_value(text).is_some() => BYTE,
                _ => NORMAL,
            },
        }
    }
}

// Places in `KINDS`.
const NORMAL: u32 = 1;
const UNKNOWN: u32 = 2;
const CONTROL: u32 = 3;
const BYTE: u32 = 6;

impl From<Crowded> for LoadError {
    fn from(_: Crowded) -> Self {
        LoadError::Collisions
    }
}
