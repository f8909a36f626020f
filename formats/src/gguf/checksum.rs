//! Checksums of tensors, one for each, in the key `mote.checksums`: a damaged file then says which
//! tensor is damaged. They are XXH64 with seed 0 of each tensor's bytes, without padding, in the
//! order of the index, as an array of u64.
//!
//! A writer asks for them by [`Builder::add_checksums`](super::Builder::add_checksums): zeros stand in
//! their place at first, because they stand before the data; the
//! [`DataWriter`](super::DataWriter) computes them as the data passes, and its `finish_checksums`
//! gives [`Checksums`] to be put in that place.

#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::fmt;

use xxhash_rust::xxh64::{Xxh64, xxh64};

use super::{Elements, Gguf, Value};

/// The key with the checksums.
pub const CHECKSUMS_KEY: &str = "mote.checksums";

/// The key with the version of mote that wrote the file, a string.
pub const VERSION_KEY: &str = "mote.version";

/// The checksum of a tensor's bytes.
pub fn checksum(data: &[u8]) -> u64 {
    xxh64(data, 0)
}

/// The checksum of bytes that come in pieces.
#[derive(Clone)]
pub struct Hasher(Xxh64);

impl Hasher {
    /// Of nothing yet.
    pub fn new() -> Self {
        Hasher(Xxh64::new(0))
    }

    /// The next piece.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The checksum of all pieces.
    pub fn finish(&self) -> u64 {
        self.0.digest()
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({:016x})", self.finish())
    }
}

/// Why a file's key is no list of checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumsError {
    /// The value is no array of u64.
    WrongType,
    /// Not as many as there are tensors.
    Length {
        /// Elements of the array.
        checksums: usize,
        /// Tensors of the file.
        tensors: usize,
    },
}

impl fmt::Display for ChecksumsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChecksumsError::WrongType => write!(f, "{CHECKSUMS_KEY}: no array of u64"),
            ChecksumsError::Length { checksums, tensors } => {
                write!(f, "{CHECKSUMS_KEY}: {checksums} checksums of {tensors} tensors")
            }
        }
    }
}

impl core::error::Error for ChecksumsError {}

impl<'a> Gguf<'a> {
    /// The checksums that the file has for its tensors, one for each in the order of the index; `None`
    /// if it has none. Whether they are right, [`checksum`] of each tensor's data tells.
    pub fn checksums(&self) -> Result<Option<Elements<'a, u64>>, ChecksumsError> {
        let Some(value) = self.get(CHECKSUMS_KEY) else { return Ok(None) };
        let Value::Array(array) = value else { return Err(ChecksumsError::WrongType) };
        let elements = array.elements::<u64>().ok_or(ChecksumsError::WrongType)?;
        let (checksums, tensors) = (array.len(), self.n_tensors());
        if checksums != tensors {
            return Err(ChecksumsError::Length { checksums, tensors });
        }
        Ok(Some(elements))
    }
}

/// The checksums of a file's tensors, and where they belong in it.
#[cfg(feature = "alloc")]
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "zeros stand in the file until they are written"]
pub struct Checksums {
    pub(super) place: u64,
    pub(super) values: Vec<u64>,
}

#[cfg(feature = "alloc")]
impl Checksums {
    /// Where the first one stands, from the start of the file.
    pub fn place(&self) -> u64 {
        self.place
    }

    /// One for each tensor, in the order of the index.
    pub fn values(&self) -> &[u64] {
        &self.values
    }

    /// What stands in the file from [`place`](Self::place) on.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    /// Puts them in a file in memory. Nothing is done to one that is too short.
    pub fn write_in(&self, file: &mut [u8]) {
        let bytes = self.to_bytes();
        let place = usize::try_from(self.place).ok();
        let place = place.and_then(|start| file.get_mut(start..start.checked_add(bytes.len())?));
        if let Some(place) = place {
            place.copy_from_slice(&bytes);
        }
    }

    /// Puts them in a file, and leaves its position at the end.
    #[cfg(feature = "std")]
    pub fn write_to(
        &self,
        file: &mut (impl std::io::Write + std::io::Seek),
    ) -> std::io::Result<()> {
        file.seek(std::io::SeekFrom::Start(self.place))?;
        file.write_all(&self.to_bytes())?;
        file.seek(std::io::SeekFrom::End(0))?;
        Ok(())
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use std::io::Cursor;
    use std::vec;
    use std::vec::Vec;

    use mote_kernels::QuantType;

    use super::super::{Builder, Reason, WriteError};
    use super::*;

    fn builder() -> Builder {
        let mut builder = Builder::new();
        builder.add_tensor("first", &[2], QuantType::F32).unwrap();
        builder.set("general.architecture", "none").unwrap();
        builder.add_checksums().unwrap();
        builder.set("last", 7_u32).unwrap();
        builder.add_tensor("second", &[3], QuantType::F32).unwrap();
        builder
    }

    /// The data in pieces, and the checksums put in their place.
    fn file() -> (Vec<u8>, Checksums) {
        let builder = builder();
        let mut data = builder.write_index(Vec::new()).unwrap();
        [&[1_u8; 3][..], &[1; 5], &[2; 12]].iter().for_each(|piece| data.write(piece).unwrap());
        let (mut file, checksums) = data.finish_checksums().unwrap();
        let mut written = Cursor::new(file.clone());
        checksums.write_to(&mut written).unwrap();
        assert_eq!(written.position(), file.len() as u64);
        checksums.write_in(&mut file);
        assert_eq!(written.into_inner(), file);
        (file, checksums)
    }

    #[test]
    fn they_are_those_of_each_tensor_on_its_own() {
        let (file, checksums) = file();
        let gguf = Gguf::parse(&file).unwrap();
        let stored: Vec<u64> = gguf.checksums().unwrap().unwrap().iter().collect();
        // Of Python's xxhash: xxh64(bytes([1] * 8)), xxh64(bytes([2] * 12)).
        assert_eq!(stored, [0xd86f_1c0c_e2ad_9846, 0x2f41_8831_d398_205f]);
        assert_eq!(stored, checksums.values());
        assert_eq!(stored, gguf.tensors().map(|t| checksum(t.data())).collect::<Vec<_>>());
        assert_eq!(gguf.offset_of(CHECKSUMS_KEY).unwrap() as u64 + 12, checksums.place());
        assert_eq!(gguf.get("last").unwrap().as_u32(), Some(7));
    }

    #[test]
    fn who_asks_for_them_must_write_them() {
        let builder = builder();
        let mut data = builder.write_index(Vec::new()).unwrap();
        [8, 12].iter().for_each(|&len| data.write(&vec![0; len]).unwrap());
        assert_eq!(data.finish(), Err(WriteError::MissingChecksums));
        let (file, _) = file();
        let mut copy = Builder::copy_of(&Gguf::parse(&file).unwrap()).unwrap();
        let refused = copy.add_checksums();
        assert_eq!(refused.unwrap_err().reason(), Reason::Duplicate);
    }

    #[test]
    fn other_values_of_the_key_are_refused() {
        let stored = |build: &dyn Fn(&mut Builder)| {
            let mut builder = Builder::new();
            builder.add_tensor("t", &[1], QuantType::F32).unwrap();
            build(&mut builder);
            let mut data = builder.write_index(Vec::new()).unwrap();
            data.write(&[0; 4]).unwrap();
            let file = data.finish().unwrap();
            Gguf::parse(&file).unwrap().checksums().map(|found| found.map(|all| all.len()))
        };
        assert_eq!(stored(&|_| ()), Ok(None));
        let right = stored(&|builder| builder.set_array(CHECKSUMS_KEY, &[1_u64]).unwrap());
        assert_eq!(right, Ok(Some(1)));
        let text = stored(&|builder| builder.set(CHECKSUMS_KEY, "x").unwrap());
        assert_eq!(text, Err(ChecksumsError::WrongType));
        let i64s = stored(&|builder| builder.set_array(CHECKSUMS_KEY, &[1_i64]).unwrap());
        assert_eq!(i64s, Err(ChecksumsError::WrongType));
        let many = stored(&|builder| builder.set_array(CHECKSUMS_KEY, &[1_u64, 2]).unwrap());
        assert_eq!(many, Err(ChecksumsError::Length { checksums: 2, tensors: 1 }));
    }
}
