//! The small models of the fixtures under other keys, shapes and weights: mostly sound files, so that
//! what stands behind the index is reached.

use std::sync::OnceLock;

use mote_formats::Gguf;
use mote_formats::gguf::{Builder, Value};

use super::input::Input;
use super::play::play;
use crate::models::{OwnedTensor, fixture};
use crate::shared::root;

/// Smaller fixtures alone: the others are no other code, and slow.
const MOST_BYTES: usize = 128 << 10;
/// Changes of one file.
const MOST_CHANGES: usize = 12;

/// The first byte chooses how a model computes, the second one the model, and the others change it.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let variant = input.byte();
    let fixtures = fixtures();
    let Some(file) = changed(&fixtures.files[input.below(fixtures.files.len())], &mut input) else {
        return;
    };
    let gguf = Gguf::parse(&file).expect("what a builder wrote");
    play(&gguf, variant);
}

/// The models by name, and all keys that any of them has, without the architecture's name.
struct Fixtures {
    files: Vec<Vec<u8>>,
    keys: Vec<String>,
}

fn fixtures() -> &'static Fixtures {
    static FIXTURES: OnceLock<Fixtures> = OnceLock::new();
    FIXTURES.get_or_init(|| {
        let folder = root().join("tests/fixtures/models");
        let entries = std::fs::read_dir(&folder).expect("the fixtures");
        let name = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let mut names: Vec<String> = entries.map(|entry| name(entry.expect("a file"))).collect();
        names.retain(|name| name.ends_with(".gguf"));
        names.sort();
        let mut files: Vec<_> =
            names.iter().map(|name| fixture(&format!("models/{name}"))).collect();
        files.retain(|file| file.len() <= MOST_BYTES);
        let mut keys: Vec<String> = files.iter().flat_map(|file| keys_of(file)).collect();
        keys.sort();
        keys.dedup();
        Fixtures { files, keys }
    })
}

/// A file's keys that begin with its architecture's name, without that.
fn keys_of(file: &[u8]) -> Vec<String> {
    let gguf = Gguf::parse(file).expect("a fixture");
    let name = architecture(&gguf);
    let own = |key: &str| Some(key.strip_prefix(name)?.strip_prefix('.')?.to_string());
    gguf.metadata().filter_map(|(key, _)| own(key)).collect()
}

fn architecture<'a>(gguf: &Gguf<'a>) -> &'a str {
    gguf.get("general.architecture").and_then(|name| name.as_str()).unwrap_or_default()
}

/// A file with as many changes as the input asks for; `None` where no file can be like that.
fn changed(file: &[u8], input: &mut Input<'_>) -> Option<Vec<u8>> {
    let gguf = Gguf::parse(file).expect("a fixture");
    let arrays = arrays();
    let arrays: Vec<Value<'_>> =
        Gguf::parse(&arrays).expect("a file").metadata().map(|(_, value)| value).collect();
    let mut keys: Vec<(String, Value<'_>)> =
        gguf.metadata().map(|(key, value)| (key.to_string(), value)).collect();
    let mut tensors: Vec<OwnedTensor> =
        gguf.tensors().map(|tensor| OwnedTensor::new(&tensor)).collect();
    for _ in 0..MOST_CHANGES {
        if input.is_empty() {
            break;
        }
        match input.below(4) {
            0 | 1 => change_key(&mut keys, architecture(&gguf), &arrays, input),
            2 => change_tensor(&mut tensors, input),
            _ => change_weights(&mut tensors, input),
        }
    }
    let mut builder = Builder::new();
    keys.iter().try_for_each(|(key, value)| builder.set(key, *value)).ok()?;
    for tensor in &mut tensors {
        builder.add_tensor(&tensor.name, &tensor.dims, tensor.kind).ok()?;
    }
    let mut writer = builder.write_index(Vec::new()).ok()?;
    for tensor in tensors {
        writer.write(&tensor.data).expect("as many bytes as its shape has");
    }
    writer.finish().ok()
}

/// A key of any model gets another value, or goes.
fn change_key<'v>(
    keys: &mut Vec<(String, Value<'v>)>,
    architecture: &str,
    arrays: &[Value<'v>],
    input: &mut Input<'_>,
) {
    let all = &fixtures().keys;
    let key = match input.below(3) {
        // One that the file has, its tokenizer's among them.
        0 if !keys.is_empty() => keys[input.below(keys.len())].0.clone(),
        _ => format!("{architecture}.{}", input.one_of(all)),
    };
    let old = keys.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
    keys.retain(|(name, _)| *name != key);
    let new = match (input.below(8), old.unwrap_or(Value::U32(4))) {
        (0, _) => return,
        (1, _) => Value::F32(f32::from_bits(input.word())),
        (2, _) => *input.one_of(arrays),
        (3, _) => Value::Bool(input.byte() & 1 == 1),
        (4, _) => Value::U32(1 << input.below(32)),
        (5, Value::U32(n)) => Value::U32(n.wrapping_add_signed((input.byte() as i8).into())),
        (6, Value::U32(n)) => Value::U32(n.wrapping_mul(input.byte().into())),
        (7, Value::F32(x)) => Value::F32(x * f32::from(input.byte() as i8)),
        _ => Value::U32(input.byte().into()),
    };
    keys.push((key, new));
}

/// A tensor goes, is called as another, comes twice or gets another shape with bytes to match.
fn change_tensor(tensors: &mut Vec<OwnedTensor>, input: &mut Input<'_>) {
    if tensors.is_empty() {
        return;
    }
    let (at, other) = (input.below(tensors.len()), input.below(tensors.len()));
    match input.below(5) {
        0 => drop(tensors.remove(at)),
        1 => {
            let name = tensors[other].name.clone();
            tensors[other].name = std::mem::replace(&mut tensors[at].name, name);
        }
        2 => {
            tensors[at].dims = tensors[other].dims.clone();
            tensors[at].kind = tensors[other].kind;
            tensors[at].data = tensors[other].data.clone();
        }
        3 => tensors[at].dims.reverse(),
        _ => resize(&mut tensors[at], input),
    }
}

/// One dimension grows or shrinks by less than half.
fn resize(tensor: &mut OwnedTensor, input: &mut Input<'_>) {
    let Some(old) = tensor.dims.iter().product::<u64>().checked_mul(1) else { return };
    let at = input.below(tensor.dims.len().max(1));
    let Some(dim) = tensor.dims.get_mut(at) else { return };
    let new = (*dim).saturating_add_signed((input.byte() as i8).into()).clamp(1, 2 * *dim);
    let bytes = tensor.data.len() as u64;
    *dim = new;
    let elements: u64 = tensor.dims.iter().product();
    // Where rows are no whole blocks any more, the builder says no.
    if (bytes * elements).is_multiple_of(old) {
        tensor.data.resize((bytes * elements / old) as usize, 0x3c);
    }
}

/// Some bytes of a tensor's data.
fn change_weights(tensors: &mut [OwnedTensor], input: &mut Input<'_>) {
    if tensors.is_empty() {
        return;
    }
    let at = input.below(tensors.len());
    let start = usize::from(input.short());
    let bytes = input.take(8);
    let repeated =
        bytes.iter().cycle().take(if input.byte() & 1 == 0 { bytes.len() } else { 4096 });
    for (place, &byte) in tensors[at].data.iter_mut().skip(start).zip(repeated) {
        *place = byte;
    }
}

/// A file whose keys are arrays, for keys that may be given by layer.
fn arrays() -> Vec<u8> {
    let mut builder = Builder::new();
    let numbers: [&[i32]; 9] = [
        &[0, 0],
        &[1, 0],
        &[0, 1, 0],
        &[1, 1, 1],
        &[2, 1, 2],
        &[4, 4],
        &[16, 32, 48],
        &[64, 64, 128],
        &[-1, 2, 2],
    ];
    for (i, numbers) in numbers.iter().enumerate() {
        let flags: Vec<bool> = numbers.iter().map(|&n| n > 0).collect();
        let floats: Vec<f32> = numbers.iter().map(|&n| n as f32).collect();
        builder.set_array(&format!("{i}"), numbers).expect("a new key");
        builder.set_array(&format!("flags.{i}"), &flags).expect("a new key");
        builder.set_array(&format!("floats.{i}"), &floats).expect("a new key");
    }
    builder.set("text", "text").expect("a new key");
    builder.set_strings("texts", &["a", "b", ""]).expect("a new key");
    builder.write_index(Vec::new()).expect("an index").finish().expect("no tensors")
}
