//! `mote run`: continues a text.

mod prompt;
mod sampling;
mod speaker;
mod speculation;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use mote_runtime::speculate::{Drafter, MAX_DRAFTS, Speculator};
use mote_runtime::{
    AnyModel, AnySession, Budget, BudgetError, Completion, CompletionOptions, Options, Plan,
    StopReason,
};
use serde::Serialize;

use crate::cli::write_json;
use crate::environment;
use crate::facts::{PlanFacts, per_second};
use crate::failure::{Code, Failure, Result};
use crate::host::{Engine, Memory};
use crate::mix::MixOptions;
use crate::options::{CacheChoice, Purpose, SessionOptions};
use crate::streams::Streams;
use crate::tokenize::tell_unknown_rules;
use prompt::{Prompt, PromptOptions};
use sampling::SamplingOptions;
use speaker::{DegradedReport, FallbackOptions, Models};
use speculation::Speculation;

/// Continue a text
#[derive(Args, Debug)]
#[command(after_help = "\
The continuation goes to standard output as it is written; facts about model, memory and
speed go to standard error. The text is continued as it is: no chat template is applied. The
same arguments give the same text on every machine; another --seed gives another text.

The context has room for the prompt and -n tokens, as far as the model was trained for it;
where it ends, the text ends, with the reason length. On a terminal, control characters are
shown and not obeyed.

JSON keys: text; ids (of the continuation, the end token included); prompt_tokens; stop (stop,
eos or length); degraded (where the fallback wrote: reason, which is missing, damaged, memory,
deadline or not_finite, and tokens); timings: load_ms, prompt_ms, prompt_tokens_per_second, first_token_ms (since
the command's start), decode_ms, decode_tokens_per_second (of the tokens after the first);
speculation (null if off): drafted, accepted (tokens), drafted_passes, plain_passes.

Examples:
  mote run 'Once upon a time'
  mote run -m model.gguf -f prompt.txt -n 500 --temp 0
  mote run -m model.gguf --fallback lm.gguf --deadline 50 'Once upon a time'
  mote run -m model.gguf --special --stop '<|im_end|>' -p \"$CHAT\" --json")]
pub struct Command {
    /// The model: a GGUF file [default: one that models/fetch.sh got]
    #[arg(short, long, value_name = "FILE", env = environment::MODEL, hide_env_values = true)]
    model: Option<PathBuf>,
    #[command(flatten)]
    prompt: PromptOptions,
    /// Most tokens to write
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        default_value = "128",
        allow_negative_numbers = true
    )]
    tokens: usize,
    /// End before this text; may be given several times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<String>,
    /// Go on where the model would end the text
    #[arg(long)]
    ignore_eos: bool,
    /// Special tokens: read as such in the prompt, and shown in the output
    #[arg(long)]
    special: bool,
    /// Print the prompt too
    #[arg(long)]
    echo: bool,
    /// Memory for the session at most, as 64M or 1G. What does not fit is given up in this order:
    /// long batches (speed only), an f32 cache where f16 will do, a long context
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    ram: Option<usize>,
    /// Draft tokens, and let the model check several at once: off, lookup (what the text had before
    /// is expected again), or an n-gram model's file (that, too). The text stays the same
    #[arg(long, value_name = "HOW", default_value = "lookup", value_parser = Speculation::parse)]
    speculate: Speculation,
    /// Print JSON, when all is written
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    fallback: FallbackOptions,
    #[command(flatten)]
    mix: MixOptions,
    #[command(flatten)]
    sampling: SamplingOptions,
    #[command(flatten)]
    session: SessionOptions,
}

impl Command {
    /// Whether the result is wanted as JSON.
    pub fn json(&self) -> bool {
        self.json
    }
}

#[derive(Serialize)]
struct Report {
    text: String,
    ids: Vec<u32>,
    prompt_tokens: usize,
    stop: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<DegradedReport>,
    timings: Timings,
    speculation: Option<speculation::Report>,
}

/// Milliseconds, and tokens per second.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Timings {
    load_ms: f64,
    prompt_ms: f64,
    prompt_tokens_per_second: f64,
    first_token_ms: f64,
    decode_ms: f64,
    decode_tokens_per_second: f64,
}

/// Continues a text.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    let start = Instant::now();
    let options = command.sampling.options();
    let stops: Vec<&str> = command.stop.iter().map(String::as_str).collect();
    if stops.contains(&"") {
        return Err(Failure::new(Code::Usage, "--stop: a stop string is empty"));
    }
    let path = match &command.model {
        Some(path) => path.clone(),
        None => fetched_model(Path::new("models"))?,
    };
    let source = command.prompt.read(streams)?;
    let engine = Engine::new(&command.session, streams)?;
    command.fallback.with_models(&path, |models| {
        let (model, tokenizer) = (models.any()?, models.tokenizer()?);
        let prompt = Prompt::new(source, tokenizer, command.special)?;
        let n_ctx = command.context(model, prompt.ids.len(), streams)?;
        let options = CompletionOptions {
            sampling: options,
            max_tokens: command.tokens,
            stops: &stops,
            ignore_eos: command.ignore_eos,
            show_special: command.special,
            text_start: prompt.is_empty_text,
        };
        let (compute, exact) = (&command.session.compute, model.all_float());
        let mut session = compute.session(exact, Purpose::Generate, n_ctx, engine.threads());
        if command.speculate != Speculation::Off {
            session.logit_rows = 1 + MAX_DRAFTS;
        }
        let session = command.within_ram(model, session, prompt.ids.len());
        models.with_session((n_ctx, session), &engine, |session, plan| {
            let timings = Timings { load_ms: milliseconds(start), ..Timings::default() };
            introduce(models, plan, session.capacity(), streams);
            tell_unknown_rules(tokenizer, streams);
            let mut memory = Memory::new(Completion::bytes_needed(tokenizer, &options))?;
            command.mix.with(session, &engine, |session| {
                let shows = !command.json;
                let mut work = Work { start, timings, streams, shows, echo: command.echo };
                let n_ctx = session.capacity();
                let report = command.speculate.with(n_ctx, tokenizer, |drafters| {
                    let mut completion = Completion::new(session, options, &mut memory)?;
                    if let Some((drafter, other)) = drafters {
                        let other = other.map(|other| other as &mut dyn Drafter);
                        let clock = Some(speculation::clock as fn() -> u64);
                        completion.speculate(Speculator::new(drafter, other, clock));
                    }
                    work.complete(completion, &prompt)
                })?;
                work.conclude(&report);
                if command.json { write_json(&report, work.streams) } else { Ok(()) }
            })
        })
    })
}

impl Command {
    /// Positions for the prompt and what is to be written.
    fn context(
        &self,
        model: &AnyModel<'_>,
        prompt_tokens: usize,
        streams: &mut Streams<'_>,
    ) -> Result<usize> {
        let trained = model.n_ctx_train();
        let n_ctx = match self.session.compute.ctx.map(NonZeroUsize::get) {
            Some(asked) => {
                if asked > trained {
                    streams.note(format_args!(
                        "the model was trained with {trained} positions, not {asked}"
                    ));
                }
                asked
            }
            None => prompt_tokens.saturating_add(self.tokens).min(trained),
        };
        if prompt_tokens > n_ctx {
            let sentence = format_args!(
                "the prompt has {prompt_tokens} tokens, the context has room for {n_ctx}"
            );
            return Err(Failure::new(Code::Context, sentence));
        }
        Ok(n_ctx)
    }
}

impl Command {
    /// The options that fit `--ram`, with room for the prompt and a token.
    fn within_ram(&self, model: &AnyModel<'_>, wanted: Options, prompt: usize) -> Result<Options> {
        let Some(bytes) = self.ram else { return Ok(wanted) };
        let may_narrow = self.session.compute.kv == CacheChoice::Auto;
        let budget = Budget { bytes, least_ctx: prompt.saturating_add(1), may_narrow };
        match AnySession::plan_within(model, &wanted, &budget, &|_| 0) {
            Ok((options, _)) => Ok(options),
            Err(BudgetError::Options(error)) => Err(error.into()),
            Err(error) => Err(Failure::new(Code::Memory, format_args!("--ram: {error}"))),
        }
    }
}

/// A number of bytes, with K, M or G for the powers of 1024.
pub(crate) fn bytes(text: &str) -> std::result::Result<usize, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: Option<usize> = digits.parse().ok();
    let number = number.and_then(|number| number.checked_mul(1 << shift));
    number.ok_or_else(|| "not a number of bytes: as 500000, 64M, 1G".to_string())
}

/// A model in the folder that models/fetch.sh fills: SmolLM2 if it is there, else the first by
/// name.
fn fetched_model(folder: &Path) -> Result<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "gguf"))
        .collect();
    let is_small = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"SmolLM2"))
    };
    found.sort_by_key(|path| (!is_small(path), path.clone()));
    found.into_iter().next().ok_or_else(|| {
        let sentence = "no model: name one by -m FILE, or get one by models/fetch.sh smollm2-135m";
        Failure::new(Code::Usage, sentence)
    })
}

fn introduce(models: &Models<'_>, plan: &Plan, n_ctx: usize, streams: &mut Streams<'_>) {
    models.introduce(streams);
    streams.fact("memory", format_args!("{} for {n_ctx} tokens", PlanFacts(*plan)));
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// One completion on its way to the output.
struct Work<'w, 's> {
    start: Instant,
    timings: Timings,
    streams: &'w mut Streams<'s>,
    /// The text goes to the output as it comes.
    shows: bool,
    /// The prompt is shown, too.
    echo: bool,
}

impl Work<'_, '_> {
    fn complete(&mut self, mut completion: Completion<'_, '_>, prompt: &Prompt) -> Result<Report> {
        let (mut text, mut ids, mut degraded) = (String::new(), Vec::new(), None);
        if self.echo {
            text.push_str(&String::from_utf8_lossy(&prompt.text));
            self.show(&prompt.text)?;
        }
        let begin = Instant::now();
        let bar = self.streams.progress(prompt.ids.len());
        completion.feed(&prompt.ids, |done| {
            bar.set_position(done as u64);
            true
        })?;
        bar.finish_and_clear();
        self.timings.prompt_ms = milliseconds(begin);
        let mut decode = Instant::now();
        while let Some(step) = completion.step()? {
            if ids.is_empty() {
                self.timings.first_token_ms = milliseconds(self.start);
                decode = Instant::now();
            }
            ids.push(step.id);
            DegradedReport::count(&mut degraded, &step);
            text.push_str(step.text);
            self.show(step.text.as_bytes())?;
        }
        self.timings.decode_ms = if ids.len() > 1 { milliseconds(decode) } else { 0.0 };
        if self.shows && self.streams.terminal.output && !text.ends_with('\n') {
            self.show(b"\n")?;
        }
        let prompt_tokens = prompt.ids.len();
        let timings = &mut self.timings;
        timings.prompt_tokens_per_second = per_second(prompt_tokens, timings.prompt_ms);
        timings.decode_tokens_per_second =
            per_second(ids.len().saturating_sub(1), timings.decode_ms);
        let stop = completion.stopped().unwrap_or(StopReason::Length).name();
        let speculation = completion.drafted().map(speculation::Report::from);
        Ok(Report { text, ids, prompt_tokens, stop, degraded, timings: *timings, speculation })
    }

    /// Text goes out at once, so that it is seen as it is written.
    fn show(&mut self, text: &[u8]) -> Result<()> {
        if !self.shows || text.is_empty() {
            return Ok(());
        }
        if self.streams.terminal.output {
            self.streams.output.write_all(for_terminal(text).as_bytes())?;
        } else {
            self.streams.output.write_all(text)?;
        }
        Ok(self.streams.output.flush()?)
    }

    fn conclude(&mut self, report: &Report) {
        let Report { prompt_tokens, ids, stop, timings, speculation, .. } = report;
        let Timings { load_ms, prompt_ms, first_token_ms, decode_ms, .. } = timings;
        let streams = &mut *self.streams;
        streams.fact("load", format_args!("{load_ms:.1} ms, first token {first_token_ms:.1} ms"));
        let speed = timings.prompt_tokens_per_second;
        streams.fact(
            "prompt",
            format_args!("{prompt_tokens} tokens, {prompt_ms:.1} ms, {speed:.1} tokens/s"),
        );
        let (n, speed) = (ids.len(), timings.decode_tokens_per_second);
        streams.fact("decode", format_args!("{n} tokens, {decode_ms:.1} ms, {speed:.1} tokens/s"));
        if let Some(speculation) = speculation.as_ref().filter(|report| report.drafted > 0) {
            streams.fact("drafts", speculation);
        }
        streams.fact("stop", stop);
        if let Some(degraded) = &report.degraded {
            streams.fact("degraded", degraded);
        }
    }
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
