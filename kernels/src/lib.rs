//! Arithmetic on slices: encodings, dot products, norms, attention. Knows no file, no model and no
//! heap.
//!
//! Every operation has one definition, written in plain Rust under [`quant`] and `scalar`. A
//! [`Kernels`] table holds one function pointer for each operation; the tables of the SIMD targets
//! (`arch`) start as the scalar one and override entries, and every table gives the same bits. The
//! safe methods of [`Kernels`] check lengths and then make the one unsafe call.
#![no_std]
// No error is answered by a panic (SECURITY.md); tests may.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::get_unwrap,
        clippy::unreachable,
        clippy::todo,
        clippy::unimplemented,
        clippy::string_slice
    )
)]
#[cfg(feature = "std")]
extern crate std;

mod activation;
pub mod arch;
mod cast;
mod fma;
mod matrix;
pub mod quant;
mod scalar;
mod table;

pub use activation::{Activations, ActivationsMut, Precision, Rows};
pub use cast::Tile;
pub use fma::fma;
pub use matrix::Matrix;
pub use quant::QuantType;
pub use scalar::attend::{
    Attend, CHUNK, Cache, CacheType, KEY_TILE, Q8_BLOCK, Q8_BYTES, attend_part_len,
    attend_scratch_len,
};
pub use scalar::exp::{Gate, exp, gelu_erf, gelu_tanh, silu, softcap};
pub use scalar::rope::{RopeLayout, inverse_frequencies, rope_angles, sin_cos};
pub use scalar::rows::{dot, fade, renew};
pub use scalar::top::{Candidate, argmax, is_finite, top_k};
pub use table::{Kernels, PANEL_ROWS};
