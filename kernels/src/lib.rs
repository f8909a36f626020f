//! Arithmetic on slices: encodings, dot products, norms, attention. Knows no file and no model.
#![no_std]
#[cfg(feature = "std")]
extern crate std;

pub mod quant;

pub use quant::QuantType;
