//! A second reader of GGUF files, for tests alone: written from the format's description (ggml's
//! docs/gguf.md) and the limits that FORMATS.md and `mote_formats::gguf` state, not from the first reader.
//!
//! It is everything that the first one is not: it descends into a tree that owns all it found, takes its
//! bytes off the front of a slice, and computes in 128 bits, where nothing that a file can say overflows.
//! What both accept, and say of it, is the same: [`assert_same_verdict`].

use std::collections::BTreeSet;

use mote_formats::Gguf;
use mote_formats::gguf::{Array, Value};

/// Why a file is refused. For people: the two readers need not find the same fault first.
pub type Refused = &'static str;

/// A file.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    /// Of the format.
    pub version: u128,
    /// Of tensor data.
    pub alignment: u128,
    /// In the order of the file.
    pub keys: Vec<(String, Item)>,
    /// In the order of the file.
    pub tensors: Vec<Tensor>,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// Of the type with this number.
    Integer(u32, i128),
    /// Of the type with this number: its bits.
    Float(u32, u64),
    /// 0 or 1.
    Truth(bool),
    /// Any bytes.
    Text(Vec<u8>),
    /// Elements of the type with this number.
    List(u32, Vec<Item>),
}

/// A tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// As many as the file has.
    pub dims: Vec<u128>,
    /// The number of its encoding.
    pub encoding: u32,
    /// Where its data begins and ends in the file.
    pub data: (u128, u128),
}

const MOST_ENTRIES: u128 = 65_536;
const LONGEST_NAME: u128 = 65_535;
const LONGEST_TEXT: u128 = 16 * 1024 * 1024;
const NUMBERS_OF_VALUES: std::ops::RangeInclusive<u32> = 0..=12;
const TRUTH: u32 = 7;
const TEXT: u32 = 8;
const LIST: u32 = 9;

/// Reads a file.
pub fn read(whole: &[u8]) -> Result<File, Refused> {
    let mut rest = whole;
    if bytes(&mut rest, 4)? != b"GGUF" {
        return Err("another format");
    }
    let version = unsigned(&mut rest, 4)?;
    if version != 2 && version != 3 {
        return Err("another version, or another order of bytes");
    }
    let n_tensors = unsigned(&mut rest, 8)?;
    let n_keys = unsigned(&mut rest, 8)?;
    if n_tensors > MOST_ENTRIES || n_keys > MOST_ENTRIES {
        return Err("too many entries");
    }
    let keys = (0..n_keys).map(|_| key(&mut rest)).collect::<Result<Vec<_>, _>>()?;
    unique(keys.iter().map(|(name, _)| name.as_str()))?;
    let alignment = alignment(&keys)?;
    let records = (0..n_tensors).map(|_| record(&mut rest)).collect::<Result<Vec<_>, _>>()?;
    unique(records.iter().map(|record| record.name.as_str()))?;
    let index_bytes = (whole.len() - rest.len()) as u128;
    let start = padded(index_bytes, alignment);
    let tensors = placed(records, start, alignment, whole.len() as u128)?;
    Ok(File { version, alignment, keys, tensors })
}

// ---- Pieces, taken off the front

fn bytes<'a>(rest: &mut &'a [u8], n: u128) -> Result<&'a [u8], Refused> {
    if n > rest.len() as u128 {
        return Err("it ends too early");
    }
    let (taken, left) = rest.split_at(n as usize);
    *rest = left;
    Ok(taken)
}

/// The lowest byte first.
fn unsigned(rest: &mut &[u8], n: u128) -> Result<u128, Refused> {
    Ok(bytes(rest, n)?.iter().rev().fold(0, |number, &byte| number << 8 | u128::from(byte)))
}

fn signed(rest: &mut &[u8], n: u128) -> Result<i128, Refused> {
    let (number, bits) = (unsigned(rest, n)? as i128, 8 * n as u32);
    Ok(if number >> (bits - 1) & 1 == 1 { number - (1 << bits) } else { number })
}

fn text(rest: &mut &[u8]) -> Result<Vec<u8>, Refused> {
    let n = unsigned(rest, 8)?;
    if n > LONGEST_TEXT {
        return Err("a text that is too long");
    }
    Ok(bytes(rest, n)?.to_vec())
}

fn name(rest: &mut &[u8]) -> Result<String, Refused> {
    let name = String::from_utf8(text(rest)?).map_err(|_| "a name that is no text")?;
    match name.len() as u128 {
        0 => Err("an empty name"),
        n if n > LONGEST_NAME => Err("a name that is too long"),
        _ if name.contains('\0') => Err("a name with NUL"),
        _ => Ok(name),
    }
}

// ---- Keys

fn key(rest: &mut &[u8]) -> Result<(String, Item), Refused> {
    let name = name(rest)?;
    let number = number_of_value(rest)?;
    Ok((name, item(rest, number)?))
}

fn number_of_value(rest: &mut &[u8]) -> Result<u32, Refused> {
    let number = unsigned(rest, 4)? as u32;
    if NUMBERS_OF_VALUES.contains(&number) { Ok(number) } else { Err("no type of values") }
}

fn item(rest: &mut &[u8], number: u32) -> Result<Item, Refused> {
    let integer = |it: Result<u128, Refused>| Ok(Item::Integer(number, it? as i128));
    match number {
        0 => integer(unsigned(rest, 1)),
        1 => Ok(Item::Integer(number, signed(rest, 1)?)),
        2 => integer(unsigned(rest, 2)),
        3 => Ok(Item::Integer(number, signed(rest, 2)?)),
        4 => integer(unsigned(rest, 4)),
        5 => Ok(Item::Integer(number, signed(rest, 4)?)),
        6 => Ok(Item::Float(number, unsigned(rest, 4)? as u64)),
        TRUTH => match unsigned(rest, 1)? {
            0 => Ok(Item::Truth(false)),
            1 => Ok(Item::Truth(true)),
            _ => Err("neither true nor false"),
        },
        TEXT => Ok(Item::Text(text(rest)?)),
        LIST => list(rest),
        10 => integer(unsigned(rest, 8)),
        11 => Ok(Item::Integer(number, signed(rest, 8)?)),
        _ => Ok(Item::Float(number, unsigned(rest, 8)? as u64)),
    }
}

fn list(rest: &mut &[u8]) -> Result<Item, Refused> {
    let number = number_of_value(rest)?;
    if number == LIST {
        return Err("a list of lists");
    }
    // The list grows as elements are found: what is announced costs nothing.
    let mut elements = Vec::new();
    for _ in 0..unsigned(rest, 8)? {
        elements.push(item(rest, number)?);
    }
    Ok(Item::List(number, elements))
}

fn unique<'n>(mut names: impl Iterator<Item = &'n str>) -> Result<(), Refused> {
    let mut seen = BTreeSet::new();
    if names.all(|name| seen.insert(name)) { Ok(()) } else { Err("a name that comes twice") }
}

/// What the keys say about the file itself: it is not one of several, and how its data is aligned.
fn alignment(keys: &[(String, Item)]) -> Result<u128, Refused> {
    let value = |wanted: &str| keys.iter().find(|(name, _)| name == wanted).map(|(_, item)| item);
    match value("split.count") {
        None | Some(Item::Integer(_, 0 | 1)) => {}
        Some(_) => return Err("one of several files"),
    }
    match value("general.alignment") {
        None => Ok(32),
        Some(&Item::Integer(4, n)) if (8..=4096).contains(&n) && n.count_ones() == 1 => {
            Ok(n as u128)
        }
        Some(_) => Err("no alignment"),
    }
}

// ---- Tensors

/// A tensor as the index has it.
struct Record {
    name: String,
    dims: Vec<u128>,
    encoding: u32,
    offset: u128,
}

fn record(rest: &mut &[u8]) -> Result<Record, Refused> {
    let name = name(rest)?;
    let n_dims = unsigned(rest, 4)?;
    if n_dims > 4 {
        return Err("too many dimensions");
    }
    let dims = (0..n_dims).map(|_| unsigned(rest, 8)).collect::<Result<Vec<_>, _>>()?;
    Ok(Record { name, dims, encoding: unsigned(rest, 4)? as u32, offset: unsigned(rest, 8)? })
}

/// The tensors' data stands in their order, each padded to the alignment, and ends in the file.
fn placed(
    records: Vec<Record>,
    start: u128,
    alignment: u128,
    file_bytes: u128,
) -> Result<Vec<Tensor>, Refused> {
    let mut next = 0;
    let mut tensors = Vec::new();
    for Record { name, dims, encoding, offset } in records {
        if offset != next {
            return Err("data with holes, or that overlaps");
        }
        let data = (start + offset, start + offset + data_bytes(&dims, encoding)?);
        if data.1 > file_bytes {
            return Err("data behind the end");
        }
        next = padded(data.1 - start, alignment);
        tensors.push(Tensor { name, dims, encoding, data });
    }
    Ok(tensors)
}

fn data_bytes(dims: &[u128], encoding: u32) -> Result<u128, Refused> {
    let (block, bytes) = block(encoding).ok_or("no encoding")?;
    if dims.contains(&0) {
        return Err("a dimension of nothing");
    }
    if !dims.first().unwrap_or(&1).is_multiple_of(block) {
        return Err("a part of a block");
    }
    // Four numbers of 64 bits: they may not fit 128, but then they do not fit 64 either.
    let elements = dims.iter().try_fold(1_u128, |product, &n| product.checked_mul(n));
    let elements = elements.filter(|&n| n <= u128::from(u64::MAX)).ok_or("too many elements")?;
    let all = elements / block * bytes;
    if all <= u128::from(u64::MAX) { Ok(all) } else { Err("too many bytes") }
}

/// Elements and bytes of a block, by ggml's number of the encoding.
fn block(encoding: u32) -> Option<(u128, u128)> {
    Some(match encoding {
        0 | 26 => (1, 4),
        1 | 25 | 30 => (1, 2),
        24 => (1, 1),
        27 | 28 => (1, 8),
        2 | 20 => (32, 18),
        3 => (32, 20),
        6 => (32, 22),
        7 => (32, 24),
        8 => (32, 34),
        9 => (32, 36),
        10 => (256, 84),
        11 | 21 => (256, 110),
        12 => (256, 144),
        13 => (256, 176),
        14 => (256, 210),
        15 => (256, 292),
        16 => (256, 66),
        17 => (256, 74),
        18 => (256, 98),
        19 => (256, 50),
        22 => (256, 82),
        23 => (256, 136),
        29 => (256, 56),
        34 => (256, 54),
        35 => (256, 66),
        39 => (32, 17),
        40 => (64, 36),
        41 => (128, 18),
        42 => (64, 18),
        _ => return None,
    })
}

fn padded(n: u128, alignment: u128) -> u128 {
    n.div_ceil(alignment) * alignment
}

// ---- The two readers beside each other

/// Panics where the two readers differ. Whether they accept the file.
pub fn assert_same_verdict(bytes: &[u8]) -> bool {
    match (Gguf::parse(bytes), read(bytes)) {
        (Err(_), Err(_)) => false,
        (Ok(first), Ok(second)) => {
            assert_same_content(&first, &second);
            true
        }
        (Ok(_), Err(refused)) => panic!("the second reader alone refuses the file: {refused}"),
        (Err(error), Ok(_)) => panic!("the first reader alone refuses the file: {error}"),
    }
}

fn assert_same_content(first: &Gguf<'_>, second: &File) {
    assert_eq!(u128::from(first.version()), second.version);
    assert_eq!(u128::from(first.alignment()), second.alignment);
    assert_eq!((first.n_keys(), first.n_tensors()), (second.keys.len(), second.tensors.len()));
    let keys: Vec<_> = first.metadata().map(|(key, value)| (key.to_string(), own(value))).collect();
    assert_eq!(keys, second.keys);
    let start = first.bytes().as_ptr().addr();
    let tensors = first.tensors().map(|tensor| {
        let data = tensor.data().as_ptr_range();
        Tensor {
            name: tensor.name().into(),
            dims: tensor.dims().iter().map(|&n| n.into()).collect(),
            encoding: tensor.tensor_type().id(),
            data: ((data.start.addr() - start) as u128, (data.end.addr() - start) as u128),
        }
    });
    assert_eq!(tensors.collect::<Vec<_>>(), second.tensors);
    for (key, value) in &second.keys {
        assert_eq!(first.get(key).map(own).as_ref(), Some(value), "{key}");
    }
}

/// A value as the second reader has it.
fn own(value: Value<'_>) -> Item {
    let number = value.value_type().id();
    match value {
        Value::F32(x) => Item::Float(number, x.to_bits().into()),
        Value::F64(x) => Item::Float(number, x.to_bits()),
        Value::Bool(truth) => Item::Truth(truth),
        Value::Str(text) => Item::Text(text.as_bytes().to_vec()),
        Value::Array(array) => own_list(array),
        Value::U64(n) => Item::Integer(number, n.into()),
        _ => Item::Integer(number, value.as_i64().map_or(i128::MIN, i128::from)),
    }
}

fn own_list(array: Array<'_>) -> Item {
    Item::List(array.element_type().id(), array.iter().map(own).collect())
}
