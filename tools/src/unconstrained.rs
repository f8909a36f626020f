//! What stands in the place of `constrain` where the feature `constrained` is off: no options, and
//! nothing that could be made of them.

use clap::Args;
use mote_runtime::{Constraint, SessionError, Tokenizer};

use crate::failure::{Failure, Result};

/// No options.
#[derive(Args, Debug)]
pub struct ConstrainOptions {}

/// There is none.
#[derive(Debug)]
pub enum Grammar {}

/// Nor one that follows it.
#[derive(Debug)]
pub enum Follower {}

impl ConstrainOptions {
    /// Never.
    pub fn is_given(&self) -> bool {
        false
    }

    /// Nothing.
    pub fn compile(&self, _: &Tokenizer<'_>) -> Result<Option<Grammar>> {
        Ok(None)
    }
}

impl Grammar {
    /// Of one text.
    pub fn follower(&self) -> Follower {
        match *self {}
    }

    /// The failure as it is.
    pub fn explain(_: Option<&Follower>, failure: Failure) -> Failure {
        failure
    }
}

impl Constraint for Follower {
    fn mask(&mut self) -> std::result::Result<&[u32], SessionError> {
        match *self {}
    }

    fn accept(&mut self, _: u32) -> std::result::Result<(), SessionError> {
        match *self {}
    }

    fn is_complete(&self) -> bool {
        match *self {}
    }
}
