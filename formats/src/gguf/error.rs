//! Why a file is refused: a reason, a place, and the key or tensor that it concerns.

use core::fmt;

use super::limits::{ALIGNMENTS, MAX_DIMENSIONS, MAX_INDEX_BYTES, MAX_KEYS, MAX_NAME_BYTES};
use super::limits::{MAX_STRING_BYTES, MAX_TENSORS};
use super::value::Text;

/// Why [`Gguf::parse`](super::Gguf::parse) refused a file. Its text is one sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    reason: Reason,
    offset: u64,
    subject: Subject,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The file has no bytes.
    Empty,
    /// The file is something other than GGUF.
    Foreign(Foreign),
    /// All numbers are stored most significant byte first.
    BigEndian,
    /// A version of GGUF other than 2 and 3.
    Version(u32),
    /// The file ends inside a field: bytes that the field has, bytes that were left for it.
    Truncated {
        /// Bytes from the field's start to its end.
        needed: u64,
        /// Bytes from the field's start to the end of the file.
        left: u64,
    },
    /// More elements announced than the rest of the file can hold.
    Count {
        /// Elements announced.
        count: u64,
        /// Bytes to the end of the file.
        left: u64,
    },
    /// More than [`MAX_KEYS`](super::MAX_KEYS).
    TooManyKeys(u64),
    /// More than [`MAX_TENSORS`](super::MAX_TENSORS).
    TooManyTensors(u64),
    /// More than [`MAX_INDEX_BYTES`](super::MAX_INDEX_BYTES) before the first tensor's data.
    IndexTooLarge,
    /// A key or a tensor's name without a byte.
    EmptyName,
    /// A key or a tensor's name of more than [`MAX_NAME_BYTES`](super::MAX_NAME_BYTES).
    NameTooLong(u64),
    /// A key or a tensor's name that is not UTF-8.
    NameNotUtf8,
    /// A key or a tensor's name with a NUL, at which readers written in C would cut it.
    NameHasNul,
    /// The key or tensor stands in the file twice.
    Duplicate,
    /// No GGUF value type has this number.
    ValueType(u32),
    /// An array of arrays.
    NestedArray,
    /// A string of more than [`MAX_STRING_BYTES`](super::MAX_STRING_BYTES).
    StringTooLong(u64),
    /// A bool that is neither 0 nor 1.
    Bool(u8),
    /// A key that mote reads here has a value of another type than the format says.
    WrongType,
    /// `general.alignment` is not one that tensor data can have.
    Alignment(u32),
    /// One of several files (their number) that make up a model.
    Split(u64),
    /// A tensor of more than [`MAX_DIMENSIONS`](super::MAX_DIMENSIONS).
    Dimensions(u32),
    /// A tensor with a dimension of 0.
    ZeroDimension,
    /// A tensor whose bytes do not fit 64 bits.
    ShapeOverflow,
    /// No encoding has this number.
    TensorType(u32),
    /// A row that is not a whole number of the encoding's blocks.
    PartialBlock {
        /// Elements of a row.
        row: u64,
        /// Elements of a block.
        block: u32,
    },
    /// A tensor's data begins between two multiples of the alignment: its offset.
    Misaligned(u64),
    /// A tensor's data does not follow the data of the tensor before it, padded to the alignment.
    NotContiguous {
        /// Where it should begin, counted from the first tensor's data.
        expected: u64,
        /// Where the file says it begins.
        found: u64,
    },
    /// A tensor's data reaches past the end of the file.
    DataPastEnd {
        /// The data's end, counted from the start of the file.
        end: u64,
        /// The file's size.
        file: u64,
    },
}

/// A format that is met under the name of GGUF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Foreign {
    /// A zip archive: a PyTorch checkpoint (pickle), for one.
    Zip,
    /// A bare Python pickle.
    Pickle,
    /// A safetensors checkpoint.
    Safetensors,
    /// The text that Git LFS leaves in place of a large file.
    GitLfsPointer,
    /// A predecessor of GGUF (ggml, ggmf, ggjt), or a ggla adapter.
    LegacyGgml,
    /// A web page, saved in place of the file.
    Html,
    /// None of these.
    Unknown,
}

/// What an error concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The file as a whole, or something that has no name yet.
    File,
    /// A metadata key.
    Key(ShortName),
    /// A tensor.
    Tensor(ShortName),
}

/// The first bytes of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortName {
    bytes: [u8; ShortName::CAPACITY],
    len: u8,
    cut: bool,
}

impl ParseError {
    pub(super) fn new(reason: Reason, offset: usize) -> Self {
        ParseError { reason, offset: offset as u64, subject: Subject::File }
    }

    pub(super) fn of_key(self, key: &[u8]) -> Self {
        ParseError { subject: Subject::key(key), ..self }
    }

    pub(super) fn of_tensor(self, name: &[u8]) -> Self {
        ParseError { subject: Subject::tensor(name), ..self }
    }

    /// What is wrong.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Where: bytes from the start of the file to the field at fault.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Which key or tensor.
    pub fn subject(&self) -> Subject {
        self.subject
    }
}

impl core::error::Error for ParseError {}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} (at byte {})", self.subject, self.reason, self.offset)
    }
}

impl Subject {
    pub(super) fn key(key: &[u8]) -> Self {
        Subject::Key(ShortName::new(key))
    }

    pub(super) fn tensor(name: &[u8]) -> Self {
        Subject::Tensor(ShortName::new(name))
    }
}

/// What a sentence about it begins with: `key "...": `, or nothing for the file.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::File => Ok(()),
            Subject::Key(name) => write!(f, "key \"{name}\": "),
            Subject::Tensor(name) => write!(f, "tensor \"{name}\": "),
        }
    }
}

/// Encodings of ggml that released versions had and no longer have.
fn withdrawn(id: u32) -> Option<&'static str> {
    Some(match id {
        4 => "q4_2",
        5 => "q4_3",
        31 => "q4_0_4_4",
        32 => "q4_0_4_8",
        33 => "q4_0_8_8",
        36 => "iq4_nl_4_4",
        37 => "iq4_nl_4_8",
        38 => "iq4_nl_8_8",
        _ => return None,
    })
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Reason::Empty => f.write_str("the file is empty"),
            Reason::Foreign(foreign) => write!(f, "not a GGUF file, {foreign}"),
            Reason::BigEndian => f.write_str(
                "a big-endian GGUF file is not supported; convert it to little-endian first",
            ),
            Reason::Version(1) => f.write_str(
                "GGUF version 1 is not supported, only 2 and 3; get or make a newer file",
            ),
            Reason::Version(v) => write!(f, "GGUF version {v} is not supported, only 2 and 3"),
            Reason::Truncated { needed, left } => {
                write!(f, "the file ends too early: {needed} bytes needed here, {left} left")
            }
            Reason::Count { count, left } => {
                write!(f, "{count} elements cannot fit in the {left} bytes left of the file")
            }
            Reason::TooManyKeys(n) => write!(f, "{n} keys, more than the limit of {MAX_KEYS}"),
            Reason::TooManyTensors(n) => {
                write!(f, "{n} tensors, more than the limit of {MAX_TENSORS}")
            }
            Reason::IndexTooLarge => {
                write!(f, "more than {MAX_INDEX_BYTES} bytes of metadata")
            }
            Reason::EmptyName => f.write_str("a name without a byte"),
            Reason::NameTooLong(n) => {
                write!(f, "a name of {n} bytes, more than the limit of {MAX_NAME_BYTES}")
            }
            Reason::NameNotUtf8 => f.write_str("a name that is not UTF-8"),
            Reason::NameHasNul => f.write_str("a name with a NUL byte inside"),
            Reason::Duplicate => f.write_str("stands in the file twice"),
            Reason::ValueType(id) => write!(f, "unknown value type {id}"),
            Reason::NestedArray => f.write_str("arrays of arrays are not supported"),
            Reason::StringTooLong(n) => {
                write!(f, "a string of {n} bytes, more than the limit of {MAX_STRING_BYTES}")
            }
            Reason::Bool(byte) => write!(f, "a bool must be 0 or 1, not {byte}"),
            Reason::WrongType => f.write_str("a value of the wrong type"),
            Reason::Alignment(n) => write!(
                f,
                "alignment {n} is not a power of two from {} to {}",
                ALIGNMENTS.start(),
                ALIGNMENTS.end()
            ),
            Reason::Split(n) => {
                write!(f, "one of {n} files of a split model; merge them into one file first")
            }
            _ => self.fmt_tensor(f),
        }
    }
}

impl Reason {
    /// The sentences about tensors.
    fn fmt_tensor(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Reason::Dimensions(n) => {
                write!(f, "{n} dimensions, more than the limit of {MAX_DIMENSIONS}")
            }
            Reason::ZeroDimension => f.write_str("a dimension of 0"),
            Reason::ShapeOverflow => f.write_str("the shape has more bytes than fit 64 bits"),
            Reason::TensorType(id) => match withdrawn(id) {
                Some(name) => write!(f, "encoding {id} ({name}) was withdrawn"),
                None => write!(f, "unknown encoding {id}"),
            },
            Reason::PartialBlock { row, block } => {
                write!(f, "rows of {row} elements are not whole blocks of {block}")
            }
            Reason::Misaligned(offset) => {
                write!(f, "data offset {offset} is not a multiple of the alignment")
            }
            Reason::NotContiguous { expected, found } => {
                let what = if found < expected { "overlaps" } else { "leaves a hole after" };
                write!(f, "data offset {found} {what} the data before it, which ends at {expected}")
            }
            Reason::DataPastEnd { end, file } => {
                write!(f, "its data ends at byte {end}, but the file has {file} bytes")
            }
            _ => f.write_str("malformed"),
        }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Foreign::Zip => "but a zip archive (a PyTorch checkpoint?)",
            Foreign::Pickle => "but a Python pickle, which is not supported",
            Foreign::Safetensors => "but a safetensors checkpoint; convert it first",
            Foreign::GitLfsPointer => "but a Git LFS pointer; fetch the file that it stands for",
            Foreign::LegacyGgml => "but one of its predecessors; get or make a GGUF file",
            Foreign::Html => "but a web page",
            Foreign::Unknown => "which begins with \"GGUF\"",
        })
    }
}

impl ShortName {
    /// Bytes of a name that an error keeps.
    const CAPACITY: usize = 64;

    /// Keeps the first bytes of a name.
    pub fn new(name: &[u8]) -> Self {
        let mut bytes = [0; Self::CAPACITY];
        let len = name.len().min(Self::CAPACITY);
        for (kept, byte) in bytes.iter_mut().zip(name) {
            *kept = *byte;
        }
        ShortName { bytes, len: len as u8, cut: name.len() > len }
    }

    /// The name, or its first 64 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes)
    }
}

/// Escaped, with `...` where it was cut.
impl fmt::Display for ShortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.cut { "..." } else { "" };
        write!(f, "{}{more}", Text::from(self.as_bytes()))
    }
}
