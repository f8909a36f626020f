//! The key-value cache of one layer: keys in transposed tiles of 16 positions, values as they come
//! (see `mote_kernels::Attend`). It is not cleared: what was not written is never read.

use mote_kernels::{Cache, KEY_TILE, Kernels};

use crate::executor::{Chunks, Parts};
use crate::plan::Store;

/// A type that keys and values are stored as.
pub(crate) trait Element: Copy + Send {
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

impl Element for u16 {
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

/// The tiles that tokens `first..first + t` of one layer fall into, cut between tiles.
pub(crate) fn tiles<'a, T: Element>(
    keys: &'a mut [T],
    values: &'a mut [T],
    (first, t): (usize, usize),
    kv_dim: usize,
) -> impl Parts<Part = (&'a mut [T], &'a mut [T])> {
    let (start, end) = (first / KEY_TILE * KEY_TILE, (first + t).next_multiple_of(KEY_TILE));
    let (from, to, tile) = (start * kv_dim, end * kv_dim, KEY_TILE * kv_dim);
    (Chunks::new(&mut keys[from..to], tile), Chunks::new(&mut values[from..to], tile))
}

impl Store<'_> {
    /// One layer's keys and values, for reading.
    pub fn layer(&self, layer: usize, n_layers: usize) -> (Cache<'_>, Cache<'_>) {
        match self {
            Store::F32 { keys, values } => {
                let n = keys.len() / n_layers;
                let range = layer * n..(layer + 1) * n;
                (Cache::F32(&keys[range.clone()]), Cache::F32(&values[range]))
            }
            Store::F16 { keys, values } => {
                let n = keys.len() / n_layers;
                let range = layer * n..(layer + 1) * n;
                (Cache::F16(&keys[range.clone()]), Cache::F16(&values[range]))
            }
        }
    }
}
