//! n-gram models: a language model that fits where nothing else does, and answers in a microsecond.

mod next;
mod query;

pub use next::{distribution, top};
pub use query::{Score, State, score};
