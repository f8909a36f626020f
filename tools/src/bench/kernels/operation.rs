//! What is measured: the entries of a kernel table, and the sizes.

use std::fmt;

use mote_kernels::{CacheType, Gate, Precision, QuantType, RopeLayout};

/// One entry, with what selects the path inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Raw rows times this many tokens.
    Gemv(QuantType, Precision, usize),
    /// Rows unpacked into panels, times many tokens.
    Gemm(QuantType, Precision),
    Quantize(Precision),
    RmsNorm,
    LayerNorm,
    ExpSum,
    Rope(RopeLayout),
    Gate(Gate),
    Activate(Gate),
    Narrow,
    /// One query for each head: decoding.
    AttendOne(CacheType),
    /// A batch of queries for each head: prefill.
    AttendMany(CacheType),
}

const PRECISIONS: [Precision; 2] = [Precision::Bits8, Precision::Bits16];
const CACHES: [CacheType; 3] = [CacheType::F32, CacheType::F16, CacheType::Q8_0];

impl Operation {
    /// Every one, for every encoding.
    pub fn all() -> Vec<Operation> {
        let mut all = Vec::new();
        for &kind in QuantType::ALL {
            // Float weights take the activations as they are.
            let precisions = if kind.integer().is_some() { 2 } else { 1 };
            for &precision in &PRECISIONS[..precisions] {
                all.extend([1, 4].map(|tokens| Operation::Gemv(kind, precision, tokens)));
                all.push(Operation::Gemm(kind, precision));
            }
        }
        all.extend(PRECISIONS.map(Operation::Quantize));
        all.extend([Operation::RmsNorm, Operation::LayerNorm, Operation::ExpSum]);
        all.extend([RopeLayout::Interleaved, RopeLayout::Halves].map(Operation::Rope));
        all.extend([Gate::Silu, Gate::GeluTanh].map(Operation::Gate));
        all.push(Operation::Activate(Gate::GeluTanh));
        all.push(Operation::Narrow);
        all.extend(CACHES.map(Operation::AttendOne));
        all.extend(CACHES.map(Operation::AttendMany));
        all
    }
}

/// The kernel's name, one word.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Operation::Gemv(kind, precision, tokens) => {
                write!(f, "gemv/{}{}/{tokens}", kind.name(), suffix(kind, precision))
            }
            Operation::Gemm(kind, precision) => {
                write!(f, "gemm/{}{}", kind.name(), suffix(kind, precision))
            }
            Operation::Quantize(precision) => write!(f, "quantize/{}", bits(precision)),
            Operation::RmsNorm => write!(f, "rms_norm"),
            Operation::LayerNorm => write!(f, "layer_norm"),
            Operation::ExpSum => write!(f, "exp_sum"),
            Operation::Rope(RopeLayout::Interleaved) => write!(f, "rope/interleaved"),
            Operation::Rope(RopeLayout::Halves) => write!(f, "rope/halves"),
            Operation::Gate(gate) => write!(f, "gate/{}", gate_name(gate)),
            Operation::Activate(gate) => write!(f, "activate/{}", gate_name(gate)),
            Operation::Narrow => write!(f, "narrow"),
            Operation::AttendOne(cache) => write!(f, "attend/{}/decode", cache_name(cache)),
            Operation::AttendMany(cache) => write!(f, "attend/{}/prefill", cache_name(cache)),
        }
    }
}

fn suffix(kind: QuantType, precision: Precision) -> &'static str {
    match (kind.integer(), precision) {
        (None, _) => "",
        (_, Precision::Bits8) => "/8",
        (_, Precision::Bits16) => "/16",
    }
}

fn gate_name(gate: Gate) -> &'static str {
    match gate {
        Gate::Silu => "silu",
        Gate::GeluTanh => "gelu_tanh",
        Gate::GeluErf => "gelu_erf",
        Gate::Relu => "relu",
        Gate::ReluSquared => "relu_squared",
        Gate::Exp => "exp",
        Gate::Sigmoid => "sigmoid",
        Gate::ClampedSwish => "clamped_swish",
    }
}

fn bits(precision: Precision) -> &'static str {
    match precision {
        Precision::Bits8 => "8",
        Precision::Bits16 => "16",
    }
}

fn cache_name(cache: CacheType) -> &'static str {
    match cache {
        CacheType::F32 => "f32",
        CacheType::F16 => "f16",
        CacheType::Q8_0 => "q8_0",
    }
}

/// Where the operands lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// In the first two levels of cache.
    Cache,
    /// As in a layer of a model of a billion weights.
    Layer,
    /// Larger than any cache.
    Memory,
}

impl Size {
    /// Smallest first.
    pub const ALL: [Size; 3] = [Size::Cache, Size::Layer, Size::Memory];

    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Size::Cache => "cache",
            Size::Layer => "layer",
            Size::Memory => "memory",
        }
    }
}
