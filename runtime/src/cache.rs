//! The key-value cache of one layer: keys in transposed tiles of 16 positions, values as they come
//! (see `mote_kernels::Attend`). It is not cleared: what was not written is never read.

use core::ops::Range;

use bytemuck::Pod;
use mote_kernels::{ActivationsMut, Cache, CacheType, KEY_TILE, Kernels, Q8_BLOCK, Q8_BYTES};

use crate::config::Config;
use crate::executor::{Chunks, Parts};
use crate::plan::Store;

/// What keys and values are stored as.
pub(crate) trait Element: Pod + Send {
    /// The cache that is made of it.
    const TYPE: CacheType;
    /// Bytes of the lanes in the rows of a tile of keys, from its start on and then again.
    const LANE_BYTES: &'static [usize];

    /// Elements of a token's keys, and of its values.
    fn row(kv_dim: usize) -> usize {
        Self::TYPE.bytes(kv_dim) / size_of::<Self>()
    }

    /// Stores one token's keys (kv heads × head_dim), scattered over the lanes of its tile, and its
    /// values. `spare` has room for the token's keys.
    fn store(
        kernels: &Kernels,
        lane: usize,
        token: (&[f32], &[f32]),
        keys: &mut [Self],
        values: &mut [Self],
        spare: &mut [f32],
    );
}

fn scatter<T: Copy>(key: &[T], tile: &mut [T], lane: usize) {
    for (cells, &k) in tile.chunks_exact_mut(KEY_TILE).zip(key) {
        cells[lane] = k;
    }
}

impl Element for f32 {
    const TYPE: CacheType = CacheType::F32;
    const LANE_BYTES: &'static [usize] = &[4];

    fn store(
        _: &Kernels,
        lane: usize,
        (key, value): (&[f32], &[f32]),
        keys: &mut [f32],
        values: &mut [f32],
        _: &mut [f32],
    ) {
        scatter(key, keys, lane);
        values.copy_from_slice(value);
    }
}

/// The bits of halves.
impl Element for u16 {
    const TYPE: CacheType = CacheType::F16;
    const LANE_BYTES: &'static [usize] = &[2];

    fn store(
        kernels: &Kernels,
        lane: usize,
        (key, value): (&[f32], &[f32]),
        keys: &mut [u16],
        values: &mut [u16],
        spare: &mut [f32],
    ) {
        let halves: &mut [u16] = bytemuck::cast_slice_mut(spare);
        let halves = &mut halves[..key.len()];
        kernels.narrow(key, halves);
        scatter(halves, keys, lane);
        kernels.narrow(value, values);
    }
}

/// The bytes of Q8_0 blocks.
impl Element for u8 {
    const TYPE: CacheType = CacheType::Q8_0;
    /// Scales, then codes.
    const LANE_BYTES: &'static [usize] = &{
        let mut bytes = [1; 1 + Q8_BLOCK];
        bytes[0] = 2;
        bytes
    };

    fn store(
        kernels: &Kernels,
        lane: usize,
        (key, value): (&[f32], &[f32]),
        keys: &mut [u8],
        values: &mut [u8],
        spare: &mut [f32],
    ) {
        let blocks = keys.chunks_exact_mut(Q8_BYTES * KEY_TILE);
        for ((codes, scale), block) in quantized(kernels, key, spare).zip(blocks) {
            let (scales, tile) = block.split_at_mut(2 * KEY_TILE);
            scales[2 * lane..][..2].copy_from_slice(&scale.to_le_bytes());
            scatter(codes, tile, lane);
        }
        let blocks = values.chunks_exact_mut(Q8_BYTES);
        for ((codes, scale), block) in quantized(kernels, value, spare).zip(blocks) {
            let (front, rest) = block.split_at_mut(2);
            front.copy_from_slice(&scale.to_le_bytes());
            rest.copy_from_slice(codes);
        }
    }
}

/// The blocks of a row, each its codes and the bits of its scale: 8-bit activations, the scale
/// rounded to a half.
fn quantized<'a>(
    kernels: &Kernels,
    row: &[f32],
    spare: &'a mut [f32],
) -> impl Iterator<Item = (&'a [u8], u16)> {
    let n = ActivationsMut::stride(row.len());
    let (codes, rest) = spare.split_at_mut(n / 4);
    let (scales, rest) = rest.split_at_mut(n / 32);
    let (scaled_sums, rest) = rest.split_at_mut(n / 32);
    let (sums, rest) = rest.split_at_mut(n / 16);
    let planes = (bytemuck::cast_slice_mut(&mut *codes), None);
    let sums = bytemuck::cast_slice_mut(sums);
    let mut out = ActivationsMut::new((1, row.len()), planes, scales, sums, scaled_sums);
    kernels.quantize(row, &mut out, 0);
    let halves: &mut [u16] = bytemuck::cast_slice_mut(rest);
    let halves = &mut halves[..n / 32];
    kernels.narrow(scales, halves);
    let codes: &[u8] = bytemuck::cast_slice(codes);
    codes.chunks_exact(Q8_BLOCK).zip(halves.iter().copied())
}

/// The tiles that tokens `first..first + t` of one layer fall into, cut between tiles.
pub(crate) fn tiles<'a, T: Element>(
    keys: &'a mut [T],
    values: &'a mut [T],
    (first, t): (usize, usize),
    kv_dim: usize,
) -> impl Parts<Part = (&'a mut [T], &'a mut [T])> {
    let (start, end) = (first / KEY_TILE * KEY_TILE, (first + t).next_multiple_of(KEY_TILE));
    let row = T::row(kv_dim);
    let (from, to, tile) = (start * row, end * row, KEY_TILE * row);
    (Chunks::new(&mut keys[from..to], tile), Chunks::new(&mut values[from..to], tile))
}

/// Where the keys, or the values, of a layer that has its own lie among `len` elements of all layers.
pub(crate) fn place<T: Element>(c: &Config, layer: usize, len: usize) -> Range<usize> {
    let positions = len / T::row(c.cached_dim()).max(1);
    let from = positions * T::row(c.cached_before(layer));
    from..from + positions * T::row(c.kv_dim_of(layer))
}

impl Store<'_> {
    /// Keys and values that one layer attends to, for reading.
    pub fn layer(&self, c: &Config, layer: usize) -> (Cache<'_>, Cache<'_>) {
        fn part<'a, T: Element>(c: &Config, layer: usize, all: &'a [T]) -> &'a [T] {
            &all[place::<T>(c, c.source(layer), all.len())]
        }
        match self {
            Store::F32 { keys, values } => {
                let part = |all| Cache::F32(part(c, layer, all));
                (part(keys), part(values))
            }
            Store::F16 { keys, values } => {
                let part = |all| Cache::F16(part(c, layer, all));
                (part(keys), part(values))
            }
            Store::Q8_0 { keys, values } => {
                let part = |all| Cache::Q8_0(part(c, layer, all));
                (part(keys), part(values))
            }
        }
    }
}
