//! `mote score`: how probable a text is, token by token; as figures of a whole text (`bits.rs`); beside
//! another (`compare.rs`).

mod align;
mod bits;
mod compare;
mod conventions;
mod picture;
mod unseen;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use mote_formats::gguf::Text;
use mote_runtime::score::{Figures, contract_bytes, log_probability};
use mote_runtime::tokenizer::{DecodeOptions, Decoder, Tokenizer};
use mote_runtime::{AnyModel, LanguageModel, Options, Origin, Precision};
use serde::Serialize;

use crate::cli::write_json;
use crate::facts::FileFacts;
use crate::failure::{Code, Failure, Result, shown};
use crate::host::{Engine, with_any_model_by, with_any_session};
use crate::input;
use crate::interrupt;
use crate::mix::MixOptions;
use crate::options::{Bits, ModelOption, Purpose, RulesOption, SessionOptions, TextOptions, names};
use crate::sentences::{Computing, SentenceOptions};
use crate::streams::Streams;
use crate::tokenize::tell_unknown_rules;
use bits::{BitsOptions, Source};
use compare::CompareOptions;
use picture::{Picture, PictureOptions, Thought};

/// Tell how probable every token of a text is, given those before it
#[derive(Args, Debug)]
#[command(after_help = "\
Without -p, -f and ids, the text is read from standard input. A model that expects a token
before a text gets it; ids are taken as they are. The first token is not scored.

JSON keys: ids; logprobs (natural logarithms, one for each token after the first); nll (their
negative sum); bits_per_token; bits_per_byte (of the scored tokens' text); perplexity;
activations (8, 16 or \"mixed\") and kv (what was computed with); generated_from (where the
activations are mixed); hash and logits, where asked for.

The hash is BLAKE3 over the logits of all positions in order, as little-endian f32 (-0 as +0,
NaN as 7fc00000), of which the first 16 bytes are printed in hexadecimal. It is the same for
every instruction set, number of threads and batch.

--bits: the cross-entropy of a text under a model is the number of bits that a token (word,
character, byte) of it costs somebody who knows the model (Shannon 1948); perplexity, 2 to the power
of that, is the number of equally probable choices. What is counted is a convention, which can halve
the figure: all tokens (KenLM's perplexity including OOVs, 10^-(sum of log10 p /
(words + lines))); without unknown words (excluding OOVs: an unknown word costs what being unknown
costs, whatever its letters); without the ends of sentences; without both. Of models over bytes or
token ids, tokens that were never seen share p(<unk>); KenLM counts them as one unknown word
(unknown_as_one). Per word, character and byte, an end of a sentence counts as one more. With
--lines each line is a sentence with a beginning and an end; without, all is one stream. What a
model takes for impossible makes figures infinite (in JSON null). JSON keys: mode, sentences, words,
characters, bytes, unknown; all, without_unknown, without_ends, without_ends_and_unknown and
unknown_as_one, each with tokens, nll, bits_per_token, perplexity and, where no word is left out,
bits_per_word, perplexity_per_word, bits_per_character, bits_per_byte; tokens (each with sentence,
id, text, ln, log10, unknown, matched: tokens of the longest n-gram that ends there).

--compare: two sentences that differ in one thing only show which of both a model takes for more
probable (Linzen et al. 2016; accuracy over a file of pairs, the right one first: BLiMP, Warstadt
et al. 2020). Differences are of natural logarithms, first less second; tokens are aligned by fewest
differences. JSON keys: pairs (first, second, group, ln, tokens, difference, difference_per_token,
aligned), summary (pairs, accuracy, accuracy_per_token, mean_difference), groups.

--heat, --html, --svg: how surprising each token was (-log2 of its probability), as a colour, and
beside each line its bits per byte. The page and the drawing need nothing else, follow the
reader's light or dark scheme, and show a token's probability, rank and the most probable
alternatives where it is pointed at.

Examples:
  mote score -m model.gguf -p 'The capital of France is Paris.'
  mote score -m model.gguf --ids 1,2,3 --json --hash
  mote score -m lm.gguf --bits --lines -f test.txt
  mote score -m model.gguf --compare 'He is a nurse.' 'She is a nurse.'
  mote score -m model.gguf --pairs pairs.tsv --json
  mote score -m model.gguf -f text.txt --heat
  mote score -m model.gguf -f text.txt --html text.html")]
pub struct Command {
    #[command(flatten)]
    model: ModelOption,
    #[command(flatten)]
    text: TextOptions,
    /// Token ids, with commas between them
    #[arg(long, value_name = "IDS", conflicts_with_all = ["prompt", "file", "ids_file"])]
    ids: Option<OsString>,
    /// A file of token ids
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "file"])]
    ids_file: Option<PathBuf>,
    /// With mixed activations: the tokens from this one on (the first is 0) count as generated
    /// [default: none]
    #[arg(long, value_name = "N")]
    generated_from: Option<usize>,
    /// Print the logits of every position
    #[arg(long)]
    logits: bool,
    /// Print a hash of the logits of all positions
    #[arg(long)]
    hash: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    rules: RulesOption,
    #[command(flatten)]
    mix: MixOptions,
    #[command(flatten)]
    bits: BitsOptions,
    #[command(flatten)]
    compare: CompareOptions,
    #[command(flatten)]
    around: SentenceOptions,
    #[command(flatten)]
    picture: PictureOptions,
    #[command(flatten)]
    session: SessionOptions,
}

impl Command {
    /// Whether the result is wanted as JSON.
    pub fn json(&self) -> bool {
        self.json
    }
}

/// Options about the tokens and logits of one text, which the other kinds of scoring do not have.
const RAW: [&str; 5] = ["ids", "ids_file", "generated_from", "logits", "hash"];

#[derive(Serialize)]
struct Report {
    ids: Vec<u32>,
    logprobs: Vec<f64>,
    nll: f64,
    bits_per_token: f64,
    bits_per_byte: f64,
    perplexity: f64,
    activations: Bits,
    kv: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    generated_from: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logits: Option<Vec<Vec<f32>>>,
}

/// Scores.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    let compares = command.compare.compare.is_some() || command.compare.pairs.is_some();
    if command.bits.bits || compares {
        return command.score_sentences(compares, streams);
    }
    if command.around.is_given() {
        let sentence = "--begin and --no-end are for --bits, --compare and --pairs";
        return Err(Failure::new(Code::Usage, sentence));
    }
    command.picture.check()?;
    let engine = Engine::new(&command.session, streams)?;
    with_any_model_by(&command.model.model, command.rules.name(), |model| {
        tell_unknown_rules(model.tokenizer(), streams);
        let ids = command.ids(model.tokenizer(), streams)?;
        let n_ctx = command.session.compute.ctx.map_or(ids.len(), |ctx| ctx.get());
        let threads = engine.threads();
        let options =
            command.session.compute.session(model.all_float(), Purpose::Score, n_ctx, threads);
        with_any_session(model, &options, &engine, |session, _| {
            let (report, thoughts) = command
                .mix
                .with(session, &engine, |session| command.score(session, ids, &options, streams))?;
            if command.picture.is_asked() {
                let picture = command.picture(&report, thoughts, model)?;
                command.picture.draw(&picture, streams)?;
            }
            if command.json {
                return write_json(&report, streams);
            }
            if command.picture.is_asked() {
                return if command.picture.heat { Ok(()) } else { print_sums(&report, streams) };
            }
            print(&report, model.tokenizer(), streams)
        })
    })
}

impl Command {
    fn score_sentences(&self, compares: bool, streams: &mut Streams<'_>) -> Result<()> {
        let Command { around, session, mix, json, .. } = self;
        let (computing, json) = (Computing { session, mix }, *json);
        with_any_model_by(&self.model.model, self.rules.name(), |model| {
            tell_unknown_rules(model.tokenizer(), streams);
            if compares {
                let task = compare::Task { options: &self.compare, around, computing, json };
                return task.execute(model, streams);
            }
            let read;
            let source = match (&self.ids, &self.ids_file) {
                (Some(ids), _) => Source::Ids(ids.as_encoded_bytes()),
                (None, Some(path)) => {
                    read = input::read_file(path)?;
                    Source::Ids(&read)
                }
                (None, None) => {
                    read = self.text.read(streams)?;
                    Source::Text(&read)
                }
            };
            let options = &self.bits;
            bits::Task { options, around, computing, source, json }.execute(model, streams)
        })
    }

    fn ids(&self, tokenizer: &Tokenizer<'_>, streams: &mut Streams<'_>) -> Result<Vec<u32>> {
        let ids = match (&self.ids, &self.ids_file) {
            (Some(ids), _) => input::parse_ids(ids.as_encoded_bytes())?,
            (None, Some(path)) => input::parse_ids(&input::read_file(path)?)?,
            (None, None) => {
                let text = self.text.read(streams)?;
                input::encode(tokenizer, &text, tokenizer.default_options())?
            }
        };
        if ids.is_empty() {
            return Err(Failure::new(Code::Text, "there is no token to score"));
        }
        Ok(ids)
    }

    fn score(
        &self,
        session: &mut dyn LanguageModel<'_>,
        ids: Vec<u32>,
        options: &Options,
        streams: &Streams<'_>,
    ) -> Result<(Report, Vec<Thought>)> {
        let kernels = session.kernels();
        let bar = streams.progress(ids.len());
        let mut logprobs = Vec::with_capacity(ids.len());
        let mut hasher = self.hash.then(blake3::Hasher::new);
        let mut all_logits = self.logits.then(Vec::new);
        let mut thoughts = Vec::new();
        let generated_from = self.generated_from.map_or(ids.len(), |from| from.min(ids.len()));
        let (prompt, generated) = ids.split_at(generated_from);
        let mut following = ids.iter().skip(1);
        let logits_needed = self.hash || self.logits || self.picture.is_asked();
        for (tokens, origin) in [(prompt, Origin::Prompt), (generated, Origin::Generated)] {
            if tokens.is_empty() {
                continue;
            }
            let go_on = &mut interrupt::not_pressed;
            if logits_needed {
                let mut visit = |_, logits: &mut [f32]| {
                    bar.inc(1);
                    if let Some(hasher) = &mut hasher {
                        contract_bytes(logits, |bytes| {
                            hasher.update(bytes);
                        });
                    }
                    if let Some(all) = &mut all_logits {
                        all.push(logits.to_vec());
                    }
                    let Some(&next) = following.next() else { return };
                    if self.picture.is_asked() {
                        thoughts.extend(Thought::new(kernels, logits, next));
                        logprobs.extend(thoughts.last().map(|thought: &Thought| thought.ln_p));
                    } else {
                        logprobs.extend(log_probability(kernels, logits, next));
                    }
                };
                session.score_with(tokens, origin, 0, go_on, &mut visit)?;
            } else {
                session.score_tokens(tokens, origin, go_on, &mut |_, logprob| {
                    bar.inc(1);
                    logprobs.push(logprob);
                })?;
            }
            interrupt::check()?;
        }
        bar.finish_and_clear();
        let figures = figures(session.tokenizer(), &ids, &logprobs)?;
        let (activations, kv) = names(options);
        let report = Report {
            ids,
            logprobs,
            nll: figures.nll,
            bits_per_token: figures.bits_per_token(),
            bits_per_byte: figures.bits_per_byte(),
            perplexity: figures.perplexity(),
            activations,
            kv,
            generated_from: (options.precision == Precision::Mixed).then_some(generated_from),
            hash: hasher.map(|hasher| hasher.finalize().to_hex()[..32].to_string()),
            logits: all_logits,
        };
        Ok((report, thoughts))
    }

    fn picture(
        &self,
        report: &Report,
        thoughts: Vec<Thought>,
        model: &AnyModel<'_>,
    ) -> Result<Picture> {
        let facts = FileFacts::new(model.gguf());
        let path = &self.model.model;
        let file = path.file_name().map_or_else(|| shown(path), |name| shown(Path::new(name)));
        let Report { activations, kv, .. } = report;
        let architecture = facts.architecture.unwrap_or_default();
        let subtitle = format!("{file}, {architecture}, {activations} activations, {kv} cache");
        let titles = (facts.name.unwrap_or(file), subtitle);
        let tokenizer = model.tokenizer();
        let figures = figures(tokenizer, &report.ids, &report.logprobs)?;
        Picture::new(tokenizer, &report.ids, thoughts, figures, titles)
    }
}

/// Sums over the tokens after the first. Control tokens have no text.
fn figures(tokenizer: &Tokenizer<'_>, ids: &[u32], logprobs: &[f64]) -> Result<Figures> {
    let options = DecodeOptions { skip_special: true, text_start: true, raw: true };
    let mut decoder = Decoder::new(tokenizer, options);
    let mut text = vec![0; decoder.max_text_bytes()];
    let mut figures = Figures::default();
    for (i, &id) in ids.iter().enumerate() {
        let bytes = decoder.push(id, &mut text);
        let bytes = bytes.map_err(|error| Failure::new(Code::Text, error))?;
        if let Some(&logprob) = i.checked_sub(1).and_then(|i| logprobs.get(i)) {
            figures.add(logprob, bytes);
        }
    }
    Ok(figures)
}

fn print(report: &Report, tokenizer: &Tokenizer<'_>, streams: &mut Streams<'_>) -> Result<()> {
    let out = &mut *streams.output;
    writeln!(out, "{:>12}  {:>8}  token", "ln p", "id")?;
    for (i, &id) in report.ids.iter().enumerate() {
        let text = Text::from(tokenizer.text(id));
        match i.checked_sub(1).and_then(|i| report.logprobs.get(i)) {
            Some(logprob) => writeln!(out, "{logprob:>12.6}  {id:>8}  {text}")?,
            None => writeln!(out, "{:>12}  {id:>8}  {text}", "")?,
        }
    }
    for row in report.logits.iter().flatten() {
        write!(out, "logits")?;
        row.iter().try_for_each(|logit| write!(out, " {logit}"))?;
        writeln!(out)?;
    }
    print_sums(report, streams)
}

fn print_sums(report: &Report, streams: &mut Streams<'_>) -> Result<()> {
    let out = &mut *streams.output;
    writeln!(out, "nll             {}", report.nll)?;
    writeln!(out, "bits per token  {}", report.bits_per_token)?;
    writeln!(out, "bits per byte   {}", report.bits_per_byte)?;
    writeln!(out, "perplexity      {}", report.perplexity)?;
    if let Some(hash) = &report.hash {
        let Report { activations, kv, generated_from, .. } = report;
        write!(out, "hash            {hash} ({activations} activations")?;
        if let Some(from) = generated_from {
            write!(out, ", generated from token {from}")?;
        }
        writeln!(out, ", {kv} cache)")?;
    }
    Ok(())
}
