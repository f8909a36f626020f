//! A language model that speaks, in memory that the caller lends.
//!
//! ```text
//! Gguf -> Model::new(&gguf, tables) -> Session::new(&model, options, ..., memory)
//!         session.feed(ids) -> session.logits() -> sample::pick -> session.feed_generated(id)
//! ```
//!
//! `no_std`, without `alloc`: sizes are asked for first ([`Model::bytes_needed`],
//! [`Session::plan`]) and the bytes are lent. Under `std` there is a thread pool. Nothing is ever
//! printed; with the feature `log` or `defmt` a few notes go to the program's logger.
#![no_std]
#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod any;
pub mod arch;
mod budget;
mod cache;
mod complete;
pub mod config;
mod constraint;
mod engine;
mod error;
pub mod executor;
mod fallback;
mod forward;
mod language_model;
pub mod memory;
pub mod mix;
mod model;
pub mod ngram;
mod notes;
mod observe;
mod pace;
mod pieces;
mod plan;
mod precision;
pub mod sample;
mod save;
pub mod score;
mod session;
pub mod speculate;
mod states;
#[cfg(feature = "std")]
pub mod threads;
pub mod tokenizer;
pub mod weights;

pub use any::{AnyModel, AnySession};
pub use budget::{Budget, BudgetError};
pub use complete::{Completion, CompletionOptions, Step, StopReason};
pub use config::{Config, Pooling};
pub use constraint::Constraint;
pub use error::{KeyError, LoadError, SessionError, TensorError};
pub use fallback::{Deadline, Degraded, Fallback, FallbackState};
pub use language_model::LanguageModel;
pub use model::Model;
pub use ngram::{NgramModel, NgramSession};
pub use observe::{Observer, Site};
pub use pieces::Pieces;
pub use plan::{MAX_BATCH, Options, Plan};
pub use precision::{Origin, Precision};
pub use save::{RestoreError, SavedContext};
pub use session::{Session, normalize};
pub use tokenizer::Tokenizer;
