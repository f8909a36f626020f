//! `mote inspect`: what is in a GGUF file.

mod ngram;
mod report;

use std::path::PathBuf;

use clap::Args;
use mote_formats::gguf::{Array, Gguf, Text, Value};

use crate::cli::write_json;
use crate::facts::{Bytes, Count, FileFacts};
use crate::failure::{Result, shown};
use crate::host::with_gguf;
use crate::streams::Streams;
use ngram::NgramReport;
use report::{Report, SessionReport};

/// Show what is in a GGUF file
#[derive(Args, Debug)]
#[command(after_help = "\
Shows the metadata (long values are cut short, and escaped so that they cannot drive a
terminal), the tensors, what they add up to by encoding, and the memory of a session. The file
may be of any architecture, or hold a vocabulary alone.

JSON keys: version; alignment; bytes; name; architecture; parameters; n_grams (of an n-gram
model: how many of each length); metadata: a list of
{key, type, value}, for arrays {key, type, length, first}; tensors: a list of {name, type,
shape, bytes, offset}; encodings: by name {tensors, parameters, bytes}; session: {n_ctx, kv,
activations, tables_bytes, cache_bytes, activation_bytes, logit_bytes, scratch_bytes,
total_bytes}, null if mote cannot run the file; why_not: the reason, null if it can; ngram: of an
n-gram model {order, counts, smoothing, alpha, value_bits, bytes_per_n_gram}.

Example:
  mote inspect model.gguf")]
pub struct Command {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
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

/// Inspects.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    with_gguf(&command.file, |gguf| {
        if command.json {
            return write_json(&Report::new(gguf)?, streams);
        }
        let (version, alignment) = (gguf.version(), gguf.alignment());
        let out = &mut *streams.output;
        writeln!(out, "{}: GGUF version {version}, alignment {alignment}", shown(&command.file))?;
        let facts = FileFacts::new(gguf);
        writeln!(out, "{facts}")?;
        print_metadata(gguf, streams)?;
        print_tensors(gguf, &facts, streams)?;
        if let Some(report) = NgramReport::new(gguf) {
            report.print(&mut *streams.output)?;
        }
        print_session(gguf, streams)
    })
}

fn print_metadata(gguf: &Gguf<'_>, streams: &mut Streams<'_>) -> Result<()> {
    let out = &mut *streams.output;
    writeln!(out, "\nmetadata: {} keys", gguf.n_keys())?;
    let keys = gguf.metadata().map(|(key, _)| Text::from(key).to_string().len());
    let width = keys.max().unwrap_or(0).min(60);
    for (key, value) in gguf.metadata() {
        // Padding applies to strings, not to what is formatted piece by piece.
        let key = Text::from(key).to_string();
        writeln!(out, "  {key:<width$}  {}", brief(&value))?;
    }
    Ok(())
}

/// Bytes of a string that are shown.
const SHOWN_BYTES: usize = 100;
/// Elements of an array that are shown.
const SHOWN_ELEMENTS: usize = 6;

/// A value in one line.
fn brief(value: &Value<'_>) -> String {
    match value {
        Value::U8(v) => format!("u8   {v}"),
        Value::I8(v) => format!("i8   {v}"),
        Value::U16(v) => format!("u16  {v}"),
        Value::I16(v) => format!("i16  {v}"),
        Value::U32(v) => format!("u32  {v}"),
        Value::I32(v) => format!("i32  {v}"),
        Value::U64(v) => format!("u64  {v}"),
        Value::I64(v) => format!("i64  {v}"),
        Value::F32(v) => format!("f32  {v}"),
        Value::F64(v) => format!("f64  {v}"),
        Value::Bool(v) => format!("bool {v}"),
        Value::Str(text) => format!("str  {}", cut(*text)),
        Value::Array(array) => {
            let (kind, len) = (array.element_type().name(), array.len());
            format!("{kind}[{len}]{}", elements(array))
        }
    }
}

fn elements(array: &Array<'_>) -> String {
    let mut text = String::new();
    for value in array.iter().take(SHOWN_ELEMENTS) {
        text.push(' ');
        match value {
            Value::Str(element) => text.push_str(&format!("\"{}\"", cut(element))),
            // Without the type, which all elements share.
            value => text.push_str(brief(&value).split_whitespace().nth(1).unwrap_or_default()),
        }
    }
    if array.len() > SHOWN_ELEMENTS {
        text.push_str(" ...");
    }
    text
}

fn cut(text: Text<'_>) -> String {
    match text.as_bytes().get(..SHOWN_BYTES) {
        Some(start) if text.len() > SHOWN_BYTES => {
            let start = &start[..start.len() - incomplete(start)];
            format!("{}... ({} bytes)", Text::from(start), text.len())
        }
        _ => text.to_string(),
    }
}

/// Bytes at the end that begin a character without completing it.
fn incomplete(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.len() - error.valid_up_to(),
        _ => 0,
    }
}

fn print_tensors(gguf: &Gguf<'_>, facts: &FileFacts, streams: &mut Streams<'_>) -> Result<()> {
    let out = &mut *streams.output;
    writeln!(out, "\ntensors: {}", gguf.n_tensors())?;
    let width = gguf.tensors().map(|tensor| tensor.name().len()).max().unwrap_or(0).min(60);
    for tensor in gguf.tensors() {
        let name = Text::from(tensor.name()).to_string();
        let shape: Vec<String> = tensor.dims().iter().map(|dim| dim.to_string()).collect();
        let (kind, shape) = (tensor.tensor_type().name(), shape.join(" x "));
        let (bytes, offset) = (tensor.data().len(), tensor.offset());
        writeln!(out, "  {name:<width$}  {kind:<8} {shape:<16} {bytes:>12} bytes at {offset}")?;
    }
    if !facts.encodings.is_empty() {
        writeln!(out, "\nencodings")?;
    }
    for (name, total) in &facts.encodings {
        let (tensors, parameters) = (total.tensors, Count(total.parameters));
        writeln!(out, "  {name:<8} {tensors:>6} tensors, {parameters}, {}", Bytes(total.bytes))?;
    }
    Ok(())
}

fn print_session(gguf: &Gguf<'_>, streams: &mut Streams<'_>) -> Result<()> {
    let out = &mut *streams.output;
    match SessionReport::new(gguf) {
        Ok(session) => {
            let SessionReport { n_ctx, kv, tables_bytes, plan, .. } = session;
            writeln!(out, "\nmemory beside the file")?;
            writeln!(out, "  tables   {}", Bytes(tables_bytes))?;
            let plan = crate::facts::PlanFacts(plan);
            Ok(writeln!(out, "  session  {plan} for {n_ctx} tokens, {kv} cache, one thread")?)
        }
        Err(failure) => Ok(writeln!(out, "\nnot a model that runs: {}", failure.message)?),
    }
}
