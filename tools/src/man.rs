//! `mote man`: manual pages, from the same source as `--help`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::failure::{Failure, Result};
use crate::output::{self, Existing};
use crate::streams::Streams;

/// Write the manual pages
#[derive(Args, Debug)]
#[command(after_help = "\
One page a command: mote.1, mote-run.1, mote-ngram-train.1 and so on. Without --output the page
mote.1 goes to standard output.

Examples:
  mote man | man -l -
  mote man --output ~/.local/share/man/man1")]
pub struct Command {
    /// Write all pages into this folder, which is made if it is not there
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Replace pages that are there
    #[arg(long, requires = "output")]
    force: bool,
}

impl Command {
    /// Its result is a text for man, whoever reads it.
    pub fn json(&self) -> bool {
        false
    }
}

/// Writes.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    let mut all = crate::command().disable_help_subcommand(true);
    all.build();
    let Some(folder) = &command.output else {
        return Ok(streams.output.write_all(&page(&all)?)?);
    };
    fs::create_dir_all(folder).map_err(|error| Failure::io(error).in_file(folder))?;
    let existing = output::existing(command.force);
    let pages = write(&all, folder, existing)?;
    streams.fact("pages", format_args!("{pages} in {}", crate::failure::shown(folder)));
    Ok(())
}

/// Writes the command's page and those of its subcommands. Returns how many.
fn write(command: &clap::Command, folder: &Path, existing: Existing) -> Result<usize> {
    let path = folder.join(Man::new(command.clone()).get_filename());
    let page = page(command)?;
    output::write(&path, existing, |out| out.write_all(&page).map_err(Failure::io))?;
    let mut pages = 1;
    for command in command.get_subcommands() {
        pages += write(command, folder, existing)?;
    }
    Ok(pages)
}

fn page(command: &clap::Command) -> io::Result<Vec<u8>> {
    let version = command.get_version().unwrap_or(env!("CARGO_PKG_VERSION"));
    // No date: the same pages from the same source. An empty argument would be left out.
    let man = Man::new(command.clone()).date(" ").source(format!("mote {version}"));
    let details = command.get_after_help().map(|text| text.to_string()).unwrap_or_default();
    let (prose, sections) = sections(&details);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    prose.to_writer(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    sections.to_writer(&mut page)?;
    see_also(command).to_writer(&mut page)?;
    Ok(page)
}

/// What stands behind the options in `--help`: paragraphs for the description, and those that are
/// sections of their own, as examples and lists are.
fn sections(details: &str) -> (Roff, Roff) {
    let (mut prose, mut sections) = (Roff::new(), Roff::new());
    for paragraph in details.split("\n\n").map(str::trim_end).filter(|text| !text.is_empty()) {
        let (first, rest) = paragraph.split_once('\n').unwrap_or((paragraph, ""));
        let indented = !rest.is_empty() && rest.lines().all(|line| line.starts_with("  "));
        if let Some(heading) = first.strip_suffix(':').filter(|_| indented) {
            sections.control("SH", [heading.to_uppercase().as_str()]);
            as_they_stand(rest, &mut sections);
        } else if let Some(keys) = paragraph.strip_prefix("JSON keys: ") {
            sections.control("SH", ["JSON KEYS"]);
            flowing(keys, &mut sections);
        } else {
            prose.control("PP", []);
            flowing(paragraph, &mut prose);
        }
    }
    (prose, sections)
}

/// Lines that man fills.
fn flowing(text: &str, to: &mut Roff) {
    for line in text.lines() {
        // An indented line is one of its own.
        if line.starts_with(' ') {
            to.control("br", []);
        }
        to.text([roman(line.trim_start())]);
    }
}

/// Lines that stay as they are.
fn as_they_stand(text: &str, to: &mut Roff) {
    to.control("nf", []);
    text.lines().for_each(|line| _ = to.text([roman(line.strip_prefix("  ").unwrap_or(line))]));
    to.control("fi", []);
}

/// The page of all commands, from that of one.
fn see_also(command: &clap::Command) -> Roff {
    let mut roff = Roff::new();
    if command.get_name() != "mote" {
        roff.control("SH", ["SEE ALSO"]);
        roff.text([bold("mote"), roman("(1): exit codes, environment variables, all commands")]);
    }
    roff
}
