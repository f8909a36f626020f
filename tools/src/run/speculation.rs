//! Drafts for the model: who makes them, and what came of it.

use std::fmt;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Instant;

use mote_runtime::speculate::Drafted;
use serde::Serialize;

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
    pub fn parse(text: &str) -> Result<Speculation, String> {
        Ok(match text {
            "" => return Err("off, lookup, or an n-gram model's file".to_string()),
            "off" => Speculation::Off,
            "lookup" => Speculation::Lookup,
            file => Speculation::Ngrams(file.into()),
        })
    }
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
