//! `mote ngram`: n-gram models, made and converted.

mod convert;

use clap::{Args, Subcommand};

use crate::failure::Result;
use crate::streams::Streams;

/// Make and convert n-gram models
#[derive(Args, Debug)]
pub struct Command {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand, Debug)]
enum Task {
    Convert(convert::Command),
}

impl Command {
    /// Whether results are JSON.
    pub fn json(&self) -> bool {
        match &self.command {
            Task::Convert(command) => command.json,
        }
    }
}

/// Does what the subcommand says.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    match &command.command {
        Task::Convert(command) => convert::execute(command, streams),
    }
}
