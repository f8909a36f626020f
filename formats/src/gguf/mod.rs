//! GGUF, the container of models (ggml's docs/gguf.md), versions 2 and 3, little-endian.
//!
//! ```text
//! "GGUF" | version u32 | tensors u64 | keys u64
//! keys:     key | value type u32 | value                        general.architecture, ...
//! tensors:  name | dimensions u32 | dimension u64 ... | type u32 | data offset u64
//! padding to general.alignment (32 if absent)
//! data of each tensor, each padded to the alignment
//! ```
//!
//! A string is its length as u64 and its bytes; an array is its element type as u32, its count as
//! u64 and its elements.
//!
//! [`Gguf::parse`] walks the file's index once and proves all of it; after that every accessor
//! walks the same bytes again and cannot fail. Nothing is allocated: a `Gguf` is a few words that
//! borrow the file, to be copied freely. Stricter than the format's text, on purpose: names are
//! unique and without NUL, arrays do not nest, the alignment is a power of two from 8 to 4096,
//! and tensor data stands in the order of the index without holes or overlap (as ggml demands).
//! Looser: string values need not be UTF-8, and the file may end after the last tensor's data
//! without padding, or go on with anything.

mod array;
pub mod checksum;
mod cursor;
mod error;
mod limits;
mod skips;
mod tensor;
#[cfg(all(test, feature = "alloc"))]
mod tests;
mod unique;
mod value;
#[cfg(feature = "alloc")]
#[expect(clippy::arithmetic_side_effects, reason = "sizes of what lies in memory")]
mod write;

pub use array::{Array, Element, Elements, Strings};
pub use checksum::{CHECKSUMS_KEY, ChecksumsError, VERSION_KEY};
pub use error::{Foreign, ParseError, Reason, ShortName, Subject};
pub use limits::{
    ALIGNMENTS, DEFAULT_ALIGNMENT, MAX_DIMENSIONS, MAX_INDEX_BYTES, MAX_KEYS, MAX_NAME_BYTES,
    MAX_STRING_BYTES, MAX_TENSORS,
};
pub use tensor::{Tensor, TensorType};
pub use value::{Text, Value, ValueType};
#[cfg(feature = "std")]
pub use write::IoSink;
#[cfg(feature = "alloc")]
pub use write::{BuildError, Builder, DataWriter, Sink, WriteError};

use core::sync::atomic::{AtomicBool, Ordering};

use cursor::Cursor;
use skips::Skips;
use tensor::Record;

/// The bytes that begin every file.
const MAGIC: [u8; 4] = *b"GGUF";
/// Magic, version, two counts.
const HEADER_BYTES: usize = 24;

/// A GGUF file whose index is proven sound.
#[derive(Clone, Copy, Debug)]
pub struct Gguf<'a> {
    bytes: &'a [u8],
    version: u32,
    alignment: u32,
    n_keys: u32,
    n_tensors: u32,
    /// Where the tensor index begins.
    tensors_at: usize,
    /// Where the first tensor's data begins; past the end of a file without tensors, perhaps.
    data_at: usize,
    skips: Skips,
    damage: Option<&'a AtomicBool>,
}

impl<'a> Gguf<'a> {
    /// Reads and checks everything before the tensor data, and the range of every tensor's data.
    /// The time is in proportion to the index (about a millisecond for 262,144 tokens); the
    /// tensor data is not touched.
    pub fn parse(bytes: &'a [u8]) -> Result<Gguf<'a>, ParseError> {
        Self::parse_as(bytes, false)
    }

    /// The same of a file that may be one of several which make up a model: what it has of the
    /// model's tensors. [`parse`](Self::parse) refuses such a part.
    pub fn parse_part(bytes: &'a [u8]) -> Result<Gguf<'a>, ParseError> {
        Self::parse_as(bytes, true)
    }

    fn parse_as(bytes: &'a [u8], may_be_part: bool) -> Result<Gguf<'a>, ParseError> {
        let mut cursor = Cursor::new(bytes, 0);
        let header = Header::read(&mut cursor)?;
        let mut gguf = Gguf {
            bytes,
            version: header.version,
            alignment: DEFAULT_ALIGNMENT,
            n_keys: header.n_keys,
            n_tensors: header.n_tensors,
            tensors_at: 0,
            data_at: 0,
            skips: Skips::default(),
            damage: None,
        };
        gguf.check_keys(&mut cursor)?;
        gguf.tensors_at = cursor.offset();
        gguf.check_well_known_keys(may_be_part)?;
        gguf.check_tensors(&mut cursor)?;
        Ok(gguf)
    }

    /// The same, with a flag that says whether the bytes still are the file's
    /// ([`Mapping::damage`](crate::Mapping::damage)).
    pub fn with_damage(self, damage: Option<&'a AtomicBool>) -> Gguf<'a> {
        Gguf { damage, ..self }
    }

    /// Whether the bytes are known not to be the file's any more. What was computed before may have come
    /// from zeros.
    pub fn is_damaged(&self) -> bool {
        self.damage.is_some_and(|damage| damage.load(Ordering::Acquire))
    }

    /// GGUF version: 2 or 3. They differ in nothing that is read here.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Alignment of tensor data in bytes, counted from the start of the file.
    pub fn alignment(&self) -> u32 {
        self.alignment
    }

    /// The whole file.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Keys.
    pub fn n_keys(&self) -> usize {
        self.n_keys as usize
    }

    /// Tensors.
    pub fn n_tensors(&self) -> usize {
        self.n_tensors as usize
    }

    /// Bytes from the start of the file to the first tensor's data, without the padding between.
    pub fn index_bytes(&self) -> usize {
        self.records().fold(self.tensors_at, |_, record| record.offset_at.saturating_add(8))
    }

    /// Keys and values in the order of the file.
    pub fn metadata(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> + use<'a> {
        self.entries()
            .filter_map(|entry| core::str::from_utf8(entry.key).ok().map(|key| (key, entry.value)))
    }

    /// The value of a key. Walks the keys: tens of nanoseconds for each that comes before.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        self.entry(key).map(|entry| entry.value)
    }

    /// Where the value of a key begins in the file, for error messages about it.
    pub fn offset_of(&self, key: &str) -> Option<usize> {
        self.entry(key).map(|entry| entry.value_at)
    }

    /// Tensors in the order of the file.
    pub fn tensors(&self) -> impl Iterator<Item = Tensor<'a>> + use<'a> {
        let Gguf { bytes, data_at, .. } = *self;
        self.records().filter_map(move |record| Tensor::new(&record, bytes, data_at).ok())
    }

    /// The tensor of that name. Walks the index: to place every tensor of a model, rather go
    /// through [`tensors`](Self::tensors) once.
    pub fn tensor(&self, name: &str) -> Option<Tensor<'a>> {
        let record = self.records().find(|record| record.name == name.as_bytes())?;
        Tensor::new(&record, self.bytes, self.data_at).ok()
    }

    /// The string whose record (length as u64, then text) begins at `offset` in the file, as
    /// [`Strings::offset`] gave it. An offset from elsewhere gives `None` or a wrong text.
    #[inline]
    pub fn string_at(&self, offset: usize) -> Option<Text<'a>> {
        let (len, rest) = self.bytes.get(offset..)?.split_first_chunk()?;
        let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
        rest.get(..len).map(Text::from)
    }
}

/// What begins a file.
struct Header {
    version: u32,
    n_keys: u32,
    n_tensors: u32,
}

impl Header {
    fn read(cursor: &mut Cursor<'_>) -> Result<Header, ParseError> {
        let start = *cursor;
        if start.left() == 0 {
            return Err(start.error(Reason::Empty));
        }
        if cursor.array()? != MAGIC {
            return Err(start.error(Reason::Foreign(recognise(start))));
        }
        let here = *cursor;
        let version = cursor.u32()?;
        match version {
            2 | 3 => {}
            _ if matches!(version.swap_bytes(), 1..=3) => {
                return Err(here.error(Reason::BigEndian));
            }
            _ => return Err(here.error(Reason::Version(version))),
        }
        // The least that a tensor takes: name of 1 byte, no dimension, type, offset; and a key:
        // 1 byte, type, value of 1 byte.
        let n_tensors = read_count(cursor, 8 + 1 + 4 + 4 + 8, MAX_TENSORS, Reason::TooManyTensors)?;
        let n_keys = read_count(cursor, 8 + 1 + 4 + 1, MAX_KEYS, Reason::TooManyKeys)?;
        Ok(Header { version, n_keys, n_tensors })
    }
}

/// Reads the count of things that take at least `least` bytes each.
fn read_count(
    cursor: &mut Cursor<'_>,
    least: u64,
    limit: u64,
    too_many: fn(u64) -> Reason,
) -> Result<u32, ParseError> {
    let here = *cursor;
    let count = cursor.u64()?;
    if count > limit {
        return Err(here.error(too_many(count)));
    }
    let left = cursor.left();
    match u32::try_from(count) {
        Ok(n) if count.saturating_mul(least) <= left => Ok(n),
        _ => Err(here.error(Reason::Count { count, left })),
    }
}

/// What a file is that does not begin with the magic.
fn recognise(mut start: Cursor<'_>) -> Foreign {
    let rest = start.take(start.left()).unwrap_or_default();
    let starts_with = |prefixes: &[&[u8]]| prefixes.iter().any(|p| rest.starts_with(p));
    if starts_with(&[b"PK\x03\x04", b"PK\x05\x06"]) {
        Foreign::Zip
    } else if starts_with(&[b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"]) {
        Foreign::Pickle
    } else if starts_with(&[b"version https://git-lfs"]) {
        Foreign::GitLfsPointer
    } else if starts_with(&[b"lmgg", b"fmgg", b"tjgg", b"algg"]) {
        Foreign::LegacyGgml
    } else if starts_with(&[b"<!", b"<html", b"<HTML"]) {
        Foreign::Html
    } else if rest.get(..64).unwrap_or(rest).trim_ascii_start().starts_with(b"\\data\\") {
        Foreign::Arpa
    } else if starts_with(&[b"{"]) && rest.get(4) != Some(&0) {
        Foreign::Json
    } else if starts_with(&[b"\x1F\x8B"]) {
        Foreign::Gzip
    } else if rest.get(8) == Some(&b'{') {
        Foreign::Safetensors
    } else {
        Foreign::Unknown
    }
}

/// A key and its value.
#[derive(Clone, Copy)]
struct Entry<'a> {
    key: &'a [u8],
    value: Value<'a>,
    key_at: usize,
    value_at: usize,
}

impl<'a> Entry<'a> {
    fn read(cursor: &mut Cursor<'a>, known: &Skips) -> Result<Entry<'a>, ParseError> {
        let key_at = cursor.offset();
        let key = tensor::read_name(cursor)?;
        let here = *cursor;
        let value_type = cursor
            .u32()
            .and_then(|id| ValueType::from_id(id).ok_or_else(|| here.error(Reason::ValueType(id))));
        let value_at = cursor.offset();
        let value = value_type
            .and_then(|value_type| Value::read(cursor, value_type, known))
            .map_err(|error| error.of_key(key))?;
        Ok(Entry { key, value, key_at, value_at })
    }
}

/// The walks that parsing and the accessors share.
impl<'a> Gguf<'a> {
    fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let Gguf { bytes, n_keys, skips, .. } = *self;
        let mut cursor = Cursor::new(bytes, HEADER_BYTES);
        (0..n_keys).map_while(move |_| Entry::read(&mut cursor, &skips).ok())
    }

    fn entry(&self, key: &str) -> Option<Entry<'a>> {
        self.entries().find(|entry| entry.key == key.as_bytes())
    }

    fn records(&self) -> impl Iterator<Item = Record<'a>> + use<'a> {
        let Gguf { bytes, n_tensors, tensors_at, .. } = *self;
        let mut cursor = Cursor::new(bytes, tensors_at);
        (0..n_tensors).map_while(move |_| Record::read(&mut cursor).ok())
    }
}

/// The parts of parsing.
impl<'a> Gguf<'a> {
    /// Every key and value on its own, then the keys against each other.
    fn check_keys(&mut self, cursor: &mut Cursor<'a>) -> Result<(), ParseError> {
        for _ in 0..self.n_keys {
            let here = *cursor;
            // No end is known yet: an array of strings is walked here, once.
            let entry = Entry::read(cursor, &Skips::default())?;
            if core::str::from_utf8(entry.key).is_err() {
                return Err(here.error(Reason::NameNotUtf8).of_key(entry.key));
            }
            check_index_size(cursor)?;
            if let Value::Array(array) = entry.value
                && array.element_type() == ValueType::Str
            {
                self.skips.add(array.offset(), cursor.offset());
            }
        }
        let keys = || self.entries().map(|entry| entry.key_at);
        match unique::first_duplicate(self.bytes, keys) {
            Some((at, key)) => Err(ParseError::new(Reason::Duplicate, at).of_key(key)),
            None => Ok(()),
        }
    }

    /// The keys that concern the container itself.
    fn check_well_known_keys(&mut self, may_be_part: bool) -> Result<(), ParseError> {
        for entry in self.entries() {
            match well_known(entry.key, &entry.value) {
                Ok(Some(alignment)) => self.alignment = alignment,
                Ok(None) => {}
                Err(Reason::Split(_)) if may_be_part => {}
                Err(reason) => {
                    return Err(ParseError::new(reason, entry.value_at).of_key(entry.key));
                }
            }
        }
        Ok(())
    }

    /// Every record on its own, the names against each other, then the data.
    fn check_tensors(&mut self, cursor: &mut Cursor<'a>) -> Result<(), ParseError> {
        for _ in 0..self.n_tensors {
            let record = Record::read(cursor)?;
            if core::str::from_utf8(record.name).is_err() {
                let error = ParseError::new(Reason::NameNotUtf8, record.name_at);
                return Err(error.of_tensor(record.name));
            }
            check_index_size(cursor)?;
        }
        let names = || self.records().map(|record| record.name_at);
        if let Some((at, name)) = unique::first_duplicate(self.bytes, names) {
            return Err(ParseError::new(Reason::Duplicate, at).of_tensor(name));
        }
        self.data_at = cursor
            .offset()
            .checked_next_multiple_of(self.alignment as usize)
            .ok_or_else(|| cursor.error(Reason::IndexTooLarge))?;
        self.check_tensor_data()
    }

    /// Each tensor's data lies in the file and follows the data before it.
    fn check_tensor_data(&self) -> Result<(), ParseError> {
        let alignment = u64::from(self.alignment);
        let mut expected = 0;
        for record in self.records() {
            let found = record.data_offset;
            let tensor = Tensor::new(&record, self.bytes, self.data_at)?;
            if found != expected {
                let reason = match found.is_multiple_of(alignment) {
                    false => Reason::Misaligned(found),
                    true => Reason::NotContiguous { expected, found },
                };
                return Err(ParseError::new(reason, record.offset_at).of_tensor(record.name));
            }
            // Both terms are below the file's size, proven just now.
            let end = found.saturating_add(tensor.data().len() as u64);
            expected = end.checked_next_multiple_of(alignment).unwrap_or(u64::MAX);
        }
        Ok(())
    }
}

/// The alignment, if `key` states it; an error if `key` concerns the container and says something
/// that this one cannot be.
fn well_known(key: &[u8], value: &Value<'_>) -> Result<Option<u32>, Reason> {
    match (key, value) {
        (b"general.alignment", &Value::U32(alignment)) => {
            if !ALIGNMENTS.contains(&alignment) || !alignment.is_power_of_two() {
                return Err(Reason::Alignment(alignment));
            }
            Ok(Some(alignment))
        }
        // The format names one type; a reader that takes no other would see another layout.
        (b"general.alignment", _) => Err(Reason::WrongType),
        (b"split.count", value) => match value.as_u64() {
            Some(0..=1) => Ok(None),
            Some(count) => Err(Reason::Split(count)),
            None => Err(Reason::WrongType),
        },
        _ => Ok(None),
    }
}

fn check_index_size(cursor: &Cursor<'_>) -> Result<(), ParseError> {
    if cursor.offset() as u64 > MAX_INDEX_BYTES {
        return Err(cursor.error(Reason::IndexTooLarge));
    }
    Ok(())
}
