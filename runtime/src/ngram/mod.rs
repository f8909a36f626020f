//! n-gram models: a language model that fits where nothing else does, and answers in a microsecond.

mod index;
mod model;
mod next;
mod query;
mod session;

pub use index::{IndexState, score_by_index};
pub use model::NgramModel;
pub use next::{distribution, likely, top};
pub use query::{Score, State, score};
pub use session::NgramSession;
