//! `mote perplexity`: the figure that llama-perplexity prints, computed the same way.

use std::path::PathBuf;

use clap::Args;
use mote_runtime::score::Figures;
use mote_runtime::tokenizer::Tokenizer;
use mote_runtime::{LanguageModel, Origin};
use serde::Serialize;

use crate::cli::write_json;
use crate::failure::{Code, Failure, Result};
use crate::host::{Engine, with_any_model, with_any_session};
use crate::input;
use crate::options::{Bits, ModelOption, Purpose, SessionOptions, names};
use crate::streams::Streams;
use crate::tokenize::tell_unknown_rules;

/// Perplexity of a long text
#[derive(Args, Debug)]
#[command(after_help = "\
The text's tokens are cut in windows of --ctx (512 if not given); what does not fill the last
one is left out. Each window is a context of its own, which begins with the token that the
model expects before a text, in place of the window's first. The tokens of its second half are
scored. llama-perplexity does the same, so the figures compare. With mixed activations, the
second half counts as generated.

JSON keys: perplexity; tokens (scored); windows; nll (natural logarithms); activations; kv.

Example:
  mote perplexity -m model.gguf -f text.txt -c 512")]
pub struct Command {
    #[command(flatten)]
    model: ModelOption,
    /// A file with the text
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    session: SessionOptions,
}

/// Tokens of a window, unless --ctx says otherwise.
const WINDOW: usize = 512;
/// The shortest window with a token to score.
const SHORTEST: usize = 3;

#[derive(Serialize)]
struct Report {
    perplexity: f64,
    tokens: usize,
    windows: usize,
    nll: f64,
    activations: Bits,
    kv: &'static str,
}

/// Measures.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    let window = command.session.compute.ctx.map_or(WINDOW, |ctx| ctx.get());
    if window < SHORTEST {
        let sentence = format_args!("--ctx: a window has {SHORTEST} tokens or more");
        return Err(Failure::new(Code::Usage, sentence));
    }
    let engine = Engine::new(&command.session, streams)?;
    with_any_model(&command.model.model, |model| {
        let tokenizer = model.tokenizer();
        tell_unknown_rules(tokenizer, streams);
        let text = input::read_file(&command.file)?;
        let ids = input::encode(tokenizer, &text, tokenizer.default_options())?;
        if ids.len() < window {
            let n = ids.len();
            let sentence = format_args!("the text has {n} tokens, a window needs {window}");
            return Err(Failure::new(Code::Text, sentence));
        }
        let threads = engine.threads();
        let options =
            command.session.compute.session(model.all_float(), Purpose::Score, window, threads);
        with_any_session(model, &options, &engine, |session, _| {
            let figures = score_windows(session, tokenizer, &ids, window, streams)?;
            let (activations, kv) = names(&options);
            let windows = ids.len() / window;
            let Figures { nll, tokens, .. } = figures;
            let perplexity = figures.perplexity();
            if command.json {
                let report = Report { perplexity, tokens, windows, nll, activations, kv };
                return write_json(&report, streams);
            }
            let out = &mut *streams.output;
            Ok(writeln!(out, "perplexity {perplexity:.4} ({tokens} tokens, {windows} windows)")?)
        })
    })
}

fn score_windows(
    session: &mut dyn LanguageModel<'_>,
    tokenizer: &Tokenizer<'_>,
    ids: &[u32],
    window: usize,
    streams: &Streams<'_>,
) -> Result<Figures> {
    let first = tokenizer.bos().filter(|_| tokenizer.adds_bos());
    let bar = streams.progress(ids.len() / window * window);
    let mut figures = Figures::default();
    let mut tokens = vec![0; window];
    for part in ids.chunks_exact(window) {
        tokens.copy_from_slice(part);
        if let Some(first) = first {
            tokens[0] = first;
        }
        session.rewind(0);
        let (prompt, scored) = tokens.split_at(window / 2);
        session.feed(prompt)?;
        session.score_tokens(scored, Origin::Generated, &mut |_| true, &mut |i, logprob| {
            // The first of them is only given.
            if i > 0 {
                figures.add(logprob, 0);
            }
        })?;
        bar.inc(window as u64);
    }
    bar.finish_and_clear();
    Ok(figures)
}
