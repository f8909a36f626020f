//! `mote chat`: a conversation.

mod commands;
mod conversation;
mod editor;
mod python;
pub mod template;
mod turn;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use mote_runtime::speculate::MAX_DRAFTS;
use mote_runtime::{AnyModel, Options};

use crate::cli::write_json;
use crate::constrain::ConstrainOptions;
use crate::environment;
use crate::failure::{Code, Failure, Result, shown};
use crate::host::Engine;
use crate::input;
use crate::interrupt;
use crate::mix::MixOptions;
use crate::options::{CacheChoice, Purpose, RulesOption, SessionOptions};
use crate::run::sampling::SamplingOptions;
use crate::run::speaker::{FallbackOptions, Models};
use crate::run::speculation::Speculation;
use crate::run::writing::{Form, Writing, milliseconds};
use crate::run::{self, introduce};
use crate::source;
use crate::streams::Streams;
use crate::tokenize::tell_unknown_rules;
use commands::{Command as Spoken, Next};
use conversation::Conversation;
use editor::Lines;
use template::{Moment, Template};
use turn::{Chat, ChatReport};

/// Talk with a model
#[derive(Args, Debug)]
#[command(after_help = "\
Each line is a turn; a backslash at its end (on a terminal Alt-Enter, too) goes on to the next
line. Ctrl-C stops an answer, keeps what was said and tells the speed; at the prompt it leaves.
Lines that begin with a slash are commands, /help lists them; // begins a turn with a slash.
Answers go to standard output, everything else to standard error.

The conversation becomes text by the model's own chat template, and control tokens that a text
spells are read as such. What the context has of the conversation is not computed again. The same
turns and options give the same answers on every machine.

JSON keys of --json: messages (role, content), turns (text, ids, prompt_tokens, reused_tokens (how
many of these were in the context already), stop, logprobs, degraded, timings and speculation of
each answer, as in mote run --json; first_token_ms from the turn on). --json-stream prints
{\"text\": ...} for each piece, and the object of the turn behind it.

A template is jinja2. --render FILE prints what it makes of a conversation, an object of JSON with
messages and whatever else it asks for (tools, add_generation_prompt, bos_token, ...).

Examples:
  mote chat -m model.gguf
  mote chat -m model.gguf --system 'Answer in one sentence.' --temp 0
  echo 'Why is the sky blue?' | mote chat -m model.gguf
  mote chat -m model.gguf --json-schema answer.schema.json < questions.txt
  mote chat --template chat_template.jinja --render conversation.json")]
pub struct Command {
    /// The model: a GGUF file, or a name of those that `mote pull` gets
    #[arg(
        short,
        long,
        value_name = "FILE",
        env = environment::MODEL,
        hide_env_values = true,
        default_value = source::KNOWN[0].name
    )]
    model: PathBuf,
    /// What the model is told before the conversation
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    system: Option<String>,
    /// A chat template in the place of the model's own
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    /// The date that templates are told, as 2026-11-26 [default: today's, in UTC]
    #[arg(long, value_name = "DATE", value_parser = Moment::parse)]
    date: Option<Moment>,
    /// Print what the template makes of this file's conversation, and no more
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = [
            "system", "load", "json", "json_stream", "history", "tokens", "stop", "ram",
            "speculate", "constraint", "SamplingOptions", "MixOptions"
        ]
    )]
    render: Option<PathBuf>,
    /// Go on with a conversation that /save wrote
    #[arg(long, value_name = "FILE")]
    load: Option<PathBuf>,
    /// Remember what is typed in this file, for the arrow keys [default: until the end]
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// Most tokens of an answer [default: as many as the context has room for]
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true)]
    tokens: Option<usize>,
    /// End an answer before this text; may be given several times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<String>,
    /// Memory for the session at most, as 64M or 1G: see mote run
    #[arg(long, value_name = "BYTES", value_parser = run::bytes)]
    ram: Option<usize>,
    /// Draft tokens: off, lookup, or an n-gram model's file: see mote run
    #[arg(long, value_name = "HOW", default_value = "lookup", value_parser = Speculation::parse)]
    speculate: Speculation,
    /// Print JSON in the end
    #[arg(long)]
    json: bool,
    /// Print JSON as it is written: an object on each line
    #[arg(long, conflicts_with = "json")]
    json_stream: bool,
    #[command(flatten)]
    constrain: ConstrainOptions,
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

/// Tokens that a context has room for, if nobody says otherwise and the model was trained for it.
const ROOM: usize = 4096;

/// Holds a conversation.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    let start = Instant::now();
    if command.stop.iter().any(String::is_empty) {
        return Err(Failure::new(Code::Usage, "--stop: a stop string is empty"));
    }
    if let (Some(path), Some(_)) = (&command.render, &command.template) {
        let template = command.template(None)?;
        return render(&template, path, streams);
    }
    let path = command.model.clone();
    let mut conversation = Conversation::default();
    if let Some(path) = &command.load {
        conversation.load(path)?;
    }
    if command.system.is_some() {
        conversation.set_system(command.system.clone());
    }
    let engine = Engine::new(&command.session, streams)?;
    command.fallback.with_models(&path, command.rules.name(), |models| {
        let (model, tokenizer) = (models.any()?, models.tokenizer()?);
        let template = command.template(Some(models)).map_err(|it| it.in_file(&path))?;
        if let Some(path) = &command.render {
            return render(&template, path, streams);
        }
        let grammar = command.constrain.compile(tokenizer)?;
        let (n_ctx, session) = command.options(model, &engine)?;
        models.with_session((n_ctx, session), &engine, |session, plan| {
            introduce(models, plan, session.capacity(), streams);
            tell_unknown_rules(tokenizer, streams);
            let load_ms = milliseconds(start);
            command.mix.with(session, &engine, |session| {
                command.speculate.with(session.capacity(), tokenizer, |drafters| {
                    let form = Form::new(command.json, command.json_stream);
                    let writing =
                        Writing { streams, form, logprobs: None, start, keeps_context: false };
                    let stops: Vec<&str> = command.stop.iter().map(String::as_str).collect();
                    let mut chat = Chat {
                        writing,
                        session,
                        template: &template,
                        grammar: grammar.as_ref(),
                        drafters,
                        conversation,
                        sampling: command.sampling.options(),
                        max_tokens: command.tokens.unwrap_or(usize::MAX),
                        stops: &stops,
                        load_ms,
                        turns: Vec::new(),
                    };
                    converse(command, &mut chat)
                })
            })
        })
    })
}

/// Reads lines and answers them, to the end.
fn converse(command: &Command, chat: &mut Chat<'_, '_, '_, '_>) -> Result<()> {
    let mut lines = Lines::new(chat.writing.streams, command.history.as_deref())?;
    if chat.writing.streams.terminal.input {
        chat.writing.streams.note("/help lists commands, /quit or Ctrl-D ends the conversation");
    }
    let ended = turns(&mut lines, chat);
    if command.json && (ended.is_ok() || !chat.turns.is_empty()) {
        let report = ChatReport { messages: &chat.conversation.messages, turns: &chat.turns };
        write_json(&report, chat.writing.streams)?;
    }
    ended
}

fn turns(lines: &mut Lines, chat: &mut Chat<'_, '_, '_, '_>) -> Result<()> {
    while let Some(line) = lines.next(chat.writing.streams)? {
        let next = match Spoken::parse(&line) {
            Ok(spoken) => spoken.obey(chat),
            Err(failure) => Err(failure),
        };
        match next {
            Ok(Next::Line) => {}
            Ok(Next::End) => break,
            // Whoever types can do better; a script cannot.
            Err(failure) if chat.writing.streams.terminal.input && is_mendable(&failure) => {
                chat.writing.streams.note(&failure.message);
            }
            Err(failure) => return Err(failure),
        }
        interrupt::forget();
    }
    Ok(())
}

/// Whether the conversation can go on after it.
fn is_mendable(failure: &Failure) -> bool {
    matches!(failure.code, Code::Usage | Code::Text | Code::Context | Code::Io | Code::Format)
}

/// Prints what a template makes of a conversation.
fn render(template: &Template, path: &std::path::Path, streams: &mut Streams<'_>) -> Result<()> {
    let text = input::read_file(path)?;
    let context: minijinja::Value = serde_json::from_slice(&text)
        .map_err(|error| Failure::new(Code::Format, error).in_file(path))?;
    if context.kind() != minijinja::value::ValueKind::Map {
        return Err(Failure::new(Code::Format, "not an object of JSON").in_file(path));
    }
    let text = template.render(context)?;
    Ok(streams.output.write_all(text.as_bytes())?)
}

impl Command {
    /// The template that was named, or else the model's.
    fn template(&self, models: Option<&Models<'_>>) -> Result<Template> {
        let date = self.date.unwrap_or_else(Moment::now);
        if let Some(path) = &self.template {
            let bytes = input::read_file(path)?;
            let source = String::from_utf8(bytes)
                .map_err(|_| Failure::new(Code::Format, "not UTF-8").in_file(path))?;
            return Template::new(&source, date).map_err(|failure| failure.in_file(path));
        }
        let template = match models {
            Some(models) => Template::of(models.any()?.gguf(), date)?,
            None => None,
        };
        template.ok_or_else(|| {
            let sentence = "the model has no chat template: `mote run` continues texts with it, \
                            and --template FILE gives it one";
            Failure::new(Code::Model, sentence)
        })
    }

    /// Tokens of the context, and the session's options.
    fn options(&self, model: &AnyModel<'_>, engine: &Engine) -> Result<(usize, Result<Options>)> {
        let compute = &self.session.compute;
        let asked = compute.ctx.map(NonZeroUsize::get);
        let n_ctx = asked.unwrap_or_else(|| model.n_ctx_train().min(ROOM));
        let exact = model.all_float();
        let mut session = compute.session(exact, Purpose::Generate, n_ctx, engine.threads());
        if self.speculate != Speculation::Off {
            session.logit_rows = 1 + MAX_DRAFTS;
        }
        Ok((n_ctx, run::within_ram(self.ram, model, session, 2, compute.kv == CacheChoice::Auto)))
    }
}

/// A file's name in a sentence.
fn name(path: &std::path::Path) -> String {
    shown(path)
}
