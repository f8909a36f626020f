//! `mote bench --compare`: mote beside other programs, in turns, each in a process of its own.
//!
//! In a round every test runs once with every program, one right after the other, so that whatever
//! else happens on the machine happens to all of them; the next round begins with another program.

mod plot;
mod process;
mod program;
mod table;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;

use crate::cli::write_json;
use crate::failure::{Code, Failure, Result};
use crate::host::with_decoder;
use crate::interrupt;
use crate::options::{ComputeOptions, Purpose};
use crate::output::{self, Existing};
use crate::streams::Streams;

use super::measure::{Cost, Test};
use program::{Filling, Mote, Peer, Run, Sample};
use table::{Comparison, Failed, Program, Row};

/// mote's own column.
const MOTE: &str = "mote";

/// Options of a comparison.
#[derive(Args, Debug)]
#[command(next_help_heading = "Comparison")]
pub struct CompareOptions {
    /// Another program's llama-bench, by path; may be repeated
    #[arg(long, value_name = "NAME=PATH[,FLAG...]")]
    pub compare: Vec<Peer>,
    /// The same in a column of its own, which does not count for the ratio
    #[arg(long, value_name = "NAME=PATH[,FLAG...]")]
    pub beside: Vec<Peer>,
    /// Write the JSON to a file, too
    #[arg(long, value_name = "FILE")]
    pub json_file: Option<PathBuf>,
    /// Draw the results under their roofline: an SVG file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Most seconds that one run may take
    #[arg(long, value_name = "SECONDS", default_value = "600",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub timeout: u32,
    /// The binary of mote that is measured [default: this one]
    #[arg(long, value_name = "PATH")]
    pub mote: Option<PathBuf>,
}

impl CompareOptions {
    /// Whether there is something to compare, or a file that only comparisons write.
    pub fn is_asked(&self) -> bool {
        let files = [&self.json_file, &self.svg, &self.mote];
        !self.compare.is_empty()
            || !self.beside.is_empty()
            || files.into_iter().any(Option::is_some)
    }
}

/// What is to be compared.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The models' files.
    pub models: &'a [PathBuf],
    /// The tests of each.
    pub tests: &'a [Test],
    /// Numbers of threads for each test.
    pub threads: &'a [usize],
    /// How often everything is done.
    pub rounds: usize,
    /// How mote computes.
    pub compute: &'a ComputeOptions,
    /// With what, and where to.
    pub options: &'a CompareOptions,
}

/// Compares.
pub fn execute(request: &Request<'_>, json: bool, streams: &mut Streams<'_>) -> Result<()> {
    // First whatever would be a pity to find out later.
    let costs =
        request.models.iter().map(|path| cost(request, path)).collect::<Result<Vec<_>>>()?;
    let runners = Runner::all(request)?;
    let mut rows: Vec<Row> = Vec::new();
    for (model, cost) in request.models.iter().zip(&costs) {
        for &test in request.tests {
            let row = |&threads: &usize| Row::new(model, test, threads, cost, runners.len());
            rows.extend(request.threads.iter().map(row));
        }
    }
    let mut programs: Vec<Program> = runners.iter().map(Runner::describe).collect();
    let mut failures = Vec::new();
    let tokens: usize = rows.iter().map(|row| row.test.tokens()).sum();
    let progress = streams.progress(tokens * request.rounds * runners.len());
    let tests_of_a_model = request.tests.len() * request.threads.len();
    for rows in rows.chunks_mut(tests_of_a_model.max(1)) {
        for round in 0..request.rounds {
            for row in &mut *rows {
                interrupt::check()?;
                fill(row, round, &runners, &mut programs, &mut failures, &progress);
            }
        }
    }
    interrupt::check()?;
    progress.finish_and_clear();
    let comparison = Comparison::new(request, programs, rows, failures);
    comparison.notes(streams);
    if json {
        write_json(&comparison, streams)?;
    } else {
        write!(streams.output, "{}", comparison.markdown())?;
    }
    // The files come last: if one cannot be written, the results are not lost.
    streams.output.flush()?;
    if let Some(path) = &request.options.json_file {
        write(path, &[&serde_json::to_vec(&comparison)?, b"\n"])?;
    }
    if let Some(path) = &request.options.svg {
        write(path, &[plot::draw(&comparison).as_bytes()])?;
    }
    Ok(())
}

/// What a token of the model costs; a file that does not run fails here.
fn cost(request: &Request<'_>, path: &Path) -> Result<Cost> {
    with_decoder(path, None, |model| {
        let options = request.compute.session(model.weights().all_float(), Purpose::Generate, 1, 1);
        Ok(Cost::of(model, options.cache))
    })
}

/// One round of a row. A program that failed once is not asked again for this row.
fn fill(
    row: &mut Row,
    round: usize,
    runners: &[Runner<'_>],
    programs: &mut [Program],
    failures: &mut Vec<Failed>,
    progress: &ProgressBar,
) {
    for turn in 0..runners.len() {
        let place = (round + turn) % runners.len();
        let failed =
            failures.iter().any(|failed: &Failed| failed.is_of(row, &programs[place].name));
        if !failed {
            match runners[place].run(&row.run()) {
                Ok(sample) => {
                    programs[place].build = sample.build.clone().or(programs[place].build.take());
                    row.add(place, sample);
                }
                Err(reason) => {
                    failures.push(Failed::new(row, &programs[place].name, reason));
                    row.clear(place);
                }
            }
        }
        progress.inc(row.test.tokens() as u64);
    }
}

fn write(path: &Path, pieces: &[&[u8]]) -> Result<()> {
    let fill = |out: &mut dyn Write| {
        let written = pieces.iter().try_for_each(|piece| out.write_all(piece));
        written.map_err(Failure::io)
    };
    output::write(path, Existing::Replace, fill)
}

/// A program that is ready to run.
enum Runner<'a> {
    Mote { mote: Mote, timeout: Duration },
    Peer { peer: &'a Peer, counts: bool, filling: Filling, timeout: Duration },
}

impl<'a> Runner<'a> {
    /// mote first, then the others as they were named.
    fn all(request: &Request<'a>) -> Result<Vec<Runner<'a>>> {
        let options = request.options;
        let timeout = Duration::from_secs(options.timeout.into());
        let path = match &options.mote {
            Some(path) => path.clone(),
            None => std::env::current_exe().map_err(|error| {
                Failure::new(Code::Io, format_args!("cannot find this program's file: {error}"))
            })?,
        };
        let mote = Mote { path, arguments: request.compute.arguments() };
        let mut runners = vec![Runner::Mote { mote, timeout }];
        let counted = options.compare.iter().map(|peer| (peer, true));
        for (peer, counts) in counted.chain(options.beside.iter().map(|peer| (peer, false))) {
            if runners.iter().any(|other| other.describe().name == peer.name) {
                let name = &peer.name;
                return Err(Failure::new(
                    Code::Usage,
                    format_args!("two programs called '{name}'"),
                ));
            }
            let filling = peer.filling(timeout).map_err(|reason| {
                Failure::new(Code::Io, format_args!("--compare: {}: {reason}", peer.name))
            })?;
            runners.push(Runner::Peer { peer, counts, filling, timeout });
        }
        Ok(runners)
    }

    fn describe(&self) -> Program {
        match self {
            Runner::Mote { mote, .. } => Program {
                name: MOTE.to_owned(),
                path: mote.path.clone(),
                flags: mote.arguments.clone(),
                counts: false,
                build: None,
            },
            Runner::Peer { peer, counts, .. } => peer.describe(*counts),
        }
    }

    fn run(&self, run: &Run<'_>) -> std::result::Result<Sample, String> {
        match self {
            Runner::Mote { mote, timeout } => mote.run(run, *timeout),
            Runner::Peer { peer, filling, timeout, .. } => peer.run(run, *filling, *timeout),
        }
    }
}
