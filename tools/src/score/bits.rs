//! `mote score --bits`: cross-entropy and perplexity of a text, by conventions that have names.

use std::io::Write;

use clap::Args;
use mote_formats::gguf::Text;
use mote_runtime::AnyModel;
use mote_runtime::tokenizer::Tokenizer;
use serde::Serialize;

use super::conventions::{Convention, Role, Tally};
use super::unseen::Unseen;
use crate::cli::write_json;
use crate::failure::{Code, Failure, Result};
use crate::input;
use crate::sentences::{
    Computing, Frame, Scored, Scorer, Sentence, SentenceOptions, lines, with_scorer,
};
use crate::streams::Streams;

/// Options of `--bits`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Cross-entropy")]
pub struct BitsOptions {
    /// Cross-entropy in bits of a token, word, character and byte, and perplexity, by conventions
    #[arg(long, conflicts_with_all = ["generated_from", "logits", "hash"])]
    pub bits: bool,
    /// With --bits: every line (of text or ids) is a sentence of its own, with a beginning and an end
    #[arg(long, requires = "bits")]
    pub lines: bool,
    /// With --bits: print every token's score, too
    #[arg(long, requires = "bits")]
    pub tokens: bool,
}

/// What is scored.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A text.
    Text(&'a [u8]),
    /// Token ids in decimal.
    Ids(&'a [u8]),
}

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// How the text is scored.
    pub options: &'a BitsOptions,
    /// What stands around it.
    pub around: &'a SentenceOptions,
    /// How the model computes.
    pub computing: Computing<'a>,
    /// What is scored.
    pub source: Source<'a>,
    /// Whether the result is JSON.
    pub json: bool,
}

#[derive(Serialize)]
struct Report {
    mode: &'static str,
    sentences: usize,
    words: usize,
    characters: usize,
    bytes: usize,
    unknown: usize,
    all: Convention,
    without_unknown: Convention,
    without_ends: Convention,
    without_ends_and_unknown: Convention,
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown_as_one: Option<Convention>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<Vec<TokenReport>>,
}

/// One scored token.
#[derive(Serialize)]
struct TokenReport {
    sentence: usize,
    id: u32,
    text: String,
    ln: f64,
    log10: f64,
    unknown: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    matched: Option<usize>,
}

impl Task<'_> {
    /// Scores.
    pub fn execute(&self, model: &AnyModel<'_>, streams: &mut Streams<'_>) -> Result<()> {
        let sentences = self.sentences(model.tokenizer())?;
        with_scorer(model, self.computing, &sentences, streams, |scorer, streams| {
            if self.options.tokens && !self.json {
                let [a, b, c, d, e] = ["sentence", "ln p", "log10 p", "matched", "id"];
                writeln!(streams.output, "{a:>8}  {b:>12}  {c:>12}  {d:>7}  {e:>8}  token")?;
            }
            let report = self.score(&sentences, model, scorer, streams)?;
            if self.json { write_json(&report, streams) } else { print(&report, streams.output) }
        })
    }

    /// Lines as sentences, or all of it with what the tokenizer's defaults put around a text.
    fn sentences(&self, tokenizer: &Tokenizer<'_>) -> Result<Vec<Sentence>> {
        let frame = if self.options.lines {
            Frame::new(self.around, tokenizer)?
        } else if self.around.begin.is_some() {
            Frame::new(&SentenceOptions { no_end: true, ..self.around.clone() }, tokenizer)?
        } else {
            Frame::of_stream(tokenizer)
        };
        let sentences = self.parts().map(|part| match self.source {
            Source::Text(_) => frame.around(part, tokenizer),
            Source::Ids(_) => Ok(frame.around_ids(&input::parse_ids(part)?)),
        });
        let sentences = sentences.collect::<Result<Vec<_>>>()?;
        match sentences.iter().any(|sentence| sentence.ids.len() > sentence.given.max(1)) {
            true => Ok(sentences),
            false => Err(Failure::new(Code::Text, "there is no token to score")),
        }
    }

    fn score(
        &self,
        sentences: &[Sentence],
        model: &AnyModel<'_>,
        scorer: &mut Scorer<'_, '_>,
        streams: &mut Streams<'_>,
    ) -> Result<Report> {
        let tokenizer = model.tokenizer();
        let unseen = Unseen::of(model);
        let mut tally = Tally::default();
        let mut tokens = Vec::new();
        let bar = streams.progress(sentences.iter().map(|sentence| sentence.ids.len()).sum());
        for (number, sentence) in (1..).zip(sentences) {
            let scores = scorer.score(sentence)?;
            let last = scores.len().saturating_sub(1);
            let ends = self.options.lines && !self.around.no_end;
            for (place, mut scored) in scores.into_iter().enumerate() {
                if scored.is_impossible() {
                    scored.ln = f64::NEG_INFINITY;
                }
                let role = role(scored.id, tokenizer, unseen.as_ref(), ends && place == last);
                tally.add(role, scored.ln);
                if self.options.tokens {
                    let token = TokenReport::new(number, &scored, role, tokenizer);
                    match self.json {
                        true => tokens.push(token),
                        false => token.print(streams.output)?,
                    }
                }
            }
            bar.inc(sentence.ids.len() as u64);
        }
        bar.finish_and_clear();
        self.measure(sentences, tokenizer, &mut tally)?;
        Ok(Report {
            mode: if self.options.lines { "lines" } else { "stream" },
            sentences: sentences.len(),
            words: tally.words,
            characters: tally.characters,
            bytes: tally.bytes,
            unknown: tally.unknown(),
            all: tally.figures(true, true),
            without_unknown: tally.figures(true, false),
            without_ends: tally.figures(false, true),
            without_ends_and_unknown: tally.figures(false, false),
            unknown_as_one: unseen.map(|unseen| tally.figures_as_one(unseen.sharing())),
            tokens: (self.options.tokens && self.json).then_some(tokens),
        })
    }

    /// What is a sentence each.
    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let (Source::Text(all) | Source::Ids(all)) = self.source;
        let whole = (!self.options.lines).then_some(all);
        let lines = self.options.lines.then(|| lines(all));
        whole.into_iter().chain(lines.into_iter().flatten())
    }

    /// Adds the sizes of the texts. Ids say theirs when they are decoded.
    fn measure(
        &self,
        sentences: &[Sentence],
        tokenizer: &Tokenizer<'_>,
        tally: &mut Tally,
    ) -> Result<()> {
        if let Source::Text(_) = self.source {
            self.parts().for_each(|part| tally.add_text(part));
            return Ok(());
        }
        for sentence in sentences {
            let ids = sentence.ids.get(sentence.given..).unwrap_or_default();
            tally.add_text(&input::decode(tokenizer, ids, false)?);
        }
        Ok(())
    }
}

/// `is_end`: the token stands where the frame has put an end, if the vocabulary has one.
fn role(id: u32, tokenizer: &Tokenizer<'_>, unseen: Option<&Unseen<'_>>, is_end: bool) -> Role {
    if is_end && tokenizer.eos().or(tokenizer.bos()) == Some(id) {
        Role::End
    } else if tokenizer.unknown() == Some(id) || unseen.is_some_and(|unseen| unseen.contains(id)) {
        Role::Unknown
    } else {
        Role::Text
    }
}

impl TokenReport {
    fn new(sentence: usize, scored: &Scored, role: Role, tokenizer: &Tokenizer<'_>) -> Self {
        let &Scored { id, ln, matched } = scored;
        let text = Text::from(tokenizer.text(id)).to_string();
        let log10 = ln / std::f64::consts::LN_10;
        TokenReport { sentence, id, text, ln, log10, unknown: role == Role::Unknown, matched }
    }

    fn print(&self, out: &mut dyn Write) -> Result<()> {
        let TokenReport { sentence, id, text, ln, log10, .. } = self;
        let matched = self.matched.map(|matched| matched.to_string()).unwrap_or_default();
        write!(out, "{sentence:>8}  {ln:>12.6}  {log10:>12.6}  {matched:>7}  ")?;
        Ok(writeln!(out, "{id:>8}  {text}")?)
    }
}

fn print(report: &Report, out: &mut dyn Write) -> Result<()> {
    let Report { mode, sentences, words, characters, bytes, unknown, all, .. } = report;
    let kind = if *mode == "lines" { "sentences" } else { "stream" };
    write!(out, "text    {sentences} {kind}, {words} words, {characters} characters, ")?;
    writeln!(out, "{bytes} bytes")?;
    writeln!(out, "tokens  {} scored, of which {unknown} unknown", all.tokens)?;
    write!(out, "{:<26}{:>9}{:>13}{:>13}", "", "tokens", "bits/token", "perplexity")?;
    writeln!(out, "{:>11}{:>13}{:>11}{:>11}", "bits/word", "ppl/word", "bits/char", "bits/byte")?;
    let has_ends = all.tokens > report.without_ends.tokens;
    for (name, convention, is_shown) in [
        ("all tokens", all, true),
        ("without unknown", &report.without_unknown, *unknown > 0),
        ("without ends", &report.without_ends, has_ends),
        ("without ends and unknown", &report.without_ends_and_unknown, has_ends && *unknown > 0),
    ] {
        if is_shown {
            print_convention(name, convention, out)?;
        }
    }
    match &report.unknown_as_one {
        Some(convention) if *unknown > 0 => {
            print_convention("unknown as one word", convention, out)
        }
        _ => Ok(()),
    }
}

fn print_convention(name: &str, convention: &Convention, out: &mut dyn Write) -> Result<()> {
    let Convention { tokens, bits_per_token, perplexity, .. } = convention;
    write!(out, "{name:<26}{tokens:>9}{bits_per_token:>13.4}{perplexity:>13.4}")?;
    if let Some(text) = &convention.text {
        write!(out, "{:>11.4}{:>13.4}", text.bits_per_word, text.perplexity_per_word)?;
        write!(out, "{:>11.4}{:>11.4}", text.bits_per_character, text.bits_per_byte)?;
    }
    Ok(writeln!(out)?)
}
