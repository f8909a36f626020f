//! A second model beside the first: `--mix`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use mote_runtime::mix::{Mix, Mixing};
use mote_runtime::{AnySession, LanguageModel, Options};

#[cfg(feature = "embedded")]
use crate::embedded;
use crate::failure::{Code, Failure, Result};
use crate::host::{Engine, Memory, with_any_model};

/// What is mixed with the model, and how.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Mixing")]
pub struct MixOptions {
    /// A second model of the same vocabulary, as one trained by `mote ngram train --tokenizer`. What is
    /// computed with is a mixture of both
    #[arg(long, value_name = "FILE")]
    mix: Option<PathBuf>,
    /// How probabilities are mixed
    #[arg(long, value_enum, value_name = "KIND", default_value = "linear", requires = "mix")]
    mix_kind: Kind,
    /// Weight of the model; the second one has the rest to 1 (`mote perplexity --tune` finds a good one)
    #[arg(long, value_name = "W", default_value = "0.9", requires = "mix",
          allow_negative_numbers = true, value_parser = weight)]
    mix_weight: f64,
}

/// `linear` or `log-linear`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// p = w p1 + (1 - w) p2
    Linear,
    /// p = p1^w p2^(1 - w), renormalised
    LogLinear,
}

impl Kind {
    /// As the runtime calls it.
    pub fn mixing(self) -> Mixing {
        match self {
            Kind::Linear => Mixing::Linear,
            Kind::LogLinear => Mixing::LogLinear,
        }
    }
}

fn weight(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(weight) if (0.0..=1.0).contains(&weight) => Ok(weight),
        _ => Err("a weight is between 0 and 1".to_string()),
    }
}

impl MixOptions {
    /// The same beside the model that is the default where none is named: if it is the one that is
    /// built in and nothing else is to be mixed, with the n-gram model that is built in too.
    pub fn beside_default(&self, model: &Path) -> MixOptions {
        #[cfg(feature = "embedded")]
        if self.mix.is_none() && model == Path::new(embedded::MODEL) {
            let (mix, mix_weight) = (Some(embedded::NGRAM.into()), embedded::WEIGHT);
            return MixOptions { mix, mix_weight, ..self.clone() };
        }
        let _ = model;
        self.clone()
    }

    /// How.
    pub fn mixing(&self) -> Mixing {
        self.mix_kind.mixing()
    }

    /// Whether something is mixed.
    pub fn is_given(&self) -> bool {
        self.mix.is_some()
    }

    /// Lets `work` have the mixture, or the model alone if nothing is mixed.
    pub fn with<R>(
        &self,
        model: &mut dyn LanguageModel<'_>,
        engine: &Engine,
        work: impl FnOnce(&mut dyn LanguageModel<'_>) -> Result<R>,
    ) -> Result<R> {
        match self.mix {
            Some(_) => self.with_mix(model, engine, |mix| work(mix)),
            None => work(model),
        }
    }

    /// Lets `work` have the mixture.
    pub fn with_mix<R>(
        &self,
        model: &mut dyn LanguageModel<'_>,
        engine: &Engine,
        work: impl FnOnce(&mut Mix<'_, '_, '_>) -> Result<R>,
    ) -> Result<R> {
        let Some(path) = &self.mix else {
            return Err(Failure::new(Code::Usage, "--tune: there is nothing to mix: --mix FILE"));
        };
        with_any_model(path, |other| {
            let threads = engine.threads();
            let options = Options { n_ctx: model.capacity(), threads, ..Options::default() };
            let mut memory = Memory::new(AnySession::plan(other, &options)?.total_bytes)?;
            let (kernels, pool) = (engine.kernels, &engine.pool);
            let mut other = AnySession::new(other, &options, kernels, pool, &mut memory)?;
            let (mixing, weight) = (self.mixing(), self.mix_weight);
            work(&mut Mix::new(model, other.as_model_mut(), mixing, weight)?)
        })
    }
}
