//! The functions as a C program would call them, and misuse them. Numbers in names are those of the
//! project's catalogue of bad input.

mod arguments;
mod embedding;
mod fallback;
mod handles;
mod memory;
#[path = "../../../tests/src/ngrams.rs"]
mod ngrams;
mod options;
mod state;
mod support;
mod writing;
