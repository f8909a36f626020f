//! Helpers shared by the tests.

#[path = "../support/allocations.rs"]
pub mod allocations;
pub mod checkpoint;
pub mod equal;
pub mod fuzz;
#[path = "../support/guard.rs"]
pub mod guard;
pub mod models;
pub mod ngram;
pub mod ngrams;
pub mod random;
pub mod second_reader;
pub mod shared;
pub mod speak;
pub mod variants;
