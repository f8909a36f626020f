//! `mote ngram`: models of word sequences, from text to file.

mod bench;
pub mod convert;
mod estimate;
mod train;

use clap::{Args, Subcommand};

use crate::failure::Result;
use crate::streams::Streams;

/// Train, convert and measure n-gram models
#[derive(Args, Debug)]
pub struct Command {
    #[command(subcommand)]
    what: What,
}

/// Every one is a file with a `Command` (its options) and `execute`.
#[derive(Subcommand, Debug)]
enum What {
    Train(Box<train::Command>),
    Convert(convert::Command),
    Bench(bench::Command),
}

impl Command {
    /// Whether a failure is to be told as JSON.
    pub fn json(&self) -> bool {
        match &self.what {
            What::Train(command) => command.json,
            What::Convert(command) => command.json,
            What::Bench(command) => command.json,
        }
    }
}

/// Does what was asked.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    match &command.what {
        What::Train(command) => train::execute(command, streams),
        What::Convert(command) => convert::execute(command, streams),
        What::Bench(command) => bench::execute(command, streams),
    }
}
