//! safetensors, the container of checkpoints (github.com/huggingface/safetensors).
//!
//! ```text
//! header's length u64 | header: JSON, padded with spaces | data of the tensors, without gaps
//! {"__metadata__": {...}, NAME: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
//! ```
//!
//! [`Header::parse`] proves every shape and range; the data is never touched. It takes what the
//! reference takes, and refuses names that stand there twice besides.

use std::boxed::Box;
use std::fmt;
use std::string::{String, ToString};
use std::vec::Vec;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::gguf::ShortName;

/// The longest header, as in the reference.
pub const MAX_HEADER_BYTES: u64 = 100_000_000;
/// Most dimensions of a tensor.
pub const MAX_DIMENSIONS: usize = 8;
/// Bytes before the header: its length.
const LENGTH_BYTES: u64 = 8;
/// The one name that is no tensor's.
const METADATA: &str = "__metadata__";

/// The tensors of a file, each proven to lie in it.
#[derive(Debug)]
pub struct Header {
    tensors: Vec<Tensor>,
    data_at: u64,
}

/// Where a tensor lies.
#[derive(Clone, Debug)]
pub struct Tensor {
    name: Box<str>,
    shape: Shape,
    dtype: Dtype,
    begin: u64,
    end: u64,
}

macro_rules! dtypes {
    ($($name:ident = $bytes:literal;)*) => {
        /// The type of a tensor's elements, named as in the files.
        #[allow(non_camel_case_types, missing_docs, clippy::upper_case_acronyms)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Dtype { $($name),* }

        impl Dtype {
            fn from_name(name: &str) -> Option<Dtype> {
                match name { $(stringify!($name) => Some(Dtype::$name),)* _ => None }
            }

            /// As in the files.
            pub fn name(self) -> &'static str {
                match self { $(Dtype::$name => stringify!($name)),* }
            }

            /// Bytes of an element.
            pub fn bytes(self) -> u64 {
                match self { $(Dtype::$name => $bytes),* }
            }
        }
    };
}

dtypes! {
    BOOL = 1;
    U8 = 1;
    I8 = 1;
    F8_E5M2 = 1;
    F8_E4M3 = 1;
    F8_E8M0 = 1;
    U16 = 2;
    I16 = 2;
    F16 = 2;
    BF16 = 2;
    U32 = 4;
    I32 = 4;
    F32 = 4;
    U64 = 8;
    I64 = 8;
    F64 = 8;
}

/// Why a file is refused. Its text is one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SafetensorsError {
    /// Fewer bytes than the header's length takes: the file's.
    TooShort(u64),
    /// The text that Git LFS leaves in place of a large file.
    GitLfsPointer,
    /// A zip archive or a pickle: PyTorch's own format.
    Pickle,
    /// The header's length is 0, or more than the file has.
    HeaderLength {
        /// As the file says.
        length: u64,
        /// Bytes of the file.
        file: u64,
    },
    /// A header of more than [`MAX_HEADER_BYTES`].
    HeaderTooLarge(u64),
    /// The header does not begin with `{`.
    HeaderStart,
    /// Something other than spaces behind the header's last `}`.
    HeaderEnd,
    /// The header is not UTF-8 from this byte of the file on.
    NotUtf8(u64),
    /// The header is not the JSON that it should be.
    Json {
        /// The byte of the file.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A tensor that cannot be.
    Tensor(ShortName, TensorReason),
    /// Bytes behind the last tensor's data.
    TrailingBytes(u64),
}

/// What is wrong with a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TensorReason {
    /// The name stands in the header twice.
    Duplicate,
    /// An element type that is not supported, or unknown.
    Dtype(Box<ShortName>),
    /// More bytes than fit 63 bits.
    ShapeOverflow,
    /// The range of its data ends before it begins.
    Reversed,
    /// The range of its data is longer or shorter than its shape.
    Size {
        /// Bytes of the shape.
        shape: u64,
        /// Bytes of the range.
        range: u64,
    },
    /// The range of its data ends behind the file: where, counted from the first tensor's data.
    PastEnd(u64),
    /// Its data begins before the data before it ends.
    Overlap,
    /// Its data does not begin where the data before it ends.
    Hole,
}

/// The header's length in bytes. `start` is the beginning of the file, 16 bytes or more of it if
/// it has them; `file_bytes` its size.
pub fn header_bytes(start: &[u8], file_bytes: u64) -> Result<u64, SafetensorsError> {
    if start.starts_with(b"version https:/") {
        return Err(SafetensorsError::GitLfsPointer);
    }
    // A header of 0x0280 bytes begins like a pickle; its text tells them apart.
    let is_json = start.get(LENGTH_BYTES as usize) == Some(&b'{');
    if !is_json && (start.starts_with(b"PK\x03\x04") || matches!(start, [0x80, 2..=5, ..])) {
        return Err(SafetensorsError::Pickle);
    }
    let Some(length) = start.first_chunk().filter(|_| file_bytes >= LENGTH_BYTES) else {
        return Err(SafetensorsError::TooShort(file_bytes));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES {
        return Err(SafetensorsError::HeaderTooLarge(length));
    }
    if length == 0 || length > file_bytes.saturating_sub(LENGTH_BYTES) {
        return Err(SafetensorsError::HeaderLength { length, file: file_bytes });
    }
    Ok(length)
}

impl Header {
    /// Reads a header. `bytes` begin the file and hold at least its length and all of it (as
    /// [`header_bytes`] tells); `file_bytes` is the size of the file.
    pub fn parse(bytes: &[u8], file_bytes: u64) -> Result<Header, SafetensorsError> {
        let length = header_bytes(bytes, file_bytes)?;
        let data_at = LENGTH_BYTES.saturating_add(length);
        let data_bytes = file_bytes.saturating_sub(data_at);
        let header = usize::try_from(data_at).ok().and_then(|end| bytes.get(8..end));
        let header =
            header.ok_or(SafetensorsError::HeaderLength { length, file: bytes.len() as u64 })?;
        if header.first() != Some(&b'{') {
            return Err(SafetensorsError::HeaderStart);
        }
        let text = core::str::from_utf8(header).map_err(|error| {
            SafetensorsError::NotUtf8(LENGTH_BYTES.saturating_add(error.valid_up_to() as u64))
        })?;
        let text = text.trim_end_matches(' ');
        if !text.ends_with('}') {
            return Err(SafetensorsError::HeaderEnd);
        }
        let Entries { tensors, refused } =
            serde_json::from_str(text).map_err(|error| json(&error, text))?;
        if let Some((name, dtype)) = refused {
            return Err(SafetensorsError::Tensor(name, TensorReason::Dtype(Box::new(dtype))));
        }
        for tensor in &tensors {
            tensor.check(data_bytes).map_err(|reason| tensor.refused(reason))?;
        }
        let header = Header::sorted(tensors)?;
        header.check_layout(data_bytes).map(|()| Header { data_at, ..header })
    }

    /// By name; each of them once.
    fn sorted(mut tensors: Vec<Tensor>) -> Result<Header, SafetensorsError> {
        tensors.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for pair in tensors.windows(2) {
            if let [first, second] = pair
                && first.name == second.name
            {
                return Err(first.refused(TensorReason::Duplicate));
            }
        }
        Ok(Header { tensors, data_at: 0 })
    }

    /// The tensors' data fill the rest of the file, one behind the other.
    fn check_layout(&self, data_bytes: u64) -> Result<(), SafetensorsError> {
        let mut order: Vec<&Tensor> = self.tensors.iter().collect();
        order.sort_unstable_by_key(|tensor| (tensor.begin, tensor.end));
        let mut expected = 0;
        for tensor in order {
            if tensor.begin < expected {
                return Err(tensor.refused(TensorReason::Overlap));
            }
            if tensor.begin > expected {
                return Err(tensor.refused(TensorReason::Hole));
            }
            expected = tensor.end;
        }
        match data_bytes.saturating_sub(expected) {
            0 => Ok(()),
            more => Err(SafetensorsError::TrailingBytes(more)),
        }
    }

    /// The tensors, sorted by name.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The same, to keep.
    pub fn into_tensors(self) -> Vec<Tensor> {
        self.tensors
    }

    /// Where in the file the first tensor's data begins.
    pub fn data_at(&self) -> u64 {
        self.data_at
    }
}

impl Tensor {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Elements along each dimension, neighbours last; none for a single number.
    pub fn shape(&self) -> &[u64] {
        self.shape.dimensions()
    }

    /// The type of its elements.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Bytes from the first tensor's data to this one's.
    pub fn offset(&self) -> u64 {
        self.begin
    }

    /// Bytes of its data: elements times bytes of an element.
    pub fn data_bytes(&self) -> u64 {
        self.end.saturating_sub(self.begin)
    }

    /// The shape against the range, and the range against the file.
    fn check(&self, data_bytes: u64) -> Result<(), TensorReason> {
        // A dimension of 0 hides no others that cannot be.
        let size = |n: u64, next: &u64| n.checked_mul((*next).max(1));
        let most = self.shape().iter().try_fold(self.dtype.bytes(), size);
        let most = most.filter(|&bytes| i64::try_from(bytes).is_ok());
        let most = most.ok_or(TensorReason::ShapeOverflow)?;
        let shape = if self.shape().contains(&0) { 0 } else { most };
        let range = self.end.checked_sub(self.begin).ok_or(TensorReason::Reversed)?;
        if self.end > data_bytes {
            return Err(TensorReason::PastEnd(self.end));
        }
        if range != shape {
            return Err(TensorReason::Size { shape, range });
        }
        Ok(())
    }

    fn refused(&self, reason: TensorReason) -> SafetensorsError {
        SafetensorsError::Tensor(ShortName::new(self.name.as_bytes()), reason)
    }
}

/// What serde gives for an error, with the place in the file.
fn json(error: &serde_json::Error, text: &str) -> SafetensorsError {
    let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    let before: usize = lines.map(str::len).sum();
    let before = before.saturating_add(error.column().saturating_sub(1));
    let offset = LENGTH_BYTES.saturating_add(before as u64);
    let what = error.to_string();
    let what = what.rsplit_once(" at line ").map_or(&*what, |(what, _)| what);
    SafetensorsError::Json { offset, what: what.to_string() }
}

// ---- The header's JSON

/// Tensors in the order of the header, not yet checked.
#[derive(Default)]
struct Entries {
    tensors: Vec<Tensor>,
    /// The first tensor of a type that is not supported, and that type.
    refused: Option<(ShortName, ShortName)>,
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
        let (mut entries, mut has_metadata) = (Entries::default(), false);
        while let Some(name) = map.next_key::<Box<str>>()? {
            if *name != *METADATA {
                entries.push(name, map.next_value()?);
            } else if has_metadata {
                return Err(A::Error::custom("__metadata__ stands there twice"));
            } else {
                map.next_value::<Strings>()?;
                has_metadata = true;
            }
        }
        Ok(entries)
    }
}

/// What the header says about a tensor.
#[derive(serde::Deserialize)]
struct Entry {
    dtype: DtypeName,
    shape: Shape,
    data_offsets: (u64, u64),
}

impl Entries {
    fn push(&mut self, name: Box<str>, entry: Entry) {
        let Entry { dtype, shape, data_offsets: (begin, end) } = entry;
        match dtype.0 {
            Ok(dtype) => self.tensors.push(Tensor { name, shape, dtype, begin, end }),
            Err(dtype) if self.refused.is_none() => {
                self.refused = Some((ShortName::new(name.as_bytes()), dtype));
            }
            Err(_) => {}
        }
    }
}

/// A known type, or the name of another.
struct DtypeName(Result<Dtype, ShortName>);

impl<'de> Deserialize<'de> for DtypeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = DtypeName;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an element type")
            }
            fn visit_str<E>(self, name: &str) -> Result<DtypeName, E> {
                let unknown = || ShortName::new(name.as_bytes());
                Ok(DtypeName(Dtype::from_name(name).ok_or_else(unknown)))
            }
        }
        deserializer.deserialize_str(Name)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    dimensions: [u64; MAX_DIMENSIONS],
    len: u8,
}

impl Shape {
    fn dimensions(&self) -> &[u64] {
        self.dimensions.get(..usize::from(self.len)).unwrap_or(&self.dimensions)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Dimensions;
        impl<'de> Visitor<'de> for Dimensions {
            type Value = Shape;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX_DIMENSIONS} dimensions")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
                let mut shape = Shape::default();
                while let Some(dimension) = list.next_element()? {
                    let place = shape.dimensions.get_mut(usize::from(shape.len));
                    *place.ok_or_else(|| A::Error::invalid_length(MAX_DIMENSIONS + 1, &self))? =
                        dimension;
                    shape.len = shape.len.saturating_add(1);
                }
                Ok(shape)
            }
        }
        deserializer.deserialize_seq(Dimensions)
    }
}

/// An object whose values are strings; nothing of it is kept.
struct Strings;

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Deserialize<'de> for Text {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(TextVisitor)
            }
        }
        struct TextVisitor;
        impl Visitor<'_> for TextVisitor {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string in __metadata__")
            }
            fn visit_str<E>(self, _: &str) -> Result<Text, E> {
                Ok(Text)
            }
        }
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Strings;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strings, A::Error> {
                while map.next_entry::<IgnoredAny, Text>()?.is_some() {}
                Ok(Strings)
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

// ---- Sentences

impl fmt::Display for SafetensorsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SafetensorsError::TooShort(bytes) => {
                write!(f, "not a safetensors file: {bytes} bytes are too few")
            }
            SafetensorsError::GitLfsPointer => f.write_str(
                "a Git LFS pointer, not the weights; fetch the file that it stands for (git lfs pull)",
            ),
            SafetensorsError::Pickle => f.write_str(PICKLE),
            SafetensorsError::HeaderLength { length, file } => {
                write!(f, "a header of {length} bytes in a file of {file}")
            }
            SafetensorsError::HeaderTooLarge(length) => {
                write!(f, "a header of {length} bytes, more than the limit of {MAX_HEADER_BYTES}")
            }
            SafetensorsError::HeaderStart => f.write_str("the header does not begin with '{'"),
            SafetensorsError::HeaderEnd => f.write_str("the header does not end with '}'"),
            SafetensorsError::NotUtf8(offset) => {
                write!(f, "the header is not UTF-8 (at byte {offset})")
            }
            SafetensorsError::Json { offset, what } => {
                write!(f, "the header: {} (at byte {offset})", crate::gguf::Text::from(&**what))
            }
            SafetensorsError::Tensor(name, reason) => write!(f, "tensor \"{name}\": {reason}"),
            SafetensorsError::TrailingBytes(n) => write!(f, "{n} bytes behind the last tensor"),
        }
    }
}

/// What is said of PyTorch's own files.
pub(crate) const PICKLE: &str = "not supported: pickle (a PyTorch file, which can run code when it \
    is loaded); save the model as safetensors (model.save_pretrained does) and convert that";

impl fmt::Display for TensorReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TensorReason::Duplicate => f.write_str("stands in the header twice"),
            TensorReason::Dtype(name) => write!(f, "element type \"{name}\" is not supported"),
            TensorReason::ShapeOverflow => f.write_str("the shape has more bytes than fit 63 bits"),
            TensorReason::Reversed => f.write_str("its data ends before it begins"),
            TensorReason::Size { shape, range } => {
                write!(f, "its shape has {shape} bytes, its data {range}")
            }
            TensorReason::PastEnd(end) => {
                write!(f, "its data ends at byte {end} of the data, behind the file")
            }
            TensorReason::Overlap => f.write_str("its data overlaps the data before it"),
            TensorReason::Hole => f.write_str("its data leaves a hole behind the data before it"),
        }
    }
}

impl std::error::Error for SafetensorsError {}
