//! A checkpoint's weights: one safetensors file, or the shards that an index lists.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use super::folder::{Folder, FolderError, FolderReason};
use crate::gguf::{ShortName, Text};
use crate::safetensors::{self, Dtype, Header, SafetensorsError, Tensor};

/// The one file of a small model, and the list of a large one's.
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// More than an index of a hundred thousand tensors has.
const MAX_INDEX_BYTES: u64 = 1 << 26;
/// Several times as many as a GGUF file may have.
pub const MAX_TENSORS: usize = 1 << 18;

/// The tensors of a checkpoint, all proven to lie in its files.
#[derive(Debug)]
pub struct Weights {
    shards: Vec<Shard>,
    /// By shard, then by name.
    tensors: Vec<Source>,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    file: File,
    data_at: u64,
}

/// A tensor and the file that has it.
#[derive(Clone, Debug)]
pub struct Source {
    /// What its file says.
    pub tensor: Tensor,
    shard: usize,
}

/// Why the weights were not opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum WeightsError {
    /// No safetensors file in the folder.
    None,
    /// No safetensors file in the folder, but this one of PyTorch's own format.
    Pickle(String),
    /// A file could not be opened.
    Folder(FolderError),
    /// The index is not what it should be.
    Index(String),
    /// A file is no sound safetensors file.
    Safetensors(String, SafetensorsError),
    /// The index says that a file has a tensor, which it has not.
    Missing {
        /// The tensor.
        tensor: ShortName,
        /// The file.
        file: String,
    },
    /// A file has a tensor that the index does not know.
    Extra {
        /// The tensor.
        tensor: ShortName,
        /// The file.
        file: String,
    },
    /// Two files have this tensor.
    Twice(ShortName),
    /// This name and another one are the same file.
    SameFile(String),
    /// More than [`MAX_TENSORS`] tensors in all.
    TooMany(usize),
}

impl Weights {
    /// Opens the weights of a folder: `model.safetensors`, or what `model.safetensors.index.json`
    /// lists, or all files `model*.safetensors`.
    pub fn open(folder: &Folder) -> Result<Weights, WeightsError> {
        if folder.has(SINGLE)? {
            return Self::open_files(folder, &[SINGLE.to_string()]);
        }
        if let Some(index) = folder.read(INDEX, MAX_INDEX_BYTES)? {
            return Self::open_indexed(folder, &index);
        }
        let names = folder.names()?;
        let is_weights =
            |name: &&String| name.starts_with("model") && name.ends_with(".safetensors");
        let files: Vec<String> = names.iter().filter(is_weights).cloned().collect();
        if !files.is_empty() {
            return Self::open_files(folder, &files);
        }
        let is_pickle = |name: &&String| {
            let endings = [".bin", ".bin.index.json", ".pt", ".pth", ".ckpt"];
            endings.iter().any(|ending| name.ends_with(ending))
        };
        Err(names
            .iter()
            .find(is_pickle)
            .map_or(WeightsError::None, |name| WeightsError::Pickle(name.clone())))
    }

    /// Opens these files of a folder.
    pub fn open_files(folder: &Folder, names: &[String]) -> Result<Weights, WeightsError> {
        let mut weights = Weights { shards: Vec::new(), tensors: Vec::new() };
        for name in names {
            weights.add(folder, name)?;
        }
        let mut names: Vec<&str> = weights.tensors.iter().map(Source::name).collect();
        names.sort_unstable();
        for pair in names.windows(2) {
            if let [first, second] = pair
                && first == second
            {
                return Err(WeightsError::Twice(ShortName::new(first.as_bytes())));
            }
        }
        Ok(weights)
    }

    fn open_indexed(folder: &Folder, index: &[u8]) -> Result<Weights, WeightsError> {
        #[derive(serde::Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let index = serde_json::from_slice(index);
        let Index { weight_map } = index.map_err(|error| WeightsError::Index(error.to_string()))?;
        let files: BTreeSet<String> = weight_map.values().cloned().collect();
        let files: Vec<String> = files.into_iter().collect();
        let weights = Self::open_files(folder, &files)?;
        let mut missing = weight_map;
        for source in &weights.tensors {
            let file = files.get(source.shard).cloned().unwrap_or_default();
            let tensor = ShortName::new(source.name().as_bytes());
            match missing.remove(source.name()) {
                Some(said) if said == file => {}
                Some(said) => return Err(WeightsError::Missing { tensor, file: said }),
                None => return Err(WeightsError::Extra { tensor, file }),
            }
        }
        match missing.pop_first() {
            None => Ok(weights),
            Some((name, file)) => {
                Err(WeightsError::Missing { tensor: ShortName::new(name.as_bytes()), file })
            }
        }
    }

    fn add(&mut self, folder: &Folder, name: &str) -> Result<(), WeightsError> {
        let (mut file, size, path) = folder.file(name)?;
        let io = |error| {
            WeightsError::Folder(FolderError {
                name: name.to_string(),
                reason: FolderReason::Io(error),
            })
        };
        // Under two names (links) it would be read, and kept, any number of times.
        if self.shards.iter().any(|shard| shard.path == path) {
            return Err(WeightsError::SameFile(name.to_string()));
        }
        let refused = |error| WeightsError::Safetensors(name.to_string(), error);
        let mut start = Vec::new();
        (&mut file).take(16).read_to_end(&mut start).map_err(io)?;
        // No more than the limit, and no more than the file has.
        let length = safetensors::header_bytes(&start, size).map_err(refused)?;
        let mut bytes = vec![0; 8 + length as usize];
        file.rewind().and_then(|()| file.read_exact(&mut bytes)).map_err(io)?;
        let header = Header::parse(&bytes, size).map_err(refused)?;
        let shard = self.shards.len();
        self.shards.push(Shard { path, file, data_at: header.data_at() });
        let tensors = header.into_tensors().into_iter();
        self.tensors.extend(tensors.map(|tensor| Source { tensor, shard }));
        if self.tensors.len() > MAX_TENSORS {
            return Err(WeightsError::TooMany(self.tensors.len()));
        }
        Ok(())
    }

    /// Every tensor, file by file, by name in each.
    pub fn tensors(&self) -> &[Source] {
        &self.tensors
    }

    /// The files' canonical paths.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.shards.iter().map(|shard| &shard.path)
    }

    /// Fills `buffer` with a tensor's data from its byte `offset` on.
    ///
    /// The files are read, not mapped: pages of a mapping would count as this process's memory.
    pub fn read(&self, source: &Source, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.saturating_add(buffer.len() as u64);
        let shard = self.shards.get(source.shard).filter(|_| end <= source.tensor.data_bytes());
        let shard = shard.ok_or(io::ErrorKind::InvalidInput)?;
        let mut file = &shard.file;
        file.seek(SeekFrom::Start(shard.data_at + source.tensor.offset() + offset))?;
        file.read_exact(buffer)
    }
}

impl Source {
    /// The tensor's name.
    pub fn name(&self) -> &str {
        self.tensor.name()
    }

    /// The type of its elements.
    pub fn dtype(&self) -> Dtype {
        self.tensor.dtype()
    }
}

impl From<FolderError> for WeightsError {
    fn from(error: FolderError) -> Self {
        WeightsError::Folder(error)
    }
}

impl fmt::Display for WeightsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WeightsError::None => f.write_str("no safetensors file in the folder"),
            WeightsError::Pickle(name) => {
                write!(f, "{}: {}", Text::from(&**name), safetensors::PICKLE)
            }
            WeightsError::Folder(error) => error.fmt(f),
            WeightsError::Index(what) => write!(f, "{INDEX}: {}", Text::from(&**what)),
            WeightsError::Safetensors(name, error) => write!(f, "{}: {error}", Text::from(&**name)),
            WeightsError::Missing { tensor, file } => {
                let file = Text::from(&**file);
                write!(f, "{file}: tensor \"{tensor}\" is missing, which {INDEX} says is there")
            }
            WeightsError::Extra { tensor, file } => {
                let file = Text::from(&**file);
                write!(f, "{file}: tensor \"{tensor}\" is not in {INDEX}")
            }
            WeightsError::Twice(tensor) => write!(f, "tensor \"{tensor}\" is in two files"),
            WeightsError::SameFile(name) => {
                write!(f, "{}: the same file under another name", Text::from(&**name))
            }
            WeightsError::TooMany(n) => write!(f, "{n} tensors; {MAX_TENSORS} are read at most"),
        }
    }
}

impl std::error::Error for WeightsError {}
