//! Putting a model's parts together in a GGUF file.

use std::io::{self, Read, Write};
use std::string::ToString as _;
use std::vec::Vec;
use std::{format, vec};

use xxhash_rust::xxh64::Xxh64;

use super::level::{LevelParts, VALUE_BITS_EXACT};
use super::packed;
use super::quantize::Codebook;
use super::trie::Smoothing;
use super::{ARCHITECTURE, MAX_ORDER, keys};
use crate::gguf::{BuildError, Builder, DataWriter, IoSink, TensorType};

/// Most words of the list of the most probable ones. Who wants more looks at all words.
const MOST_PROBABLE: usize = 4096;

/// ggml's type ids.
const F32: u32 = 0;
const I8: u32 = 24;
const I32: u32 = 26;

/// What a file says about its model as a whole.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// How it was estimated.
    pub smoothing: Smoothing,
    /// The factor of stupid backoff.
    pub alpha: f32,
    /// Bits of the codes; 32 are exact.
    pub value_bits: u32,
}

/// The words on their own: as many of each as the vocabulary has words.
#[derive(Clone, Copy, Debug)]
pub struct Unigrams<'u> {
    /// log10 of their probabilities.
    pub probability: &'u [f32],
    /// log10 of their backoffs.
    pub backoff: &'u [f32],
    /// How many 2-grams begin with each.
    pub children: &'u [u32],
}

/// A level that a `LevelWriter` wrote: its places, from their beginnings.
#[derive(Debug)]
pub struct LevelSource<'c, R> {
    /// What `finish` returned.
    pub parts: LevelParts,
    /// Packed entries.
    pub data: R,
    /// Where they lie.
    pub directory: R,
    /// The codebooks that it was written with.
    pub probability: &'c Codebook,
    /// None on the last level.
    pub backoff: Option<&'c Codebook>,
}

/// Writes a whole file. `builder` has the keys of the vocabulary (`tokenizer.ggml.…`); `levels` are
/// those of 2-grams, 3-grams and so on; they are read twice, by way of `rewind`.
pub fn write_model<R: Read>(
    out: impl Write,
    mut builder: Builder,
    header: &Header,
    unigrams: &Unigrams<'_>,
    levels: &mut [LevelSource<'_, R>],
    mut rewind: impl FnMut(&mut R) -> io::Result<()>,
) -> io::Result<()> {
    let order = levels.len() + 1;
    if order > MAX_ORDER {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut tensors = unigram_tensors(unigrams, header.value_bits == VALUE_BITS_EXACT);
    for (i, level) in levels.iter().enumerate() {
        tensors.extend(level_values(level, i + 2));
    }
    let mut hasher = Xxh64::new(0);
    tensors.iter().for_each(|tensor| hasher.update(&tensor.data));
    for level in levels.iter_mut().filter(|level| level.parts.entries > 0) {
        for (place, bytes) in level.places() {
            pass(place, bytes, |data| {
                hasher.update(data);
                Ok(())
            })?;
            rewind(place)?;
        }
    }
    let checksum = hasher.digest();
    describe(&mut builder, header, unigrams, levels, checksum)
        .and_then(|()| add_tensors(&mut builder, &tensors, levels))
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?;
    let mut data = builder.write_index(IoSink(out))?;
    for tensor in &tensors {
        data.write(&tensor.data)?;
    }
    for level in levels.iter_mut().filter(|level| level.parts.entries > 0) {
        for (place, bytes) in level.places() {
            copy(place, bytes, &mut data)?;
        }
    }
    data.finish()?.0.flush()
}

/// A tensor that fits in memory.
struct Small {
    name: std::string::String,
    tensor_type: u32,
    data: Vec<u8>,
}

impl<R> LevelSource<'_, R> {
    fn places(&mut self) -> [(&mut R, u64); 2] {
        let LevelParts { data_bytes, directory_bytes, .. } = self.parts;
        [(&mut self.directory, directory_bytes), (&mut self.data, data_bytes)]
    }
}

fn unigram_tensors(unigrams: &Unigrams<'_>, is_exact: bool) -> Vec<Small> {
    let Unigrams { probability, backoff, children } = *unigrams;
    let mut ids: Vec<u32> = (0..probability.len() as u32).collect();
    let of = |id: u32| probability.get(id as usize).copied().unwrap_or(0.0);
    ids.sort_by(|&a, &b| of(b).total_cmp(&of(a)));
    ids.truncate(MOST_PROBABLE);
    let mut entries = Vec::with_capacity((probability.len() + 1) * 3);
    let mut begin = 0_u32;
    for ((probability, backoff), children) in probability.iter().zip(backoff).zip(children) {
        match is_exact {
            true => entries.extend([probability.to_bits(), backoff.to_bits(), begin]),
            false => entries.extend([packed::pack(*probability, *backoff), begin]),
        }
        begin = begin.saturating_add(*children);
    }
    entries.extend([0, 0].get(..if is_exact { 2 } else { 1 }).unwrap_or_default());
    entries.push(begin);
    vec![
        Small { name: "unigram.entries".to_string(), tensor_type: I32, data: words(entries) },
        Small { name: "unigram.by_probability".to_string(), tensor_type: I32, data: words(ids) },
    ]
}

fn level_values<R>(level: &LevelSource<'_, R>, length: usize) -> Vec<Small> {
    let books = [("probability", Some(level.probability)), ("backoff", level.backoff)];
    let books = books.into_iter().filter_map(|(name, book)| Some((name, book?)));
    let books = books.filter(|(_, book)| level.parts.entries > 0 && !book.values().is_empty());
    books
        .map(|(name, book)| Small {
            name: format!("{length}gram.{name}_values"),
            tensor_type: F32,
            data: floats(book.values()),
        })
        .collect()
}

fn describe<R>(
    builder: &mut Builder,
    header: &Header,
    unigrams: &Unigrams<'_>,
    levels: &[LevelSource<'_, R>],
    checksum: u64,
) -> Result<(), BuildError> {
    let entries = levels.iter().map(|level| level.parts.entries);
    let counts: Vec<u64> = [unigrams.probability.len() as u64].into_iter().chain(entries).collect();
    builder.set("general.architecture", ARCHITECTURE)?;
    builder.set(keys::ORDER, counts.len() as u32)?;
    builder.set_array(keys::COUNTS, &counts)?;
    builder.set(keys::SMOOTHING, header.smoothing.name())?;
    if header.smoothing == Smoothing::StupidBackoff {
        builder.set(keys::ALPHA, header.alpha)?;
    }
    builder.set(keys::VALUE_BITS, header.value_bits)?;
    builder.set(keys::CHECKSUM, checksum)
}

fn add_tensors<R>(
    builder: &mut Builder,
    tensors: &[Small],
    levels: &[LevelSource<'_, R>],
) -> Result<(), BuildError> {
    let mut add = |name: &str, id, bytes: u64| {
        let elements = if id == I8 { bytes } else { bytes / 4 };
        TensorType::from_id(id).map_or(Ok(()), |kind| builder.add_tensor(name, &[elements], kind))
    };
    for tensor in tensors {
        add(&tensor.name, tensor.tensor_type, tensor.data.len() as u64)?;
    }
    for (i, level) in levels.iter().enumerate().filter(|(_, level)| level.parts.entries > 0) {
        let length = i + 2;
        add(&format!("{length}gram.directory"), I32, level.parts.directory_bytes)?;
        add(&format!("{length}gram.data"), I8, level.parts.data_bytes)?;
    }
    Ok(())
}

/// Hands over exactly `bytes` of `place`, in pieces.
fn pass(
    place: &mut impl Read,
    mut bytes: u64,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 18];
    while bytes > 0 {
        let n = usize::try_from(bytes).unwrap_or(usize::MAX).min(buffer.len());
        let piece = buffer.get_mut(..n).unwrap_or_default();
        place.read_exact(piece)?;
        take(piece)?;
        bytes -= n as u64;
    }
    Ok(())
}

fn copy<W: Write>(
    place: &mut impl Read,
    bytes: u64,
    data: &mut DataWriter<'_, IoSink<W>>,
) -> io::Result<()> {
    pass(place, bytes, |piece| Ok(data.write(piece)?))
}

fn floats(values: &[f32]) -> Vec<u8> {
    words(values.iter().map(|value| value.to_bits()))
}

fn words(values: impl IntoIterator<Item = u32>) -> Vec<u8> {
    values.into_iter().flat_map(u32::to_le_bytes).collect()
}
