//! Models beside a base, over the same windows in one pass.

use std::path::Path;
use std::time::{Duration, Instant};

use mote_runtime::{AnyModel, AnySession, LanguageModel, Options, Origin};

use super::divergence::Base;
use super::report::{Facts, Report, Row};
use super::statistics::Statistics;
use super::windows::Windows;
use crate::failure::{Code, Failure, Result};
use crate::host::{Engine, Memory, unknown_rules};
use crate::interrupt::{self, not_pressed};
use crate::options::{Purpose, SessionOptions, names};
use crate::source;
use crate::streams::Streams;
use crate::tokenize::tell_unknown_rules;

/// Bytes of base logits that are kept while the models catch up, and rows that there are at least.
const BASE_BYTES: usize = 64 << 20;
const LEAST_ROWS: usize = 8;

/// What is to be done.
pub struct Task<'a> {
    /// What the models are compared with.
    pub base: &'a Path,
    /// The models.
    pub models: Vec<&'a Path>,
    /// What is scored.
    pub text: &'a [u8],
    /// The rules of `--pre` for words.
    pub pre: Option<&'a str>,
    /// How the models compute.
    pub session: &'a SessionOptions,
    /// Tokens of a window.
    pub window: usize,
    /// The most windows.
    pub most: Option<usize>,
}

impl Task<'_> {
    /// Opens all models and measures.
    pub fn execute(&self, streams: &mut Streams<'_>) -> Result<Report> {
        let engine = Engine::new(self.session, streams)?;
        let paths: Vec<&Path> =
            [self.base].into_iter().chain(self.models.iter().copied()).collect();
        let files = collect(&paths, |path| source::open(path))?;
        let files: Vec<_> = paths.iter().zip(&files).collect();
        let ggufs = collect(&files, |(path, file)| file.gguf(path))?;
        let named: Vec<_> = paths.iter().zip(&ggufs).collect();
        let mut tables = collect(&named, |(path, gguf)| {
            let bytes = AnyModel::bytes_needed(gguf);
            Memory::new(bytes.map_err(|error| Failure::load(error, gguf).in_file(path))?)
        })?;
        let mut models = Vec::new();
        for ((path, gguf), tables) in paths.iter().zip(&ggufs).zip(&mut tables) {
            let refused = |error| Failure::load(error, gguf).in_file(path);
            let mut model = AnyModel::new(gguf, tables).map_err(refused)?;
            if let Some(name) = self.pre
                && !model.set_pre_tokenizer(name)
            {
                return Err(unknown_rules(name));
            }
            models.push(model);
        }
        self.check(&models)?;
        let tokenizer = models[0].tokenizer();
        tell_unknown_rules(tokenizer, streams);
        let windows = Windows::new(tokenizer, self.text, self.window, self.most)?;
        let options: Vec<Options> = models.iter().map(|m| self.options(m, &engine)).collect();
        let mut memory = Vec::new();
        for ((path, model), options) in paths.iter().zip(&models).zip(&options) {
            let plan = AnySession::plan(model, options);
            let plan = plan.map_err(|error| Failure::from(error).in_file(path))?;
            memory.push(Memory::new(plan.total_bytes)?);
        }
        let mut sides = Vec::new();
        for ((model, options), memory) in models.iter().zip(&options).zip(&mut memory) {
            let session = AnySession::new(model, options, engine.kernels, &engine.pool, memory)?;
            sides.push(Side {
                session,
                statistics: Statistics::default(),
                prefill: Prefill::default(),
            });
        }
        measure(&windows, &mut sides, streams)?;
        let facts = paths.iter().zip(&ggufs).map(|(path, gguf)| Facts::new(path, gguf));
        Ok(report(&windows, &options, facts.collect(), &sides))
    }

    /// All models have one vocabulary.
    fn check(&self, models: &[AnyModel<'_>]) -> Result<()> {
        let base = models[0].tokenizer();
        let other = |(_, model): &(_, &AnyModel<'_>)| !model.tokenizer().has_same_ids(base);
        match self.models.iter().zip(&models[1..]).find(other) {
            Some((path, _)) => {
                let sentence = "another vocabulary than the base's: there is nothing to compare";
                Err(Failure::new(Code::Model, sentence).in_file(path))
            }
            None => Ok(()),
        }
    }

    fn options(&self, model: &AnyModel<'_>, engine: &Engine) -> Options {
        let compute = &self.session.compute;
        compute.session(model.all_float(), Purpose::Score, self.window, engine.threads())
    }
}

fn collect<A, B>(from: &[A], make: impl FnMut(&A) -> Result<B>) -> Result<Vec<B>> {
    from.iter().map(make).collect()
}

/// A model at work.
struct Side<'s> {
    session: AnySession<'s>,
    statistics: Statistics,
    prefill: Prefill,
}

/// How fast prompts were fed.
#[derive(Clone, Copy, Default)]
struct Prefill {
    /// Prompts before this one: the first one also reads the file.
    prompts: usize,
    tokens: usize,
    time: Duration,
}

impl Prefill {
    fn add(&mut self, tokens: usize, time: Duration) {
        if self.prompts == 1 {
            (self.tokens, self.time) = (0, Duration::ZERO);
        }
        self.prompts += 1;
        self.tokens += tokens;
        self.time += time;
    }

    fn tokens_per_second(&self) -> f64 {
        self.tokens as f64 / self.time.as_secs_f64().max(1e-9)
    }
}

impl Side<'_> {
    fn start(&mut self, prompt: &[u32]) -> Result<()> {
        let session = self.session.as_model_mut();
        session.rewind(0);
        let start = Instant::now();
        session.feed_with(prompt, Origin::Prompt, &mut not_pressed)?;
        interrupt::check()?;
        self.prefill.add(prompt.len(), start.elapsed());
        Ok(())
    }
}

/// The first of the sides is the base.
fn measure(windows: &Windows<'_>, sides: &mut [Side<'_>], streams: &Streams<'_>) -> Result<()> {
    let Some((base, models)) = sides.split_first_mut() else { return Ok(()) };
    let row_bytes = 4 * base.session.as_model().n_vocab().max(1);
    let rows = (BASE_BYTES / (2 * row_bytes)).max(LEAST_ROWS);
    windows.each(1 + models.len(), streams, |prompt, scored| {
        base.start(prompt)?;
        models.iter_mut().try_for_each(|side| side.start(prompt))?;
        // What follows the last one is not in the window.
        let fed = &scored[..scored.len() - 1];
        for (fed, next) in fed.chunks(rows).zip(scored[1..].chunks(rows)) {
            let base = rows_of(base.session.as_model_mut(), fed)?;
            for Side { session, statistics, .. } in &mut *models {
                compare(&base, session.as_model_mut(), statistics, (fed, next))?;
            }
        }
        Ok(())
    })
}

/// What follows each token, by the base.
fn rows_of(model: &mut dyn LanguageModel<'_>, fed: &[u32]) -> Result<Vec<Base>> {
    let kernels = model.kernels();
    let mut rows = Vec::with_capacity(fed.len());
    model.score_with(fed, Origin::Generated, 0, &mut not_pressed, &mut |_, logits| {
        rows.push(Base::new(kernels, logits));
    })?;
    interrupt::check()?;
    Ok(rows)
}

/// Adds the tokens that come `next` after those that are `fed`.
fn compare(
    base: &[Base],
    model: &mut dyn LanguageModel<'_>,
    statistics: &mut Statistics,
    (fed, next): (&[u32], &[u32]),
) -> Result<()> {
    let kernels = model.kernels();
    let mut add = |i: usize, logits: &mut [f32]| {
        let pair = base.get(i).zip(next.get(i));
        if let Some(token) = pair.and_then(|(base, &id)| base.compare(kernels, logits, id)) {
            statistics.add(&token);
        }
    };
    model.score_with(fed, Origin::Generated, 0, &mut not_pressed, &mut add)?;
    interrupt::check()
}

fn report(
    windows: &Windows<'_>,
    options: &[Options],
    facts: Vec<Facts>,
    sides: &[Side<'_>],
) -> Report {
    let (activations, kv) = names(&options[0]);
    let mut facts = facts.into_iter();
    let speed = |side: &Side<'_>| side.prefill.tokens_per_second();
    let first = sides.get(1).map(|side| side.statistics.base());
    let (nll, perplexity) = first.unwrap_or_default();
    let base = Row::new(facts.next().unwrap_or_default(), speed(&sides[0]), nll, perplexity);
    let models = facts.zip(&sides[1..]).map(|(facts, side)| {
        let Side { statistics, .. } = side;
        Row::new(facts, speed(side), statistics.nll(), statistics.perplexity())
            .versus(statistics.versus())
    });
    let tokens = sides.get(1).map_or(0, |side| side.statistics.tokens());
    let windows = windows.len();
    Report { tokens, windows, activations, kv, base, models: models.collect() }
}
