//! How weights are stored. **The list of encodings**: to add one, write its file, add its `mod`
//! line, and its line in `quant_types!`. It then loads, runs on every target (scalar), is tested
//! and measured; speed comes later, under `arch`.
//!
//! An encoding is its block and one function, [`Integer::unpack`]: unsigned codes, and for each
//! unit of 16 or 32 weights a scale and perhaps a minimum, so that
//! `weight = scale * (code - BIAS) + minimum`. Decoding, dot products and panels follow from it.

mod bf16;
mod f16;
mod f32;
mod grids;
pub(crate) mod iq1_m;
pub(crate) mod iq1_s;
pub(crate) mod iq2_s;
pub(crate) mod iq2_xs;
pub(crate) mod iq2_xxs;
pub(crate) mod iq3_s;
pub(crate) mod iq3_xxs;
pub(crate) mod iq4_nl;
mod iq4_xs;
pub(crate) mod mxfp4;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
pub(crate) mod search;
pub(crate) mod tq1_0;
mod tq2_0;

use crate::scalar::{codebook, float, integer};
use crate::table::{Gemv, Unpack};

/// Weights in the largest block.
pub const MAX_BLOCK: usize = 256;

/// What every encoding states about itself.
pub trait Encoding {
    /// ggml's type id, as GGUF files have it.
    const ID: u32;
    /// Lower case, as in GGUF file names.
    const NAME: &'static str;
    /// Weights in a block.
    const LEN: usize;
    /// The block's bytes. Alignment 1: rows start anywhere in a file.
    type Block: bytemuck::Pod;
}

/// An encoding whose weights are floats; activations stay f32.
pub trait Float: Encoding {
    /// The weight, exactly.
    fn decode(block: &Self::Block) -> f32;
    /// The nearest code, ties to even.
    fn encode(x: f32) -> Self::Block;
    /// Whether the weight is neither infinite nor NaN.
    #[inline(always)]
    fn is_finite(block: &Self::Block) -> bool {
        Self::decode(block).is_finite()
    }
}

/// An encoding of small integers with scales; activations are quantised.
pub trait Integer: Encoding {
    /// Weights that share one scale: 32, or 16.
    const UNIT: usize;
    /// Bits of a code: the largest is `2^BITS - 1`.
    const BITS: u32;
    /// What the unsigned codes are above the integer weights.
    const BIAS: i32;
    /// Whether units have a minimum beside the scale.
    const MINIMUM: bool;
    /// One block into codes, scales and minima.
    fn unpack(block: &Self::Block, out: &mut Unpacked);
}

/// Most encodings of integers are written, too. Those whose codes are numbers of points in a grid are read
/// only: to choose points well takes a search of its own.
pub trait Encode: Integer {
    /// Whether errors of large weights count more where columns are weighted: measured, that brings the
    /// model's probabilities nearer to the original's where there are few codes, and farther where
    /// there are many.
    const EMPHASIS: bool = false;
    /// `LEN` weights into a block, as near as this encoding gets with little search.
    fn encode(x: &[f32], block: &mut Self::Block);
    /// The same, where the squared error of weight `i` counts `weights[i]` times: positive numbers
    /// around 1.
    fn encode_weighted(x: &[f32], weights: &[f32], block: &mut Self::Block);
}

/// One block in the common form. Only the first `LEN` codes and `LEN / UNIT` scales are used.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Unpacked {
    /// Unsigned codes, in the order of the weights.
    pub codes: [u8; MAX_BLOCK],
    /// One for each unit.
    pub scales: [f32; MAX_BLOCK / 16],
    /// One for each unit; what is added to every weight.
    pub minima: [f32; MAX_BLOCK / 16],
}

impl Unpacked {
    /// All zero.
    pub const fn new() -> Self {
        Unpacked { codes: [0; MAX_BLOCK], scales: [0.0; MAX_BLOCK / 16], minima: [0.0; 16] }
    }
}

impl Default for Unpacked {
    fn default() -> Self {
        Self::new()
    }
}

/// Facts about an integer encoding that panels and kernels need at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntegerFacts {
    /// [`Integer::UNIT`].
    pub unit: usize,
    /// [`Integer::BITS`].
    pub bits: u32,
    /// [`Integer::BIAS`].
    pub bias: i32,
    /// [`Integer::MINIMUM`].
    pub minimum: bool,
}

macro_rules! quant_types {
    ($($family:ident $variant:ident = $module:ident;)*) => {
        /// How the weights of a tensor are stored.
        #[allow(non_camel_case_types)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum QuantType { $(#[doc = concat!("See `quant/", stringify!($module), ".rs`.")] $variant),* }

        impl QuantType {
            /// Every encoding.
            pub const ALL: &'static [QuantType] = &[$(QuantType::$variant),*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// By ggml's type id, as GGUF files have it.
            pub const fn from_gguf_id(id: u32) -> Option<QuantType> {
                $(if id == $module::$variant::ID { return Some(QuantType::$variant); })*
                None
            }
            /// ggml's type id.
            pub const fn gguf_id(self) -> u32 {
                match self { $(Self::$variant => $module::$variant::ID),* }
            }
            /// The name in lower case, as in GGUF file names.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $module::$variant::NAME),* }
            }
            /// Weights in a block.
            pub const fn block_len(self) -> usize {
                match self { $(Self::$variant => $module::$variant::LEN),* }
            }
            /// Bytes of a block.
            pub const fn block_bytes(self) -> usize {
                match self {
                    $(Self::$variant => size_of::<<$module::$variant as Encoding>::Block>()),*
                }
            }
            /// Facts of an integer encoding; `None` for a float one.
            pub const fn integer(self) -> Option<IntegerFacts> {
                match self { $(Self::$variant => $family::facts::<$module::$variant>()),* }
            }
            /// Decodes whole blocks. Panics unless `out` has as many weights as `data` holds.
            pub fn decode(self, data: &[u8], out: &mut [f32]) {
                match self { $(Self::$variant => $family::decode::<$module::$variant>(data, out)),* }
            }
            /// The first block with a scale, minimum or weight that is infinite or NaN. Reads the
            /// scales alone where weights have some (a finite scale of MXFP4 from 2^126 on may still make
            /// an infinite weight); bytes behind the last whole block are left out.
            pub fn first_not_finite(self, data: &[u8]) -> Option<usize> {
                let data = &data[..data.len() - data.len() % self.block_bytes()];
                match self { $(Self::$variant => $family::first_not_finite::<$module::$variant>(data)),* }
            }
            /// Whether weights can be encoded in it, not only decoded.
            pub const fn is_written(self) -> bool {
                match self { $(Self::$variant => $family::IS_WRITTEN),* }
            }
            /// Encodes whole blocks. Panics unless [`QuantType::is_written`] and `data` has room for exactly the weights in `x`.
            pub fn encode(self, x: &[f32], data: &mut [u8]) {
                match self { $(Self::$variant => $family::encode::<$module::$variant>(x, data)),* }
            }
            /// Encodes whole rows of `weights.len()` columns: the squared error of a column's weights
            /// counts as much as `weights` says (only the proportions
            /// matter). Float encodings take no notice. Panics unless [`QuantType::is_written`], rows are whole
            /// blocks and `data` has room for exactly the weights in `x`.
            pub fn encode_weighted(self, x: &[f32], weights: &[f32], data: &mut [u8]) {
                match self {
                    $(Self::$variant => {
                        $family::encode_weighted::<$module::$variant>(x, weights, data)
                    }),*
                }
            }
        }

        pub(crate) const SCALAR_GEMV: [Gemv; QuantType::COUNT] =
            [$($family::gemv::<$module::$variant>),*];
        pub(crate) const SCALAR_UNPACK: [Unpack; QuantType::COUNT] =
            [$($family::unpack::<$module::$variant>),*];
    };
}

quant_types! {
    float F32 = f32;
    float F16 = f16;
    float BF16 = bf16;
    integer Q4_0 = q4_0;
    integer Q4_1 = q4_1;
    integer Q5_0 = q5_0;
    integer Q5_1 = q5_1;
    integer Q8_0 = q8_0;
    integer Q2_K = q2_k;
    integer Q3_K = q3_k;
    integer Q4_K = q4_k;
    integer Q5_K = q5_k;
    integer Q6_K = q6_k;
    integer IQ4_NL = iq4_nl;
    integer IQ4_XS = iq4_xs;
    integer MXFP4 = mxfp4;
    integer TQ1_0 = tq1_0;
    integer TQ2_0 = tq2_0;
    codebook IQ2_XXS = iq2_xxs;
    codebook IQ2_XS = iq2_xs;
    codebook IQ2_S = iq2_s;
    codebook IQ3_XXS = iq3_xxs;
    codebook IQ3_S = iq3_s;
    codebook IQ1_S = iq1_s;
    codebook IQ1_M = iq1_m;
}

/// The type of an encoding.
#[allow(dead_code)] // on CPUs that have only the scalar table
pub(crate) const fn kind<E: Encoding>() -> QuantType {
    match QuantType::from_gguf_id(E::ID) {
        Some(kind) => kind,
        None => panic!("an encoding of the list"),
    }
}

/// `$with::<E>(table)` for every encoding that targets take apart by [`Integer::unpack`], so that there is
/// nothing else to write for one of them: blocks of 256 weights, codes of 8 bits, 128 above the weights.
#[allow(unused_macros)] // on CPUs that have only the scalar table
macro_rules! with_apart {
    ($with:ident, $table:expr) => {{
        use crate::quant::{iq1_m, iq1_s, iq2_s, iq2_xs, iq2_xxs, iq3_s, iq3_xxs, tq1_0};
        let table = $with::<iq1_m::IQ1_M>($with::<iq1_s::IQ1_S>($table));
        let table = $with::<iq2_xs::IQ2_XS>($with::<iq2_xxs::IQ2_XXS>(table));
        let table = $with::<iq3_xxs::IQ3_XXS>($with::<iq2_s::IQ2_S>(table));
        $with::<tq1_0::TQ1_0>($with::<iq3_s::IQ3_S>(table))
    }};
}
#[allow(unused_imports)] // as above
pub(crate) use with_apart;

impl QuantType {
    /// Those in which weights can be encoded.
    pub fn written() -> impl Iterator<Item = QuantType> {
        Self::ALL.iter().copied().filter(|kind| kind.is_written())
    }

    /// By the name of [`QuantType::name`], in any case.
    pub fn from_name(name: &str) -> Option<QuantType> {
        Self::ALL.iter().copied().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    /// Bytes of a row of `cols` weights; `None` if that is not a whole number of blocks.
    pub const fn row_bytes(self, cols: usize) -> Option<usize> {
        if !cols.is_multiple_of(self.block_len()) {
            return None;
        }
        (cols / self.block_len()).checked_mul(self.block_bytes())
    }
}
