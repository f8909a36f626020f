//! `mote rescore`: the noisy channel, over lists of what a signal may stand for.

mod errors;
mod lists;
mod tune;

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use mote_formats::gguf::Text;
use mote_runtime::AnyModel;
use serde::Serialize;

use crate::cli::write_json;
use crate::failure::{Code, Failure, Result};
use crate::host::with_any_model_by;
use crate::input;
use crate::mix::MixOptions;
use crate::options::{ModelOption, RulesOption, SessionOptions};
use crate::sentences::{Computing, Frame, SentenceOptions, with_scorer};
use crate::streams::Streams;
use crate::tokenize::tell_unknown_rules;
use errors::Errors;
use lists::{List, parse_lists, parse_references};
use tune::{Features, Judged, Metric, Outcome, Weights, oracle, tune};

/// Reorder n-best lists by a noisy channel and a language model
#[derive(Args, Debug)]
#[command(after_help = "\
What was meant is most probably the text that both the channel and the language find probable:
by Bayes' rule, argmax p(signal | text) p(text) (Shannon 1948; for speech Jelinek 1976, for
translation Brown et al. 1990). The channel's scores are on a scale of their own, and so

  score = log p(signal | text)  +  W ln p(text)  +  L words

Input, one hypothesis a line: list TAB text TAB log p(signal | text), of any base. Lines with the
same list belong together. Output, the best of a list first: list, text, score,
log p(signal | text), ln p(text), with tabs between them. p(text) includes the sentence's end.

--refs and --tune: a file of right texts, list TAB text. The word error rate is the fewest words
to insert, delete and replace, for each word of the right texts; beside that of the weighted
choice stand the channel's alone (W = L = 0) and the best that the lists have. --tune searches the
weights for which the lists' errors are fewest: judge them on other lists.

JSON keys: weights (language, length); lists (id, hypotheses: text, score, channel, language,
words, rank (in the input)); with references, errors: lists (with a reference), weighted,
channel_alone and best (each with word_error_rate, character_error_rate, sentence_error_rate and,
but for best, mean_reciprocal_rank).

Examples:
  mote rescore -m lm.gguf --weight 0.6 -f nbest.tsv --best
  mote rescore -m lm.gguf -f nbest.tsv --tune refs.tsv --json")]
pub struct Command {
    #[command(flatten)]
    model: ModelOption,
    #[command(flatten)]
    rules: RulesOption,
    /// A file of lists [default: standard input]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Weight of the language model
    #[arg(
        short,
        long,
        value_name = "W",
        default_value = "1",
        allow_negative_numbers = true,
        value_parser = finite
    )]
    weight: f64,
    /// Added for every word: above 0, longer texts are preferred
    #[arg(
        short,
        long,
        value_name = "L",
        default_value = "0",
        allow_negative_numbers = true,
        value_parser = finite
    )]
    length: f64,
    /// The right texts, to tell the errors
    #[arg(long, value_name = "FILE")]
    refs: Option<PathBuf>,
    /// The same, to find the weights by them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["refs", "weight", "length"])]
    tune: Option<PathBuf>,
    /// What --tune makes best
    #[arg(long, value_enum, value_name = "METRIC", default_value = "wer", requires = "tune")]
    metric: Metric,
    /// Print the best of each list only
    #[arg(long)]
    best: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    around: SentenceOptions,
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
struct Report<'a> {
    weights: Weights,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<ErrorReport>,
    lists: Vec<ListReport<'a>>,
}

#[derive(Serialize)]
struct ListReport<'a> {
    id: &'a str,
    hypotheses: Vec<HypothesisReport<'a>>,
}

#[derive(Serialize)]
struct HypothesisReport<'a> {
    text: &'a str,
    score: f64,
    channel: f64,
    language: f64,
    words: usize,
    /// Its place in the input, from 1.
    rank: usize,
}

#[derive(Serialize)]
struct ErrorReport {
    lists: usize,
    weighted: Rates,
    channel_alone: Rates,
    best: Rates,
}

#[derive(Serialize)]
struct Rates {
    word_error_rate: f64,
    character_error_rate: f64,
    sentence_error_rate: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_reciprocal_rank: Option<f64>,
}

/// Reorders.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    let text = match &command.file {
        Some(path) => input::read_file(path)?,
        None => input::read_input(streams)?,
    };
    let lists = parse_lists(&text)?;
    let references = match command.refs.as_ref().or(command.tune.as_ref()) {
        Some(path) => Some(parse_references(&input::read_file(path)?)?),
        None => None,
    };
    let features = with_any_model_by(&command.model.model, command.rules.name(), |model| {
        tell_unknown_rules(model.tokenizer(), streams);
        command.features(&lists, model, streams)
    })?;
    let judged = references.map(|references| judge(&lists, &features, &references));
    if let Some(judged) = &judged {
        tell_missing(&lists, judged, streams)?;
    }
    let weights = match (&command.tune, &judged) {
        (Some(_), Some(judged)) => tune(judged, command.metric),
        _ => Weights { language: command.weight, length: command.length },
    };
    let report = Report {
        weights,
        errors: judged.as_ref().map(|judged| ErrorReport::new(judged, &weights)),
        lists: reorder(&lists, &features, &weights, command.best),
    };
    if command.json { write_json(&report, streams) } else { print(&report, streams) }
}

impl Command {
    /// What the hypotheses of every list are judged by.
    fn features(
        &self,
        lists: &[List],
        model: &AnyModel<'_>,
        streams: &mut Streams<'_>,
    ) -> Result<Vec<Vec<Features>>> {
        let tokenizer = model.tokenizer();
        let frame = Frame::new(&self.around, tokenizer)?;
        let sentences = lists.iter().map(|list| {
            let texts = list.hypotheses.iter().map(|hypothesis| hypothesis.text.as_bytes());
            texts.map(|text| frame.around(text, tokenizer)).collect::<Result<Vec<_>>>()
        });
        let sentences = sentences.collect::<Result<Vec<_>>>()?;
        let all = sentences.iter().flatten();
        let Command { session, mix, .. } = self;
        let computing = Computing { session, mix };
        with_scorer(model, computing, all.clone(), streams, |scorer, streams| {
            let bar = streams.progress(all.map(|sentence| sentence.ids.len()).sum());
            let mut of_lists = Vec::with_capacity(lists.len());
            for (list, sentences) in lists.iter().zip(&sentences) {
                let mut features = Vec::with_capacity(sentences.len());
                for (hypothesis, sentence) in list.hypotheses.iter().zip(sentences) {
                    let language = scorer.score(sentence)?.iter().map(|scored| scored.ln).sum();
                    let words = hypothesis.text.split_whitespace().count();
                    features.push(Features { channel: hypothesis.channel, language, words });
                    bar.inc(sentence.ids.len() as u64);
                }
                of_lists.push(features);
            }
            bar.finish_and_clear();
            Ok(of_lists)
        })
    }
}

/// The hypotheses of the lists that have a reference, with their errors.
fn judge(
    lists: &[List],
    features: &[Vec<Features>],
    references: &HashMap<String, String>,
) -> Vec<Vec<Judged>> {
    let judged = lists.iter().zip(features).filter_map(|(list, features)| {
        let reference = references.get(&list.id)?;
        let hypotheses = list.hypotheses.iter().zip(features);
        let judged = hypotheses.map(|(hypothesis, &features)| Judged {
            features,
            errors: Errors::of(&hypothesis.text, reference),
        });
        Some(judged.collect())
    });
    judged.collect()
}

fn tell_missing(lists: &[List], judged: &[Vec<Judged>], streams: &mut Streams<'_>) -> Result<()> {
    if judged.is_empty() {
        return Err(Failure::new(Code::Text, "no list has a reference"));
    }
    let missing = lists.len() - judged.len();
    if missing > 0 {
        let all = lists.len();
        streams.note(format_args!("{missing} of {all} lists have no reference and do not count"));
    }
    Ok(())
}

/// The lists' hypotheses, best first.
fn reorder<'a>(
    lists: &'a [List],
    features: &[Vec<Features>],
    weights: &Weights,
    best: bool,
) -> Vec<ListReport<'a>> {
    let most = if best { 1 } else { usize::MAX };
    let reorder = |(list, features): (&'a List, &Vec<Features>)| {
        let hypothesis = |place: usize| {
            let Features { channel, language, words } = features[place];
            let score = weights.total(&features[place]);
            let text = list.hypotheses[place].text.as_str();
            HypothesisReport { text, score, channel, language, words, rank: place + 1 }
        };
        let order = weights.order(features).into_iter().take(most);
        ListReport { id: &list.id, hypotheses: order.map(hypothesis).collect() }
    };
    lists.iter().zip(features).map(reorder).collect()
}

impl ErrorReport {
    fn new(judged: &[Vec<Judged>], weights: &Weights) -> ErrorReport {
        let channel = Weights { language: 0.0, length: 0.0 };
        ErrorReport {
            lists: judged.len(),
            weighted: Rates::of(&weights.judge(judged)),
            channel_alone: Rates::of(&channel.judge(judged)),
            best: Rates::new(&oracle(judged), None),
        }
    }
}

impl Rates {
    fn of(outcome: &Outcome) -> Rates {
        Rates::new(&outcome.errors, Some(outcome.mean_reciprocal_rank()))
    }

    fn new(errors: &Errors, mean_reciprocal_rank: Option<f64>) -> Rates {
        Rates {
            word_error_rate: errors.word_error_rate(),
            character_error_rate: errors.character_error_rate(),
            sentence_error_rate: errors.sentence_error_rate(),
            mean_reciprocal_rank,
        }
    }
}

/// The lists go to the output, and what was found about them to the errors.
fn print(report: &Report<'_>, streams: &mut Streams<'_>) -> Result<()> {
    for list in &report.lists {
        for HypothesisReport { text, score, channel, language, .. } in &list.hypotheses {
            write_field(streams.output, list.id, streams.terminal.output)?;
            write_field(streams.output, text, streams.terminal.output)?;
            writeln!(streams.output, "{score:.6}\t{channel}\t{language:.6}")?;
        }
    }
    if let Some(errors) = &report.errors {
        let Weights { language, length } = report.weights;
        streams.fact("weights", format_args!("language {language}, length {length}"));
        streams.fact("lists", format_args!("{} with a reference", errors.lists));
        for (label, rates) in [
            ("weighted", &errors.weighted),
            ("channel", &errors.channel_alone),
            ("best", &errors.best),
        ] {
            let Rates { word_error_rate, character_error_rate, sentence_error_rate, .. } = rates;
            let rank =
                rates.mean_reciprocal_rank.map(|rank| format!(", mean reciprocal rank {rank:.4}"));
            let rank = rank.unwrap_or_default();
            streams.fact(
                label,
                format_args!(
                    "error rates: words {word_error_rate:.4}, characters \
                     {character_error_rate:.4}, sentences {sentence_error_rate:.4}{rank}"
                ),
            );
        }
    }
    Ok(())
}

/// A field and its tab; a terminal is shown what could drive it.
fn write_field(out: &mut dyn Write, text: &str, to_terminal: bool) -> Result<()> {
    match to_terminal {
        true => Ok(write!(out, "{}\t", Text::from(text.as_bytes()))?),
        false => Ok(write!(out, "{text}\t")?),
    }
}

fn finite(text: &str) -> std::result::Result<f64, String> {
    let number: Option<f64> = text.parse().ok();
    number.filter(|number| number.is_finite()).ok_or_else(|| "not a finite number".to_string())
}
