//! `mote ngram train`: text to a model.

mod inputs;
mod options;
mod outputs;
mod report;

use std::cell::RefCell;
use std::io;
use std::time::Instant;

use mote_runtime::Tokenizer;
use mote_runtime::tokenizer::LoadError;

use super::estimate::gguf::Histograms;
use super::estimate::{Discounts, Error, Estimated, Fallback, Settings, Smoothing, Told, estimate};
use crate::cli::write_json;
use crate::failure::{Code, Failure, Result};
use crate::host::{Memory, unknown_rules};
use crate::interrupt::Interrupted;
use crate::source;
use crate::streams::Streams;
use crate::tokenize::tell_unknown_rules;
use inputs::{Given, Text, read};
pub use options::Command;
use outputs::Outputs;
use report::Report;

/// Bits of values that are kept as they are.
const EXACT: u32 = 32;

/// Bytes of memory that the program and its small buffers take.
const PROGRAM: usize = 8 << 20;

/// Estimates a model and writes it.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    command.check()?;
    command.check_outputs()?;
    let Some(path) = command.tokenizer() else { return train(command, None, streams) };
    let file = source::open(path)?;
    let gguf = file.gguf(path)?;
    let refused = |error: LoadError| Failure::load(error.into(), &gguf).in_file(path);
    let mut tables = Memory::new(Tokenizer::bytes_needed(&gguf).map_err(refused)?)?;
    let tokenizer = Tokenizer::new(&gguf, &mut tables).map_err(refused)?;
    let tokenizer = match command.pre() {
        Some(name) => tokenizer.with_pre_tokenizer(name).ok_or_else(|| unknown_rules(name))?,
        None => tokenizer,
    };
    tell_unknown_rules(&tokenizer, streams);
    train(command, Some((&gguf, &tokenizer)), streams)
}

fn train(command: &Command, tokenizer: Given<'_>, streams: &mut Streams<'_>) -> Result<()> {
    let start = Instant::now();
    let mut settings = command.settings();
    let Text { source, lexicon, ids } = read(command, tokenizer, &settings, streams)?;
    let mut report = Report::new(&source, &settings, start);
    let taken = PROGRAM + lexicon.bytes() + ids.bytes();
    settings.memory = settings.memory.saturating_sub(taken);
    let coded = command.output.is_some() && command.value_bits != EXACT;
    let mut values = Histograms::new(settings.order, coded);
    let clock = RefCell::new(report.stages());
    let bar = |name: &'static str, len| {
        clock.borrow_mut().begin(name);
        streams.steps(name, len)
    };
    let estimated = estimate(source, &ids, &settings, &mut values, &bar).map_err(failure)?;
    tell_fallbacks(&estimated, &settings, streams);
    report.estimated(&estimated);

    let stupid = settings.smoothing == Smoothing::Stupid;
    let books = values.books(settings.order, command.value_bits, stupid);
    let mut outputs = Outputs::new(command, &lexicon, &ids, &books, &settings, &estimated)?;
    clock.borrow_mut().begin("writing");
    let writing = streams.steps("writing", estimated.counts.iter().skip(1).sum());
    let unigrams = estimated.emit(&mut outputs, &Told(&writing)).map_err(failure)?;
    writing.finish_and_clear();
    report.estimating(clock.into_inner());
    outputs.finish(&unigrams, &mut report, start)?;
    report.finish(start);
    if command.json {
        return write_json(&report, streams);
    }
    report.tell(streams);
    Ok(())
}

/// Which orders have discounts that are not the text's.
fn tell_fallbacks(estimated: &Estimated, settings: &Settings, streams: &mut Streams<'_>) {
    let Fallback::Discounts(Discounts([one, two, three])) = settings.fallback else { return };
    let discounts = match settings.smoothing {
        Smoothing::Plain => format!("discount {one}"),
        _ => format!("discounts {one} {two} {three}"),
    };
    for (order, why) in &estimated.fallen_back {
        streams
            .note(format_args!("{order}-grams: {discounts}, because the text gives none: {why}"));
    }
}

fn failure(error: Error) -> Failure {
    match error {
        Error::Input(error) | Error::File(error) if Interrupted::is_in(&error) => {
            Interrupted.into()
        }
        Error::File(error) if error.kind() == io::ErrorKind::OutOfMemory => {
            Failure::new(Code::Memory, error)
        }
        Error::Input(_) | Error::File(_) => Failure::new(Code::Io, error),
        _ => Failure::new(Code::Text, error),
    }
}

fn temporary(error: io::Error) -> Failure {
    failure(Error::File(error))
}
