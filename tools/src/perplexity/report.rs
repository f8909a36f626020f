//! What a comparison with a base found, as JSON and as text.

use std::io::Write;
use std::path::Path;

use mote_formats::gguf::Gguf;
use serde::Serialize;

use super::statistics::{Mean, Percent, Percentiles, Versus};
use crate::facts::{Bytes, FileFacts};
use crate::failure::{Result, shown};
use crate::options::Bits;

/// Of one text, a base and the models beside it.
#[derive(Serialize)]
pub struct Report {
    /// Tokens scored.
    pub tokens: usize,
    /// Windows of the text.
    pub windows: usize,
    /// How was computed.
    pub activations: Bits,
    /// The type of the cache.
    pub kv: &'static str,
    /// What the models are compared with.
    pub base: Row,
    /// The models.
    pub models: Vec<Row>,
}

/// What is known of a file.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Facts {
    /// The file's name.
    pub model: String,
    /// The file's bytes.
    pub bytes: u64,
    /// Bits of the tensors for each of their numbers.
    pub bits_per_weight: f64,
}

/// One model.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its file.
    #[serde(flatten)]
    pub facts: Facts,
    /// How fast it read prompts.
    pub prefill_tokens_per_second: f64,
    /// Sum of -ln p.
    pub nll: f64,
    /// exp of the mean of that.
    pub perplexity: f64,
    /// The standard error.
    pub perplexity_error: f64,
    /// How far from the base; of the base, nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub versus: Option<Versus>,
}

/// One model alone, with the keys that there are without a base, too.
#[derive(Serialize)]
pub struct Single<'r> {
    tokens: usize,
    windows: usize,
    activations: Bits,
    kv: &'static str,
    #[serde(flatten)]
    model: Option<&'r Row>,
    base: &'r Row,
}

impl Facts {
    /// Of a file.
    pub fn new(path: &Path, gguf: &Gguf<'_>) -> Facts {
        let facts = FileFacts::new(gguf);
        let name = path.file_name().map_or_else(|| shown(path), |name| shown(Path::new(name)));
        Facts { model: name, bytes: facts.bytes, bits_per_weight: facts.bits_per_weight() }
    }
}

impl Row {
    /// Of a model without anything to compare it with.
    pub fn new(facts: Facts, speed: f64, nll: f64, perplexity: Mean) -> Row {
        Row {
            facts,
            prefill_tokens_per_second: speed,
            nll,
            perplexity: perplexity.mean,
            perplexity_error: perplexity.error,
            versus: None,
        }
    }

    /// The same beside the base.
    pub fn versus(self, versus: Versus) -> Row {
        Row { versus: Some(versus), ..self }
    }
}

impl Report {
    /// Of the first model.
    pub fn single(&self) -> Single<'_> {
        let Report { tokens, windows, activations, kv, ref base, ref models } = *self;
        Single { tokens, windows, activations, kv, model: models.first(), base }
    }

    /// The first model's figures, a line or two each.
    pub fn print(&self, out: &mut dyn Write) -> Result<()> {
        let Some((model, versus)) = self.models.first().and_then(|m| Some((m, m.versus.as_ref()?)))
        else {
            return Ok(());
        };
        let Report { tokens, windows, .. } = self;
        for (name, Row { facts, perplexity, perplexity_error, .. }) in
            [("perplexity", model), ("base", &self.base)]
        {
            let Facts { model, bytes, bits_per_weight } = facts;
            let bytes = Bytes(*bytes);
            writeln!(
                out,
                "{name:<14} {perplexity:.4} ± {perplexity_error:.4}   {model}, {bytes}, \
                 {bits_per_weight:.2} bits per weight"
            )?;
        }
        print_versus(versus, out)?;
        Ok(writeln!(out, "scored         {tokens} tokens in {windows} windows")?)
    }
}

fn print_versus(versus: &Versus, out: &mut dyn Write) -> Result<()> {
    let Versus { perplexity_ratio, perplexity_difference, ln_ratio, correlation, .. } = versus;
    let plain = |Mean { mean, error }: Mean| format!("{mean:.6} ± {error:.6}");
    let percent =
        |Mean { mean, error }: Mean| format!("{:.3} ± {:.3} %", mean * 100.0, error * 100.0);
    writeln!(out, "ratio          {}   ln {}", plain(*perplexity_ratio), plain(*ln_ratio))?;
    writeln!(out, "difference     {}", plain(*perplexity_difference))?;
    writeln!(out, "correlation    {:.2} %", correlation * 100.0)?;
    writeln!(out, "KL divergence  {} nats", plain(versus.kl))?;
    print_percentiles(&versus.kl_percentiles, 1.0, "", out)?;
    writeln!(out, "Δp             {}   RMS {}", percent(versus.dp), percent(versus.dp_rms))?;
    print_percentiles(&versus.dp_percentiles, 100.0, " %", out)?;
    Ok(writeln!(out, "same top       {}", percent(versus.same_top))?)
}

fn print_percentiles(all: &Percentiles, by: f64, unit: &str, out: &mut dyn Write) -> Result<()> {
    let value = |percent: &Percent| all.get(percent).copied().unwrap_or(f64::NAN) * by;
    for (name, percents) in [
        ("highest", [100_000, 99_900, 99_000, 95_000, 90_000]),
        ("lowest", [0, 100, 1000, 5000, 10_000]),
    ] {
        let values = percents.map(|percent| {
            let value = value(&Percent(percent));
            match percent {
                0 | 100_000 => format!("{value:.4}{unit}"),
                percent => format!("{value:.4}{unit} ({} %)", f64::from(percent) / 1000.0),
            }
        });
        writeln!(out, "  {name:<12} {}", values.join(", "))?;
    }
    let median = value(&Percent(50_000));
    Ok(writeln!(out, "  {:<12} {median:.4}{unit}", "median")?)
}
