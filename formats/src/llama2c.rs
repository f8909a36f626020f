//! Checkpoints of llama2.c: a header of seven numbers, then matrices in a fixed order.
//!
//! Three versions: 0 has no magic number, and tells by the sign of the vocabulary's size whether the
//! head has a matrix of its own; 1 has a header of 256 bytes; 2 has 8-bit codes with an f32 scale
//! for each group, behind the codes of each matrix. The file must have exactly the size that the header's numbers give.

use std::fmt;
use std::format;
use std::string::String;
use std::vec::Vec;

/// "ak42", as a number.
const MAGIC: u32 = 0x616b_3432;
/// Bytes before the data, with a magic number and without.
const HEADER: usize = 256;
const OLD_HEADER: usize = 28;

/// What each of the header's numbers may be at most.
const LIMITS: [u32; 7] = [1 << 17, 1 << 20, 1024, 1 << 12, 1 << 12, 1 << 20, 1 << 24];

/// The header's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// 0, 1 or 2.
    pub version: u32,
    /// Elements of the embedding.
    pub dim: u64,
    /// Elements between the feed-forward network's matrices.
    pub hidden: u64,
    /// Layers.
    pub layers: u64,
    /// Heads of queries.
    pub heads: u64,
    /// Heads of keys and values.
    pub kv_heads: u64,
    /// Tokens.
    pub vocab: u64,
    /// The longest context.
    pub context: u64,
    /// Whether the head's matrix is the embedding.
    pub shared: bool,
    /// Elements that share a scale; 0 where there are no codes.
    group: u64,
}

/// A checkpoint: borrowed from the file.
#[derive(Clone, Debug)]
pub struct Checkpoint<'a> {
    /// The header's numbers.
    pub sizes: Sizes,
    /// The tensors by the names that they have in a GGUF file, layer by layer.
    pub tensors: Vec<Tensor<'a>>,
}

/// A vector or a matrix.
#[derive(Clone, Debug)]
pub struct Tensor<'a> {
    /// Its name in a GGUF file.
    pub name: String,
    /// Elements along each dimension, neighbours first.
    pub dims: Vec<u64>,
    data: Data<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Data<'a> {
    F32(&'a [u8]),
    Codes { codes: &'a [u8], scales: &'a [u8], group: usize },
}

/// Why a checkpoint is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointError {
    /// Shorter than a header.
    NoHeader,
    /// A version other than 0, 1 and 2.
    Version(u32),
    /// A number of the header that no model has: its place from 0, and the number.
    Size(usize, i32),
    /// Heads that do not divide what they are heads of.
    Heads,
    /// Groups of this many elements do not divide a matrix.
    Group(i32),
    /// The header's numbers give another size.
    Length {
        /// Bytes by the header.
        expected: u64,
        /// Bytes of the file.
        found: u64,
    },
}

/// What a tensor is: its name in a layer, and its rows and columns.
type Part = (&'static str, u64, u64);

impl<'a> Checkpoint<'a> {
    /// Reads the header and finds every tensor.
    pub fn parse(file: &'a [u8]) -> Result<Self, CheckpointError> {
        let sizes = Sizes::parse(file)?;
        let expected = sizes.file_bytes();
        let found = file.len() as u64;
        // Everything below fits the file.
        if expected != Some(found) {
            return Err(CheckpointError::Length { expected: expected.unwrap_or(u64::MAX), found });
        }
        let data = file.get(sizes.header_bytes()..).unwrap_or_default();
        let mut reader = Reader { sizes, rest: data, found: Vec::new() };
        match sizes.version {
            0 => reader.version_0(),
            _ => reader.with_header(),
        }
        let mut tensors = reader.found;
        // Layer by layer, as a forward pass reads them.
        tensors.sort_by_key(|&(place, _)| place);
        let tensors = tensors.into_iter().map(|(_, tensor)| tensor).collect();
        Ok(Checkpoint { sizes, tensors })
    }
}

impl Sizes {
    fn parse(file: &[u8]) -> Result<Self, CheckpointError> {
        let number = |at: usize| {
            let bytes = file.get(at..).and_then(|rest| rest.first_chunk());
            bytes.map(|bytes| i32::from_le_bytes(*bytes)).ok_or(CheckpointError::NoHeader)
        };
        let versioned = number(0)? as u32 == MAGIC;
        let version = if versioned { number(4)? as u32 } else { 0 };
        if version > 2 || versioned && version == 0 {
            return Err(CheckpointError::Version(version));
        }
        let start = if versioned { 8 } else { 0 };
        let mut values = [0_u64; 7];
        for (place, (value, limit)) in values.iter_mut().zip(LIMITS).enumerate() {
            let found = number(start + 4 * place)?;
            // The sign of the vocabulary's size is a flag.
            let size = if !versioned && place == 5 { found.unsigned_abs() } else { found as u32 };
            if size == 0 || size > limit {
                return Err(CheckpointError::Size(place, found));
            }
            *value = u64::from(size);
        }
        let [dim, hidden, layers, heads, kv_heads, vocab, context] = values;
        if dim % heads != 0 || heads % kv_heads != 0 || (dim / heads) % 2 != 0 {
            return Err(CheckpointError::Heads);
        }
        let flag = |at| file.get(at).copied().ok_or(CheckpointError::NoHeader);
        let shared = if versioned { flag(36)? != 0 } else { number(20)? > 0 };
        let group = if version == 2 { number(37)? } else { 0 };
        let sizes = Sizes {
            version,
            dim,
            hidden,
            layers,
            heads,
            kv_heads,
            vocab,
            context,
            shared,
            group: u64::try_from(group).map_err(|_| CheckpointError::Group(group))?,
        };
        let mut matrices = sizes.matrices().into_iter().chain([sizes.embedding()]);
        let fits = |(_, rows, cols): Part| (rows * cols).checked_rem(sizes.group) == Some(0);
        match version == 2 && !matrices.all(fits) {
            true => Err(CheckpointError::Group(group)),
            false => Ok(sizes),
        }
    }

    fn header_bytes(&self) -> usize {
        if self.version == 0 { OLD_HEADER } else { HEADER }
    }

    /// Elements of a head.
    pub fn head_dim(&self) -> u64 {
        self.dim / self.heads
    }

    /// A layer's matrices, in the order of the file.
    fn matrices(&self) -> [Part; 7] {
        let &Sizes { dim, hidden, .. } = self;
        let kv = self.head_dim() * self.kv_heads;
        [
            ("attn_q", dim, dim),
            ("attn_k", kv, dim),
            ("attn_v", kv, dim),
            ("attn_output", dim, dim),
            ("ffn_gate", hidden, dim),
            ("ffn_down", dim, hidden),
            ("ffn_up", hidden, dim),
        ]
    }

    fn embedding(&self) -> Part {
        ("token_embd", self.vocab, self.dim)
    }

    /// Elements of all matrices, the head's own included. No limit lets it overflow.
    fn matrix_elements(&self) -> u64 {
        let elements = |(_, rows, cols): Part| rows * cols;
        let layer: u64 = self.matrices().map(elements).iter().sum();
        let heads = if self.shared { 1 } else { 2 };
        layer * self.layers + heads * elements(self.embedding())
    }

    /// Bytes that the file must have.
    fn file_bytes(&self) -> Option<u64> {
        let norms = (2 * self.layers + 1).checked_mul(self.dim)?.checked_mul(4)?;
        let matrices = self.matrix_elements();
        let matrices = match self.version {
            2 => matrices.checked_add(matrices.checked_div(self.group)?.checked_mul(4)?)?,
            _ => matrices.checked_mul(4)?,
        };
        // Version 0 has tables of sines and cosines.
        let angles = match self.version {
            0 => self.context.checked_mul(self.head_dim())?.checked_mul(4)?,
            _ => 0,
        };
        let data = norms.checked_add(matrices)?.checked_add(angles)?;
        data.checked_add(self.header_bytes() as u64)
    }
}

/// What is left of a file whose size is known to be right.
struct Reader<'a> {
    sizes: Sizes,
    rest: &'a [u8],
    /// Tensors and their places in the order of a forward pass.
    found: Vec<((u64, u64), Tensor<'a>)>,
}

/// Behind every layer.
const LAST: u64 = u64::MAX;

impl<'a> Reader<'a> {
    fn version_0(&mut self) {
        let [q, k, v, out, gate, down, up] = self.sizes.matrices();
        self.matrix((0, 0), self.sizes.embedding());
        self.norms("attn_norm", 1);
        for (order, part) in [(2, q), (3, k), (4, v), (5, out)] {
            self.of_layers(order, part);
        }
        self.norms("ffn_norm", 6);
        for (order, part) in [(7, gate), (9, down), (8, up)] {
            self.of_layers(order, part);
        }
        self.norm((LAST, 0), "output_norm.weight".into());
        self.take(self.sizes.context * self.sizes.head_dim() * 4);
        self.head();
    }

    fn with_header(&mut self) {
        let [q, k, v, out, gate, down, up] = self.sizes.matrices();
        self.norms("attn_norm", 1);
        self.norms("ffn_norm", 6);
        self.norm((LAST, 0), "output_norm.weight".into());
        self.matrix((0, 0), self.sizes.embedding());
        let parts = [(2, q), (3, k), (4, v), (5, out), (7, gate), (9, down), (8, up)];
        for (order, part) in parts {
            self.of_layers(order, part);
        }
        self.head();
    }

    fn head(&mut self) {
        if !self.sizes.shared {
            let (_, rows, cols) = self.sizes.embedding();
            self.matrix((LAST, 1), ("output", rows, cols));
        }
    }

    fn norms(&mut self, name: &str, order: u64) {
        for layer in 0..self.sizes.layers {
            self.norm((layer + 1, order), format!("blk.{layer}.{name}.weight"));
        }
    }

    fn norm(&mut self, place: (u64, u64), name: String) {
        let data = Data::F32(self.take(self.sizes.dim * 4));
        self.found.push((place, Tensor { name, dims: [self.sizes.dim].into(), data }));
    }

    fn of_layers(&mut self, order: u64, (name, rows, cols): Part) {
        for layer in 0..self.sizes.layers {
            let name = format!("blk.{layer}.{name}.weight");
            self.matrix_named((layer + 1, order), name, rows, cols);
        }
    }

    fn matrix(&mut self, place: (u64, u64), (name, rows, cols): Part) {
        self.matrix_named(place, format!("{name}.weight"), rows, cols);
    }

    fn matrix_named(&mut self, place: (u64, u64), name: String, rows: u64, cols: u64) {
        let data = match rows * cols {
            elements if self.sizes.version == 2 => {
                let codes = self.take(elements);
                let scales = self.take(elements / self.sizes.group.max(1) * 4);
                Data::Codes { codes, scales, group: self.sizes.group as usize }
            }
            elements => Data::F32(self.take(elements * 4)),
        };
        self.found.push((place, Tensor { name, dims: [cols, rows].into(), data }));
    }

    /// The next bytes. The file's size says that they are there.
    fn take(&mut self, len: u64) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at_checked(len as usize).unwrap_or_default();
        self.rest = rest;
        taken
    }
}

impl Tensor<'_> {
    /// Elements.
    pub fn elements(&self) -> u64 {
        self.dims.iter().product()
    }

    /// The elements from the one at `first` on, as many as there is room for and elements are.
    pub fn decode(&self, first: usize, out: &mut [f32]) {
        match self.data {
            Data::F32(bytes) => {
                let (values, _) = bytes.as_chunks();
                for (x, value) in out.iter_mut().zip(values.iter().skip(first)) {
                    *x = f32::from_le_bytes(*value);
                }
            }
            Data::Codes { codes, scales, group } => {
                let (scales, _) = scales.as_chunks();
                for (at, (x, &code)) in (first..).zip(out.iter_mut().zip(codes.iter().skip(first)))
                {
                    let scale = scales.get(at / group.max(1)).copied().unwrap_or_default();
                    *x = f32::from(code as i8) * f32::from_le_bytes(scale);
                }
            }
        }
    }
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 7] =
            ["dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "max_seq_len"];
        match *self {
            CheckpointError::NoHeader => f.write_str("too short for a header of llama2.c"),
            CheckpointError::Version(n) => write!(f, "version {n} of llama2.c's format is unknown"),
            CheckpointError::Size(place, n) => {
                let name = NAMES.get(place).copied().unwrap_or_default();
                write!(f, "{name} is {n}: no model of llama2.c")
            }
            CheckpointError::Heads => f.write_str("the heads do not divide the embedding evenly"),
            CheckpointError::Group(n) => write!(f, "groups of {n} do not divide the matrices"),
            CheckpointError::Length { expected, found } => {
                write!(f, "the file has {found} bytes, but its header means {expected}")
            }
        }
    }
}

impl std::error::Error for CheckpointError {}
