//! n-gram models: a language model that fits where nothing else does, and answers in a microsecond.

mod query;

pub use query::{Score, State, score};
