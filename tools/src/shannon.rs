//! `mote shannon`: the guessing game by which Shannon measured the entropy of English.

mod bounds;
mod letters;
mod model;
mod person;

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use mote_runtime::AnyModel;
use serde::Serialize;

use crate::cli::write_json;
use crate::failure::{Code, Failure, Result};
use crate::host::{Engine, with_any_model_by, with_any_session};
use crate::mix::MixOptions;
use crate::options::{Purpose, RulesOption, SessionOptions, TextOptions};
use crate::sentences::tell_beyond_training;
use crate::streams::Streams;
use crate::tokenize::tell_unknown_rules;
use bounds::{Bounds, Ranks};
use model::Game;

/// Play Shannon's guessing game: the entropy of a text, between two bounds
#[derive(Args, Debug)]
#[command(after_help = "\
Whoever can predict a text needs few guesses for each of its symbols, and so the numbers of guesses
bound its entropy (C. E. Shannon, Prediction and Entropy of Printed English, Bell System Technical
Journal 30, 1951, equation 17). With q(i) the share of symbols that took i guesses,

  sum of i (q(i) - q(i+1)) log2 i   <=   bits of a symbol   <=   - sum of q(i) log2 q(i)

He found 0.6 to 1.3 bits for a letter of English after 100 others. The lower bound holds for
guesses from the most to the least probable symbol. Short texts make both too low; smoothed are the
bounds of the most probable shares that fall from one number of guesses to the next, as they must.

Without -m a person plays, at the terminal, with his alphabet of 27 symbols: small and capital
letters are one, and one blank stands for all between them. The guesses come from standard input,
and so the text from -p or -f. With -m a model plays, over its tokens: letters, if it is one of
bytes, and --letters asks for it. Its own cross-entropy is told, too.

JSON keys: player (person or model); symbols (letters or tokens); guessed; first (share of first
guesses that are right); mean (guesses); ranks (pairs of guesses and how many symbols took so many);
bounds and smoothed_bounds (lower and upper, bits of a symbol); of models, cross_entropy (bits of a
symbol), and of tokens, characters and bounds_per_character (smoothed).

Examples:
  mote shannon -f book.txt --known 20 -n 100
  mote shannon -m model.gguf -f book.txt
  mote shannon -m bytes.gguf --letters -f book.txt --json")]
pub struct Command {
    /// The model that plays: a GGUF file [default: a person plays]
    #[arg(short, long, value_name = "FILE")]
    model: Option<PathBuf>,
    #[command(flatten)]
    text: TextOptions,
    /// A model of bytes guesses the letters of Shannon's alphabet, too
    #[arg(long, requires = "model")]
    letters: bool,
    /// Symbols at the start that are given, not guessed
    #[arg(long, value_name = "N", default_value = "0")]
    known: usize,
    /// Symbols to guess at most [default: all; of a person, 100]
    #[arg(short = 'n', long, value_name = "N")]
    symbols: Option<usize>,
    /// Print JSON
    #[arg(long)]
    json: bool,
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

/// Letters that are asked of a person.
const PATIENCE: usize = 100;

#[derive(Serialize)]
struct Report {
    player: &'static str,
    symbols: &'static str,
    guessed: u64,
    first: f64,
    mean: f64,
    ranks: Vec<(usize, u64)>,
    bounds: Bounds,
    smoothed_bounds: Bounds,
    #[serde(skip_serializing_if = "Option::is_none")]
    cross_entropy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    characters: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bounds_per_character: Option<Bounds>,
}

/// Plays.
pub fn execute(command: &Command, streams: &mut Streams<'_>) -> Result<()> {
    let (report, ranks) = match &command.model {
        Some(path) => with_any_model_by(path, command.rules.name(), |model| {
            tell_unknown_rules(model.tokenizer(), streams);
            command.play_by_model(model, streams)
        })?,
        None => command.play_by_person(streams)?,
    };
    if command.json { write_json(&report, streams) } else { print(&report, &ranks, streams.output) }
}

impl Command {
    fn play_by_person(&self, streams: &mut Streams<'_>) -> Result<(Report, Ranks)> {
        if self.text.prompt.is_none() && self.text.file.is_none() {
            let sentence = "the text to guess comes from -p or -f: the input is for the guesses";
            return Err(Failure::new(Code::Usage, sentence));
        }
        let text = letters::reduce(&self.text.read(streams)?);
        let end = self.known.saturating_add(self.symbols.unwrap_or(PATIENCE)).min(text.len());
        let ranks = person::play(text.get(..end).unwrap_or_default(), self.known, streams)?;
        if ranks.total() == 0 {
            return Err(Failure::new(Code::Text, "no letter was guessed"));
        }
        Ok((Report::new("person", "letters", &ranks), ranks))
    }

    fn play_by_model(
        &self,
        model: &AnyModel<'_>,
        streams: &mut Streams<'_>,
    ) -> Result<(Report, Ranks)> {
        let text = self.text.read(streams)?;
        let tokenizer = model.tokenizer();
        let mut game = match self.letters {
            true => Game::of_letters(&letters::reduce(&text), self.known, tokenizer)?,
            false => Game::of_tokens(&text, self.known, tokenizer)?,
        };
        let end = self.symbols.map(|symbols| game.given.saturating_add(symbols));
        let is_cut = end.is_some_and(|end| end < game.ids.len()) || self.known > 0;
        game.ids.truncate(end.unwrap_or(usize::MAX));
        if game.ids.len() <= game.given {
            return Err(Failure::new(Code::Text, "there is nothing to guess"));
        }
        tell_beyond_training(model, game.ids.len(), streams);
        let engine = Engine::new(&self.session, streams)?;
        let compute = &self.session.compute;
        let n_ctx = compute.ctx.map_or(game.ids.len(), |ctx| ctx.get());
        let options = compute.session(model.all_float(), Purpose::Score, n_ctx, engine.threads());
        let played = with_any_session(model, &options, &engine, |session, _| {
            self.mix.with(session, &engine, |session| game.play(session, streams))
        })?;
        let symbols = if self.letters { "letters" } else { "tokens" };
        let mut report = Report::new("model", symbols, &played.ranks);
        let bits = played.nll / std::f64::consts::LN_2;
        report.cross_entropy = Some(bits / played.ranks.total() as f64);
        // Of a part of the tokens the characters are not known.
        if !self.letters && !is_cut {
            report.spread_over(String::from_utf8_lossy(&text).chars().count());
        }
        Ok((report, played.ranks))
    }
}

impl Report {
    fn new(player: &'static str, symbols: &'static str, ranks: &Ranks) -> Report {
        Report {
            player,
            symbols,
            guessed: ranks.total(),
            first: ranks.share(1, 1),
            mean: ranks.mean(),
            ranks: ranks.counts().collect(),
            bounds: ranks.bounds(),
            smoothed_bounds: ranks.smoothed_bounds(),
            cross_entropy: None,
            characters: None,
            bounds_per_character: None,
        }
    }

    /// What the tokens tell is told by this many characters.
    fn spread_over(&mut self, characters: usize) {
        let share = self.guessed as f64 / characters.max(1) as f64;
        let Bounds { lower, upper } = self.smoothed_bounds;
        self.characters = Some(characters);
        self.bounds_per_character = Some(Bounds { lower: lower * share, upper: upper * share });
    }
}

/// Ranks that share a line: first and last.
const LINES: [(usize, usize); 16] = [
    (1, 1),
    (2, 2),
    (3, 3),
    (4, 4),
    (5, 5),
    (6, 6),
    (7, 7),
    (8, 8),
    (9, 9),
    (10, 10),
    (11, 15),
    (16, 20),
    (21, 27),
    (28, 100),
    (101, 1000),
    (1001, usize::MAX),
];

fn print(report: &Report, ranks: &Ranks, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "{:>11}  {:>7}", "guesses", "share")?;
    for (first, last) in LINES {
        let share = ranks.share(first, last);
        if share > 0.0 {
            let name = match last {
                _ if first == last => first.to_string(),
                usize::MAX => format!("{first}-"),
                _ => format!("{first}-{last}"),
            };
            let bar = "#".repeat((share * 50.0).round() as usize);
            writeln!(out, "{name:>11}  {share:>7.4}  {bar}")?;
        }
    }
    let Report { guessed, symbols, mean, bounds, smoothed_bounds, .. } = report;
    writeln!(out, "{guessed} {symbols}, {mean:.2} guesses on average")?;
    let per = |bounds: &Bounds| format!("{:.4} <= entropy <= {:.4}", bounds.lower, bounds.upper);
    let symbol = symbols.trim_end_matches('s');
    writeln!(out, "{} bits per {symbol}", per(bounds))?;
    writeln!(out, "{} bits per {symbol}, smoothed", per(smoothed_bounds))?;
    if let Some(bounds) = &report.bounds_per_character {
        writeln!(out, "{} bits per character, smoothed", per(bounds))?;
    }
    if let Some(bits) = report.cross_entropy {
        writeln!(out, "{bits:.4} bits per {symbol}: the model's cross-entropy")?;
    }
    Ok(())
}
