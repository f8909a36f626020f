//! Protocol buffers, as far as tokenizer.model needs them: fields one after the other, no
//! recursion, every length checked against the bytes that are there.

use std::fmt;

/// Why a message is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtobufError {
    /// Where in the file.
    pub at: usize,
    /// What is wrong there.
    pub what: ProtobufReason,
}

/// What is wrong in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtobufReason {
    /// A number of more than ten bytes or 64 bits.
    Varint,
    /// The message ends inside a field.
    Truncated,
    /// A field has this length, but the message has fewer bytes left.
    Length(u64),
    /// A field of a kind (its number) that is not in use: groups, and two without meaning.
    WireType(u8),
    /// A field has the number 0 or one of more than 29 bits.
    FieldNumber(u64),
    /// A known field has a value of another kind.
    FieldType(u32),
}

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Field<'a> {
    Number(u64),
    Fixed64(u64),
    Bytes(Message<'a>),
    Fixed32(u32),
}

/// The bytes of a message, and where in the file they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Message<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Message<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Message { bytes, at: 0 }
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The offset in the file of what comes next.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next field's number and value; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Field<'a>)>, ProtobufError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let start = self.at;
        let tag = self.varint()?;
        let number = match u32::try_from(tag >> 3) {
            Ok(number @ 1..=0x1FFF_FFFF) => number,
            _ => return Err(error(start, ProtobufReason::FieldNumber(tag >> 3))),
        };
        let value = match (tag & 7) as u8 {
            0 => Field::Number(self.varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let len = self.varint()?;
                let at = self.at;
                let too_long = error(at, ProtobufReason::Length(len));
                let len = usize::try_from(len).map_err(|_| too_long)?;
                Field::Bytes(Message { bytes: self.take(len).ok_or(too_long)?, at })
            }
            5 => Field::Fixed32(u32::from_le_bytes(self.array()?)),
            other => return Err(error(start, ProtobufReason::WireType(other))),
        };
        Ok(Some((number, value)))
    }

    fn varint(&mut self) -> Result<u64, ProtobufError> {
        let start = self.at;
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                return Err(error(start, ProtobufReason::Varint));
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(error(start, ProtobufReason::Varint))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtobufError> {
        let truncated = error(self.at, ProtobufReason::Truncated);
        self.take(N).and_then(|bytes| bytes.try_into().ok()).ok_or(truncated)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(len)?;
        self.bytes = rest;
        self.at += len;
        Some(taken)
    }
}

pub(super) fn error(at: usize, what: ProtobufReason) -> ProtobufError {
    ProtobufError { at, what }
}

impl fmt::Display for ProtobufError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: ", self.at)?;
        match self.what {
            ProtobufReason::Varint => f.write_str("a number of more than 64 bits"),
            ProtobufReason::Truncated => f.write_str("the file ends inside a field"),
            ProtobufReason::Length(len) => write!(f, "a field of {len} bytes, more than are left"),
            ProtobufReason::WireType(kind) => {
                write!(f, "a field of kind {kind}, which is not used")
            }
            ProtobufReason::FieldNumber(number) => write!(f, "a field cannot have number {number}"),
            ProtobufReason::FieldType(number) => {
                write!(f, "field {number} has a value of another kind")
            }
        }
    }
}
