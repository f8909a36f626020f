//! The binary `mote` as a library: [`run`] takes arguments and streams, and gives an exit code.
//!
//! One subcommand a file; what they share is in [`options`], [`host`] (from a file to a session),
//! [`streams`] and [`failure`].

mod bench;
mod cli;
mod completions;
mod convert;
pub mod environment;
pub mod facts;
pub mod failure;
pub mod host;
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
mod rescore;
mod run;
mod score;
mod sentences;
mod shannon;
pub mod streams;
pub mod synthetic;
mod tokenize;

pub use cli::{command, main, run};
