//! `mote run`: continues a text.

mod batch;
pub(crate) mod logprobs;
mod prompt;
pub(crate) mod report;
pub(crate) mod sampling;
mod sessions;
pub(crate) mod speaker;
pub(crate) mod speculation;
pub(crate) mod writing;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use mote_runtime::speculate::MAX_DRAFTS;
use mote_runtime::{
    AnyModel, AnySession, Budget, BudgetError, CompletionOptions, Constraint, LanguageModel,
    Options, Plan, Tokenizer,
};

use crate::cli::write_json;
use crate::constrain::{ConstrainOptions, Grammar};
use crate::environment;
use crate::facts::PlanFacts;
use crate::failure::{Code, Failure, Result};
use crate::host::Engine;
use crate::mix::MixOptions;
use crate::options::{CacheChoice, Purpose, RulesOption, SessionOptions};
use crate::source;
use crate::streams::Streams;
use crate::tokenize::tell_unknown_rules;
use logprobs::Logprobs;
use prompt::{Prompt, PromptOptions, Source};
use report::Report;
use sampling::SamplingOptions;
use sessions::{Saved, SessionFiles};
use speaker::{FallbackOptions, Models};
use speculation::{Drafters, Speculation};
use writing::{Form, Helpers, Writing, milliseconds};

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
eos, length, complete where a constraint allows nothing more, or interrupted); logprobs (with
--logprobs: id, text, logprob and top, the alternatives, of each token); degraded (where the
fallback wrote: reason, which is missing, damaged, memory, deadline or not_finite, and tokens);
timings: load_ms, prompt_ms, prompt_tokens_per_second, first_token_ms (since the command's start),
decode_ms, decode_tokens_per_second (of the tokens after the first); speculation (null if off):
drafted, accepted (tokens), drafted_passes, plain_passes. --json-stream prints {\"text\": ...} for
each piece, with --logprobs also token (id, text, logprob, top), then the object above.

A batch file has an object of JSON on each line: prompt, and n, seed, temp, stop (a text or
several) and id where wanted. Each gives a line {\"line\": ..., \"id\": ..., ...} with the keys
above, in order, and reused_tokens: how much of the prompt was in the context already. A line
that cannot be gives {\"line\": ..., \"error\": {\"code\": ..., \"message\": ...}}; the others are
still written, and the exit code is 1.

Logprobs are natural logarithms of the model's own probabilities, before temperature, penalties
and constraints. A grammar is GBNF, as llama.cpp has it. Where it repeats something, as much of
the text as can be belongs to that. The text ends where the grammar allows no more.

Examples:
  mote run 'Once upon a time'
  mote run -m model.gguf -f prompt.txt -n 500 --temp 0
  mote run -m model.gguf --fallback lm.gguf --deadline 50 'Once upon a time'
  mote run -m model.gguf --special --stop '<|im_end|>' -p \"$CHAT\" --json
  mote run -m model.gguf --regex '[0-9]{4}-[0-9]{2}-[0-9]{2}' 'The day: '
  mote run -m model.gguf --json-schema '{\"type\": \"object\"}' -f prompt.txt
  mote run -m model.gguf --save-session story.session -n 50 'Once upon a time'
  mote run -m model.gguf --load-session story.session -n 50
  mote run -m model.gguf --batch-file prompts.jsonl > results.jsonl")]
pub struct Command {
    /// The model: a GGUF file, or a name [default: tiny, which is built in]
    #[arg(short, long, value_name = "FILE", env = environment::MODEL, hide_env_values = true)]
    model: Option<PathBuf>,
    #[command(flatten)]
    prompt: PromptOptions,
    /// A file with a prompt on each line, as an object of JSON: see below
    #[arg(long, value_name = "FILE",
          conflicts_with_all = ["PromptOptions", "json", "json_stream", "echo"])]
    batch_file: Option<PathBuf>,
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
    /// long batches (speed only), the cache's type where --kv names none (f16, then q8_0), a long
    /// context
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    ram: Option<usize>,
    /// Draft tokens, and let the model check several at once: off, lookup (what the text had before
    /// is expected again), or an n-gram model's file (that, too). The text stays the same
    #[arg(long, value_name = "HOW", default_value = "lookup", value_parser = Speculation::parse)]
    speculate: Speculation,
    /// How probable each token is, and the N most probable ones in its place; without JSON a table
    /// behind the text
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=100))]
    logprobs: Option<u8>,
    /// Print JSON, when all is written
    #[arg(long)]
    json: bool,
    /// Print JSON as it is written: an object on each line
    #[arg(long, conflicts_with = "json")]
    json_stream: bool,
    #[command(flatten)]
    constrain: ConstrainOptions,
    #[command(flatten)]
    files: SessionFiles,
    #[command(flatten)]
    rules: RulesOption,
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
        self.json || self.json_stream
    }
}

/// What is to be written.
enum Job {
    /// What follows a prompt, or what follows a saved context and it.
    One(Prompt, Option<Saved>),
    /// What follows each of several.
    Several(Vec<batch::Line>),
}

/// Continues a text.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    let start = Instant::now();
    if command.stop.iter().any(String::is_empty) {
        return Err(Failure::new(Code::Usage, "--stop: a stop string is empty"));
    }
    if command.ignore_eos && command.constrain.is_given() {
        let sentence = "--ignore-eos: a constraint says itself where the text ends";
        return Err(Failure::new(Code::Usage, sentence));
    }
    command.files.check()?;
    let path = match &command.model {
        Some(path) => path.clone(),
        None => source::default_model(streams)?,
    };
    // Files of sessions are the model's alone.
    let files = command.files.saves() || command.files.loads();
    let mix = match &command.model {
        None if !files => command.mix.beside_default(&path),
        _ => command.mix.clone(),
    };
    let source = command.source(streams)?;
    let engine = Engine::new(&command.session, streams)?;
    command.fallback.with_models(&path, command.rules.name(), |models| {
        let (model, tokenizer) = (models.any()?, models.tokenizer()?);
        let job = command.job(source, tokenizer)?;
        let grammar = command.constrain.compile(tokenizer)?;
        let n_ctx = command.context(model, &job, streams)?;
        let session = command.options(model, &job, n_ctx, &engine);
        models.with_session((n_ctx, session), &engine, |session, plan| {
            introduce(models, plan, session.capacity(), streams);
            tell_unknown_rules(tokenizer, streams);
            if let Job::One(_, Some(saved)) = &job {
                saved.restore(session)?;
            }
            let load_ms = milliseconds(start);
            let mut writing = Writing {
                streams,
                form: command.form(),
                logprobs: command.logprobs.map(|n| Logprobs::new(n.into())),
                start,
                keeps_context: command.files.saves(),
            };
            mix.with(session, &engine, |session| {
                let n_ctx = session.capacity();
                let written = command.speculate.with(n_ctx, tokenizer, |mut drafters| {
                    let helpers = (&mut drafters, grammar.as_ref());
                    command.write(&job, &mut writing, session, helpers, load_ms)
                });
                // A text that Ctrl-C ended can go on, too, but not half a prompt.
                let is_read = session.tokens().len() >= job.positions(0).0;
                let goes_on = |it: &Failure| it.code == Code::Interrupted && is_read;
                if written.as_ref().err().is_none_or(goes_on) {
                    command.files.save(session)?;
                } else if command.files.saves() {
                    writing.streams.note("no session is saved: there is no whole prompt in it");
                }
                written
            })
        })
    })
}

impl Command {
    fn form(&self) -> Form {
        if self.batch_file.is_some() {
            Form::Report
        } else {
            Form::new(self.json, self.json_stream)
        }
    }

    /// The prompt; of a batch, none, and of a saved session perhaps none.
    fn source(&self, streams: &mut Streams<'_>) -> Result<Source> {
        let is_optional = self.batch_file.is_some() || self.files.loads();
        match is_optional && self.prompt.is_absent() {
            true => Ok(Source::Text(Vec::new())),
            false => self.prompt.read(streams),
        }
    }

    fn job(&self, source: Source, tokenizer: &Tokenizer<'_>) -> Result<Job> {
        if let Some(path) = &self.batch_file {
            return Ok(Job::Several(batch::read(path, tokenizer, self.special, self.tokens)?));
        }
        Ok(match self.files.open()? {
            Some(saved) => Job::One(Prompt::more(source, tokenizer, self.special)?, Some(saved)),
            None => Job::One(Prompt::new(source, tokenizer, self.special)?, None),
        })
    }

    /// How texts are written, where a line of a batch does not say otherwise.
    fn completion<'o>(&self, stops: &'o [&'o str], text_start: bool) -> CompletionOptions<'o> {
        CompletionOptions {
            sampling: self.sampling.options(),
            max_tokens: self.tokens,
            stops,
            ignore_eos: self.ignore_eos,
            show_special: self.special,
            // What a grammar allows is seen as it is.
            text_start: text_start && !self.constrain.is_given(),
        }
    }

    fn write(
        &self,
        job: &Job,
        writing: &mut Writing<'_, '_>,
        session: &mut dyn LanguageModel<'_>,
        (drafters, grammar): (&mut Drafters<'_>, Option<&Grammar>),
        load_ms: f64,
    ) -> Result<()> {
        let stops: Vec<&str> = self.stop.iter().map(String::as_str).collect();
        let (prompt, saved) = match job {
            Job::One(prompt, saved) => (prompt, saved),
            Job::Several(lines) => {
                let options = self.completion(&stops, false);
                return batch::write(lines, writing, session, options, drafters, grammar);
            }
        };
        if self.echo && writing.form == Form::Text {
            writing.print(&prompt.text)?;
        }
        let mut ids = session.tokens().to_vec();
        ids.extend_from_slice(&prompt.ids);
        let options = self.completion(&stops, prompt.is_empty_text && saved.is_none());
        let mut follower = grammar.map(Grammar::follower);
        let constraint = follower.as_mut().map(|it| it as &mut dyn Constraint);
        let written = writing.write(session, &ids, options, Helpers { drafters, constraint });
        let mut written = written.map_err(|it| Grammar::explain(follower.as_ref(), it))?;
        if self.echo {
            written.text.insert_str(0, &String::from_utf8_lossy(&prompt.text));
        }
        let is_interrupted = written.is_interrupted();
        self.conclude(&Report::new(written, ids.len(), load_ms), writing)?;
        match is_interrupted {
            true => Err(Failure::new(Code::Interrupted, "")),
            false => Ok(()),
        }
    }

    fn conclude(&self, report: &Report, writing: &mut Writing<'_, '_>) -> Result<()> {
        if writing.form == Form::Text {
            let ends_line = report.text.ends_with('\n');
            if writing.streams.terminal.output && !ends_line {
                writing.print(b"\n")?;
            }
            if let Some(tokens) = &report.logprobs {
                logprobs::print(tokens, writing.streams)?;
            }
        }
        report.tell(writing.streams);
        if writing.form == Form::Text { Ok(()) } else { write_json(report, writing.streams) }
    }

    /// Positions for the prompt and what is to be written; of a batch, what fits.
    fn context(&self, model: &AnyModel<'_>, job: &Job, streams: &mut Streams<'_>) -> Result<usize> {
        let trained = model.n_ctx_train();
        let (prompt, all) = job.positions(self.tokens);
        let asked = self.session.compute.ctx.map(NonZeroUsize::get);
        let saved = job.saved().map(|saved| saved.context.n_ctx);
        let n_ctx = match asked.or(saved) {
            Some(asked) => {
                if asked > trained {
                    streams.note(format_args!(
                        "the model was trained with {trained} positions, not {asked}"
                    ));
                }
                asked
            }
            None => {
                let all = if self.files.saves() { all.max(sessions::ROOM) } else { all };
                all.min(trained).min(MOST_ROOM.max(prompt))
            }
        };
        // Of a batch, each line is told for itself.
        if prompt > n_ctx && matches!(job, Job::One(..)) {
            let sentence =
                format_args!("the prompt has {prompt} tokens, the context has room for {n_ctx}");
            return Err(Failure::new(Code::Context, sentence));
        }
        Ok(n_ctx)
    }

    /// The session's options.
    fn options(
        &self,
        model: &AnyModel<'_>,
        job: &Job,
        n_ctx: usize,
        engine: &Engine,
    ) -> Result<Options> {
        let (compute, exact) = (&self.session.compute, model.all_float());
        let mut session = compute.session(exact, Purpose::Generate, n_ctx, engine.threads());
        if self.speculate != Speculation::Off {
            session.logit_rows = 1 + MAX_DRAFTS;
        }
        let mut may_narrow = compute.kv == CacheChoice::Auto;
        let least_ctx = match job {
            // A saved context has its size and types.
            Job::One(_, Some(Saved { context, .. })) => {
                if compute.activations.is_none() {
                    session.precision = context.precision;
                }
                if may_narrow {
                    session.cache = context.cache;
                }
                may_narrow = false;
                n_ctx
            }
            Job::One(prompt, None) => prompt.ids.len().min(n_ctx).saturating_add(1),
            // A line that does not fit is told for itself.
            Job::Several(_) => 1,
        };
        within_ram(self.ram, model, session, least_ctx, may_narrow)
    }
}

/// Positions at most where neither the model nor anybody says how many: an n-gram model has no end.
const MOST_ROOM: usize = 1 << 20;

/// The options that fit `--ram`, with room for `least_ctx` positions.
pub(crate) fn within_ram(
    ram: Option<usize>,
    model: &AnyModel<'_>,
    wanted: Options,
    least_ctx: usize,
    may_narrow: bool,
) -> Result<Options> {
    let Some(bytes) = ram else { return Ok(wanted) };
    let budget = Budget { bytes, least_ctx, may_narrow };
    match AnySession::plan_within(model, &wanted, &budget, &|_| 0) {
        Ok((options, _)) => Ok(options),
        Err(BudgetError::Options(error)) => Err(error.into()),
        Err(error) => Err(Failure::new(Code::Memory, format_args!("--ram: {error}"))),
    }
}

impl Job {
    /// Positions that the longest prompt takes, and that the longest text does, of which `tokens` are to
    /// be written.
    fn positions(&self, tokens: usize) -> (usize, usize) {
        match self {
            Job::One(prompt, saved) => {
                let before = saved.as_ref().map_or(0, |saved| saved.context.tokens);
                let prompt = before.saturating_add(prompt.ids.len());
                (prompt, prompt.saturating_add(tokens))
            }
            Job::Several(lines) => batch::positions(lines),
        }
    }

    fn saved(&self) -> Option<&Saved> {
        match self {
            Job::One(_, saved) => saved.as_ref(),
            Job::Several(_) => None,
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

pub(crate) fn introduce(models: &Models<'_>, plan: &Plan, n_ctx: usize, streams: &mut Streams<'_>) {
    models.introduce(streams);
    streams.fact("memory", format_args!("{} for {n_ctx} tokens", PlanFacts(*plan)));
}
