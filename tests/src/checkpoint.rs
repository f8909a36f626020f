//! Checkpoints for tests: the tiny one of the fixtures, and whatever is made of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use serde_json::{Map, Value};

use crate::shared::{json, root};

/// A safetensors file: the header's length, the header, the data.
pub fn safetensors(header: &[u8], data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header, data].concat()
}

/// A tensor of a file that is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// As in the file.
    pub dtype: String,
    /// Neighbours last.
    pub shape: Vec<u64>,
    /// Its data.
    pub data: Vec<u8>,
}

/// The tensors of a sound file, in its order.
pub fn tensors(file: &[u8]) -> Vec<Tensor> {
    let start = 8 + u64::from_le_bytes(*file.first_chunk().expect("a length")) as usize;
    let header: Map<String, Value> = serde_json::from_slice(&file[8..start]).expect("a header");
    let number = |value: &Value| value.as_u64().expect("a number");
    let described = header.into_iter().filter(|(name, _)| name != "__metadata__");
    described
        .map(|(name, value)| Tensor {
            name,
            dtype: value["dtype"].as_str().expect("a type").to_string(),
            shape: value["shape"].as_array().expect("a shape").iter().map(number).collect(),
            data: {
                let [begin, end] =
                    [0, 1].map(|i| start + number(&value["data_offsets"][i]) as usize);
                file[begin..end].to_vec()
            },
        })
        .collect()
}

/// A sound file of these tensors.
pub fn file_of(tensors: &[Tensor]) -> Vec<u8> {
    let (mut header, mut data) = (Map::new(), Vec::new());
    for tensor in tensors {
        let begin = data.len();
        data.extend_from_slice(&tensor.data);
        let Tensor { name, dtype, shape, .. } = tensor;
        let offsets = [begin, data.len()];
        let value = serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets });
        header.insert(name.clone(), value);
    }
    safetensors(Value::Object(header).to_string().as_bytes(), &data)
}

/// A checkpoint's folder, removed in the end.
#[derive(Debug)]
pub struct Checkpoint(PathBuf);

impl Checkpoint {
    /// A copy of the fixture; `name` is the test's own.
    pub fn new(name: &str) -> Checkpoint {
        let checkpoint = Checkpoint::empty(name);
        for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
        {
            fs::copy(fixture().join(file), checkpoint.path(file)).expect("a copy");
        }
        checkpoint
    }

    /// A folder without files.
    pub fn empty(name: &str) -> Checkpoint {
        let folder = std::env::temp_dir().join(format!("mote-checkpoint-{}-{name}", process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).expect("a folder");
        Checkpoint(folder)
    }

    /// A file in it.
    pub fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    /// The folder, as an argument.
    pub fn arg(&self) -> &str {
        self.0.to_str().expect("a path in UTF-8")
    }

    /// Writes a file.
    pub fn write(&self, file: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(file), bytes).expect("a file");
    }

    /// Changes keys of config.json; `null` removes one.
    pub fn configure(&self, changes: &Value) {
        let mut config = json(&self.path("config.json"));
        let map = config.as_object_mut().expect("an object");
        for (key, value) in changes.as_object().expect("an object") {
            if value.is_null() {
                map.remove(key);
            } else {
                map.insert(key.clone(), value.clone());
            }
        }
        self.write("config.json", config.to_string());
    }

    /// Changes the tensors.
    pub fn change_tensors(&self, change: impl FnOnce(&mut Vec<Tensor>)) {
        let path = self.path("model.safetensors");
        let mut tensors = tensors(&fs::read(&path).expect("the weights"));
        change(&mut tensors);
        fs::write(path, file_of(&tensors)).expect("the weights");
    }

    /// Names in the folder.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("a folder");
        let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let mut names: Vec<String> = entries.map(|entry| name(entry.expect("an entry"))).collect();
        names.sort();
        names
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The tiny checkpoint of the fixtures.
pub fn fixture() -> PathBuf {
    root().join("tests/fixtures/checkpoint")
}

/// The file with a name of a folder, for errors.
pub fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
