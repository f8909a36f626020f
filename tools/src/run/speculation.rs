//! Drafts for the model: who makes them, and what came of it.

use std::fmt;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Instant;

use mote_runtime::speculate::{Drafted, Drafter, Lookup, Ngrams};
use mote_runtime::{AnyModel, SessionError, Tokenizer};
use serde::Serialize;

use crate::failure::{Code, Failure, Result};
use crate::host::{Memory, with_any_model};

/// `--speculate`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Speculation {
    /// Nothing is drafted.
    Off,
    /// Text that was there before is expected again.
    Lookup,
    /// The same, and what this n-gram model expects.
    Ngrams(PathBuf),
}

impl Speculation {
    /// `off`, `lookup`, or else a file.
    pub fn parse(text: &str) -> std::result::Result<Speculation, String> {
        Ok(match text {
            "" => return Err("off, lookup, or an n-gram model's file".to_string()),
            "off" => Speculation::Off,
            "lookup" => Speculation::Lookup,
            file => Speculation::Ngrams(file.into()),
        })
    }
}

/// Who drafts: at least one, or nobody.
pub type Drafters<'d> = Option<(&'d mut dyn Drafter, Option<&'d mut dyn Drafter>)>;

impl Speculation {
    /// Lets `work` have the drafters for a context of `n_ctx` tokens of this vocabulary.
    pub fn with<R>(
        &self,
        n_ctx: usize,
        tokenizer: &Tokenizer<'_>,
        work: impl FnOnce(Drafters<'_>) -> Result<R>,
    ) -> Result<R> {
        if *self == Speculation::Off {
            return work(None);
        }
        let mut memory = Memory::new(Lookup::bytes_needed(n_ctx))?;
        let mut lookup = Lookup::new(n_ctx, &mut memory).map_err(SessionError::from)?;
        let Speculation::Ngrams(path) = self else { return work(Some((&mut lookup, None))) };
        with_any_model(path, |model| match model {
            AnyModel::Ngram(model) if model.tokenizer().has_same_ids(tokenizer) => {
                let mut ngrams = Ngrams::new(model.trie());
                work(Some((&mut lookup, Some(&mut ngrams))))
            }
            AnyModel::Ngram(_) => Err(refused("has another vocabulary than the model")),
            AnyModel::Transformer(_) => Err(refused("is not an n-gram model")),
        })
    }
}

fn refused(what: &str) -> Failure {
    Failure::new(Code::Usage, format_args!("--speculate: the file {what}"))
}

/// Nanoseconds since the first call.
pub fn clock() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Tokens that were drafted, and accepted; passes with drafts, and without.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Report {
    drafted: usize,
    accepted: usize,
    drafted_passes: usize,
    plain_passes: usize,
}

impl From<Drafted> for Report {
    fn from(drafted: Drafted) -> Report {
        let Drafted { drafts, accepted, plain_passes, drafted_passes } = drafted;
        Report { drafted: drafts, accepted, drafted_passes, plain_passes }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { drafted, accepted, drafted_passes, plain_passes } = self;
        write!(f, "{accepted} of {drafted} accepted, {drafted_passes} passes with drafts")?;
        write!(f, ", {plain_passes} without")
    }
}
