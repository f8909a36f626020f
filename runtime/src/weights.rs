//! Where the weights lie in the file: a directory, checked once against the [`Config`], from which
//! the forward pass takes one layer's matrices at a time.

mod slots;

use bytemuck::{Pod, Zeroable};
use mote_formats::gguf::{Gguf, Tensor};
use mote_kernels::{Matrix, QuantType};

use crate::arch::Architecture;
use crate::config::{Config, NormKind, Recurrence, Stretch};
use crate::error::{LoadError, TensorError};
use crate::memory::{Carver, Measure};
pub use slots::{FFN_NORM, Fused, GATE_UP, GATE_UP_BIAS, QKV, QKV_BIAS, Slot, required};
use slots::{LAYER, MIXING, Width};

/// A tensor that belongs to no layer.
#[derive(Clone, Copy)]
#[repr(usize)]
enum Global {
    Embedding,
    EmbeddingNorm,
    EmbeddingNormBias,
    OutputNorm,
    OutputNormBias,
    Output,
    OutputBias,
    RopeDivisors,
    RopeShort,
    RopeLong,
    Positions,
    TokenTypes,
    LayerEmbedding,
    LayerProjection,
    LayerProjectionNorm,
}

const EMBEDDING: &str = "token_embd.weight";
/// The embedding of kinds of segments.
pub(crate) const TOKEN_TYPES: &str = "token_types.weight";

/// Their names in the file. They stand in front of the directory.
const GLOBALS: [(Global, &str); 15] = [
    (Global::Embedding, EMBEDDING),
    (Global::EmbeddingNorm, "token_embd_norm.weight"),
    (Global::EmbeddingNormBias, "token_embd_norm.bias"),
    (Global::OutputNorm, "output_norm.weight"),
    (Global::OutputNormBias, "output_norm.bias"),
    (Global::Output, "output.weight"),
    (Global::OutputBias, "output.bias"),
    (Global::RopeDivisors, "rope_freqs.weight"),
    (Global::RopeShort, "rope_factors_short.weight"),
    (Global::RopeLong, "rope_factors_long.weight"),
    (Global::Positions, "position_embd.weight"),
    (Global::TokenTypes, TOKEN_TYPES),
    (Global::LayerEmbedding, "per_layer_token_embd.weight"),
    (Global::LayerProjection, "per_layer_model_proj.weight"),
    (Global::LayerProjectionNorm, "per_layer_proj_norm.weight"),
];

impl Global {
    /// Inputs and outputs (one output: a vector), or `None` if a model with these facts has no use
    /// for it.
    fn shape(self, c: &Config) -> Option<(usize, usize)> {
        let layers = c.n_layers * c.layer_embd;
        match self {
            Global::Embedding => Some((c.embedding_width, c.n_vocab)),
            Global::Output => c.causal.then_some((c.n_embd, c.n_vocab)),
            Global::EmbeddingNorm => c.embedding_norm.then_some((c.n_embd, 1)),
            Global::EmbeddingNormBias => {
                (c.embedding_norm && c.norm == NormKind::Layer).then_some((c.n_embd, 1))
            }
            Global::OutputNorm => {
                (!c.residual_norm && c.norm != NormKind::None).then_some((c.n_embd, 1))
            }
            Global::OutputNormBias => {
                (c.norm == NormKind::Layer && !c.residual_norm).then_some((c.n_embd, 1))
            }
            Global::OutputBias => c.causal.then_some((c.n_vocab, 1)),
            Global::RopeDivisors => (c.rope.dims > 0).then_some((c.rope.dims / 2, 1)),
            Global::RopeShort | Global::RopeLong => {
                matches!(c.rope.stretch, Stretch::Long { .. }).then_some((c.rope.dims / 2, 1))
            }
            Global::Positions => {
                (c.learned_positions > 0).then_some((c.n_embd, c.learned_positions))
            }
            Global::TokenTypes => (c.token_types > 0).then_some((c.n_embd, c.token_types)),
            Global::LayerEmbedding => (layers > 0).then_some((layers, c.n_vocab)),
            Global::LayerProjection => (layers > 0).then_some((c.n_embd, layers)),
            Global::LayerProjectionNorm => (layers > 0).then_some((c.layer_embd, 1)),
        }
    }

    /// Whether a model that has use for it cannot do without.
    fn required(self, c: &Config) -> bool {
        match self {
            // The embedding takes its place where it is as wide.
            Global::Output => c.embedding_width != c.n_embd,
            Global::OutputBias | Global::RopeDivisors => false,
            _ => true,
        }
    }
}

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

/// What tokens mean to each layer.
#[derive(Clone, Copy, Debug)]
pub struct LayerEmbedding<'a> {
    /// n_vocab × (n_layers * layer_embd): a row for each token, in it a part for each layer.
    pub table: Matrix<'a>,
    /// (n_layers * layer_embd) × n_embd: from the embedding to what is added to that.
    pub projection: Matrix<'a>,
    /// The norm of what is projected, of each layer's part (layer_embd).
    pub norm: &'a [f32],
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
            match Place::of(tensor.name(), architecture, config) {
                Some(place) => place.record(&tensor, records)?,
                None => check_unused(tensor.name(), config)?,
            }
        }
        let missing = |index: usize| records.get(index).is_none_or(|record| record.rows == 0);
        for (global, name) in GLOBALS {
            let needed = global.required(config) && global.shape(config).is_some();
            if needed && missing(global as usize) {
                return Err(LoadError::Tensor(name, None, TensorError::Missing));
            }
        }
        for layer in 0..config.n_layers {
            let needed = |slot: &Slot| slot.is_needed(config, layer);
            let own = architecture.required.iter().copied().filter(needed);
            for slot in required(config, layer).chain(own) {
                if missing(GLOBALS.len() + layer * LAYER.len() + slot as usize) {
                    let renamed = architecture.fused.iter().find(|fused| *fused.slots == [slot]);
                    let name = renamed.map_or(slot.name(), |fused| fused.name);
                    return Err(LoadError::Tensor(name, Some(layer as u32), TensorError::Missing));
                }
            }
        }
        Ok(Weights { file: gguf.bytes(), records })
    }

    fn matrix(&self, index: usize) -> Option<Matrix<'a>> {
        let record = self.records.get(index)?;
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

    /// n_vocab × embedding_width.
    pub fn embedding(&self) -> Matrix<'a> {
        self.matrix(Global::Embedding as usize).unwrap_or(NOTHING)
    }

    /// The norm behind the embedding (n_embd), and its bias, if it has one.
    pub fn embedding_norm(&self) -> (Option<&'a [f32]>, Option<&'a [f32]>) {
        let vector = |global| self.vector(global as usize);
        (vector(Global::EmbeddingNorm), vector(Global::EmbeddingNormBias))
    }

    /// The embedding of positions, learned_positions × n_embd, if the model has one.
    pub fn positions(&self) -> Option<Matrix<'a>> {
        self.matrix(Global::Positions as usize)
    }

    /// The embedding of kinds of segments, token_types × n_embd, if the model has one.
    pub fn token_types(&self) -> Option<Matrix<'a>> {
        self.matrix(Global::TokenTypes as usize)
    }

    /// What a token means to each layer, if the model has that.
    pub fn layer_embedding(&self) -> Option<LayerEmbedding<'a>> {
        Some(LayerEmbedding {
            table: self.matrix(Global::LayerEmbedding as usize)?,
            projection: self.matrix(Global::LayerProjection as usize)?,
            norm: self.vector(Global::LayerProjectionNorm as usize)?,
        })
    }

    /// The norm before the head (n_embd), and its bias, if it has one.
    pub fn output_norm(&self) -> (Option<&'a [f32]>, Option<&'a [f32]>) {
        let vector = |global| self.vector(global as usize);
        (vector(Global::OutputNorm), vector(Global::OutputNormBias))
    }

    /// The head, n_vocab × n_embd: its own weights, or else the embedding's.
    pub fn output(&self) -> Matrix<'a> {
        self.matrix(Global::Output as usize).unwrap_or(self.embedding())
    }

    /// The head's bias (n_vocab), if it has one.
    pub fn output_bias(&self) -> Option<&'a [f32]> {
        self.vector(Global::OutputBias as usize)
    }

    /// Divisors of the rotary frequencies (rope dims / 2) of a session of `n_ctx` positions, or nothing.
    pub fn rope_divisors(&self, stretch: Stretch, n_ctx: usize) -> &'a [f32] {
        let global = match stretch {
            Stretch::None => return &[],
            Stretch::Long { original } if n_ctx > original => Global::RopeLong,
            Stretch::Long { .. } => Global::RopeShort,
            Stretch::Divided | Stretch::Yarn { .. } => Global::RopeDivisors,
        };
        self.vector(global as usize).unwrap_or(&[])
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
#[expect(clippy::unreachable, reason = "computed when it is compiled")]
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

    /// One expert's part of a required matrix of rows for all of them.
    pub fn expert(&self, slot: Slot, index: usize, rows: usize) -> Matrix<'a> {
        let all = self.matrix(slot);
        if all.rows() == 0 { all } else { all.part(index * rows, rows) }
    }

    /// A vector, if the layer has it.
    pub fn vector(&self, slot: Slot) -> Option<&'a [f32]> {
        self.weights.vector(self.index(slot))
    }
}

/// Refuses a tensor that other architectures have: left out, it would make the logits wrong without a word.
/// Others without a place are left alone.
fn check_unused(name: &str, config: &Config) -> Result<(), LoadError> {
    let parts = name.strip_prefix("blk.").and_then(|name| name.split_once('.'));
    let Some((layer, rest)) = parts else { return Ok(()) };
    let Some(layer) = layer.parse().ok().filter(|&layer: &u32| (layer as usize) < config.n_layers)
    else {
        return Ok(());
    };
    const OTHERS: [&str; 3] = [QKV_BIAS.name, "attn_q_a.bias", "attn_kv_a_mqa.bias"];
    // llama.cpp wants them in the first layer, too, and does not use them there.
    let idle = matches!(config.recurrence, Recurrence::Dimensions { .. }) && layer == 0;
    let used = LAYER.iter().filter(|(slot, ..)| !idle || !MIXING.contains(slot));
    let mut names = used.map(|&(_, name, ..)| name).chain(OTHERS);
    match names.find(|&name| name == rest) {
        Some(name) => Err(LoadError::Tensor(name, Some(layer), TensorError::Unused)),
        None => Ok(()),
    }
}

/// Where a name belongs, and the shape that it must have.
struct Place {
    name: &'static str,
    layer: Option<u32>,
    /// Inputs of a matrix; 1 of a vector.
    cols: usize,
    /// How many of the shape lie one after the other; the last dimension, where it is not 1.
    stacked: usize,
    /// The records that it fills, and how many of its outputs (of a vector: floats) belong to each,
    /// in their order.
    parts: [(usize, usize); 3],
    vector: bool,
}

impl Place {
    fn of(name: &str, architecture: &Architecture, config: &Config) -> Option<Place> {
        if let Some(&(global, name)) = GLOBALS.iter().find(|(_, global)| *global == name) {
            let global = match global {
                Global::EmbeddingNorm if config.output_norm_misnamed => Global::OutputNorm,
                _ => global,
            };
            let (cols, rows) = global.shape(config)?;
            let is_matrix = matches!(
                global,
                Global::Embedding
                    | Global::Output
                    | Global::Positions
                    | Global::TokenTypes
                    | Global::LayerEmbedding
                    | Global::LayerProjection
            );
            let mut place = Place::new(name, None, !is_matrix);
            place.add(0, (global as usize, cols, rows));
            return Some(place);
        }
        let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
        // One spelling: a layer's tensor under a second name would take the first one's place.
        if layer.starts_with('+') || layer.len() > 1 && layer.starts_with('0') {
            return None;
        }
        let layer: usize = layer.parse().ok().filter(|&layer| layer < config.n_layers)?;
        let fused = architecture.fused.iter().find(|fused| fused.name == rest);
        let (name, slots) = match fused {
            Some(fused) => (fused.name, fused.slots),
            None => {
                let (slot, name, ..) = LAYER.iter().find(|(_, name, ..)| *name == rest)?;
                (*name, core::slice::from_ref(slot))
            }
        };
        let known = |slot| {
            let listed = [architecture.required, architecture.optional];
            let listed = listed.iter().any(|slots| slots.contains(&slot));
            required(config, layer).any(|known| known == slot) || listed && slot.fits(config, layer)
        };
        let mut place = Place::new(name, Some(layer as u32), false);
        for (part, &slot) in slots.iter().enumerate() {
            let (cols, rows) = slot.shape();
            let index = GLOBALS.len() + layer * LAYER.len() + slot as usize;
            place.vector = matches!(rows, Width::One);
            place.stacked = slot.stacked(config);
            place.add(part, (index, cols.of(config, layer), rows.of(config, layer)));
        }
        slots.iter().all(|&slot| known(slot)).then_some(place)
    }

    fn new(name: &'static str, layer: Option<u32>, vector: bool) -> Place {
        Place { name, layer, cols: 1, stacked: 1, parts: [(0, 0); 3], vector }
    }

    fn add(&mut self, part: usize, (index, cols, rows): (usize, usize, usize)) {
        if let Some(part) = self.parts.get_mut(part) {
            *part = (index, if self.vector { cols } else { rows });
        }
        self.cols = if self.vector { 1 } else { cols };
    }

    fn record(&self, tensor: &Tensor<'_>, records: &mut [Record]) -> Result<(), LoadError> {
        let error = |error| LoadError::Tensor(self.name, self.layer, error);
        let found = tensor.shape();
        let outputs: usize = self.parts.iter().map(|(_, outputs)| outputs).sum();
        let stacked = self.stacked as u64;
        // Rows of vectors may stand in any of the dimensions behind the first.
        let rows = found[1..].iter().fold(1_u64, |rows, &n| rows.saturating_mul(n));
        let found = if self.vector { [found[0], rows, 1, 1] } else { found };
        let (expected, beyond) = match self.vector {
            true => ([outputs as u64, stacked], [1, 1]),
            false => ([self.cols as u64, outputs as u64], [stacked, 1]),
        };
        if found[..2] != expected || found[2..] != beyond {
            let expected = [expected[0], expected[1], beyond[0]];
            return Err(error(TensorError::Shape { expected, found }));
        }
        let kind = tensor.kind().map_err(|id| error(TensorError::Type(id)))?;
        // Vectors are used where they lie, as f32.
        if self.vector && kind != QuantType::F32 {
            return Err(error(TensorError::NotF32(kind.gguf_id())));
        }
        // The file's index was checked against it.
        let output_bytes = kind.row_bytes(self.cols).unwrap_or(0);
        let mut offset = tensor.offset();
        for &(index, outputs) in self.parts.iter().filter(|(_, outputs)| *outputs > 0) {
            let outputs = outputs * self.stacked;
            let (cols, rows) = if self.vector { (outputs, 1) } else { (self.cols, outputs) };
            // Fused and on its own.
            let free = records.get_mut(index).filter(|record| record.rows == 0);
            *free.ok_or(error(TensorError::Twice))? = Record {
                offset: offset as u64,
                cols: cols as u32,
                rows: rows as u32,
                kind: kind as u32,
                reserved: 0,
            };
            offset += outputs * output_bytes;
        }
        Ok(())
    }
}
