//! `mote perplexity`: the figure that llama-perplexity prints, computed the same way.

use std::path::PathBuf;

use clap::Args;
use mote_runtime::mix::{Curve, Mix};
use mote_runtime::score::Figures;
use mote_runtime::tokenizer::Tokenizer;
use mote_runtime::{LanguageModel, Origin, SessionError};
use serde::Serialize;

use crate::cli::write_json;
use crate::failure::{Code, Failure, Result};
use crate::host::{Engine, with_any_model, with_any_session};
use crate::input;
use crate::interrupt;
use crate::mix::MixOptions;
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

JSON keys: perplexity; tokens (scored); windows; nll (natural logarithms); activations; kv; with --tune
weight (the best one), and curve (each: weight, perplexity) of which it is the least point.

Examples:
  mote perplexity -m model.gguf -f text.txt -c 512
  mote perplexity -m model.gguf -f heldout.txt --mix lm.gguf --tune")]
pub struct Command {
    #[command(flatten)]
    model: ModelOption,
    /// A file with the text
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Try all weights of --mix at once, and print the best one: of a text that is not the one to be
    /// judged by
    #[arg(long, requires = "mix")]
    tune: bool,
    #[command(flatten)]
    mix: MixOptions,
    #[command(flatten)]
    session: SessionOptions,
}

impl Command {
    /// Whether the result is wanted as JSON.
    pub fn json(&self) -> bool {
        self.json
    }
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
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    curve: Option<Vec<Point>>,
}

/// What a weight leads to.
#[derive(Serialize)]
struct Point {
    weight: f64,
    perplexity: f64,
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
            let (activations, kv) = names(&options);
            let windows = Windows { tokenizer, ids: &ids, window };
            let (figures, curve) = if command.tune {
                let curve = Curve::new(command.mix.mixing());
                let tune = |mix: &mut Mix<'_, '_, '_>| windows.tune(mix, curve, streams);
                let curve = command.mix.with_mix(session, &engine, tune)?;
                let (_, nll) = curve.best();
                (Figures { nll, tokens: curve.tokens(), bytes: 0 }, Some(curve))
            } else {
                let score = |session: &mut dyn LanguageModel<'_>| windows.score(session, streams);
                (command.mix.with(session, &engine, score)?, None)
            };
            let Figures { nll, tokens, .. } = figures;
            let perplexity = figures.perplexity();
            let windows = ids.len() / window;
            let weight = curve.as_ref().map(|curve| curve.best().0);
            let curve = curve.map(|curve| points(&curve));
            if command.json {
                let report =
                    Report { perplexity, tokens, windows, nll, activations, kv, weight, curve };
                return write_json(&report, streams);
            }
            let out = &mut *streams.output;
            for Point { weight, perplexity } in curve.into_iter().flatten() {
                writeln!(out, "weight {weight:.4}  perplexity {perplexity:.4}")?;
            }
            if let Some(weight) = weight {
                writeln!(out, "best weight {weight:.4}")?;
            }
            Ok(writeln!(out, "perplexity {perplexity:.4} ({tokens} tokens, {windows} windows)")?)
        })
    })
}

fn points(curve: &Curve) -> Vec<Point> {
    let perplexity = |nll| Figures { nll, tokens: curve.tokens(), bytes: 0 }.perplexity();
    curve.points().map(|(weight, nll)| Point { weight, perplexity: perplexity(nll) }).collect()
}

/// A text in pieces that are contexts of their own.
struct Windows<'t> {
    tokenizer: &'t Tokenizer<'t>,
    ids: &'t [u32],
    window: usize,
}

impl Windows<'_> {
    /// `work` gets the tokens of each window: those that are given, and those that are scored (of
    /// which the first is given, too).
    fn each(
        &self,
        streams: &Streams<'_>,
        mut work: impl FnMut(&[u32], &[u32]) -> std::result::Result<(), SessionError>,
    ) -> Result<()> {
        let first = self.tokenizer.bos().filter(|_| self.tokenizer.adds_bos());
        let bar = streams.progress(self.ids.len() / self.window * self.window);
        let mut tokens = vec![0; self.window];
        for part in self.ids.chunks_exact(self.window) {
            tokens.copy_from_slice(part);
            if let Some(first) = first {
                tokens[0] = first;
            }
            let (prompt, scored) = tokens.split_at(self.window / 2);
            work(prompt, scored)?;
            interrupt::check()?;
            bar.inc(self.window as u64);
        }
        bar.finish_and_clear();
        Ok(())
    }

    fn score(&self, model: &mut dyn LanguageModel<'_>, streams: &Streams<'_>) -> Result<Figures> {
        let mut figures = Figures::default();
        self.each(streams, |prompt, scored| {
            model.rewind(0);
            model.feed_with(prompt, Origin::Prompt, &mut interrupt::not_pressed)?;
            let mut add = |i, logprob| {
                // The first of them is only given.
                if i > 0 {
                    figures.add(logprob, 0);
                }
            };
            let go_on = &mut interrupt::not_pressed;
            model.score_tokens(scored, Origin::Generated, go_on, &mut add).map(|_| ())
        })?;
        Ok(figures)
    }

    fn tune(
        &self,
        mix: &mut Mix<'_, '_, '_>,
        mut curve: Curve,
        streams: &Streams<'_>,
    ) -> Result<Curve> {
        self.each(streams, |prompt, scored| {
            mix.rewind(0);
            mix.feed_with(prompt, Origin::Prompt, &mut interrupt::not_pressed)?;
            mix.tune(scored, Origin::Generated, &mut curve)
        })?;
        Ok(curve)
    }
}
