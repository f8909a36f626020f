//! The tokens of a file: texts that stay in the mapping, found by id and by text.

use core::ops::Range;

use mote_formats::Gguf;

use super::load::BLOCK;
use super::table::{self, Table};
use super::{alphabet, piece};

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

/// The kinds by the numbers of the format. 0 is "undefined": converters wrote it for ordinary
/// tokens.
pub(super) const KINDS: [TokenKind; 7] = [
    TokenKind::Normal,
    TokenKind::Normal,
    TokenKind::Unknown,
    TokenKind::Control,
    TokenKind::UserDefined,
    TokenKind::Unused,
    TokenKind::Byte,
];

/// How tokens are spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// In the [alphabet] of bytes.
    Bytes,
    /// As [pieces](piece).
    Pieces,
    /// As words: the text itself, which a blank goes before.
    Words,
    /// With [escapes](super::world::bytes).
    Escaped,
}

/// The tokens of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vocabulary<'a> {
    pub(super) spelling: Spelling,
    pub(super) file: Gguf<'a>,
    /// Where each token's text is in the file.
    pub(super) offsets: &'a [u32],
    /// Each token's kind, by its place in [`KINDS`].
    pub(super) kinds: &'a [u8],
    /// What merging may give. Of equal texts, the first is here.
    pub(super) merged: Table<'a>,
    /// Everything else but the pieces that stand for bytes.
    pub(super) others: Table<'a>,
    /// No two tokens in `merged` have one text.
    pub(super) is_unique: bool,
    /// The length of the longest text.
    pub(super) max_text_bytes: usize,
}

impl Spelling {
    /// The hash of a text that is spelled so.
    #[inline]
    pub(super) fn hash(self, text: &[u8]) -> u64 {
        match self {
            Spelling::Bytes | Spelling::Words | Spelling::Escaped => table::hash(text),
            Spelling::Pieces => piece::hash(text).0,
        }
    }

    /// Whether merging may give a token of that kind: ordinary text; and in SentencePiece what the
    /// user added to the pieces, which Hugging Face merges too.
    #[inline]
    pub(super) fn merges(self, kind: TokenKind) -> bool {
        match self {
            Spelling::Bytes | Spelling::Words | Spelling::Escaped => {
                matches!(kind, TokenKind::Normal | TokenKind::Byte)
            }
            Spelling::Pieces => matches!(kind, TokenKind::Normal | TokenKind::UserDefined),
        }
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

    /// Where the text of a token is in the file.
    pub(super) fn place(&self, id: u32) -> Range<usize> {
        let start = self.offsets.get(id as usize).map_or(0, |&offset| offset as usize + 8);
        start..start + self.text(id).len()
    }

    #[inline]
    pub(super) fn kind(&self, id: u32) -> Option<TokenKind> {
        self.kinds.get(id as usize).and_then(|&kind| KINDS.get(usize::from(kind)).copied())
    }

    /// The first token of the unknown kind.
    pub(super) fn first_unknown(&self) -> Option<u32> {
        (0..self.len() as u32).find(|&id| self.kind(id) == Some(TokenKind::Unknown))
    }

    /// The length of the longest text.
    pub(super) fn max_text_bytes(&self) -> usize {
        self.max_text_bytes
    }
}

/// Finding tokens.
impl Vocabulary<'_> {
    /// What merging gives for a text: bytes in the alphabet, or a piece without ▁. Or a word.
    #[inline]
    pub(super) fn find_merged(&self, text: &[u8]) -> Option<u32> {
        self.find_hashed(table::hash(text), text)
    }

    /// The same, for a text whose hash is known.
    #[inline]
    pub(super) fn find_hashed(&self, hash: u64, text: &[u8]) -> Option<u32> {
        match self.spelling {
            Spelling::Bytes | Spelling::Words | Spelling::Escaped => {
                self.merged.find(hash, |id| self.text(id) == text)
            }
            Spelling::Pieces => self.merged.find(hash, |id| piece::is(self.text(id), text)),
        }
    }

    /// What merging gives for two texts in a row.
    pub(super) fn find_joined(&self, left: &[u8], right: &[u8]) -> Option<u32> {
        let joined = || left.iter().chain(right).copied();
        let is_joined = |id| joined().eq(self.text(id).iter().copied());
        self.merged.find(table::hash_bytes(joined()), is_joined)
    }

    /// The piece that two spelled texts in a row are.
    pub(super) fn find_joined_piece(&self, left: &[u8], right: &[u8]) -> Option<u32> {
        let joined = || piece::bytes(left).chain(piece::bytes(right));
        let is_joined = |id| piece::bytes(self.text(id)).eq(joined());
        self.merged.find(table::hash_bytes(joined()), is_joined)
    }

    /// The token of bytes, which it has in the alphabet.
    pub(super) fn find_bytes(&self, bytes: &[u8]) -> Option<u32> {
        let mut buffer = [0; 128];
        let len = alphabet::write(bytes, &mut buffer);
        if let Some(text) = len.and_then(|len| buffer.get(..len)) {
            return self.find_merged(text);
        }
        let hash = table::hash_bytes(alphabet::spell(bytes));
        self.merged.find(hash, |id| alphabet::spell(bytes).eq(self.text(id).iter().copied()))
    }

    /// The piece that the file spells so.
    pub(super) fn find_piece(&self, text: &[u8]) -> Option<u32> {
        let is_same =
            |id| self.text(id) == text || piece::bytes(self.text(id)).eq(piece::bytes(text));
        self.merged.find(piece::hash(text).0, is_same)
    }

    /// A control, user-defined, unknown or unused token by its text.
    #[inline]
    pub(super) fn find_other(&self, text: &[u8]) -> Option<u32> {
        self.others.find(table::hash(text), |id| self.text(id) == text)
    }

    /// Whether a token is the one that [`find_merged`](Self::find_merged) gives for its text.
    #[inline]
    pub(super) fn is_found(&self, id: u32) -> bool {
        if self.is_unique {
            return self.kind(id).is_some_and(|kind| self.spelling.merges(kind));
        }
        let hash = self.spelling.hash(self.text(id));
        self.merged.find(hash, |found| found == id).is_some()
    }

    /// Reads what finding these texts will read, for all of them at once: first the places in the
    /// table, then the offsets there, then the texts. Returns their hashes.
    pub(super) fn read_ahead(&self, texts: &[&[u8]; 2 * BLOCK]) -> [u64; 2 * BLOCK] {
        let mut hashes = [0; 2 * BLOCK];
        for (hash, text) in hashes.iter_mut().zip(texts) {
            *hash = table::hash(text);
        }
        let mut offsets = [0; 2 * BLOCK];
        for (offset, &hash) in offsets.iter_mut().zip(&hashes) {
            *offset = self.merged.guess(hash);
        }
        for offset in &mut offsets {
            *offset = self.offsets.get(*offset as usize).copied().unwrap_or_default();
        }
        let byte = |offset: u32| self.file.bytes().get(offset as usize + 8).copied();
        let sum = offsets.iter().fold(0, |sum, &offset| sum ^ byte(offset).unwrap_or_default());
        core::hint::black_box(sum);
        hashes
    }
}

/// The kinds of which [`Vocabulary::find_other`] knows: what is not merged, and what is matched in
/// texts.
pub(super) fn is_other(kind: TokenKind) -> bool {
    !matches!(kind, TokenKind::Normal | TokenKind::Byte)
}

#[inline]
pub(super) fn text_at<'a>(file: &Gguf<'a>, offset: u32) -> &'a [u8] {
    file.string_at(offset as usize).unwrap_or_default().as_bytes()
}
