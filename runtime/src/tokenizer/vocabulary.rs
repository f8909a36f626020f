//! The tokens of a file: texts that stay in the mapping, found by id and by text.

use mote_formats::Gguf;
use mote_formats::gguf::{Array, Element, Elements};

use super::error::LoadError;
use super::table::{self, Crowded, Table, TableBuilder};
use super::{MAX_TOKEN_BYTES, MAX_TOKENS, alphabet, keys, piece};
use crate::memory::{Carver, Measure};

/// What a token is for (`tokenizer.ggml.token_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// A piece of text.
    Normal,
    /// What stands for text that has no token.
    Unknown,
    /// A mark that structures the input, such as BOS. Not text, and matched in a text only when
    /// the caller trusts it.
    Control,
    /// A piece of text that is matched before anything else.
    UserDefined,
    /// A place that is not in use.
    Unused,
    /// One byte.
    Byte,
}

impl TokenKind {
    fn from_number(number: u32) -> Option<TokenKind> {
        Some(match number {
            // 0 is "undefined": converters wrote it for ordinary tokens.
            0 | 1 => TokenKind::Normal,
            2 => TokenKind::Unknown,
            3 => TokenKind::Control,
            4 => TokenKind::UserDefined,
            5 => TokenKind::Unused,
            6 => TokenKind::Byte,
            _ => return None,
        })
    }
}

/// How tokens are spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// In the [alphabet](super::alphabet) of bytes.
    Bytes,
    /// As [pieces](piece).
    Pieces,
}

impl Spelling {
    /// Whether merging may give a token of that kind: ordinary text; and in SentencePiece what the
    /// user added to the pieces, which Hugging Face merges too.
    pub(super) fn merges(self, kind: TokenKind) -> bool {
        match self {
            Spelling::Bytes => matches!(kind, TokenKind::Normal | TokenKind::Byte),
            Spelling::Pieces => matches!(kind, TokenKind::Normal | TokenKind::UserDefined),
        }
    }
}

/// What a file says about its tokens, as far as it costs little to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    spelling: Spelling,
    file: Gguf<'a>,
    texts: Array<'a>,
    kinds: Kinds<'a>,
    /// Tokens that merging may give, and the others.
    n_merged: usize,
    n_others: usize,
}

/// The tokens of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vocabulary<'a> {
    spelling: Spelling,
    file: Gguf<'a>,
    /// Where each token's text is in the file.
    offsets: &'a [u32],
    kinds: Kinds<'a>,
    /// What merging may give. Of equal texts, the first is here.
    merged: Table<'a>,
    /// Everything else but the pieces that stand for bytes.
    others: Table<'a>,
    /// No two tokens in `merged` have one text.
    is_unique: bool,
    /// The length of the longest text.
    max_text_bytes: usize,
}

impl<'a> Source<'a> {
    /// `special` are the ids that a file without token types names by other keys.
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
        let n = texts.len();
        match n {
            0 => return Err(LoadError::Empty),
            _ if n > MAX_TOKENS => return Err(LoadError::TooManyTokens(n)),
            _ => {}
        }
        let kinds = match keys::array(&file, keys::TYPES)? {
            Some(array) => Kinds::listed(array, n)?,
            None => Kinds::Guessed { spelling, unknown, control },
        };
        let mut source = Source { spelling, file, texts, kinds, n_merged: n, n_others: 4 + 1 };
        if let Kinds::Listed(_) | Kinds::ListedUnsigned(_) = kinds {
            let merged = |id: &u32| spelling.merges(kinds.get(*id, b""));
            let others = |id: &u32| Vocabulary::is_other(kinds.get(*id, b""));
            source.n_merged = (0..n as u32).filter(merged).count();
            source.n_others = (0..n as u32).filter(others).count();
        }
        Ok(source)
    }

    /// Tokens.
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    pub(super) fn measure(&self, memory: &mut Measure) {
        memory
            .add::<u32>(self.len())
            .add::<u64>(table::capacity(self.n_merged))
            .add::<u64>(table::capacity(self.n_others));
    }

    /// Reads every token once.
    pub(super) fn load(&self, memory: &mut Carver<'a>) -> Result<Vocabulary<'a>, LoadError> {
        let offsets = memory.take::<u32>(self.len())?;
        let mut merged = TableBuilder::new(memory.take(table::capacity(self.n_merged))?);
        let mut others = TableBuilder::new(memory.take(table::capacity(self.n_others))?);
        let Source { spelling, file, kinds, .. } = *self;
        let mut texts = self.texts.strings().ok_or(LoadError::WrongType(keys::TOKENS))?;
        let mut max_text_bytes = 0;
        let mut is_unique = true;
        for id in 0..self.len() as u32 {
            let offset = texts.offset() as u32;
            let Some(text) = texts.next() else { break };
            let text = text.as_bytes();
            if text.len() > MAX_TOKEN_BYTES {
                return Err(LoadError::TokenTooLong { id, len: text.len() });
            }
            offsets[id as usize] = offset;
            let kind = kinds.get(id, text);
            if kind == TokenKind::Byte
                && spelling == Spelling::Pieces
                && piece::byte_value(text).is_none()
            {
                return Err(LoadError::ByteToken(id));
            }
            // A token without text is kept, and never found.
            if text.is_empty() {
                continue;
            }
            max_text_bytes = max_text_bytes.max(text.len());
            let text_of = |id: u32| text_at(&file, offsets[id as usize]);
            if spelling.merges(kind) {
                is_unique &= match spelling {
                    Spelling::Bytes => {
                        merged.insert(table::hash(text), id, |other| text_of(other) == text)?
                    }
                    Spelling::Pieces => merged.insert(piece::hash(text), id, |other| {
                        piece::bytes(text_of(other)).eq(piece::bytes(text))
                    })?,
                };
            }
            if Vocabulary::is_other(kind) {
                others.insert(table::hash(text), id, |other| text_of(other) == text)?;
            }
        }
        if max_text_bytes == 0 {
            return Err(LoadError::Empty);
        }
        let (merged, others) = (merged.finish(), others.finish());
        Ok(Vocabulary { spelling, file, offsets, kinds, merged, others, is_unique, max_text_bytes })
    }
}

impl<'a> Vocabulary<'a> {
    /// Tokens.
    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    pub(super) fn spelling(&self) -> Spelling {
        self.spelling
    }

    /// The text of a token as the file has it; empty past the end.
    #[inline]
    pub(super) fn text(&self, id: u32) -> &'a [u8] {
        self.offsets.get(id as usize).map_or(&[], |&offset| text_at(&self.file, offset))
    }

    pub(super) fn kind(&self, id: u32) -> Option<TokenKind> {
        ((id as usize) < self.len()).then(|| self.kinds.get(id, self.text(id)))
    }

    /// The first token of the unknown kind.
    pub(super) fn first_unknown(&self) -> Option<u32> {
        (0..self.len() as u32).find(|&id| self.kind(id) == Some(TokenKind::Unknown))
    }

    /// The length of the longest text.
    pub(super) fn max_text_bytes(&self) -> usize {
        self.max_text_bytes
    }

    /// What merging gives for a text: bytes in the alphabet, or a piece without ▁.
    #[inline]
    pub(super) fn find_merged(&self, text: &[u8]) -> Option<u32> {
        let hash = table::hash(text);
        match self.spelling {
            Spelling::Bytes => self.merged.find(hash, |id| self.text(id) == text),
            Spelling::Pieces => self.merged.find(hash, |id| piece::is(self.text(id), text)),
        }
    }

    /// The piece that the file spells so.
    pub(super) fn find_piece(&self, text: &[u8]) -> Option<u32> {
        let same = |id| piece::bytes(self.text(id)).eq(piece::bytes(text));
        self.merged.find(piece::hash(text), same)
    }

    /// The token of bytes, which it has in the alphabet.
    pub(super) fn find_bytes(&self, bytes: &[u8]) -> Option<u32> {
        let mut buffer = [0; 128];
        if let Some(len) = alphabet::write(bytes, &mut buffer) {
            return self.find_merged(&buffer[..len]);
        }
        let hash = table::hash_bytes(alphabet::spell(bytes));
        self.merged.find(hash, |id| alphabet::spell(bytes).eq(self.text(id).iter().copied()))
    }

    /// Whether a token is the one that [`find_merged`](Self::find_merged) gives for its text.
    #[inline]
    pub(super) fn is_found(&self, id: u32) -> bool {
        if self.is_unique {
            return self.kind(id).is_some_and(|kind| self.spelling.merges(kind));
        }
        let text = self.text(id);
        let hash = match self.spelling {
            Spelling::Bytes => table::hash(text),
            Spelling::Pieces => piece::hash(text),
        };
        self.merged.find(hash, |found| found == id).is_some()
    }

    /// What merging gives for two texts in a row.
    pub(super) fn find_joined(&self, left: &[u8], right: &[u8]) -> Option<u32> {
        let mut buffer = [0; 128];
        let len = left.len() + right.len();
        if let Some(place) = buffer.get_mut(..len) {
            let (first, second) = place.split_at_mut(left.len());
            first.copy_from_slice(left);
            second.copy_from_slice(right);
            return self.find_merged(place);
        }
        let joined = || left.iter().chain(right).copied();
        self.merged
            .find(table::hash_bytes(joined()), |id| joined().eq(self.text(id).iter().copied()))
    }

    /// A control, user-defined, unknown or unused token by its text.
    #[inline]
    pub(super) fn find_other(&self, text: &[u8]) -> Option<u32> {
        self.others.find(table::hash(text), |id| self.text(id) == text)
    }

    /// The kinds of which `find_other` knows: what is not merged, and what is matched in texts.
    fn is_other(kind: TokenKind) -> bool {
        !matches!(kind, TokenKind::Normal | TokenKind::Byte)
    }
}

#[inline]
fn text_at<'a>(file: &Gguf<'a>, offset: u32) -> &'a [u8] {
    file.string_at(offset as usize).unwrap_or_default().as_bytes()
}

/// Token types where they stand in the file.
#[derive(Clone, Copy, Debug)]
enum Kinds<'a> {
    Listed(Elements<'a, i32>),
    ListedUnsigned(Elements<'a, u32>),
    /// The file lists none: known are the special ids, and bytes by their form.
    Guessed {
        spelling: Spelling,
        unknown: Option<u32>,
        control: [Option<u32>; 4],
    },
}

impl<'a> Kinds<'a> {
    fn listed(array: Array<'a>, tokens: usize) -> Result<Self, LoadError> {
        if array.len() != tokens {
            return Err(LoadError::Length { key: keys::TYPES, found: array.len(), tokens });
        }
        let kinds = match (elements(&array), elements(&array)) {
            (Some(kinds), _) => Kinds::Listed(kinds),
            (_, Some(kinds)) => Kinds::ListedUnsigned(kinds),
            _ => return Err(LoadError::WrongType(keys::TYPES)),
        };
        for id in 0..tokens as u32 {
            let found = kinds.number(id);
            if TokenKind::from_number(found).is_none() {
                return Err(LoadError::TokenType { id, found });
            }
        }
        Ok(kinds)
    }

    /// The number in the file; a negative one is a huge one.
    #[inline]
    fn number(&self, id: u32) -> u32 {
        match self {
            Kinds::Listed(kinds) => kinds.get(id as usize).unwrap_or_default() as u32,
            Kinds::ListedUnsigned(kinds) => kinds.get(id as usize).unwrap_or_default(),
            Kinds::Guessed { .. } => 0,
        }
    }

    #[inline]
    fn get(&self, id: u32, text: &[u8]) -> TokenKind {
        if let Kinds::Guessed { spelling, unknown, control } = *self {
            return match id {
                _ if unknown == Some(id) => TokenKind::Unknown,
                _ if control.contains(&Some(id)) => TokenKind::Control,
                _ if spelling == Spelling::Pieces && piece::byte_value(text).is_some() => {
                    TokenKind::Byte
                }
                _ => TokenKind::Normal,
            };
        }
        TokenKind::from_number(self.number(id)).unwrap_or(TokenKind::Normal)
    }
}

fn elements<'a, T: Element>(array: &Array<'a>) -> Option<Elements<'a, T>> {
    array.elements()
}

impl From<Crowded> for LoadError {
    fn from(_: Crowded) -> Self {
        LoadError::Collisions
    }
}
