//! The binary `mote` as a library: [`run`] takes arguments and streams, and gives an exit code.
//!
//! One subcommand a file; what they share is in [`options`], [`host`] (from a file to a session),
//! [`streams`] and [`failure`].

mod bench;
#[cfg(feature = "chat")]
mod chat;
mod cli;
mod completions;
#[cfg(feature = "constrained")]
mod constrain;
#[cfg(not(feature = "constrained"))]
#[path = "unconstrained.rs"]
mod constrain;
mod convert;
mod diff;
#[cfg(feature = "embedded")]
mod embedded;
pub mod environment;
pub mod facts;
pub mod failure;
pub mod host;
mod importance;
mod input;
mod inspect;
pub mod interrupt;
mod man;
mod mix;
pub mod ngram;
mod notes;
pub mod options;
pub mod output;
mod perplexity;
#[cfg(feature = "pull")]
mod pull;
mod quantize;
mod rescore;
mod run;
mod score;
mod sentences;
mod shannon;
mod source;
pub mod streams;
mod svg;
pub mod synthetic;
mod tokenize;
mod verify;

pub use cli::{command, main, run};
