//! `mote diff`: in what two GGUF files differ.

mod metadata;
mod tensors;

use std::path::PathBuf;

use clap::Args;
use mote_formats::gguf::Text;
use serde::Serialize;

use crate::cli::write_json;
use crate::failure::{Code, Failure, Result, shown};
use crate::host::with_gguf;
use crate::streams::Streams;
use metadata::Metadata;
use tensors::Tensors;

/// Compare two GGUF files: metadata, tensors, and how far their numbers are apart
#[derive(Args, Debug)]
#[command(after_help = "\
Metadata and tensors that one file alone has, or that differ. Tensors of the same shape are
decoded, whatever their encodings, and compared as numbers: relative RMSE, the root of sum (a -
b)^2 / sum a^2; the largest |a - b|; the cosine of the angle between both; the worst first. Where
keys and tensors stand in the files is no difference.

Exit codes are those of diff, as far as there are two files to compare: 0 if they are equal, 1 if
they are different.

JSON keys: equal; metadata: {added, removed (each {key, value}), changed ({key, a, b})}; tensors:
{added, removed ({name, type, shape}), reshaped ({name, a, b}), identical (how many, byte by byte),
compared ({name, type_a, type_b, relative_rmse, max_difference, cosine}), not_compared (names of
those of which mote cannot decode one)}. Added is what B alone has.

Example:
  mote diff f16.gguf q4_k_m.gguf")]
pub struct Command {
    /// A file
    #[arg(value_name = "A")]
    a: PathBuf,
    /// Another one
    #[arg(value_name = "B")]
    b: PathBuf,
    /// Print all tensors that differ [default: the worst 20]
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Command {
    /// Whether the result is wanted as JSON.
    pub fn json(&self) -> bool {
        self.json
    }
}

/// As many tensors are printed, unless all are wanted.
const SHOWN: usize = 20;

#[derive(Serialize)]
struct Report {
    equal: bool,
    metadata: Metadata,
    tensors: Tensors,
}

/// Compares.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    with_gguf(&command.a, |a| {
        with_gguf(&command.b, |b| {
            let metadata = Metadata::new(a, b);
            let tensors = Tensors::new(a, b, streams)?;
            let equal = metadata.is_equal() && tensors.is_equal();
            let report = Report { equal, metadata, tensors };
            match command.json {
                true => write_json(&report, streams)?,
                false => command.print(&report, streams)?,
            }
            if equal { Ok(()) } else { Err(Failure::told(Code::Different)) }
        })
    })
}

impl Command {
    fn print(&self, report: &Report, streams: &mut Streams<'_>) -> Result<()> {
        let out = &mut *streams.output;
        if report.equal {
            let identical = report.tensors.identical;
            return Ok(writeln!(out, "equal: the same metadata and {identical} tensors")?);
        }
        writeln!(out, "--- {}\n+++ {}", shown(&self.a), shown(&self.b))?;
        report.metadata.print(out)?;
        report.tensors.print(if self.all { usize::MAX } else { SHOWN }, out)
    }
}

/// A name of the file, escaped.
fn escaped(name: &str) -> String {
    Text::from(name).to_string()
}
