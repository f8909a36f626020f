//! What became of a model, as text and as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use mote_formats::gguf::{Gguf, Text};
use serde::Serialize;

use super::{Command, Item};
use crate::cli::write_json;
use crate::facts::{Bytes, Count, Total};
use crate::failure::{Result, shown};
use crate::streams::Streams;

#[derive(Serialize)]
struct Report {
    input: String,
    output: Option<String>,
    r#type: &'static str,
    bytes: Sizes,
    types: BTreeMap<&'static str, Total>,
    tensors: Vec<Line>,
    seconds: f64,
}

#[derive(Serialize)]
struct Sizes {
    input: u64,
    output: u64,
}

#[derive(Serialize)]
struct Line {
    name: String,
    shape: Vec<u64>,
    from: &'static str,
    to: &'static str,
    bytes: u64,
    wanted: Option<&'static str>,
    important: bool,
}

/// Tells the result; of a dry run, every tensor's.
pub fn print(
    command: &Command,
    gguf: &Gguf<'_>,
    items: &[Item<'_>],
    bytes: u64,
    time: Duration,
    streams: &mut Streams<'_>,
) -> Result<()> {
    let output = command.output.as_deref().filter(|_| !command.dry_run).map(shown);
    let report = Report {
        input: shown(&command.input),
        output,
        r#type: command.kind.0.map_or("COPY", |mix| mix.name),
        bytes: Sizes { input: gguf.bytes().len() as u64, output: bytes },
        types: types(items),
        tensors: items.iter().map(line).collect(),
        seconds: time.as_secs_f64(),
    };
    if command.json {
        return write_json(&report, streams);
    }
    let out = &mut *streams.output;
    if command.dry_run {
        let width = report.tensors.iter().map(|line| line.name.len()).max().unwrap_or(0).min(60);
        for Line { name, shape, from, to, bytes, wanted, .. } in &report.tensors {
            let shape: Vec<String> = shape.iter().map(u64::to_string).collect();
            let (shape, wanted) = (shape.join(" x "), wanted.map(|kind| format!("  not {kind}")));
            let wanted = wanted.unwrap_or_default();
            writeln!(
                out,
                "{name:<width$}  {shape:<16} {from:>6} -> {to:<6} {bytes:>12} bytes{wanted}"
            )?;
        }
    }
    let Sizes { input, output } = report.bytes;
    let what = report.output.as_deref().unwrap_or("dry run");
    let (before, after, seconds) = (Bytes(input), Bytes(output), report.seconds);
    writeln!(
        out,
        "{what}: {}, {after} ({output} bytes) from {before}, {seconds:.1} s",
        report.r#type
    )?;
    for (name, total) in &report.types {
        let (tensors, parameters) = (total.tensors, Count(total.parameters));
        writeln!(out, "  {name:<8} {tensors:>6} tensors, {parameters}, {}", Bytes(total.bytes))?;
    }
    Ok(())
}

fn types(items: &[Item<'_>]) -> BTreeMap<&'static str, Total> {
    let mut types: BTreeMap<&str, Total> = BTreeMap::new();
    for item in items {
        let total = types.entry(item.choice.kind.name()).or_default();
        total.tensors += 1;
        total.parameters = total.parameters.saturating_add(item.tensor.n_elements());
        total.bytes += item.bytes();
    }
    types
}

fn line(item: &Item<'_>) -> Line {
    Line {
        name: Text::from(item.tensor.name()).to_string(),
        shape: item.tensor.dims().to_vec(),
        from: item.tensor.tensor_type().name(),
        to: item.choice.kind.name(),
        bytes: item.bytes(),
        wanted: item.choice.wanted.map(|kind| kind.name()),
        important: item.importance.is_some() && item.changes(),
    }
}
