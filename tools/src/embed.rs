//! `mote embed`: texts as vectors.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use mote_runtime::tokenizer::EncodeOptions;
use mote_runtime::{Config, Model, Pooling, Session, normalize};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cli::write_json;
use crate::failure::{Code, Failure, Result};
use crate::host::{Engine, with_model, with_session};
use crate::input;
use crate::interrupt;
use crate::options::{Bits, ModelOption, Purpose, RulesOption, SessionOptions, names};
use crate::streams::Streams;
use crate::tokenize::tell_unknown_rules;

/// Turn texts into vectors: near each other where the texts are about the same
#[derive(Args, Debug)]
#[command(after_help = "\
Without texts, -f and --batch-file, standard input is one text. A text becomes the final states of
its tokens, pooled to one vector and scaled to length 1, so that the cosine of two texts is the
sum of products. Encoders (bert, modern-bert) are made for this; of a decoder the last token has
seen all of the text.

Without --json each text's vector is a line of numbers. --batch-file FILE has an object of JSON on
each line: text, and id if it is to come back; each result is a line of JSON, at once: line, id,
tokens, embedding; or line, id, error. Lines that fail do not end the others; the exit code is 1
then.

JSON keys: pooling; normalized; activations and kv (what was computed with); embeddings: {tokens,
embedding}, one for each text.

Examples:
  mote embed -m minilm.gguf 'A cat sits on the mat.' 'The feline rests on a rug.' --json
  mote embed -m minilm.gguf -f page1.txt -f page2.txt > vectors.txt
  mote embed -m minilm.gguf --batch-file texts.jsonl --truncate > vectors.jsonl")]
pub struct Command {
    #[command(flatten)]
    model: ModelOption,
    /// The texts
    #[arg(value_name = "TEXT", conflicts_with_all = ["file", "batch_file"])]
    texts: Vec<OsString>,
    /// A file that is a text, taken byte for byte; several times: several texts
    #[arg(short, long, value_name = "FILE", conflicts_with = "batch_file")]
    file: Vec<PathBuf>,
    /// A file of texts: an object of JSON on each line
    #[arg(long, value_name = "FILE")]
    batch_file: Option<PathBuf>,
    /// How the tokens' states become one vector [default: as the file says, else mean for encoders and
    /// last for decoders]
    #[arg(long, value_enum, value_name = "HOW")]
    pooling: Option<PoolingChoice>,
    /// Leave the vectors as long as they are
    #[arg(long)]
    raw: bool,
    /// Cut texts that are too long, instead of refusing them
    #[arg(long)]
    truncate: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    rules: RulesOption,
    #[command(flatten)]
    session: SessionOptions,
}

impl Command {
    /// Whether the result is wanted as JSON.
    pub fn json(&self) -> bool {
        self.json || self.batch_file.is_some()
    }
}

/// How the states of a text become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum PoolingChoice {
    /// The mean of all
    Mean,
    /// The first token's ("cls")
    #[value(alias = "cls")]
    First,
    /// The last token's
    Last,
}

impl PoolingChoice {
    fn of(pooling: Pooling) -> PoolingChoice {
        match pooling {
            Pooling::Mean => PoolingChoice::Mean,
            Pooling::First => PoolingChoice::First,
            Pooling::Last => PoolingChoice::Last,
        }
    }

    fn pooling(self) -> Pooling {
        match self {
            PoolingChoice::Mean => Pooling::Mean,
            PoolingChoice::First => Pooling::First,
            PoolingChoice::Last => Pooling::Last,
        }
    }
}

/// A line of `--batch-file`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    text: String,
    /// Comes back with the result.
    #[serde(default)]
    id: Option<Value>,
}

/// A text, or what is wrong with it.
struct Item {
    /// Of a file of lines, from 1 on.
    line: usize,
    id: Option<Value>,
    tokens: Result<Vec<u32>>,
}

#[derive(Serialize)]
struct Embedding {
    tokens: usize,
    embedding: Vec<f32>,
}

#[derive(Serialize)]
struct Report {
    pooling: PoolingChoice,
    normalized: bool,
    activations: Bits,
    kv: &'static str,
    embeddings: Vec<Embedding>,
}

#[derive(Serialize)]
struct Outcome<'o> {
    line: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'o Value>,
    #[serde(flatten)]
    embedding: Option<Embedding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error<'o>>,
}

#[derive(Serialize)]
struct Error<'e> {
    code: &'static str,
    message: &'e str,
}

/// Embeds.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    let engine = Engine::new(&command.session, streams)?;
    with_model(&command.model.model, command.rules.name(), |model| {
        tell_unknown_rules(model.tokenizer(), streams);
        let room = command.room(model.config());
        let items = command.items(model, room, streams)?;
        // Only lines of a file fail one by one.
        if command.batch_file.is_none()
            && let Some(failure) = items.iter().find_map(|item| item.tokens.as_ref().err())
        {
            return Err(failure.clone());
        }
        let lengths = items.iter().filter_map(|item| Some(item.tokens.as_ref().ok()?.len()));
        let longest = lengths.max().unwrap_or(1).max(1);
        let n_ctx = command.session.compute.ctx.map_or(longest, |ctx| ctx.get());
        let exact = model.weights().all_float();
        let (compute, threads) = (&command.session.compute, engine.threads());
        let mut options = compute.session(exact, Purpose::Score, n_ctx, threads);
        options.logit_rows = 1;
        let pooling =
            command.pooling.unwrap_or(PoolingChoice::of(model.config().default_pooling()));
        with_session(model, &options, &engine, |session, _| {
            if command.batch_file.is_some() {
                return command.answer(&items, session, pooling, streams);
            }
            let bar = streams.progress(items.len());
            let mut embeddings = Vec::with_capacity(items.len());
            for item in items {
                embeddings.push(command.embed(&item.tokens?, session, pooling)?);
                bar.inc(1);
            }
            bar.finish_and_clear();
            if !command.json {
                return print(&embeddings, streams);
            }
            let ((activations, kv), normalized) = (names(&options), !command.raw);
            write_json(&Report { pooling, normalized, activations, kv, embeddings }, streams)
        })
    })
}

impl Command {
    /// The most tokens of a text.
    fn room(&self, config: &Config) -> usize {
        let trained = match config.learned_positions {
            0 => config.n_ctx_train,
            positions => positions,
        };
        self.session.compute.ctx.map_or(trained, |ctx| ctx.get())
    }

    fn items(
        &self,
        model: &Model<'_>,
        room: usize,
        streams: &mut Streams<'_>,
    ) -> Result<Vec<Item>> {
        let tokens = |text: &[u8]| self.tokens(text, model, room);
        if let Some(path) = &self.batch_file {
            let item = |(line, entry): (usize, Result<Entry>)| match entry {
                Ok(entry) => Item { line, id: entry.id, tokens: tokens(entry.text.as_bytes()) },
                Err(failure) => Item { line, id: None, tokens: Err(failure) },
            };
            return Ok(input::json_lines(&input::read_file(path)?).map(item).collect());
        }
        let item = |text: &[u8]| Item { line: 0, id: None, tokens: tokens(text) };
        if !self.texts.is_empty() {
            return Ok(self.texts.iter().map(|text| item(text.as_encoded_bytes())).collect());
        }
        if self.file.is_empty() {
            return Ok(vec![item(&input::read_input(streams)?)]);
        }
        self.file.iter().map(|path| Ok(item(&input::read_file(path)?))).collect()
    }

    /// The tokens of a text with those that the model expects around it, at most `room` of them.
    fn tokens(&self, text: &[u8], model: &Model<'_>, room: usize) -> Result<Vec<u32>> {
        let tokenizer = model.tokenizer();
        let around = tokenizer.default_options();
        let end = tokenizer.eos().filter(|_| around.eos);
        let mut tokens = input::encode(tokenizer, text, EncodeOptions { eos: false, ..around })?;
        let most = room.saturating_sub(usize::from(end.is_some()));
        if tokens.len() > most {
            if !self.truncate {
                let sentence = format_args!(
                    "a text has {} tokens, there is room for {most} (--truncate cuts it)",
                    tokens.len()
                );
                return Err(Failure::new(Code::Context, sentence));
            }
            tokens.truncate(most);
        }
        tokens.extend(end);
        Ok(tokens)
    }

    fn embed(
        &self,
        tokens: &[u32],
        session: &mut Session<'_>,
        pooling: PoolingChoice,
    ) -> Result<Embedding> {
        let mut embedding = vec![0.0; session.model().config().n_embd];
        session.embed(tokens, pooling.pooling(), &mut embedding, interrupt::not_pressed)?;
        interrupt::check()?;
        if !self.raw {
            normalize(&mut embedding);
        }
        Ok(Embedding { tokens: tokens.len(), embedding })
    }

    /// A line for each line of a file.
    fn answer(
        &self,
        items: &[Item],
        session: &mut Session<'_>,
        pooling: PoolingChoice,
        streams: &mut Streams<'_>,
    ) -> Result<()> {
        let mut failed = 0;
        for Item { line, id, tokens } in items {
            let embedding = match tokens {
                Ok(tokens) => self.embed(tokens, session, pooling),
                Err(failure) => Err(failure.clone()),
            };
            interrupt::check()?;
            let (embedding, failure) = match embedding {
                Ok(embedding) => (Some(embedding), None),
                Err(failure) => (None, Some(failure)),
            };
            let error =
                failure.as_ref().map(|it| Error { code: it.code.name(), message: &it.message });
            failed += usize::from(error.is_some());
            write_json(&Outcome { line: *line, id: id.as_ref(), embedding, error }, streams)?;
            streams.output.flush()?;
        }
        match failed {
            0 => Ok(()),
            _ => {
                let sentence = format_args!("{failed} of {} lines failed", items.len());
                Err(Failure::new(Code::Text, sentence))
            }
        }
    }
}

fn print(embeddings: &[Embedding], streams: &mut Streams<'_>) -> Result<()> {
    for Embedding { embedding, .. } in embeddings {
        for (i, value) in embedding.iter().enumerate() {
            let blank = if i == 0 { "" } else { " " };
            write!(streams.output, "{blank}{value}")?;
        }
        writeln!(streams.output)?;
    }
    Ok(())
}
