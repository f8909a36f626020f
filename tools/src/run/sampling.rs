//! How tokens are chosen.

use clap::Args;
use mote_runtime::sample::Options;

/// Options of the sampler. Without them its own defaults hold.
#[derive(Args, Debug)]
#[command(next_help_heading = "Sampling")]
pub struct SamplingOptions {
    /// Temperature: 0 takes the most probable token, 1 the model's own distribution, inf any
    /// [default: 0.8]
    #[arg(long = "temp", value_name = "T", allow_negative_numbers = true,
          value_parser = |text: &str| checked(text, |options, x| options.temperature = x))]
    temperature: Option<f32>,
    /// Only the K most probable tokens; 0 for all [default: 40]
    #[arg(long, value_name = "K", allow_negative_numbers = true)]
    top_k: Option<usize>,
    /// Only the most probable tokens that together have this probability [default: 0.95]
    #[arg(long, value_name = "P", allow_negative_numbers = true,
          value_parser = |text: &str| checked(text, |options, x| options.top_p = x))]
    top_p: Option<f32>,
    /// Only tokens with this share of the most probable one's probability [default: 0.05]
    #[arg(long, value_name = "P", allow_negative_numbers = true,
          value_parser = |text: &str| checked(text, |options, x| options.min_p = x))]
    min_p: Option<f32>,
    /// Divides the logits of recent tokens; 1 for none [default: 1]
    #[arg(long, value_name = "X", allow_negative_numbers = true,
          value_parser = |text: &str| checked(text, |options, x| options.repetition_penalty = x))]
    repetition_penalty: Option<f32>,
    /// Subtracted from a recent token's logit for each time it occurs [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true,
          value_parser = |text: &str| checked(text, |options, x| options.frequency_penalty = x))]
    frequency_penalty: Option<f32>,
    /// Subtracted from every recent token's logit [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true,
          value_parser = |text: &str| checked(text, |options, x| options.presence_penalty = x))]
    presence_penalty: Option<f32>,
    /// How many tokens are recent [default: 64]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    penalty_window: Option<usize>,
    /// Which of the possible texts [default: 0]
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    seed: Option<u64>,
}

impl SamplingOptions {
    /// The sampler's options.
    pub fn options(&self) -> Options {
        let default = Options::default();
        Options {
            temperature: self.temperature.unwrap_or(default.temperature),
            top_k: self.top_k.unwrap_or(default.top_k),
            top_p: self.top_p.unwrap_or(default.top_p),
            min_p: self.min_p.unwrap_or(default.min_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(default.repetition_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(default.frequency_penalty),
            presence_penalty: self.presence_penalty.unwrap_or(default.presence_penalty),
            penalty_window: self.penalty_window.unwrap_or(default.penalty_window),
            seed: self.seed.unwrap_or(default.seed),
        }
    }
}

/// A number that the sampler takes, or the sentence that says why not.
fn checked(text: &str, set: fn(&mut Options, f32)) -> std::result::Result<f32, String> {
    let number = text.parse().map_err(|_| "not a number".to_string())?;
    let mut options = Options::default();
    set(&mut options, number);
    options.check().map(|()| number).map_err(|error| error.to_string())
}
