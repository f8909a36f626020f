//! `mote verify`: whether a file is whole.

mod hash;
mod work;

use std::path::PathBuf;

use clap::Args;
use mote_formats::gguf::Gguf;
use mote_formats::ngram::Trie;
use mote_runtime::threads::ThreadPool;
use serde::Serialize;

use crate::cli::write_json;
use crate::facts::Bytes;
use crate::failure::{Code, Failure, Result, shown};
use crate::source;
use crate::streams::Streams;
use work::{Findings, Task};

/// Check that a GGUF file is whole and undamaged
#[derive(Args, Debug)]
#[command(after_help = "\
Reads all of the file, with all CPUs:
- its structure: the index is sound, and every tensor's data lies in the file;
- its numbers: no weight, no scale of a block is infinite or NaN (in encodings that mote computes
  with; the others are counted);
- the checksums of the tensors, if there are some: mote convert and mote quantize write them
  (mote.checksums), and a damaged tensor is named; that of an n-gram model;
- BLAKE3 of the whole file, which b3sum prints as well; --expect compares it.

A file that is damaged gives exit code 4.

JSON keys: file; bytes; sound; tensors; checksums: {compared, wrong}, null if the file has none;
not_finite (tensors with such numbers); not_checked (tensors in other encodings); trailing_bytes
(after the last tensor); blake3; expected (with --expect); damage: a list of {tensor (null: the
file as a whole), what}. A file whose structure is broken gives an error instead.

Examples:
  mote verify model.gguf
  mote verify model.gguf --expect 2c6f0a1bd5e4c1f09a7e3b5d8c6f4e2a1b0d9c8e7f6a5b4c3d2e1f0a9b8c7d6e")]
pub struct Command {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The BLAKE3 hash that the file has to have: 64 hexadecimal digits
    #[arg(long, value_name = "HASH", value_parser = hash::parse)]
    expect: Option<blake3::Hash>,
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

#[derive(Serialize)]
struct Report {
    file: String,
    bytes: u64,
    sound: bool,
    tensors: usize,
    checksums: Option<Checksums>,
    not_finite: usize,
    not_checked: usize,
    trailing_bytes: u64,
    blake3: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    damage: Vec<Damage>,
}

/// What became of a file's checksums.
#[derive(Serialize)]
struct Checksums {
    compared: usize,
    wrong: usize,
}

/// Something that is not as it should be.
#[derive(Serialize)]
struct Damage {
    /// The file as a whole, if none.
    tensor: Option<String>,
    what: String,
}

/// Verifies.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    let path = &command.file;
    let file = source::open(path)?;
    let gguf = file.gguf(path)?;
    let bar = streams.bytes_progress(Task::bytes(&gguf));
    let findings = Task::new(&gguf).run(ThreadPool::available(), &bar)?;
    source::check_mapped()?;
    bar.finish_and_clear();
    let report = command.report(&gguf, &findings);
    if command.json {
        write_json(&report, streams)?;
    } else {
        report.print(streams)?;
    }
    if report.sound { Ok(()) } else { Err(Failure::told(Code::Format)) }
}

impl Command {
    fn report(&self, gguf: &Gguf<'_>, findings: &Findings) -> Report {
        let mut damage = Vec::new();
        let mut add = |tensor, what| damage.push(Damage { tensor, what });
        let stored = gguf.checksums();
        if let Err(error) = stored {
            add(None, error.to_string());
        }
        let (mut wrong, mut not_finite) = (0, 0);
        let stored = stored.ok().flatten();
        for (i, (tensor, found)) in gguf.tensors().zip(&findings.tensors).enumerate() {
            let name = || Some(tensor.name().to_string());
            if let Some(stored) = stored.and_then(|all| all.get(i)).filter(|s| *s != found.checksum)
            {
                wrong += 1;
                let computed = found.checksum;
                add(name(), format!("checksum {computed:016x} instead of {stored:016x}"));
            }
            if let Some(block) = found.not_finite {
                not_finite += 1;
                add(name(), format!("block {block} has a number that is infinite or NaN"));
            }
        }
        if Trie::is_in(gguf)
            && let Err(error) = Trie::new(gguf).and_then(|trie| trie.verify())
        {
            add(None, error.to_string());
        }
        if let Some(expected) = self.expect.filter(|expected| *expected != findings.blake3) {
            add(None, format!("BLAKE3 is not the expected {}", expected.to_hex()));
        }
        let end = gguf.tensors().last().map(|tensor| tensor.offset() + tensor.data().len());
        let end = end.unwrap_or_else(|| gguf.index_bytes());
        let end = end.next_multiple_of(gguf.alignment() as usize);
        Report {
            file: shown(&self.file),
            bytes: gguf.bytes().len() as u64,
            sound: damage.is_empty(),
            tensors: gguf.n_tensors(),
            checksums: stored.map(|all| Checksums { compared: all.len(), wrong }),
            not_finite,
            not_checked: findings.tensors.iter().filter(|found| found.unknown).count(),
            trailing_bytes: gguf.bytes().len().saturating_sub(end) as u64,
            blake3: findings.blake3.to_hex().to_string(),
            expected: self.expect.map(|hash| hash.to_hex().to_string()),
            damage,
        }
    }
}

impl Report {
    fn print(&self, streams: &mut Streams<'_>) -> Result<()> {
        let Report { file, tensors, not_finite, trailing_bytes, .. } = self;
        let out = &mut *streams.output;
        writeln!(out, "{file}: {}", Bytes(self.bytes))?;
        write!(out, "  structure  sound: {tensors} tensors")?;
        match trailing_bytes {
            0 => writeln!(out)?,
            n => writeln!(out, ", and {n} bytes behind the last")?,
        }
        match not_finite {
            0 => write!(out, "  numbers    finite")?,
            n => write!(out, "  numbers    infinite or NaN in {n} tensors")?,
        }
        match self.not_checked {
            0 => writeln!(out)?,
            n => writeln!(out, "; {n} tensors in encodings that mote cannot decode: not checked")?,
        }
        match &self.checksums {
            Some(Checksums { compared, wrong: 0 }) => {
                writeln!(out, "  checksums  {compared} compared, all right")?;
            }
            Some(Checksums { compared, wrong }) => {
                writeln!(out, "  checksums  {compared} compared, {wrong} wrong")?;
            }
            None => writeln!(out, "  checksums  the file has none for its tensors")?,
        }
        writeln!(out, "  blake3     {}", self.blake3)?;
        for Damage { tensor, what } in &self.damage {
            match tensor {
                Some(name) => {
                    let name = mote_formats::gguf::Text::from(name.as_str());
                    writeln!(out, "damaged: tensor {name:?}: {what}")?;
                }
                None => writeln!(out, "damaged: {what}")?,
            }
        }
        Ok(())
    }
}
