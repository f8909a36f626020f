//! 64-bit ARM. What does not depend on how bytes are multiplied is written once here; the targets
//! instantiate it.
#![allow(unsafe_code)]
// Counters index several arrays of registers.
#![allow(clippy::needless_range_loop)]

mod apart;
pub mod dotprod;
mod formats;
mod formats_low;
mod gemv;
pub mod i8mm;
mod integers;
pub mod neon;
mod panel;
mod quantize;
