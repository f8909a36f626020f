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
// No error is answered by a panic (SECURITY.md); tests may.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::get_unwrap,
        clippy::panic,
        clippy::unreachable,
        clippy::todo,
        clippy::unimplemented,
        clippy::string_slice,
        clippy::indexing_slicing
    )
)]
#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod any;
pub mod arch;
mod budget;
#[expect(
    clippy::indexing_slicing,
    reason = "positions within the context, in what the plan cut for it"
)]
mod cache;
mod complete;
pub mod config;
mod constraint;
#[expect(
    clippy::indexing_slicing,
    reason = "rows and tokens of a batch, in buffers that the plan cut"
)]
mod engine;
mod error;
#[expect(clippy::indexing_slicing, reason = "parts of a buffer that it divides itself")]
pub mod executor;
mod fallback;
#[expect(
    clippy::indexing_slicing,
    reason = "sizes of the configuration, in buffers that the plan cut for them"
)]
mod forward;
mod language_model;
pub mod memory;
#[expect(clippy::indexing_slicing, reason = "the models have one vocabulary")]
pub mod mix;
mod model;
pub mod ngram;
mod notes;
mod observe;
mod pace;
mod pieces;
#[expect(clippy::indexing_slicing, reason = "tokens of a batch, in buffers cut for the largest")]
mod plan;
mod precision;
#[expect(clippy::indexing_slicing, reason = "candidates that it counted itself")]
pub mod sample;
mod save;
pub mod score;
#[expect(
    clippy::indexing_slicing,
    reason = "positions within the context, checked where tokens come in"
)]
mod session;
#[expect(
    clippy::indexing_slicing,
    reason = "drafts and places of a context that it counted itself"
)]
pub mod speculate;
#[expect(clippy::indexing_slicing, reason = "states that the plan counted")]
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
