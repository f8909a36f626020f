//! A language model that speaks, in memory that the caller lends.
#![no_std]
#[cfg(feature = "std")]
extern crate std;

pub mod memory;
