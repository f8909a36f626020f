//! The small models of tests/fixtures, and others made of them.

use mote_formats::Gguf;
use mote_formats::gguf::{Builder, Tensor, TensorType, Value};
use mote_kernels::QuantType;

use crate::shared::root;

/// A llama of one layer: 32 tokens, f32. Its reference is in the manifest beside it.
pub fn llama() -> Vec<u8> {
    fixture("malformed/ok_baseline.gguf")
}

/// Models of tests/fixtures/models that have experts.
pub const EXPERTS: [&str; 5] = ["qwen2moe", "qwen3moe", "gemma4-experts", "deepseek2", "deepseek3"];

/// Those with recurrent layers, some of them with experts, too.
pub const RECURRENT: [&str; 13] = [
    "lfm2",
    "mamba",
    "falcon-mamba",
    "mamba2",
    "qwen35",
    "granite-hybrid",
    "rwkv4",
    "granite-hybrid-experts",
    "qwen35moe",
    "qwen3next",
    "lstm",
    "nplm",
    "rwkv7",
];

/// A fixture's bytes.
pub fn fixture(name: &str) -> Vec<u8> {
    let path = root().join("tests/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The same model with every matrix in another encoding, as far as its rows are whole blocks.
pub fn encoded(file: &[u8], kind: QuantType) -> Vec<u8> {
    let gguf = Gguf::parse(file).unwrap();
    let mut builder = Builder::new();
    gguf.metadata().for_each(|(key, value)| builder.set(key, value).unwrap());
    let mut contents = Vec::new();
    for tensor in gguf.tensors() {
        let row = tensor.shape()[0] as usize;
        let from = tensor.kind().unwrap();
        let name = tensor.name();
        let is_matrix = tensor.shape()[1..].iter().any(|&n| n > 1)
            && name.ends_with(".weight")
            && !name.ends_with("_norm.weight")
            && !name.ends_with("_fused.weight");
        if !is_matrix || !row.is_multiple_of(kind.block_len()) {
            builder.add_tensor(tensor.name(), tensor.dims(), from).unwrap();
            contents.push(tensor.data().to_vec());
            continue;
        }
        let mut values = vec![0.0; tensor.n_elements() as usize];
        from.decode(tensor.data(), &mut values);
        let mut data = vec![0; values.len() / kind.block_len() * kind.block_bytes()];
        kind.encode(&values, &mut data);
        builder.add_tensor(tensor.name(), tensor.dims(), kind).unwrap();
        contents.push(data);
    }
    write(&builder, &contents)
}

/// Metadata alone: a vocabulary without a model.
pub fn vocabulary(file: &[u8]) -> Vec<u8> {
    let mut builder = Builder::new();
    let gguf = Gguf::parse(file).unwrap();
    gguf.metadata().for_each(|(key, value)| builder.set(key, value).unwrap());
    write(&builder, &[])
}

/// The same file with other strings in the place of some of its keys' values.
pub fn with_strings(file: &[u8], strings: &[(&str, &str)]) -> Vec<u8> {
    let keys: Vec<_> = strings.iter().map(|&(key, text)| (key, Value::from(text))).collect();
    edited(file, &keys, |_| ())
}

/// A tensor to be written.
#[derive(Clone, Debug)]
pub struct OwnedTensor {
    /// Its name.
    pub name: String,
    /// Its dimensions, neighbours first.
    pub dims: Vec<u64>,
    /// Its encoding.
    pub kind: TensorType,
    /// Its bytes.
    pub data: Vec<u8>,
}

impl OwnedTensor {
    /// A copy of a file's.
    pub fn new(tensor: &Tensor<'_>) -> Self {
        OwnedTensor {
            name: tensor.name().into(),
            dims: tensor.dims().to_vec(),
            kind: tensor.tensor_type(),
            data: tensor.data().to_vec(),
        }
    }
}

/// The same file with other values of some keys, which may be new, and with its tensors edited.
pub fn edited(
    file: &[u8],
    keys: &[(&str, Value<'_>)],
    edit: impl FnOnce(&mut Vec<OwnedTensor>),
) -> Vec<u8> {
    let gguf = Gguf::parse(file).unwrap();
    let mut builder = Builder::new();
    for (key, value) in gguf.metadata() {
        let other = keys.iter().find(|(name, _)| *name == key);
        builder.set(key, other.map_or(value, |(_, other)| *other)).unwrap();
    }
    for (key, value) in keys.iter().filter(|(key, _)| gguf.get(key).is_none()) {
        builder.set(key, *value).unwrap();
    }
    let mut tensors: Vec<_> = gguf.tensors().map(|tensor| OwnedTensor::new(&tensor)).collect();
    edit(&mut tensors);
    for tensor in &tensors {
        builder.add_tensor(&tensor.name, &tensor.dims, tensor.kind).unwrap();
    }
    let contents: Vec<_> = tensors.into_iter().map(|tensor| tensor.data).collect();
    write(&builder, &contents)
}

fn write(builder: &Builder, contents: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = builder.write_index(Vec::new()).unwrap();
    contents.iter().for_each(|data| writer.write(data).unwrap());
    writer.finish().unwrap()
}
