//! n-gram models: a language model that fits where nothing else does, and answers in a microsecond.

mod index;
mod next;
mod query;

pub use index::{IndexState, score_by_index};
pub use next::{distribution, top};
pub use query::{Score, State, score};
