//! Several prompts, one after the other: `--batch-file`.
//!
//! Each line is an object of JSON, and gives one. What a prompt has in common with the one before it is
//! not computed again. A line that cannot be is reported in its place, and the others go on.

use std::path::Path;

use mote_runtime::{CompletionOptions, Constraint, LanguageModel, Tokenizer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::prompt::{Prompt, Source};
use super::report::Report;
use super::speculation::Drafters;
use super::writing::{Helpers, Writing};
use crate::cli::write_json;
use crate::constrain::Grammar;
use crate::failure::{Code, Failure, Result};
use crate::input;

/// A line as it is written. What it does not say is as the command's options have it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    prompt: String,
    /// Comes back with the result.
    #[serde(default)]
    id: Option<Value>,
    #[serde(default)]
    n: Option<usize>,
    #[serde(default)]
    seed: Option<u64>,
    #[serde(default)]
    temp: Option<f32>,
    #[serde(default)]
    stop: Option<Stops>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Stops {
    One(String),
    Several(Vec<String>),
}

/// A line, or what is wrong with it.
#[derive(Debug)]
pub struct Line {
    number: usize,
    id: Option<Value>,
    task: Result<Task>,
}

/// A prompt, and what its line says otherwise than the command.
#[derive(Debug)]
struct Task {
    prompt: Prompt,
    tokens: usize,
    seed: Option<u64>,
    temperature: Option<f32>,
    stops: Option<Vec<String>>,
}

/// Reads the lines; empty ones do not count. `tokens`: how many are written where a line does not say.
pub fn read(
    path: &Path,
    tokenizer: &Tokenizer<'_>,
    special: bool,
    tokens: usize,
) -> Result<Vec<Line>> {
    let line = |(number, entry): (usize, Result<Entry>)| match entry {
        Ok(mut entry) => {
            let id = entry.id.take();
            Line { number, id, task: Task::new(entry, tokenizer, special, tokens) }
        }
        Err(failure) => Line { number, id: None, task: Err(failure) },
    };
    Ok(input::json_lines(&input::read_file(path)?).map(line).collect())
}

impl Task {
    fn new(entry: Entry, tokenizer: &Tokenizer<'_>, special: bool, tokens: usize) -> Result<Task> {
        let stops = entry.stop.map(|stops| match stops {
            Stops::One(stop) => vec![stop],
            Stops::Several(stops) => stops,
        });
        let source = Source::Text(entry.prompt.into_bytes());
        Ok(Task {
            prompt: Prompt::new(source, tokenizer, special)?,
            tokens: entry.n.unwrap_or(tokens),
            seed: entry.seed,
            temperature: entry.temp,
            stops,
        })
    }
}

/// Positions that the longest of them takes: of its prompt, and in all.
pub fn positions(lines: &[Line]) -> (usize, usize) {
    let tasks = || lines.iter().filter_map(|line| line.task.as_ref().ok());
    let prompt = tasks().map(|task| task.prompt.ids.len()).max();
    let all = tasks().map(|task| task.prompt.ids.len().saturating_add(task.tokens)).max();
    (prompt.unwrap_or(1), all.unwrap_or(1))
}

#[derive(Serialize)]
struct Outcome<'o> {
    line: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'o Value>,
    #[serde(flatten)]
    report: Option<Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error<'o>>,
}

#[derive(Serialize)]
struct Error<'e> {
    code: &'static str,
    message: &'e str,
}

/// Writes all of them.
pub fn write(
    lines: &[Line],
    writing: &mut Writing<'_, '_>,
    session: &mut dyn LanguageModel<'_>,
    options: CompletionOptions<'_>,
    drafters: &mut Drafters<'_>,
    grammar: Option<&Grammar>,
) -> Result<()> {
    let mut failed = 0;
    for Line { number, id, task } in lines {
        let report = match task {
            Ok(task) => task.write(writing, session, options, drafters, grammar),
            Err(failure) => Err(failure.clone()),
        };
        let (report, failure) = match report {
            Ok(report) => (Some(report), None),
            Err(failure) if failure.code == Code::OutputClosed => return Err(failure),
            Err(failure) => (None, Some(failure)),
        };
        let error = failure.as_ref();
        let error = error.map(|it| Error { code: it.code.name(), message: &it.message });
        failed += usize::from(error.is_some());
        let id = id.as_ref();
        write_json(&Outcome { line: *number, id, report, error }, writing.streams)?;
        writing.streams.output.flush()?;
        crate::interrupt::check()?;
    }
    match failed {
        0 => Ok(()),
        _ => {
            let sentence = format_args!("{failed} of {} lines failed", lines.len());
            Err(Failure::new(Code::Text, sentence))
        }
    }
}

impl Task {
    fn write(
        &self,
        writing: &mut Writing<'_, '_>,
        session: &mut dyn LanguageModel<'_>,
        options: CompletionOptions<'_>,
        drafters: &mut Drafters<'_>,
        grammar: Option<&Grammar>,
    ) -> Result<Report> {
        let stops: Option<Vec<&str>> =
            self.stops.as_ref().map(|stops| stops.iter().map(String::as_str).collect());
        let mut options = CompletionOptions { max_tokens: self.tokens, ..options };
        if let Some(stops) = &stops {
            options.stops = stops;
        }
        options.sampling.seed = self.seed.unwrap_or(options.sampling.seed);
        options.sampling.temperature = self.temperature.unwrap_or(options.sampling.temperature);
        options.text_start = self.prompt.is_empty_text && grammar.is_none();
        let (ids, capacity) = (&self.prompt.ids, session.capacity());
        if ids.len() > capacity {
            let sentence = format_args!(
                "the prompt has {} tokens, the context has room for {capacity}",
                ids.len()
            );
            return Err(Failure::new(Code::Context, sentence));
        }
        let mut follower = grammar.map(Grammar::follower);
        let constraint = follower.as_mut().map(|it| it as &mut dyn Constraint);
        let written = writing.write(session, ids, options, Helpers { drafters, constraint });
        let written = written.map_err(|it| Grammar::explain(follower.as_ref(), it))?;
        let reused = written.reused;
        Ok(Report::new(written, ids.len(), 0.0).with_reused(reused))
    }
}
