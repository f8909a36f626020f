//! A session's context as bytes, to go on from later or elsewhere.
//!
//! ```text
//!  0  "MOTEsave"                      8 bytes
//!  8  version, u32    12  cache type, u32 (0: f32, 1: f16, 2: q8_0)
//! 16  bytes in all, u64
//! 24  fingerprint of the model, u64
//! 32  n_ctx, u64      40  tokens, u64
//! 48  activation bits, u32 (0: 8, 1: 16, 2: mixed)         52  0, u32
//! 56  tokens (u32 each); their origins (a bit each); of each layer that has some keys, in whole tiles
//!     of 16 positions, and values; the recurrent state (f32) before the last token
//!     checksum of everything before it, u64
//! ```
//!
//! An n-gram model has neither keys nor values, and zeros for its options. Numbers are little-endian. Logits are not kept: [`Session::recall`] computes them again. Nothing
//! in the bytes is trusted: a length, an id or an option that does not fit is an error, and a session
//! that refuses them stays as it was.

use core::fmt;

use bytemuck::Pod;
use mote_formats::gguf::Gguf;
use mote_kernels::{CacheType, KEY_TILE};

use crate::cache::{Element, place};
use crate::config::Config;
use crate::error::{SessionError, check_file};
use crate::memory::TooSmall;
use crate::plan::Store;
use crate::precision::{Origins, Precision, origin_bytes};
use crate::session::Session;

const MAGIC: [u8; 8] = *b"MOTEsave";
const VERSION: u32 = 1;
const HEADER: usize = 56;
const CHECKSUM: usize = 8;

/// Bytes of the widest lane of a tile of keys.
const MOST_LANE_BYTES: usize = 4;

/// Why saved bytes are refused. The session stays as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreError {
    /// Not a saved session at all.
    Foreign,
    /// Written by a version of mote with another layout: its number.
    Version(u32),
    /// The bytes are fewer, or more, than they say.
    Length {
        /// Bytes that a session of this kind has.
        expected: u64,
        /// Bytes given.
        given: u64,
    },
    /// A byte is not what was saved.
    Checksum,
    /// Saved with another model.
    Model,
    /// Saved from a context of another size: the number of positions.
    Context(u64),
    /// Saved with another cache type or precision of activations.
    Options,
    /// More tokens than the context holds.
    Tokens(u64),
    /// An id that is not in the vocabulary.
    Token(u32),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RestoreError::Foreign => write!(f, "the bytes are not a saved session"),
            RestoreError::Version(version) => {
                write!(f, "the saved session has version {version}, not {VERSION}")
            }
            RestoreError::Length { expected, given } => {
                write!(f, "the saved session has {given} bytes instead of {expected}")
            }
            RestoreError::Checksum => write!(f, "the saved session is damaged"),
            RestoreError::Model => write!(f, "the session was saved with another model"),
            RestoreError::Context(n_ctx) => {
                write!(f, "the session was saved from a context of {n_ctx} tokens")
            }
            RestoreError::Options => {
                write!(f, "the session was saved with another cache type or precision")
            }
            RestoreError::Tokens(tokens) => {
                write!(f, "the saved session has {tokens} tokens, more than the context")
            }
            RestoreError::Token(id) => write!(f, "token id {id} is not in the vocabulary"),
        }
    }
}

impl core::error::Error for RestoreError {}

/// What a saved session was: the options of one that can take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedContext {
    /// Positions of its context.
    pub n_ctx: usize,
    /// Tokens in it.
    pub tokens: usize,
    /// Its cache type; of n-gram models F32.
    pub cache: CacheType,
    /// Its precision of activations; of n-gram models 8 bits.
    pub precision: Precision,
}

impl SavedContext {
    /// Checks that the bytes are what was saved, and reads the first of them. Whether they fit a model
    /// is for restoring to tell.
    pub fn of(bytes: &[u8]) -> Result<SavedContext, RestoreError> {
        let bytes = sealed(bytes)?;
        let (n_ctx, tokens) = (u64_at(bytes, 32), u64_at(bytes, 40));
        Ok(SavedContext {
            n_ctx: usize::try_from(n_ctx).map_err(|_| RestoreError::Context(n_ctx))?,
            tokens: usize::try_from(tokens).map_err(|_| RestoreError::Tokens(tokens))?,
            cache: match u32_at(bytes, 12) {
                0 => CacheType::F32,
                1 => CacheType::F16,
                2 => CacheType::Q8_0,
                _ => return Err(RestoreError::Options),
            },
            precision: match u32_at(bytes, 48) {
                0 => Precision::Bits8,
                1 => Precision::Bits16,
                2 => Precision::Mixed,
                _ => return Err(RestoreError::Options),
            },
        })
    }
}

/// What was saved, without its checksum: whole, and of this version.
fn sealed(bytes: &[u8]) -> Result<&[u8], RestoreError> {
    let given = bytes.len() as u64;
    if !bytes.starts_with(&MAGIC) {
        return Err(RestoreError::Foreign);
    }
    let parts = bytes.split_last_chunk::<CHECKSUM>().filter(|(body, _)| body.len() >= HEADER);
    let Some((body, end)) = parts else {
        return Err(RestoreError::Length { expected: (HEADER + CHECKSUM) as u64, given });
    };
    let version = u32_at(bytes, 8);
    if version != VERSION {
        return Err(RestoreError::Version(version));
    }
    let expected = u64_at(bytes, 16);
    if expected != given {
        return Err(RestoreError::Length { expected, given });
    }
    if u64::from_le_bytes(*end) != checksum(body) {
        return Err(RestoreError::Checksum);
    }
    Ok(body)
}

impl Session<'_> {
    /// Bytes that [`Session::save`] writes now.
    pub fn saved_bytes(&self) -> usize {
        self.saved_bytes_of(self.position)
    }

    /// As many bytes as a context of `tokens` takes. It is part of the cache in memory, so the sum
    /// does not overflow.
    fn saved_bytes_of(&self, tokens: usize) -> usize {
        let config = self.model.config();
        let values = config.cached_dim() * (tokens.next_multiple_of(KEY_TILE) + tokens);
        let state =
            if tokens > 0 { config.n_recurrent() * config.recurrence.state_len() } else { 0 };
        let cache = self.options.cache.bytes(values);
        saved_bytes(tokens, cache + state * size_of::<f32>())
    }

    /// Writes the context to `out`, and returns the number of bytes. The same context gives the same
    /// bytes. After a rewind a recurrent state may have to be computed first.
    pub fn save(&mut self, out: &mut [u8]) -> Result<usize, SessionError> {
        self.save_with(out, &mut || true).map(Option::unwrap_or_default)
    }

    /// As [`Session::save`]. `go_on` is asked before every layer of what has to be computed; if it says no,
    /// `out` is left as it is, and the result is `None`.
    pub fn save_with(
        &mut self,
        out: &mut [u8],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<usize>, SessionError> {
        let (needed, given) = (self.saved_bytes(), out.len());
        let out = out.get_mut(..needed).ok_or(TooSmall { needed, given })?;
        let last = self.position.saturating_sub(1);
        let has_state = self.position > 0 && self.model.config().n_recurrent() > 0;
        if has_state && self.states.get(last).is_none() {
            if last == 0 {
                // Before the first token everything is zero.
                self.states.replace(0).fill(0.0);
            } else {
                let end = core::mem::replace(&mut self.position, last);
                let complete = self.catch_up(go_on);
                self.position = end;
                if !complete {
                    return Ok(None);
                }
            }
        }
        let state = self.states.get(last).filter(|_| has_state).unwrap_or_default();
        let size = (self.position, self.model().config());
        let cache = |rest: &mut &mut [u8]| {
            match &self.store {
                Store::F32 { keys, values } => put_cache(keys, values, size, rest),
                Store::F16 { keys, values } => put_cache(keys, values, size, rest),
                Store::Q8_0 { keys, values } => put_cache(keys, values, size, rest),
            }
            put(state, rest);
        };
        write_saved(&self.kind(), self.tokens(), &self.origins, out, cache);
        check_file(self.model.gguf())?;
        Ok(Some(needed))
    }

    /// Takes the context of a session of the same model, context size, cache type and precision
    /// from its saved bytes. What the session held before is forgotten, unless the bytes are refused.
    /// What follows are the same bits as in the session that was saved.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        let n_tokens = self.kind().check(bytes, &|tokens| self.saved_bytes_of(tokens))?;
        let mut rest = read_saved(n_tokens, bytes, self.tokens, &mut self.origins);
        self.position = n_tokens;
        let size = (n_tokens, self.model().config());
        match &mut self.store {
            Store::F32 { keys, values } => take_cache(keys, values, size, &mut rest),
            Store::F16 { keys, values } => take_cache(keys, values, size, &mut rest),
            Store::Q8_0 { keys, values } => take_cache(keys, values, size, &mut rest),
        }
        match n_tokens.checked_sub(1) {
            None => self.states.clear(),
            Some(last) => take(self.states.replace(last), &mut rest),
        }
        (self.has_logits, self.drafted) = (false, 0);
        Ok(())
    }

    fn kind(&self) -> Kind {
        Kind {
            cache: match self.options.cache {
                CacheType::F32 => 0,
                CacheType::F16 => 1,
                CacheType::Q8_0 => 2,
            },
            precision: match self.options.precision {
                Precision::Bits8 => 0,
                Precision::Bits16 => 1,
                Precision::Mixed => 2,
            },
            fingerprint: fingerprint(self.model.gguf()),
            n_ctx: self.options.n_ctx,
            n_vocab: self.model.config().n_vocab,
        }
    }
}

/// What a session must have in common with the one that was saved.
pub(crate) struct Kind {
    pub cache: u32,
    pub precision: u32,
    pub fingerprint: u64,
    pub n_ctx: usize,
    pub n_vocab: usize,
}

impl Kind {
    /// Whether the bytes fit a session in which so many tokens take `bytes_of`; the number of their
    /// tokens.
    pub fn check(
        &self,
        bytes: &[u8],
        bytes_of: &dyn Fn(usize) -> usize,
    ) -> Result<usize, RestoreError> {
        let (body, given) = (sealed(bytes)?, bytes.len() as u64);
        let (n_ctx, tokens) = (u64_at(body, 32), u64_at(body, 40));
        if u64_at(body, 24) != self.fingerprint {
            return Err(RestoreError::Model);
        }
        if n_ctx != self.n_ctx as u64 {
            return Err(RestoreError::Context(n_ctx));
        }
        let n_tokens = usize::try_from(tokens)
            .ok()
            .filter(|&tokens| tokens <= self.n_ctx)
            .ok_or(RestoreError::Tokens(tokens))?;
        if !body.starts_with(&self.header(n_tokens, bytes.len())) {
            return Err(RestoreError::Options);
        }
        let expected = bytes_of(n_tokens) as u64;
        if expected != given {
            return Err(RestoreError::Length { expected, given });
        }
        let ids = body.get(HEADER..).unwrap_or_default().chunks_exact(4).take(n_tokens);
        match ids.map(|id| u32_at(id, 0)).find(|&id| id as usize >= self.n_vocab) {
            Some(id) => Err(RestoreError::Token(id)),
            None => Ok(n_tokens),
        }
    }

    fn header(&self, tokens: usize, bytes: usize) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        let fields: [&[u8]; 8] = [
            &MAGIC,
            &VERSION.to_le_bytes(),
            &self.cache.to_le_bytes(),
            &(bytes as u64).to_le_bytes(),
            &self.fingerprint.to_le_bytes(),
            &(self.n_ctx as u64).to_le_bytes(),
            &(tokens as u64).to_le_bytes(),
            &self.precision.to_le_bytes(),
        ];
        let mut rest = &mut header[..];
        fields.iter().for_each(|field| put(field, &mut rest));
        header
    }
}

/// Bytes of a saved context, of which keys and values take `cache`.
pub(crate) fn saved_bytes(tokens: usize, cache: usize) -> usize {
    HEADER + tokens * size_of::<u32>() + origin_bytes(tokens) + cache + CHECKSUM
}

/// Writes a context to all of `out`; `put_cache` writes keys and values to what lies behind it.
pub(crate) fn write_saved(
    kind: &Kind,
    tokens: &[u32],
    origins: &Origins<'_>,
    out: &mut [u8],
    put_cache: impl FnOnce(&mut &mut [u8]),
) {
    let needed = out.len();
    let Some((body, end)) = out.split_last_chunk_mut::<CHECKSUM>() else { return };
    let mut rest = &mut *body;
    put(&kind.header(tokens.len(), needed), &mut rest);
    put(tokens, &mut rest);
    let bits = rest.split_off_mut(..origin_bytes(tokens.len())).unwrap_or_default();
    bits.iter_mut().zip(&*origins.0).for_each(|(place, bits)| *place = *bits);
    if let Some(last) = bits.last_mut().filter(|_| !tokens.len().is_multiple_of(8)) {
        // Bits behind the end are whatever the memory held.
        *last &= (1 << (tokens.len() % 8)) - 1;
    }
    put_cache(&mut rest);
    *end = checksum(body).to_le_bytes();
}

/// Takes tokens and origins from bytes that were checked; returns what lies behind them.
pub(crate) fn read_saved<'b>(
    n_tokens: usize,
    bytes: &'b [u8],
    tokens: &mut [u32],
    origins: &mut Origins<'_>,
) -> &'b [u8] {
    let mut rest = bytes.get(HEADER..).unwrap_or_default();
    let ids = rest.split_off(..n_tokens * size_of::<u32>()).unwrap_or_default();
    for (token, id) in tokens.iter_mut().zip(ids.chunks_exact(4)) {
        *token = u32_at(id, 0);
    }
    take(origins.0.get_mut(..origin_bytes(n_tokens)).unwrap_or_default(), &mut rest);
    rest
}

/// Copies values to the front of `out`, which becomes the rest of it and was measured for them.
fn put<T: Pod>(values: &[T], out: &mut &mut [u8]) {
    let bytes: &[u8] = bytemuck::cast_slice(values);
    if let Some(front) = out.split_off_mut(..bytes.len()) {
        front.copy_from_slice(bytes);
    }
}

/// The reverse.
fn take<T: Pod>(values: &mut [T], from: &mut &[u8]) {
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(values);
    if let Some(front) = from.split_off(..bytes.len()) {
        bytes.copy_from_slice(front);
    }
}

/// Keys and values of the first positions of every layer. The lanes behind the last position are
/// zero: the memory may hold anything there.
#[expect(clippy::indexing_slicing, reason = "a cache that `plan.rs` cut for this configuration")]
fn put_cache<T: Element>(
    keys: &[T],
    values: &[T],
    (tokens, config): (usize, &Config),
    out: &mut &mut [u8],
) {
    let lanes = tokens % KEY_TILE;
    for layer in caching(config) {
        let (place, row) = (place::<T>(config, layer, keys.len()), T::row(config.kv_dim_of(layer)));
        let (keys, values) = (&keys[place.clone()], &values[place]);
        let (whole, rest) = keys.split_at((tokens - lanes) * row);
        put(whole, out);
        if lanes > 0 {
            let mut tile: &[u8] = bytemuck::cast_slice(&rest[..KEY_TILE * row]);
            for bytes in T::LANE_BYTES.iter().cycle() {
                let Some((cells, others)) = tile.split_at_checked(KEY_TILE * bytes) else { break };
                let used = lanes * bytes;
                put(&cells[..used], out);
                put(&[0u8; KEY_TILE * MOST_LANE_BYTES][used..cells.len()], out);
                tile = others;
            }
        }
        put(&values[..tokens * row], out);
    }
}

/// The reverse.
#[expect(clippy::indexing_slicing, reason = "as above: nothing here is a number of the bytes")]
fn take_cache<T: Element>(
    keys: &mut [T],
    values: &mut [T],
    (tokens, config): (usize, &Config),
    from: &mut &[u8],
) {
    for layer in caching(config) {
        let (place, row) = (place::<T>(config, layer, keys.len()), T::row(config.kv_dim_of(layer)));
        take(&mut keys[place.clone()][..tokens.next_multiple_of(KEY_TILE) * row], from);
        take(&mut values[place][..tokens * row], from);
    }
}

/// The layers that have keys and values of their own.
fn caching(config: &Config) -> impl Iterator<Item = usize> {
    (0..config.n_own()).filter(|&layer| !config.recurrent.contains(layer))
}

/// Tells models apart: the file's index (every key and tensor), its size, and the first bytes of
/// every tensor. Reading all weights would take seconds.
pub(crate) fn fingerprint(gguf: &Gguf<'_>) -> u64 {
    const SAMPLE: usize = 256;
    let index = gguf.bytes().get(..gguf.index_bytes()).unwrap_or_default();
    let start = checksum(index) ^ gguf.bytes().len() as u64;
    gguf.tensors().fold(start, |sum, tensor| {
        let data = tensor.data();
        mix(sum, checksum(data.get(..SAMPLE).unwrap_or(data)))
    })
}

/// Each step is a bijection of the sum, so that bytes which differ in one word never have the same.
fn checksum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(place, byte)| *place = *byte);
    let add = |sum, word: &[u8; 8]| mix(sum, u64::from_le_bytes(*word));
    let sum = words.iter().fold(bytes.len() as u64, add);
    mix(sum, u64::from_le_bytes(last))
}

fn mix(sum: u64, word: u64) -> u64 {
    // 2^64 divided by the golden ratio, odd.
    (sum ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
}

/// Zeros where the bytes end before it.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b))
}
