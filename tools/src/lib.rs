//! The binary `mote` as a library: [`run`] takes arguments and streams, and gives an exit code.
//!
//! One subcommand a file; what they share is in [`options`], [`host`] (from a file to a session),
//! [`streams`] and [`failure`].

// A small build (--no-default-features) leaves commands out, and the linker what only they call.
#![cfg_attr(not(all(feature = "make", feature = "measure")), allow(dead_code))]

mod bench;
#[cfg(feature = "chat")]
pub mod chat;
mod cli;
#[cfg(feature = "pages")]
mod completions;
#[cfg(feature = "constrained")]
mod constrain;
#[cfg(not(feature = "constrained"))]
#[path = "unconstrained.rs"]
mod constrain;
mod convert;
mod diff;
mod embed;
#[cfg(feature = "embedded")]
mod embedded;
pub mod environment;
pub mod facts;
pub mod failure;
mod fitting;
pub mod host;
mod importance;
mod input;
mod inspect;
pub mod interrupt;
#[cfg(feature = "pages")]
mod man;
mod mix;
mod models;
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
pub mod source;
pub mod streams;
mod svg;
pub mod synthetic;
mod tokenize;
mod verify;
mod work;

pub use cli::{command, main, run};
