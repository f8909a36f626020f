//! A text on its way from the model to the output.

use std::time::Instant;

use mote_runtime::speculate::{Drafter, Speculator};
use mote_runtime::{Completion, CompletionOptions, Constraint, LanguageModel, StopReason};
use serde::Serialize;

use super::logprobs::{Logprobs, Token};
use super::speaker::DegradedReport;
use super::speculation::{self, Drafters};
use crate::cli::write_json;
use crate::failure::Result;
use crate::host::Memory;
use crate::interrupt;
use crate::streams::Streams;

/// How a text goes to the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is, as it comes.
    Text,
    /// In a report, in the end.
    Report,
    /// As it comes, each piece in an object of JSON.
    Pieces,
}

impl Form {
    /// As `--json` and `--json-stream` ask.
    pub fn new(json: bool, json_stream: bool) -> Form {
        match (json_stream, json) {
            (true, _) => Form::Pieces,
            (false, true) => Form::Report,
            (false, false) => Form::Text,
        }
    }
}

/// Where texts go, and what is noted of them.
pub struct Writing<'w, 's> {
    pub streams: &'w mut Streams<'s>,
    pub form: Form,
    pub logprobs: Option<Logprobs>,
    /// When the command began.
    pub start: Instant,
    /// The context is still wanted afterwards: the last token belongs to it.
    pub keeps_context: bool,
}

/// Who helps the model: none of it need be there.
pub struct Helpers<'h, 'd> {
    /// Who drafts.
    pub drafters: &'h mut Drafters<'d>,
    /// What the text must follow.
    pub constraint: Option<&'h mut dyn Constraint>,
}

/// What was written, and how long it took.
#[derive(Debug, Default)]
pub struct Written {
    pub text: String,
    pub ids: Vec<u32>,
    /// A [`StopReason`], or `interrupted`.
    pub stop: &'static str,
    pub logprobs: Option<Vec<Token>>,
    pub degraded: Option<DegradedReport>,
    pub speculation: Option<speculation::Report>,
    /// Tokens of the prompt that were in the context already.
    pub reused: usize,
    pub prompt_ms: f64,
    /// Since the command's start.
    pub first_token_ms: f64,
    /// From the first token on.
    pub decode_ms: f64,
}

/// What a text's end is called that Ctrl-C brought.
pub const INTERRUPTED: &str = "interrupted";

impl Written {
    /// Whether Ctrl-C ended it.
    pub fn is_interrupted(&self) -> bool {
        self.stop == INTERRUPTED
    }
}

/// A piece of a text as `--json-stream` has it.
#[derive(Serialize)]
struct Piece<'p> {
    text: &'p str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'p Token>,
}

impl Writing<'_, '_> {
    /// Writes what follows `ids`. What the context has of them stays, and the rest of it is forgotten.
    pub fn write(
        &mut self,
        model: &mut dyn LanguageModel<'_>,
        ids: &[u32],
        options: CompletionOptions<'_>,
        helpers: Helpers<'_, '_>,
    ) -> Result<Written> {
        let reused = keep(model, ids);
        let mut memory = Memory::new(Completion::bytes_needed(model.tokenizer(), &options))?;
        let mut completion = Completion::new(model, options, &mut memory)?;
        if let Some((drafter, other)) = helpers.drafters {
            let other = other.as_mut().map(|other| &mut **other as &mut dyn Drafter);
            let clock = Some(speculation::clock as fn() -> u64);
            completion.speculate(Speculator::new(&mut **drafter, other, clock));
        }
        if let Some(constraint) = helpers.constraint {
            completion.constrain(constraint);
        }
        let mut written = Written { reused, ..Written::default() };
        self.feed(&mut completion, &ids[reused..], &mut written)?;
        self.step(&mut completion, &mut written)?;
        written.speculation = completion.drafted().map(speculation::Report::from);
        if self.keeps_context {
            completion.finish()?;
        }
        Ok(written)
    }

    fn feed(
        &mut self,
        completion: &mut Completion<'_, '_>,
        ids: &[u32],
        written: &mut Written,
    ) -> Result<()> {
        let begin = Instant::now();
        if !ids.is_empty() {
            let bar = self.streams.progress(ids.len());
            completion.feed(ids, |done| {
                bar.set_position(done as u64);
                !interrupt::pressed()
            })?;
            bar.finish_and_clear();
        }
        written.prompt_ms = milliseconds(begin);
        Ok(())
    }

    fn step(&mut self, completion: &mut Completion<'_, '_>, written: &mut Written) -> Result<()> {
        let (kernels, tokenizer) = (completion.kernels(), completion.tokenizer());
        let mut decode = Instant::now();
        written.logprobs = self.logprobs.as_ref().map(|_| Vec::new());
        written.stop = loop {
            if interrupt::pressed() {
                break INTERRUPTED;
            }
            if let (Some(logprobs), Some(logits)) = (&mut self.logprobs, completion.logits()?) {
                logprobs.look(logits);
            }
            let Some(step) = completion.step()? else {
                break completion.stopped().unwrap_or(StopReason::Length).name();
            };
            if written.ids.is_empty() {
                written.first_token_ms = milliseconds(self.start);
                decode = Instant::now();
            }
            written.ids.push(step.id);
            DegradedReport::count(&mut written.degraded, &step);
            written.text.push_str(step.text);
            let token = self.logprobs.as_mut().map(|it| it.token(kernels, tokenizer, step.id));
            self.show(step.text, token.as_ref())?;
            if let (Some(tokens), Some(token)) = (&mut written.logprobs, token) {
                tokens.push(token);
            }
        };
        written.decode_ms = if written.ids.len() > 1 { milliseconds(decode) } else { 0.0 };
        Ok(())
    }

    /// Text goes out at once, so that it is seen as it is written.
    fn show(&mut self, text: &str, token: Option<&Token>) -> Result<()> {
        match self.form {
            Form::Text => self.print(text.as_bytes()),
            Form::Report => Ok(()),
            Form::Pieces if text.is_empty() && token.is_none() => Ok(()),
            Form::Pieces => {
                write_json(&Piece { text, token }, self.streams)?;
                Ok(self.streams.output.flush()?)
            }
        }
    }

    /// Bytes as they are; on a terminal, what would drive it is shown.
    pub fn print(&mut self, text: &[u8]) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        if self.streams.terminal.output {
            self.streams.output.write_all(for_terminal(text).as_bytes())?;
        } else {
            self.streams.output.write_all(text)?;
        }
        Ok(self.streams.output.flush()?)
    }
}

/// Lets the model's context be a beginning of `ids`, as long as can be; how many of them it is.
fn keep(model: &mut dyn LanguageModel<'_>, ids: &[u32]) -> usize {
    let same = model.tokens().iter().zip(ids).take_while(|(a, b)| a == b).count();
    model.rewind(same);
    if same == ids.len() {
        // The logits may have been changed by an earlier draw.
        model.take_logits();
    }
    same
}

/// Since then.
pub fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// A model's text may hold what drives a terminal.
fn for_terminal(text: &[u8]) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in String::from_utf8_lossy(text).chars() {
        if c.is_control() && !matches!(c, '\n' | '\t') {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}
