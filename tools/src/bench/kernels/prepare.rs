//! The operands of an operation.

use std::ops::{Deref, DerefMut};

use mote_kernels::{
    ActivationsMut, Attend, Cache, CacheType, Kernels, Matrix, Precision, QuantType, Rows, Tile,
    arch, attend_scratch_len,
};

use super::operation::{Operation, Size};

/// Bytes of weights that no cache holds.
const MEMORY_BYTES: usize = 64 << 20;

/// Tokens of a product by panels, and queries of a prefill.
const GEMM_TOKENS: usize = 64;
const QUERIES: usize = 16;

/// Heads as many models have them.
const HEAD_DIM: usize = 64;
const HEADS: usize = 4;
const KV_HEADS: usize = 4;

/// Passes after which an operation that overwrites its input gets it anew: a gate halves small
/// values each time.
const RENEWAL: usize = 16;

/// Runs an operation once.
type Pass = Box<dyn FnMut(&Kernels)>;

/// An operation that can be repeated.
pub struct Prepared {
    /// Does it once.
    pub pass: Pass,
    /// Bytes of weights, of keys and values, or what a vector operation reads and writes.
    pub bytes: usize,
    /// Multiply-adds, or elements.
    pub operations: usize,
}

/// Makes the operands. tests/guards/instructions.py looks for the call, too.
#[inline(never)]
pub fn prepare(operation: Operation, size: Size) -> Prepared {
    match operation {
        Operation::Gemv(kind, precision, tokens) => {
            let (rows, k) = match size {
                Size::Cache => (32, 1024),
                Size::Layer => (2048, 2048),
                Size::Memory => (MEMORY_BYTES / row_bytes(kind, 2048), 2048),
            };
            product(kind, precision, [rows, k, tokens])
        }
        Operation::Gemm(kind, precision) => {
            let (rows, k) = match size {
                Size::Cache => (32, 1024),
                Size::Layer => (512, 2048),
                Size::Memory => (1024, 8192),
            };
            product(kind, precision, [rows, k, GEMM_TOKENS])
        }
        Operation::AttendOne(cache) => attention(cache, 1, size),
        Operation::AttendMany(cache) => attention(cache, QUERIES, size),
        vector => {
            let n = match size {
                Size::Cache => 2048,
                Size::Layer => 1 << 15,
                Size::Memory => 1 << 22,
            };
            self::vector(vector, n)
        }
    }
}

fn row_bytes(kind: QuantType, k: usize) -> usize {
    k / kind.block_len() * kind.block_bytes()
}

/// Values between -1 and 1.
fn values(n: usize) -> Aligned<f32> {
    let mut values = Aligned::new(n, 0.0);
    // One period, repeated: sines take long.
    let period: Vec<f32> = (0..n.min(4096)).map(|i| (i as f32).sin()).collect();
    values.chunks_mut(4096).for_each(|part| part.copy_from_slice(&period[..part.len()]));
    values
}

/// Quantised rows in memory of their own.
struct Planes {
    shape: (usize, usize),
    high: Aligned<i8>,
    low: Option<Aligned<i8>>,
    scales: Aligned<f32>,
    sums: Aligned<i32>,
    scaled_sums: Aligned<f32>,
}

impl Planes {
    fn new(tokens: usize, k: usize, precision: Precision) -> Self {
        let n = tokens * ActivationsMut::stride(k);
        Planes {
            shape: (tokens, k),
            high: Aligned::new(n, 0),
            low: (precision == Precision::Bits16).then(|| Aligned::new(n, 0)),
            scales: Aligned::new(n / 32, 0.0),
            sums: Aligned::new(n / 16, 0),
            scaled_sums: Aligned::new(n / 32, 0.0),
        }
    }

    fn rows(&mut self) -> ActivationsMut<'_> {
        let planes = (&mut *self.high, self.low.as_deref_mut());
        ActivationsMut::new(
            self.shape,
            planes,
            &mut self.scales,
            &mut self.sums,
            &mut self.scaled_sums,
        )
    }
}

/// Encodes a row, or makes one up for encodings that are read only.
fn encode(kind: QuantType, x: &[f32], row: &mut [u8]) {
    if kind.is_written() {
        return kind.encode(x, row);
    }
    // Without the highest bit of the exponent all halves are numbers below 2.
    for (byte, at) in row.iter_mut().zip(0..) {
        *byte = (2_654_435_761_u32.wrapping_mul(at) >> 24) as u8 & 0xbf;
    }
}

/// A matrix product.
fn product(kind: QuantType, precision: Precision, [rows, k, tokens]: [usize; 3]) -> Prepared {
    let x = values(tokens * k);
    let mut planes = Planes::new(tokens, k, precision);
    for (token, x) in x.chunks_exact(k).enumerate() {
        arch::best().quantize(x, &mut planes.rows(), token);
    }
    // Where no weight is read twice, equal rows are as good as others.
    let mut row = vec![0; row_bytes(kind, k)];
    encode(kind, &x[..k], &mut row);
    let mut data = Aligned::new(rows * row.len(), 0);
    data.chunks_exact_mut(row.len()).for_each(|to| to.copy_from_slice(&row));
    let bytes = data.len();
    let mut out = Aligned::new(rows * tokens, 0.0);
    let mut scratch = Aligned::new(Kernels::panel_bytes(k) / 4, 0.0);
    let pass = move |kernels: &Kernels| {
        // Rows are whole blocks: `k` is a multiple of every block's length.
        let Some(weights) = Matrix::new(kind, rows, k, &data) else { return };
        let input = match kind.integer() {
            Some(_) => Rows::new((tokens, k), None, Some(planes.rows().freeze())),
            None => Rows::new((tokens, k), Some(&x), None),
        };
        kernels.matmul(&weights, &input, &mut Tile::new(&mut out, tokens, rows), &mut scratch);
    };
    Prepared { pass: Box::new(pass), bytes, operations: rows * k * tokens }
}

/// The last `tokens` positions of a context attend to all of it, head by head.
fn attention(cache: CacheType, tokens: usize, size: Size) -> Prepared {
    let positions = match size {
        Size::Cache => 128,
        Size::Layer => 1024,
        Size::Memory => 16384,
    };
    let wide = values(positions * KV_HEADS * HEAD_DIM);
    let mut half = Aligned::new(wide.len(), 0);
    arch::best().narrow(&wide, &mut half);
    let queries = values(tokens * HEADS * HEAD_DIM);
    let mut out = Aligned::new(queries.len(), 0.0);
    let mut scratch = Aligned::new(attend_scratch_len(HEAD_DIM), 0.0);
    // Keys and values are not the same memory.
    let (wide2, half2) = (wide.clone(), half.clone());
    // A code of 60, and twice that byte are a scale of 1.06.
    let codes = Aligned::new(CacheType::Q8_0.bytes(wide.len()), 0x3cu8);
    let codes2 = codes.clone();
    let pass = move |kernels: &Kernels| {
        let (keys, values) = match cache {
            CacheType::F32 => (Cache::F32(&wide), Cache::F32(&wide2)),
            CacheType::F16 => (Cache::F16(&half), Cache::F16(&half2)),
            CacheType::Q8_0 => (Cache::Q8_0(&codes), Cache::Q8_0(&codes2)),
        };
        for kv_head in 0..KV_HEADS {
            let job = Attend {
                queries: &queries,
                query_stride: HEADS * HEAD_DIM,
                tokens,
                heads: HEADS,
                head_dim: HEAD_DIM,
                keys,
                values,
                kv_heads: KV_HEADS,
                kv_head,
                first: positions - tokens,
                ahead: 0,
                end: positions,
                window: usize::MAX,
                scale: 0.125,
                softcap: 0.0,
                slopes: &[],
                sinks: &[],
            };
            let mut tile = Tile::new(&mut out, tokens, HEADS * HEAD_DIM);
            kernels.attend(&job, &mut tile, &mut scratch);
        }
    };
    let cells = positions * KV_HEADS * HEAD_DIM;
    Prepared {
        pass: Box::new(pass),
        bytes: 2 * cache.bytes(cells),
        operations: 2 * cells * tokens * HEADS,
    }
}

/// An operation on vectors of `n` floats.
fn vector(operation: Operation, n: usize) -> Prepared {
    let x = values(n);
    let weight = values(n);
    let mut y = x.clone();
    let (pass, floats): (Pass, usize) = match operation {
        Operation::Quantize(precision) => {
            let mut planes = Planes::new(1, n, precision);
            (Box::new(move |kernels| kernels.quantize(&x, &mut planes.rows(), 0)), n)
        }
        Operation::LayerNorm => {
            let pass = move |kernels: &Kernels| {
                kernels.layer_norm(&x, &weight, &weight, 1e-5, &mut y);
            };
            (Box::new(pass), 3 * n)
        }
        Operation::ExpSum => {
            let mut pass = renewed(x, |kernels, y| {
                kernels.exp_sum(y);
            });
            (Box::new(move |kernels| pass(kernels)), 2 * n)
        }
        Operation::Rope(layout) => {
            let (cos, sin) = (vec![0.8; HEAD_DIM / 2], vec![0.6; HEAD_DIM / 2]);
            let pass = move |kernels: &Kernels| {
                let heads = y.chunks_exact_mut(HEAD_DIM);
                heads.for_each(|head| kernels.rope(layout, head, &cos, &sin));
            };
            (Box::new(pass), 2 * n)
        }
        Operation::Gate(gate) => {
            let pass = renewed(x, move |kernels, y| kernels.gate(gate, y, &weight));
            (Box::new(pass), 3 * n)
        }
        Operation::Activate(gate) => {
            let pass = renewed(x, move |kernels, y| kernels.activate(gate, y));
            (Box::new(pass), 2 * n)
        }
        Operation::Narrow => {
            let mut out = Aligned::new(n, 0);
            (Box::new(move |kernels| kernels.narrow(&x, &mut out)), n)
        }
        // The others are no operations on vectors.
        _ => (Box::new(move |kernels| kernels.rms_norm(&x, &weight, 1e-5, &mut y)), 3 * n),
    };
    Prepared { pass, bytes: 4 * floats, operations: n }
}

/// An operation in place, whose input is made anew now and then.
fn renewed(x: Aligned<f32>, operation: impl Fn(&Kernels, &mut [f32])) -> impl FnMut(&Kernels) {
    let mut y = x.clone();
    let mut passes = 0;
    move |kernels| {
        operation(kernels, &mut y);
        passes += 1;
        if passes % RENEWAL == 0 {
            y.copy_from_slice(&x);
        }
    }
}

/// Values that begin at a cache line, as those of a session do.
struct Aligned<T> {
    values: Vec<T>,
    first: usize,
    len: usize,
}

impl<T: Copy> Aligned<T> {
    fn new(len: usize, value: T) -> Self {
        let values = vec![value; len + 64];
        let first = values.as_ptr().align_offset(64).min(64);
        Aligned { values, first, len }
    }
}

impl<T: Copy> Clone for Aligned<T> {
    fn clone(&self) -> Self {
        let mut copy = Aligned { values: self.values.clone(), first: 0, len: self.len };
        copy.first = copy.values.as_ptr().align_offset(64).min(64);
        let from = self.first..self.first + self.len;
        copy[..].copy_from_slice(&self.values[from]);
        copy
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.values[self.first..self.first + self.len]
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values[self.first..self.first + self.len]
    }
}
