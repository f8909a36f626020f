//! Writing GGUF version 3.
//!
//! A [`Builder`] collects metadata and the list of tensors; [`Builder::write_index`] writes
//! everything before the data; the [`DataWriter`] that it returns takes the data of each tensor
//! in turn, whole or in pieces, so that a model of any size passes through a small buffer. The
//! same calls give the same bytes. What [`Gguf::parse`] would refuse is refused here first.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;

use super::array::Element;
use super::checksum::{CHECKSUMS_KEY, Checksums, Hasher};
use super::error::{Reason, Subject};
use super::limits::{MAX_DIMENSIONS, MAX_INDEX_BYTES, MAX_KEYS, MAX_STRING_BYTES, MAX_TENSORS};
use super::tensor::TensorType;
use super::tensor::check_name;
use super::value::{Value, ValueType};
use super::{DEFAULT_ALIGNMENT, Gguf, HEADER_BYTES, MAGIC};

/// The version that is written.
const VERSION: u32 = 3;
/// As many zeros as a padding may have.
const PADDING: [u8; 4096] = [0; 4096];

/// The index of a file to be written: metadata and tensors, in the order in which they are added.
#[derive(Clone, Debug)]
pub struct Builder {
    alignment: u32,
    keys: BTreeSet<String>,
    /// Keys and values as they will stand in the file.
    metadata: Vec<u8>,
    names: BTreeSet<String>,
    tensors: Vec<TensorEntry>,
    has_checksums: bool,
}

#[derive(Clone, Debug)]
struct TensorEntry {
    name: String,
    dims: Vec<u64>,
    tensor_type: TensorType,
    data_bytes: u64,
}

/// Takes the tensors' data, after the index was written.
#[derive(Debug)]
pub struct DataWriter<'a, S> {
    sink: S,
    alignment: u32,
    /// The tensor whose data comes next, and those after it.
    tensors: &'a [TensorEntry],
    /// Bytes of that tensor still to come.
    left: u64,
    checksums: Option<Hashing>,
}

/// The checksums on the way.
#[derive(Debug)]
struct Hashing {
    /// Of the current tensor.
    hasher: Hasher,
    done: Checksums,
}

/// Where the bytes of a file go.
pub trait Sink {
    /// Why it can fail.
    type Error;
    /// Takes all of `bytes`.
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// A [`Sink`] that is any [`std::io::Write`]. Best a buffered one.
#[cfg(feature = "std")]
#[derive(Debug)]
pub struct IoSink<W>(pub W);

/// Why a key or tensor was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildError {
    reason: Reason,
    subject: Subject,
}

/// Why writing stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError<E> {
    /// Metadata and tensor index are too large together.
    IndexTooLarge,
    /// More data than the tensor has (or than there are tensors): bytes too many.
    TooMuchData(u64),
    /// Finished although data is missing: tensors that lack some or all of theirs.
    MissingData(usize),
    /// Finished without the checksums that the builder has room for.
    MissingChecksums,
    /// The sink failed.
    Sink(E),
}

impl Builder {
    /// No key, no tensor, alignment 32.
    pub fn new() -> Self {
        Builder {
            alignment: DEFAULT_ALIGNMENT,
            keys: BTreeSet::new(),
            metadata: Vec::new(),
            names: BTreeSet::new(),
            tensors: Vec::new(),
            has_checksums: false,
        }
    }

    /// The index of a file that exists.
    pub fn copy_of(gguf: &Gguf<'_>) -> Result<Self, BuildError> {
        let mut builder = Builder::new();
        for (key, value) in gguf.metadata() {
            builder.set(key, value)?;
        }
        for tensor in gguf.tensors() {
            builder.add_tensor(tensor.name(), tensor.dims(), tensor.tensor_type())?;
        }
        Ok(builder)
    }

    /// Adds a key: a number, a bool, a string, or any value of a parsed file. The key
    /// `general.alignment`, a u32, also sets the alignment.
    pub fn set<'v>(&mut self, key: &str, value: impl Into<Value<'v>>) -> Result<(), BuildError> {
        let value = value.into();
        self.add_key(key, &value, |out| value.encode(out))
    }

    /// Adds a key whose value is an array of numbers or bools.
    pub fn set_array<T: Element>(&mut self, key: &str, elements: &[T]) -> Result<(), BuildError> {
        self.add_array(key, T::VALUE_TYPE, elements.len(), |out| {
            for element in elements {
                out.extend_from_slice(element.to_le().as_ref());
            }
            Ok(())
        })
    }

    /// Adds a key whose value is an array of strings, which may be any bytes.
    pub fn set_strings<T: AsRef<[u8]>>(
        &mut self,
        key: &str,
        strings: &[T],
    ) -> Result<(), BuildError> {
        self.add_array(key, ValueType::Str, strings.len(), |out| {
            strings.iter().try_for_each(|string| encode_string(string.as_ref(), out))
        })
    }

    /// Adds a tensor: its elements along each dimension, neighbours first, and its encoding.
    pub fn add_tensor(
        &mut self,
        name: &str,
        dims: &[u64],
        tensor_type: impl Into<TensorType>,
    ) -> Result<(), BuildError> {
        let tensor_type = tensor_type.into();
        let data_bytes = self
            .check_tensor(name, dims, tensor_type)
            .map_err(|reason| BuildError { reason, subject: Subject::tensor(name.as_bytes()) })?;
        self.names.insert(name.into());
        let (name, dims) = (name.into(), dims.into());
        self.tensors.push(TensorEntry { name, dims, tensor_type, data_bytes });
        Ok(())
    }

    /// Adds the key [`CHECKSUMS_KEY`] for all tensors, whether they are added before or after this. It
    /// stands behind all other keys; [`DataWriter::finish_checksums`] gives its value. A copied file
    /// that has the key already is refused as a duplicate: who changes tensors must not copy it.
    pub fn add_checksums(&mut self) -> Result<(), BuildError> {
        // For `check_key`, any value that is no number stands for the array.
        self.check_key(CHECKSUMS_KEY, &Value::Str(Default::default())).map_err(|reason| {
            BuildError { reason, subject: Subject::key(CHECKSUMS_KEY.as_bytes()) }
        })?;
        self.keys.insert(CHECKSUMS_KEY.into());
        self.has_checksums = true;
        Ok(())
    }

    /// Writes everything before the tensors' data.
    pub fn write_index<S: Sink>(
        &self,
        mut sink: S,
    ) -> Result<DataWriter<'_, S>, WriteError<S::Error>> {
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&(self.tensors.len() as u64).to_le_bytes());
        header.extend_from_slice(&(self.keys.len() as u64).to_le_bytes());
        let checksums = self.checksums_key();
        let records = self.encode_tensors();
        let parts = [&header, &self.metadata, &checksums, &records];
        let written = parts.iter().map(|part| part.len() as u64).sum();
        if written > MAX_INDEX_BYTES {
            return Err(WriteError::IndexTooLarge);
        }
        for part in parts {
            sink.write_all(part).map_err(WriteError::Sink)?;
        }
        let mut data = DataWriter {
            sink,
            alignment: self.alignment,
            tensors: &self.tensors,
            left: self.tensors.first().map_or(0, |tensor| tensor.data_bytes),
            checksums: self.has_checksums.then(|| Hashing {
                hasher: Hasher::new(),
                done: Checksums { place: self.checksums_place(&checksums), values: Vec::new() },
            }),
        };
        data.pad(written)?;
        Ok(data)
    }

    /// The key with zeros for checksums; nothing if there are to be none.
    fn checksums_key(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.has_checksums {
            out.extend_from_slice(&(CHECKSUMS_KEY.len() as u64).to_le_bytes());
            out.extend_from_slice(CHECKSUMS_KEY.as_bytes());
            out.extend_from_slice(&ValueType::Array.id().to_le_bytes());
            out.extend_from_slice(&ValueType::U64.id().to_le_bytes());
            out.extend_from_slice(&(self.tensors.len() as u64).to_le_bytes());
            out.resize(out.len() + 8 * self.tensors.len(), 0);
        }
        out
    }

    /// Where the first of the key's elements stands in the file.
    fn checksums_place(&self, key: &[u8]) -> u64 {
        let elements = 8 * self.tensors.len();
        (HEADER_BYTES + self.metadata.len() + key.len().saturating_sub(elements)) as u64
    }

    /// A tensor's bytes, or why it cannot be added.
    fn check_tensor(&self, name: &str, dims: &[u64], encoding: TensorType) -> Result<u64, Reason> {
        check_name(name.as_bytes())?;
        if self.names.contains(name) {
            return Err(Reason::Duplicate);
        }
        if self.tensors.len() as u64 == MAX_TENSORS {
            return Err(Reason::TooManyTensors(MAX_TENSORS + 1));
        }
        if dims.len() > MAX_DIMENSIONS as usize {
            return Err(Reason::Dimensions(dims.len() as u32));
        }
        let mut shape = [1; 4];
        shape.iter_mut().zip(dims).for_each(|(dimension, &n)| *dimension = n);
        encoding.data_bytes(shape)
    }

    fn add_array(
        &mut self,
        key: &str,
        element_type: ValueType,
        len: usize,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), Reason>,
    ) -> Result<(), BuildError> {
        // For `add_key`, any value that is no number stands for the array.
        self.add_key(key, &Value::Str(Default::default()), |out| {
            out.extend_from_slice(&ValueType::Array.id().to_le_bytes());
            out.extend_from_slice(&element_type.id().to_le_bytes());
            out.extend_from_slice(&(len as u64).to_le_bytes());
            encode(out)
        })
    }

    /// Adds a key; `encode` appends the type of its value and the value.
    fn add_key(
        &mut self,
        key: &str,
        value: &Value<'_>,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), Reason>,
    ) -> Result<(), BuildError> {
        let undo = self.metadata.len();
        let added = self.check_key(key, value).and_then(|alignment| {
            encode_string(key.as_bytes(), &mut self.metadata)?;
            encode(&mut self.metadata)?;
            Ok(alignment)
        });
        match added {
            Ok(alignment) => {
                self.alignment = alignment;
                self.keys.insert(key.into());
                Ok(())
            }
            Err(reason) => {
                self.metadata.truncate(undo);
                Err(BuildError { reason, subject: Subject::key(key.as_bytes()) })
            }
        }
    }

    /// The alignment that holds with this key, or why it cannot be added.
    fn check_key(&self, key: &str, value: &Value<'_>) -> Result<u32, Reason> {
        check_name(key.as_bytes())?;
        if self.keys.contains(key) {
            return Err(Reason::Duplicate);
        }
        if self.keys.len() as u64 == MAX_KEYS {
            return Err(Reason::TooManyKeys(MAX_KEYS + 1));
        }
        Ok(super::well_known(key.as_bytes(), value)?.unwrap_or(self.alignment))
    }

    fn encode_tensors(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut data_offset = 0_u64;
        for tensor in &self.tensors {
            out.extend_from_slice(&(tensor.name.len() as u64).to_le_bytes());
            out.extend_from_slice(tensor.name.as_bytes());
            out.extend_from_slice(&(tensor.dims.len() as u32).to_le_bytes());
            for n in &tensor.dims {
                out.extend_from_slice(&n.to_le_bytes());
            }
            out.extend_from_slice(&tensor.tensor_type.id().to_le_bytes());
            out.extend_from_slice(&data_offset.to_le_bytes());
            // No sink takes so much that this saturates.
            data_offset = data_offset.saturating_add(tensor.data_bytes);
            data_offset = data_offset.saturating_add(padding(data_offset, self.alignment) as u64);
        }
        out
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Sink> DataWriter<'_, S> {
    /// Takes the next bytes of the current tensor, up to its last. After its last byte comes the
    /// next tensor, in the order in which they were added.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError<S::Error>> {
        let len = bytes.len() as u64;
        let Some(left) = self.left.checked_sub(len) else {
            return Err(WriteError::TooMuchData(len - self.left));
        };
        self.sink.write_all(bytes).map_err(WriteError::Sink)?;
        self.left = left;
        if let Some(Hashing { hasher, .. }) = &mut self.checksums {
            hasher.update(bytes);
        }
        if left == 0
            && let Some((done, rest)) = self.tensors.split_first()
        {
            self.tensors = rest;
            self.left = rest.first().map_or(0, |tensor| tensor.data_bytes);
            if let Some(hashing) = &mut self.checksums {
                hashing.done.values.push(hashing.hasher.finish());
                hashing.hasher = Hasher::new();
            }
            self.pad(done.data_bytes)?;
        }
        Ok(())
    }

    /// Bytes of the current tensor still to come; 0 when every tensor is complete.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Gives the sink back, if every tensor has its data and the builder has no room for checksums.
    pub fn finish(self) -> Result<S, WriteError<S::Error>> {
        match (self.tensors.len(), &self.checksums) {
            (0, None) => Ok(self.sink),
            (0, Some(_)) => Err(WriteError::MissingChecksums),
            (missing, _) => Err(WriteError::MissingData(missing)),
        }
    }

    /// Gives the sink back, and the checksums that are to be written in their place in the file; of a
    /// builder without room for them, none.
    pub fn finish_checksums(mut self) -> Result<(S, Checksums), WriteError<S::Error>> {
        let none = Checksums { place: 0, values: Vec::new() };
        let checksums = self.checksums.take().map_or(none, |hashing| hashing.done);
        Ok((self.finish()?, checksums))
    }

    fn pad(&mut self, written: u64) -> Result<(), WriteError<S::Error>> {
        let zeros = PADDING.get(..padding(written, self.alignment)).unwrap_or(&PADDING);
        self.sink.write_all(zeros).map_err(WriteError::Sink)
    }
}

impl Value<'_> {
    /// Appends its type and itself.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), Reason> {
        out.extend_from_slice(&self.value_type().id().to_le_bytes());
        match self {
            Value::U8(n) => out.extend_from_slice(&n.to_le_bytes()),
            Value::I8(n) => out.extend_from_slice(&n.to_le_bytes()),
            Value::U16(n) => out.extend_from_slice(&n.to_le_bytes()),
            Value::I16(n) => out.extend_from_slice(&n.to_le_bytes()),
            Value::U32(n) => out.extend_from_slice(&n.to_le_bytes()),
            Value::I32(n) => out.extend_from_slice(&n.to_le_bytes()),
            Value::F32(x) => out.extend_from_slice(&x.to_le_bytes()),
            Value::Bool(b) => out.push((*b).into()),
            Value::Str(text) => encode_string(text.as_bytes(), out)?,
            Value::Array(array) => {
                out.extend_from_slice(&array.element_type().id().to_le_bytes());
                out.extend_from_slice(&(array.len() as u64).to_le_bytes());
                out.extend_from_slice(array.bytes());
            }
            Value::U64(n) => out.extend_from_slice(&n.to_le_bytes()),
            Value::I64(n) => out.extend_from_slice(&n.to_le_bytes()),
            Value::F64(x) => out.extend_from_slice(&x.to_le_bytes()),
        }
        Ok(())
    }
}

fn encode_string(string: &[u8], out: &mut Vec<u8>) -> Result<(), Reason> {
    let len = string.len() as u64;
    if len > MAX_STRING_BYTES {
        return Err(Reason::StringTooLong(len));
    }
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(string);
    Ok(())
}

/// Zeros to write after `written` bytes.
fn padding(written: u64, alignment: u32) -> usize {
    // A power of two of at most 4,096.
    (written.wrapping_neg() & u64::from(alignment - 1)) as usize
}

impl Sink for Vec<u8> {
    type Error = Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

impl<S: Sink + ?Sized> Sink for &mut S {
    type Error = S::Error;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), S::Error> {
        (**self).write_all(bytes)
    }
}

#[cfg(feature = "std")]
impl<W: std::io::Write> Sink for IoSink<W> {
    type Error = std::io::Error;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), std::io::Error> {
        self.0.write_all(bytes)
    }
}

impl BuildError {
    /// What is wrong.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Which key or tensor.
    pub fn subject(&self) -> Subject {
        self.subject
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.subject, self.reason)
    }
}

impl core::error::Error for BuildError {}

impl<E: fmt::Display> fmt::Display for WriteError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::IndexTooLarge => write!(f, "{}", Reason::IndexTooLarge),
            WriteError::TooMuchData(n) => write!(f, "{n} bytes more than the tensor has"),
            WriteError::MissingData(n) => write!(f, "the data of {n} tensors is missing"),
            WriteError::MissingChecksums => write!(f, "the checksums are missing"),
            WriteError::Sink(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for WriteError<E> {}

#[cfg(feature = "std")]
impl From<WriteError<std::io::Error>> for std::io::Error {
    fn from(error: WriteError<std::io::Error>) -> Self {
        match error {
            WriteError::Sink(error) => error,
            other => Self::new(std::io::ErrorKind::InvalidInput, other),
        }
    }
}
