//! tokenizer.model: a SentencePiece model, and its tokens as a GGUF file has them.
//!
//! Read are the pieces and the few settings that change what a text becomes. A table that changes a
//! text's characters first (`precompiled_charsmap`) goes with Unigram; byte-pair encoding with one is
//! refused, as no GGUF file can hold both.

use std::string::String;
use std::vec::Vec;

use super::error::{Reason, TokenizerError, quote};
use super::pieces::is_byte;
use super::protobuf::{Field, Message, ProtobufError, ProtobufReason, error};
use super::vocabulary::{Kind, Token};
use super::{MAX_PIECE_BYTES, MAX_TOKENS};

/// The file's usual name.
pub(super) const FILE: &str = "tokenizer.model";

/// What `model_type` says of byte-pair encoding, and of Unigram, the default.
const BYTE_PAIRS: u64 = 2;
const UNIGRAM: u64 = 1;

/// A SentencePiece model.
#[derive(Debug)]
pub(super) struct Model<'a> {
    pub(super) pieces: Vec<Piece<'a>>,
    model_type: u64,
    /// A blank is put before a text.
    pub(super) puts_blank_first: bool,
    /// The compiled map of characters, or nothing.
    pub(super) charsmap: &'a [u8],
    pub(super) removes_blanks: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    pub(super) score: f32,
    pub(super) kind: Kind,
}

/// Reads the file.
pub(super) fn read(bytes: &[u8]) -> Result<Model<'_>, TokenizerError> {
    let mut model = Model {
        pieces: Vec::new(),
        model_type: 1,
        puts_blank_first: true,
        charsmap: &[],
        removes_blanks: true,
    };
    let mut message = Message::new(bytes);
    while let Some((number, field)) = next(&mut message)? {
        match number {
            1 => {
                let piece = piece(inner(number, field, &message)?, model.pieces.len())?;
                if model.pieces.len() == MAX_TOKENS {
                    return refuse(Reason::TooManyTokens(MAX_TOKENS + 1));
                }
                model.pieces.push(piece);
            }
            2 => model.trainer(inner(number, field, &message)?)?,
            3 => model.normalizer(inner(number, field, &message)?)?,
            _ => {}
        }
    }
    if model.pieces.is_empty() {
        return refuse(Reason::Empty);
    }
    Ok(model)
}

impl<'a> Model<'a> {
    fn trainer(&mut self, mut message: Message<'_>) -> Result<(), TokenizerError> {
        while let Some((number, field)) = next(&mut message)? {
            if number == 3 {
                self.model_type = integer(number, field, &message)?;
            }
        }
        Ok(())
    }

    fn normalizer(&mut self, mut message: Message<'a>) -> Result<(), TokenizerError> {
        while let Some((number, field)) = next(&mut message)? {
            match number {
                2 => self.charsmap = inner(number, field, &message)?.bytes(),
                3 => self.puts_blank_first = integer(number, field, &message)? != 0,
                4 => self.removes_blanks = integer(number, field, &message)? != 0,
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether pieces are chosen by the sum of their scores.
    pub(super) fn is_unigram(&self) -> bool {
        self.model_type == UNIGRAM
    }

    /// Whether it merges pairs.
    pub(super) fn check_kind(&self) -> Result<(), TokenizerError> {
        match self.model_type {
            BYTE_PAIRS => Ok(()),
            UNIGRAM => refuse(Reason::Model("unigram".into())),
            other => refuse(Reason::Model(std::format!("{other}"))),
        }
    }

    /// Whether texts are left as they are but for the blank before them.
    pub(super) fn check_normalizer(&self) -> Result<(), TokenizerError> {
        if !self.charsmap.is_empty() {
            return refuse(Reason::Normalizer("a table of characters".into()));
        }
        if self.removes_blanks {
            return refuse(Reason::Normalizer("blanks that follow blanks are removed".into()));
        }
        Ok(())
    }

    /// A token for each of `rows` ids. Special pieces without a row are dropped, and rows without
    /// piece are padding.
    pub(super) fn tokens(&self, rows: usize) -> Result<Vec<Token>, TokenizerError> {
        let mut tokens: Vec<Token> =
            self.pieces.iter().take(rows).map(|piece| piece.token()).collect();
        let beyond = self.pieces.iter().enumerate().skip(rows);
        let mut words = beyond.filter(|(_, piece)| piece.kind == Kind::Normal);
        if let Some((id, piece)) = words.next() {
            let text = quote(piece.text);
            return refuse(Reason::IdOutOfRange { id: id as u64, rows, text });
        }
        tokens.extend((tokens.len()..rows).map(Token::padding));
        Ok(tokens)
    }
}

impl Piece<'_> {
    fn token(&self) -> Token {
        // What is found in a text before anything else is spelt as in the text.
        let text = match self.kind {
            Kind::UserDefined => self.text.replace('\u{2581}', " "),
            _ => String::from(self.text),
        };
        Token { text, score: self.score, kind: self.kind }
    }
}

/// The piece with the id `id`.
fn piece(mut message: Message<'_>, id: usize) -> Result<Piece<'_>, TokenizerError> {
    let mut piece = Piece { text: "", score: 0.0, kind: Kind::Normal };
    let id = id as u32;
    while let Some((number, field)) = next(&mut message)? {
        match (number, field) {
            (1, Field::Bytes(text)) => {
                let (at, bytes) = (text.at(), text.bytes());
                if bytes.len() > MAX_PIECE_BYTES {
                    return refuse(Reason::TokenTooLong { id, len: bytes.len() });
                }
                piece.text = str::from_utf8(bytes).map_err(|error| {
                    TokenizerError::new(FILE, Reason::NotUtf8(at + error.valid_up_to()))
                })?;
            }
            (2, Field::Fixed32(bits)) => piece.score = f32::from_bits(bits),
            (3, Field::Number(kind)) => piece.kind = piece_kind(kind, &message)?,
            (1..=3, _) => return damaged(wrong_type(number, &message)),
            _ => {}
        }
    }
    if !piece.score.is_finite() {
        return refuse(Reason::Score(id));
    }
    if piece.kind == Kind::Byte && !is_byte(piece.text) {
        return refuse(Reason::Unsupported("a byte whose piece is not of the form <0x0A>"));
    }
    Ok(piece)
}

/// The numbers are those of GGUF, which took them from here.
fn piece_kind(number: u64, message: &Message<'_>) -> Result<Kind, TokenizerError> {
    Ok(match number {
        1 => Kind::Normal,
        2 => Kind::Unknown,
        3 => Kind::Control,
        4 => Kind::UserDefined,
        5 => Kind::Unused,
        6 => Kind::Byte,
        _ => return damaged(wrong_type(3, message)),
    })
}

fn next<'a>(message: &mut Message<'a>) -> Result<Option<(u32, Field<'a>)>, TokenizerError> {
    message.next().or_else(damaged)
}

fn inner<'a>(
    number: u32,
    field: Field<'a>,
    message: &Message<'_>,
) -> Result<Message<'a>, TokenizerError> {
    match field {
        Field::Bytes(message) => Ok(message),
        _ => damaged(wrong_type(number, message)),
    }
}

fn integer(number: u32, field: Field<'_>, message: &Message<'_>) -> Result<u64, TokenizerError> {
    match field {
        Field::Number(value) => Ok(value),
        _ => damaged(wrong_type(number, message)),
    }
}

/// The field that ended where the message goes on has no such value.
fn wrong_type(number: u32, message: &Message<'_>) -> ProtobufError {
    error(message.at(), ProtobufReason::FieldType(number))
}

fn damaged<T>(error: ProtobufError) -> Result<T, TokenizerError> {
    refuse(Reason::Protobuf(error))
}

fn refuse<T>(reason: Reason) -> Result<T, TokenizerError> {
    Err(TokenizerError::new(FILE, reason))
}
