//! The results of a comparison: the JSON object, and the table.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::failure::shown;
use crate::streams::Streams;

use super::super::measure::{Cost, Spread, Test};
use super::super::report::Limit;
use super::Request;
use super::program::{Run, Sample};

/// All that was measured. Its fields are the keys of the JSON object.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// mote's kernel table, if it ever ran.
    target: Option<String>,
    rounds: usize,
    /// mote first; speeds are in the same order.
    pub programs: Vec<Program>,
    /// A line of the table each.
    pub results: Vec<Line>,
    failures: Vec<Failed>,
}

/// One of the programs.
#[derive(Clone, Debug, Serialize)]
pub struct Program {
    /// What the table calls it.
    pub name: String,
    /// Its binary.
    pub path: PathBuf,
    /// What it was told beside the test.
    pub flags: Vec<String>,
    /// Whether mote's ratio is to this one, if it is the best.
    pub counts: bool,
    /// Which version it says it is; of mote the kernel table.
    pub build: Option<String>,
}

/// A test with a model on some threads, in all programs.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The model's file, without folder and ending.
    pub model: String,
    /// The test.
    pub test: Test,
    /// The number of threads.
    pub threads: usize,
    /// Of each program.
    pub speeds: Vec<Speed>,
    best_peer: Option<String>,
    /// mote's median to that of the best peer.
    pub ratio: Option<f64>,
    /// Medians of what was measured beside mote's runs.
    pub read_bytes_per_second: Option<f64>,
    /// See [`Limit`].
    pub multiply_adds_per_second: Option<f64>,
    /// What these admit.
    pub limit_tokens_per_second: Option<f64>,
    /// mote's median as a share of that.
    pub share_of_limit: Option<f64>,
    /// What a token reads: weights, and in decoding what was in the cache before the test.
    pub bytes_per_token: f64,
    /// Multiply-adds with weights.
    pub multiply_adds_per_token: f64,
}

/// A program's speed in a test.
#[derive(Clone, Debug, Serialize)]
pub struct Speed {
    program: String,
    /// Nothing, if it failed.
    pub tokens_per_second: Option<Spread>,
    samples: Vec<f64>,
}

/// A program that did not do a test, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Failed {
    program: String,
    model: String,
    test: Test,
    threads: usize,
    reason: String,
}

/// A line in the making.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    model: &'a Path,
    /// The test.
    pub test: Test,
    threads: usize,
    cost: &'a Cost,
    /// Of each program.
    samples: Vec<Vec<f64>>,
    limits: Vec<Limit>,
}

impl<'a> Row<'a> {
    /// Nothing as yet, of so many programs.
    pub fn new(
        model: &'a Path,
        test: Test,
        threads: usize,
        cost: &'a Cost,
        programs: usize,
    ) -> Self {
        Row { model, test, threads, cost, samples: vec![Vec::new(); programs], limits: Vec::new() }
    }

    /// What is to be run.
    pub fn run(&self) -> Run<'a> {
        Run { model: self.model, test: self.test, threads: self.threads }
    }

    /// A program did it once more.
    pub fn add(&mut self, program: usize, sample: Sample) {
        if let Some(samples) = self.samples.get_mut(program) {
            samples.push(sample.tokens_per_second);
        }
        self.limits.extend(sample.limit);
    }

    /// A program failed: a median of fewer runs than asked for would mislead.
    pub fn clear(&mut self, program: usize) {
        if let Some(samples) = self.samples.get_mut(program) {
            samples.clear();
        }
    }

    fn model_name(&self) -> String {
        shown(Path::new(self.model.file_stem().unwrap_or(self.model.as_os_str())))
    }

    fn line(self, batch: usize, programs: &[Program]) -> Line {
        let median = |values: Vec<f64>| Spread::of(values).map(|spread| spread.median);
        let limits = |of: fn(&Limit) -> f64| median(self.limits.iter().map(of).collect());
        let read = limits(|limit| limit.read_bytes_per_second);
        let multiply = limits(|limit| limit.multiply_adds_per_second);
        let limit = read.zip(multiply).and_then(|(read, multiply)| {
            let limit = Limit {
                threads: self.threads,
                read_bytes_per_second: read,
                multiply_adds_per_second: multiply,
            };
            self.cost.tokens_per_second(self.test, &limit)
        });
        let model = self.model_name();
        let speeds: Vec<Speed> = programs
            .iter()
            .zip(self.samples)
            .map(|(program, samples)| Speed {
                program: program.name.clone(),
                tokens_per_second: Spread::of(samples.clone()),
                samples,
            })
            .collect();
        let mote = speeds.first().and_then(Speed::median);
        let counted = speeds.iter().zip(programs).filter(|(_, program)| program.counts);
        let best = counted
            .filter_map(|(speed, _)| Some((speed.median()?, speed.program.clone())))
            .max_by(|(a, _), (b, _)| a.total_cmp(b));
        Line {
            model,
            test: self.test,
            threads: self.threads,
            ratio: mote.zip(best.as_ref()).map(|(mote, (best, _))| mote / best),
            best_peer: best.map(|(_, name)| name),
            read_bytes_per_second: read,
            multiply_adds_per_second: multiply,
            limit_tokens_per_second: limit,
            share_of_limit: mote.zip(limit).map(|(mote, limit)| mote / limit),
            bytes_per_token: self.cost.bytes(self.test, batch),
            multiply_adds_per_token: self.cost.macs(self.test),
            speeds,
        }
    }
}

impl Speed {
    /// Of its runs.
    pub fn median(&self) -> Option<f64> {
        self.tokens_per_second.map(|spread| spread.median)
    }
}

impl Failed {
    /// In this row.
    pub fn new(row: &Row<'_>, program: &str, reason: String) -> Self {
        let (model, test, threads) = (row.model_name(), row.test, row.threads);
        Failed { program: program.to_owned(), model, test, threads, reason }
    }

    /// Whether it was this program in this row.
    pub fn is_of(&self, row: &Row<'_>, program: &str) -> bool {
        self.program == program
            && (self.test, self.threads) == (row.test, row.threads)
            && self.model == row.model_name()
    }
}

impl Comparison {
    /// Of all rows.
    pub fn new(
        request: &Request<'_>,
        programs: Vec<Program>,
        rows: Vec<Row<'_>>,
        failures: Vec<Failed>,
    ) -> Self {
        let batch = request.compute.batch.get();
        Comparison {
            target: programs.first().and_then(|mote| mote.build.clone()),
            rounds: request.rounds,
            results: rows.into_iter().map(|row| row.line(batch, &programs)).collect(),
            programs,
            failures,
        }
    }

    /// How it was measured, in a few words.
    pub fn method(&self) -> String {
        let target = self.target.as_deref().unwrap_or("mote did not run");
        match self.rounds {
            1 => format!("{target}, one run each"),
            rounds => format!("{target}, medians of {rounds} runs in turns"),
        }
    }

    /// What the table does not say.
    pub fn notes(&self, streams: &mut Streams<'_>) {
        streams.fact("mote", self.method());
        for line in &self.results {
            let Line { model, test, threads, .. } = line;
            let gigas = (line.read_bytes_per_second, line.multiply_adds_per_second);
            if let (Some(read), Some(multiply)) = gigas {
                let (read, multiply) = (read / 1e9, multiply / 1e9);
                streams.fact(
                    "limit",
                    format_args!(
                        "{model}, {test}, {threads} threads: read {read:.1} GB/s, multiply-add in \
                         cache {multiply:.1} G/s"
                    ),
                );
            }
        }
        for Failed { program, model, test, threads, reason } in &self.failures {
            streams.note(format_args!("{program}: {model}, {test}, {threads} threads: {reason}"));
        }
    }

    /// The table in Markdown, its columns aligned. What does not count stands at the end.
    pub fn markdown(&self) -> String {
        let (counted, beside): (Vec<usize>, Vec<usize>) =
            (1..self.programs.len()).partition(|&place| self.programs[place].counts);
        let name = |&place: &usize| self.programs[place].name.clone();
        let mut header = ["model", "test", "threads", super::MOTE].map(str::to_owned).to_vec();
        header.extend(counted.iter().map(name));
        header.extend(["ratio", "of limit"].map(str::to_owned));
        header.extend(beside.iter().map(name));
        let mut table = vec![header];
        for line in &self.results {
            let speed = |place: usize| {
                let median = line.speeds.get(place).and_then(Speed::median);
                median.map_or("-".to_owned(), |speed| format!("{speed:.1}"))
            };
            let model = line.model.replace('|', "\\|");
            let mut cells = vec![model, line.test.to_string(), line.threads.to_string(), speed(0)];
            cells.extend(counted.iter().map(|&place| speed(place)));
            cells.push(line.ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")));
            let percent = |share: f64| format!("{:.0} %", share * 100.0);
            cells.push(line.share_of_limit.map_or("-".to_owned(), percent));
            cells.extend(beside.iter().map(|&place| speed(place)));
            table.push(cells);
        }
        aligned(&table)
    }
}

/// Columns of names to the left, of numbers to the right.
fn aligned(table: &[Vec<String>]) -> String {
    const NAMES: usize = 2;
    let columns = table.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = table.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, row) in table.iter().enumerate() {
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            // Writing to a string cannot fail.
            let _ = match column < NAMES {
                true => write!(text, "| {cell:<width$} "),
                false => write!(text, "| {cell:>width$} "),
            };
        }
        text.push_str("|\n");
        if number == 0 {
            for (column, &width) in widths.iter().enumerate() {
                let _ = match column < NAMES {
                    true => write!(text, "|{:-<1$}", "", width + 2),
                    false => write!(text, "|{:->1$}:", "", width + 1),
                };
            }
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let table = [row(["model", "test", "mote"]), row(["m", "pp512", "1234.5"])];
        let expected = "\
| model | test  |   mote |
|-------|-------|-------:|
| m     | pp512 | 1234.5 |
";
        assert_eq!(aligned(&table), expected);
    }
}
