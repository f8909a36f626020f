//! Where the weights lie in the file: a directory, checked once against the [`Config`], from which
//! the forward pass takes one layer's matrices at a time.

use bytemuck::{Pod, Zeroable};
use mote_formats::gguf::{Gguf, Tensor};
use mote_kernels::{Matrix, QuantType};

use crate::arch::Architecture;
use crate::config::Config;
use crate::error::{LoadError, TensorError};
use crate::memory::{Carver, Measure};

macro_rules! slots {
    ($($slot:ident = $name:literal, $cols:ident, $rows:ident;)*) => {
        /// A tensor of a layer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Slot { $(#[doc = concat!("`", $name, "`")] $slot),* }

        /// Every slot: its name in the file after `blk.N.`, inputs and outputs.
        const LAYER: &[(Slot, &str, Width, Width)] =
            &[$((Slot::$slot, $name, Width::$cols, Width::$rows)),*];
    };
}

slots! {
    AttentionNorm = "attn_norm.weight", Embd, One;
    Q = "attn_q.weight", Embd, Query;
    K = "attn_k.weight", Embd, KeyValue;
    V = "attn_v.weight", Embd, KeyValue;
    O = "attn_output.weight", Query, Embd;
    QBias = "attn_q.bias", Query, One;
    KBias = "attn_k.bias", KeyValue, One;
    VBias = "attn_v.bias", KeyValue, One;
    OBias = "attn_output.bias", Embd, One;
    QNorm = "attn_q_norm.weight", Head, One;
    KNorm = "attn_k_norm.weight", Head, One;
    PostAttentionNorm = "post_attention_norm.weight", Embd, One;
    FfnNorm = "ffn_norm.weight", Embd, One;
    Gate = "ffn_gate.weight", Embd, Ff;
    Up = "ffn_up.weight", Embd, Ff;
    Down = "ffn_down.weight", Ff, Embd;
    GateBias = "ffn_gate.bias", Ff, One;
    UpBias = "ffn_up.bias", Ff, One;
    DownBias = "ffn_down.bias", Embd, One;
    PostFfnNorm = "post_ffw_norm.weight", Embd, One;
}

/// What every decoder layer has.
pub const REQUIRED: &[Slot] = &[
    Slot::AttentionNorm,
    Slot::Q,
    Slot::K,
    Slot::V,
    Slot::O,
    Slot::FfnNorm,
    Slot::Gate,
    Slot::Up,
    Slot::Down,
];

/// A dimension, as the [`Config`] has it.
#[derive(Clone, Copy)]
enum Width {
    One,
    Embd,
    Query,
    KeyValue,
    Head,
    Ff,
}

impl Width {
    fn of(self, config: &Config) -> usize {
        match self {
            Width::One => 1,
            Width::Embd => config.n_embd,
            Width::Query => config.q_dim(),
            Width::KeyValue => config.kv_dim(),
            Width::Head => config.head_dim,
            Width::Ff => config.n_ff,
        }
    }
}

const EMBEDDING: &str = "token_embd.weight";
const OUTPUT_NORM: &str = "output_norm.weight";
const OUTPUT: &str = "output.weight";
const ROPE_DIVISORS: &str = "rope_freqs.weight";

/// Tensors that belong to no layer, in front of the directory.
const GLOBALS: [&str; 4] = [EMBEDDING, OUTPUT_NORM, OUTPUT, ROPE_DIVISORS];

/// Where a tensor lies. All zero: there is none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
struct Record {
    offset: u64,
    cols: u32,
    rows: u32,
    /// Index into [`QuantType::ALL`].
    kind: u32,
    reserved: u32,
}

/// The directory of a model's tensors.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    file: &'a [u8],
    records: &'a [Record],
}

/// The tensors of one layer; every vector and matrix has the shape that [`Config`] gives it.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    weights: Weights<'a>,
    index: usize,
}

/// The number of tokens in the vocabulary: rows of the embedding.
pub fn n_vocab(gguf: &Gguf<'_>) -> Result<usize, LoadError> {
    let missing = LoadError::Tensor(EMBEDDING, None, TensorError::Missing);
    let tensor = gguf.tensor(EMBEDDING).ok_or(missing)?;
    usize::try_from(tensor.shape()[1]).map_err(|_| missing)
}

impl<'a> Weights<'a> {
    fn len(config: &Config) -> usize {
        GLOBALS.len() + config.n_layers * LAYER.len()
    }

    /// Bytes of the directory.
    pub fn measure(config: &Config, measure: &mut Measure) {
        measure.add::<Record>(Self::len(config));
    }

    /// Finds and checks every tensor. Tensors that the architecture does not know are left alone.
    pub fn new(
        gguf: &Gguf<'a>,
        architecture: &Architecture,
        config: &Config,
        carver: &mut Carver<'a>,
    ) -> Result<Self, LoadError> {
        let records: &mut [Record] = carver.take(Self::len(config))?;
        records.fill(Record::default());
        if !gguf.bytes().as_ptr().addr().is_multiple_of(align_of::<f32>()) {
            return Err(LoadError::Misaligned);
        }
        for tensor in gguf.tensors() {
            if let Some(place) = Place::of(tensor.name(), architecture, config) {
                records[place.index] = place.record(&tensor)?;
            }
        }
        let missing = |index: usize| records[index].rows == 0;
        for (index, name) in [EMBEDDING, OUTPUT_NORM].into_iter().enumerate() {
            if missing(index) {
                return Err(LoadError::Tensor(name, None, TensorError::Missing));
            }
        }
        for layer in 0..config.n_layers {
            for &slot in REQUIRED.iter().chain(architecture.required) {
                if missing(GLOBALS.len() + layer * LAYER.len() + slot as usize) {
                    let name = LAYER[slot as usize].1;
                    return Err(LoadError::Tensor(name, Some(layer as u32), TensorError::Missing));
                }
            }
        }
        Ok(Weights { file: gguf.bytes(), records })
    }

    fn matrix(&self, index: usize) -> Option<Matrix<'a>> {
        let record = self.records[index];
        let kind = *QuantType::ALL.get(record.kind as usize)?;
        let (rows, cols) = (record.rows as usize, record.cols as usize);
        let bytes = kind.row_bytes(cols)? * rows;
        let data = self.file.get(record.offset as usize..)?.get(..bytes)?;
        Matrix::new(kind, rows, cols, data).filter(|_| rows > 0)
    }

    fn vector(&self, index: usize) -> Option<&'a [f32]> {
        let matrix = self.matrix(index)?;
        bytemuck::try_cast_slice(matrix.data()).ok()
    }

    /// n_vocab × n_embd.
    pub fn embedding(&self) -> Matrix<'a> {
        self.matrix(0).unwrap_or(NOTHING)
    }

    /// The norm before the head (n_embd).
    pub fn output_norm(&self) -> &'a [f32] {
        self.vector(1).unwrap_or(&[])
    }

    /// The head, n_vocab × n_embd: its own weights, or else the embedding's.
    pub fn output(&self) -> Matrix<'a> {
        self.matrix(2).unwrap_or(self.embedding())
    }

    /// Divisors of the rotary frequencies (rope dims / 2), or nothing.
    pub fn rope_divisors(&self) -> &'a [f32] {
        self.vector(3).unwrap_or(&[])
    }

    /// One layer. Panics if there is no such layer.
    pub fn layer(&self, index: usize) -> Layer<'a> {
        assert!(GLOBALS.len() + (index + 1) * LAYER.len() <= self.records.len());
        Layer { weights: *self, index }
    }

    /// Whether every matrix is made of floats.
    pub fn all_float(&self) -> bool {
        self.records.iter().all(|record| {
            let kind = QuantType::ALL.get(record.kind as usize);
            record.rows == 0 || kind.is_some_and(|kind| kind.integer().is_none())
        })
    }
}

/// Stands for a required matrix, which is always there.
const NOTHING: Matrix<'static> = match Matrix::new(QuantType::F32, 0, 0, &[]) {
    Some(matrix) => matrix,
    None => unreachable!(),
};

impl<'a> Layer<'a> {
    fn index(&self, slot: Slot) -> usize {
        GLOBALS.len() + self.index * LAYER.len() + slot as usize
    }

    /// A required matrix.
    pub fn matrix(&self, slot: Slot) -> Matrix<'a> {
        self.weights.matrix(self.index(slot)).unwrap_or(NOTHING)
    }

    /// A vector, if the layer has it.
    pub fn vector(&self, slot: Slot) -> Option<&'a [f32]> {
        self.weights.vector(self.index(slot))
    }
}

/// Where a name belongs, and the shape that it must have.
struct Place {
    index: usize,
    name: &'static str,
    layer: Option<u32>,
    cols: usize,
    rows: usize,
    vector: bool,
}

impl Place {
    fn of(name: &str, architecture: &Architecture, config: &Config) -> Option<Place> {
        if let Some(index) = GLOBALS.iter().position(|&global| global == name) {
            let (cols, rows) = match GLOBALS[index] {
                OUTPUT_NORM => (config.n_embd, 1),
                ROPE_DIVISORS => (config.rope.dims / 2, 1),
                _ => (config.n_embd, config.n_vocab),
            };
            let vector = matches!(GLOBALS[index], OUTPUT_NORM | ROPE_DIVISORS);
            return Some(Place { index, name: GLOBALS[index], layer: None, cols, rows, vector });
        }
        let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
        let layer: usize = layer.parse().ok().filter(|&layer| layer < config.n_layers)?;
        let &(slot, name, cols, rows) = LAYER.iter().find(|(_, name, ..)| *name == rest)?;
        let known = [REQUIRED, architecture.required, architecture.optional];
        known.iter().any(|slots| slots.contains(&slot)).then(|| Place {
            index: GLOBALS.len() + layer * LAYER.len() + slot as usize,
            name,
            layer: Some(layer as u32),
            cols: cols.of(config),
            rows: rows.of(config),
            vector: matches!(rows, Width::One),
        })
    }

    fn record(&self, tensor: &Tensor<'_>) -> Result<Record, LoadError> {
        let error = |error| LoadError::Tensor(self.name, self.layer, error);
        let found = tensor.shape();
        let expected = [self.cols as u64, self.rows as u64];
        if found[..2] != expected || found[2..] != [1, 1] {
            return Err(error(TensorError::Shape { expected, found }));
        }
        let kind = tensor.kind().map_err(|id| error(TensorError::Type(id)))?;
        // Vectors are used where they lie, as f32.
        if self.vector && kind != QuantType::F32 {
            return Err(error(TensorError::Type(kind.gguf_id())));
        }
        Ok(Record {
            offset: tensor.offset() as u64,
            cols: self.cols as u32,
            rows: self.rows as u32,
            kind: kind as u32,
            reserved: 0,
        })
    }
}
