//! `mote perplexity`: the figures that llama-perplexity prints, computed the same way.

mod divergence;
mod report;
mod statistics;
mod table;
mod versus;
pub(crate) mod windows;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use mote_runtime::LanguageModel;
use mote_runtime::mix::{Curve, Mix};
use mote_runtime::score::Figures;
use serde::Serialize;

use crate::cli::write_json;
use crate::environment;
use crate::failure::{Code, Failure, Result};
use crate::host::{Engine, with_any_model_by, with_any_session};
use crate::input;
use crate::mix::MixOptions;
use crate::options::{Bits, Purpose, RulesOption, SessionOptions, names};
use crate::streams::Streams;
use crate::tokenize::tell_unknown_rules;
use versus::Task;
use windows::Windows;

/// Measure the perplexity of a long text
#[derive(Args, Debug)]
#[command(after_help = "\
The text's tokens are cut in windows of --ctx (512 if not given); what does not fill the last
one is left out. Each window is a context of its own, which begins with the token that the
model expects before a text, in place of the window's first. The tokens of its second half are
scored. llama-perplexity does the same, so the figures compare. With mixed activations, the
second half counts as generated.

--kl-base: how far the model's distributions are from those of another one, as a rule the same model
with less or no quantisation: the Kullback-Leibler divergence, sum of p_base ln(p_base / p) over the
vocabulary, at each scored token; dp, the probability of the text's token less that by the base; how
often both take the same token for the most probable. The figures are those of llama-perplexity
--kl-divergence, but that the base is computed beside the model and not read from a file of 16-bit
numbers. Both models are loaded; the logits of the base take at most 64 MiB (8 rows of the
vocabulary, if that is more). Figures after a +- are standard errors.

--table: the same for several models in one pass, a line each. Prefill is of half a window.

JSON keys: perplexity; tokens (scored); windows; nll (natural logarithms); activations; kv; with
--tune weight (the best one), and curve (each: weight, perplexity) of which it is the least point.
With --kl-base also model, bytes, bits_per_weight, prefill_tokens_per_second, perplexity_error,
base (the same keys of the base) and versus: perplexity_ratio, perplexity_difference, ln_ratio,
kl, dp, dp_rms, same_top (each mean and error), correlation, kl_percentiles and dp_percentiles (by
their percentages; 0 and 100 are the least and the greatest). With --table tokens, windows,
activations, kv, base, and models: a list.

Examples:
  mote perplexity -m model.gguf -f text.txt -c 512
  mote perplexity -m model.gguf -f heldout.txt --mix lm.gguf --tune
  mote perplexity -m q4_k_m.gguf -f text.txt --kl-base f16.gguf
  mote perplexity -f text.txt --kl-base f16.gguf --table q8_0.gguf q4_k_m.gguf --markdown")]
pub struct Command {
    /// The model: a GGUF file, or a name: tiny (built in), or what `mote pull` got
    #[arg(short, long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// A file with the text
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Measure on the first N windows alone [default: all]
    #[arg(long, value_name = "N")]
    windows: Option<NonZeroUsize>,
    /// Compare with another model of the same vocabulary
    #[arg(long, value_name = "FILE", conflicts_with_all = ["mix", "tune"])]
    kl_base: Option<PathBuf>,
    /// Compare several models with that of --kl-base
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "kl_base", conflicts_with = "model")]
    table: Vec<PathBuf>,
    /// Print the table in Markdown
    #[arg(long, requires = "table", conflicts_with = "json")]
    markdown: bool,
    /// Try all weights of --mix at once, and print the best one: of a text that is not the one to be
    /// judged by
    #[arg(long, requires = "mix")]
    tune: bool,
    #[command(flatten)]
    rules: RulesOption,
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
    let window = windows::length(command.session.compute.ctx)?;
    let model = command.model.clone().or_else(environment::model);
    match (&command.kl_base, model) {
        (Some(base), _) if !command.table.is_empty() => {
            command.compare(base, None, window, streams)
        }
        (Some(base), Some(model)) => command.compare(base, Some(&model), window, streams),
        (None, Some(model)) => command.measure(&model, window, streams),
        (_, None) => {
            let sentence = "no model: name one by --model FILE, or by MOTE_MODEL";
            Err(Failure::new(Code::Usage, sentence))
        }
    }
}

impl Command {
    fn compare(
        &self,
        base: &Path,
        model: Option<&Path>,
        window: usize,
        streams: &mut Streams<'_>,
    ) -> Result<()> {
        let table = self.table.iter().map(PathBuf::as_path);
        let models = model.into_iter().chain(table).collect();
        let (session, most) = (&self.session, self.windows.map(NonZeroUsize::get));
        let text = input::read_file(&self.file)?;
        let pre = self.rules.name();
        let task = Task { base, models, text: &text, pre, session, window, most };
        let report = task.execute(streams)?;
        match (self.table.is_empty(), self.json) {
            (true, true) => write_json(&report.single(), streams),
            (false, true) => write_json(&report, streams),
            (true, false) => report.print(&mut *streams.output),
            (false, false) => report.print_table(self.markdown, &mut *streams.output),
        }
    }

    fn measure(&self, model: &Path, window: usize, streams: &mut Streams<'_>) -> Result<()> {
        let engine = Engine::new(&self.session, streams)?;
        with_any_model_by(model, self.rules.name(), |model| {
            let tokenizer = model.tokenizer();
            tell_unknown_rules(tokenizer, streams);
            let text = input::read_file(&self.file)?;
            let most = self.windows.map(NonZeroUsize::get);
            let windows = Windows::new(tokenizer, &text, window, most)?;
            let compute = &self.session.compute;
            let options =
                compute.session(model.all_float(), Purpose::Score, window, engine.threads());
            with_any_session(model, &options, &engine, |session, _| {
                let (figures, curve) = self.figures(&windows, session, &engine, streams)?;
                let Figures { nll, tokens, .. } = figures;
                let (activations, kv) = names(&options);
                let report = Report {
                    perplexity: figures.perplexity(),
                    tokens,
                    windows: windows.len(),
                    nll,
                    activations,
                    kv,
                    weight: curve.as_ref().map(|curve| curve.best().0),
                    curve: curve.map(|curve| points(&curve)),
                };
                if self.json { write_json(&report, streams) } else { report.print(streams) }
            })
        })
    }

    fn figures(
        &self,
        windows: &Windows<'_>,
        session: &mut dyn LanguageModel<'_>,
        engine: &Engine,
        streams: &Streams<'_>,
    ) -> Result<(Figures, Option<Curve>)> {
        if self.tune {
            let curve = Curve::new(self.mix.mixing());
            let tune = |mix: &mut Mix<'_, '_, '_>| windows.tune(mix, curve, streams);
            let curve = self.mix.with_mix(session, engine, tune)?;
            let (_, nll) = curve.best();
            Ok((Figures { nll, tokens: curve.tokens(), bytes: 0 }, Some(curve)))
        } else {
            let score = |session: &mut dyn LanguageModel<'_>| windows.score(session, streams);
            Ok((self.mix.with(session, engine, score)?, None))
        }
    }
}

impl Report {
    fn print(&self, streams: &mut Streams<'_>) -> Result<()> {
        let Report { perplexity, tokens, windows, .. } = self;
        let out = &mut *streams.output;
        for Point { weight, perplexity } in self.curve.iter().flatten() {
            writeln!(out, "weight {weight:.4}  perplexity {perplexity:.4}")?;
        }
        if let Some(weight) = self.weight {
            writeln!(out, "best weight {weight:.4}")?;
        }
        Ok(writeln!(out, "perplexity {perplexity:.4} ({tokens} tokens, {windows} windows)")?)
    }
}

fn points(curve: &Curve) -> Vec<Point> {
    let perplexity = |nll| Figures { nll, tokens: curve.tokens(), bytes: 0 }.perplexity();
    curve.points().map(|(weight, nll)| Point { weight, perplexity: perplexity(nll) }).collect()
}
