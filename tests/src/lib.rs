//! Helpers shared by the tests.

#[path = "../support/allocations.rs"]
pub mod allocations;
pub mod checkpoint;
pub mod equal;
pub mod every_architecture;
#[cfg(feature = "tools")]
pub mod fuzz;
#[path = "../support/guard.rs"]
pub mod guard;
pub mod models;
#[cfg(feature = "tools")]
pub mod ngram;
pub mod ngrams;
pub mod random;
pub mod second_reader;
pub mod shared;
#[cfg(target_os = "linux")]
#[path = "../support/signals.rs"]
pub mod signals;
pub mod speak;
pub mod sweep;
pub mod variants;
