//! Who writes: the model that was asked for, or a fallback in its place.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use mote_kernels::Kernels;
use mote_runtime::executor::Executor;
use mote_runtime::tokenizer::Tokenizer;
use mote_runtime::{
    AnyModel, AnySession, Deadline, Degraded, Fallback, LanguageModel, Options, Plan, Step,
};
use serde::Serialize;

use crate::facts::FileFacts;
use crate::failure::{Code, Failure, Result};
use crate::host::{Engine, Memory, try_any_model, with_any_model_by};
use crate::streams::Streams;

/// What is to happen where the model does not answer.
#[derive(Args, Debug)]
#[command(next_help_heading = "Fallback")]
pub struct FallbackOptions {
    /// An n-gram model of the same vocabulary, which answers where the model's file is missing or
    /// damaged, --ram has no room for it, it is later than --deadline, or its logits are not finite
    #[arg(long, value_name = "FILE")]
    fallback: Option<PathBuf>,
    /// Milliseconds that the model has for the prompt, and again for each token. When it is late the
    /// fallback writes; the model catches up while it has time, and then goes on writing
    #[arg(long, value_name = "MS", requires = "fallback", value_parser = milliseconds)]
    deadline: Option<u64>,
}

/// Milliseconds as nanoseconds.
fn milliseconds(text: &str) -> std::result::Result<u64, String> {
    match text.parse::<f64>() {
        Ok(ms) if (0.0..=1e9).contains(&ms) => Ok((ms * 1e6) as u64),
        _ => Err("not a number of milliseconds".to_string()),
    }
}

impl FallbackOptions {
    /// Opens both models: the first may fail if there is a second.
    pub fn with_models<R>(
        &self,
        path: &Path,
        pre: Option<&str>,
        work: impl FnOnce(&Models<'_>) -> Result<R>,
    ) -> Result<R> {
        let deadline = self.deadline;
        try_any_model(path, pre, |main| match &self.fallback {
            None => work(&Models { main: Ok(main?), spare: None, deadline }),
            Some(path) => with_any_model_by(path, pre, |spare| {
                work(&Models { main, spare: Some(spare), deadline })
            }),
        })
    }
}

/// The model that was asked for, or why there is none, and the one that stands in for it.
pub struct Models<'m> {
    main: Result<&'m AnyModel<'m>>,
    spare: Option<&'m AnyModel<'m>>,
    deadline: Option<u64>,
}

impl<'m> Models<'m> {
    /// The one that is there.
    pub fn any(&self) -> Result<&'m AnyModel<'m>> {
        match (&self.main, self.spare) {
            (Ok(main), _) => Ok(main),
            (Err(_), Some(spare)) => Ok(spare),
            (Err(failure), None) => Err(failure.clone()),
        }
    }

    /// The vocabulary of both.
    pub fn tokenizer(&self) -> Result<&'m Tokenizer<'m>> {
        Ok(self.any()?.tokenizer())
    }

    /// Says what is there.
    pub fn introduce(&self, streams: &mut Streams<'_>) {
        match &self.main {
            Ok(model) => streams.fact("model", FileFacts::new(model.gguf())),
            Err(failure) => streams.note(format_args!("{}: the fallback writes", failure.message)),
        }
        if let Some(spare) = self.spare {
            streams.fact("fallback", FileFacts::new(spare.gguf()));
        }
    }

    /// Sessions of what is there, as one model. `options` are those of the model that was asked for:
    /// they, too, may be why it cannot be had.
    pub fn with_session<R>(
        &self,
        options: (usize, Result<Options>),
        engine: &Engine,
        work: impl FnOnce(&mut dyn LanguageModel<'_>, &Plan) -> Result<R>,
    ) -> Result<R> {
        let (n_ctx, options) = options;
        let (kernels, executor): (&'static Kernels, &dyn Executor) = (engine.kernels, &engine.pool);
        let main = self.main.clone().and_then(|model| Prepared::new(model, options?));
        let Some(spare) = self.spare else { return main?.session(kernels, executor, work) };
        let alone = Options { n_ctx, ..Options::default() };
        let mut spare = Prepared::new(spare, alone)?;
        let start = Instant::now();
        let clock = || start.elapsed().as_nanos() as u64;
        let mut main = match main {
            Ok(main) => main,
            Err(failure) => {
                let why = degraded_by(&failure).ok_or(failure)?;
                let plan = spare.plan;
                return spare.session(kernels, executor, |spare, _| {
                    work(&mut Fallback::alone(spare, why), &plan)
                });
            }
        };
        let (plan, spare) = (main.plan, &mut spare);
        let mut spare =
            AnySession::new(spare.model, &spare.options, kernels, executor, &mut spare.memory)?;
        let main = &mut main;
        let mut main =
            AnySession::new(main.model, &main.options, kernels, executor, &mut main.memory)?;
        let mut both = Fallback::new(main.as_model_mut(), spare.as_model_mut())?;
        let limit = |each| Deadline { clock: &clock, each, moment: u64::MAX };
        both.set_deadline(self.deadline.map(limit));
        work(&mut both, &plan)
    }
}

/// A model and the memory of its session.
struct Prepared<'m> {
    model: &'m AnyModel<'m>,
    options: Options,
    plan: Plan,
    memory: Memory,
}

impl<'m> Prepared<'m> {
    fn new(model: &'m AnyModel<'m>, options: Options) -> Result<Self> {
        let plan = AnySession::plan(model, &options)?;
        Ok(Prepared { model, options, plan, memory: Memory::new(plan.total_bytes)? })
    }

    fn session<R>(
        mut self,
        kernels: &'static Kernels,
        executor: &dyn Executor,
        work: impl FnOnce(&mut dyn LanguageModel<'_>, &Plan) -> Result<R>,
    ) -> Result<R> {
        let Prepared { model, options, plan, memory } = &mut self;
        let mut session = AnySession::new(model, options, kernels, executor, memory)?;
        work(session.as_model_mut(), plan)
    }
}

/// Failures that a fallback makes up for.
fn degraded_by(failure: &Failure) -> Option<Degraded> {
    match failure.code {
        Code::Io => Some(Degraded::Missing),
        Code::Format | Code::Model => Some(Degraded::Damaged),
        Code::Memory => Some(Degraded::Memory),
        _ => None,
    }
}

/// How much of a text the fallback wrote, and why.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct DegradedReport {
    /// Why its first token was not the model's.
    #[serde(serialize_with = "by_name")]
    reason: Degraded,
    /// Its tokens.
    tokens: usize,
}

impl DegradedReport {
    /// Counts a token of the text.
    pub fn count(report: &mut Option<DegradedReport>, step: &Step<'_>) {
        if let Some(reason) = step.degraded {
            report.get_or_insert(DegradedReport { reason, tokens: 0 }).tokens += 1;
        }
    }
}

impl fmt::Display for DegradedReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens are the fallback's: {}", self.tokens, self.reason)
    }
}

fn by_name<S: serde::Serializer>(
    reason: &Degraded,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(reason.name())
}
