//! x86-64.

mod ahead;
pub mod avx2;
pub mod avx512;
pub mod avxvnni;
mod tiles;
