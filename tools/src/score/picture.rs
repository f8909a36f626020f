//! Pictures of a scored text: each token coloured by its surprisal, on a terminal (`heat.rs`), as a page
//! (`html.rs`) or as a drawing (`drawing.rs`).

mod colours;
mod drawing;
mod heat;
mod html;
mod text;

use std::path::{Path, PathBuf};

use clap::Args;
use mote_kernels::{Candidate, Kernels};
use mote_runtime::score::{Figures, log_probability};
use mote_runtime::tokenizer::Tokenizer;

use crate::failure::{Failure, Result};
use crate::output;
use crate::streams::Streams;
use text::{Line, Token};

/// Options of pictures.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Pictures")]
pub struct PictureOptions {
    /// Print the text, each token coloured by its surprisal (without colours: marked)
    #[arg(long, conflicts_with_all = ["json", "hash", "logits", "bits", "compare", "pairs"])]
    pub heat: bool,
    /// Write a page that shows the same, and each token's probability, rank and alternatives
    #[arg(long, value_name = "FILE", conflicts_with_all = ["hash", "logits", "bits", "compare", "pairs"])]
    pub html: Option<PathBuf>,
    /// Write the same as a drawing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["hash", "logits", "bits", "compare", "pairs"])]
    pub svg: Option<PathBuf>,
    /// Overwrite files that exist
    #[arg(long)]
    pub force: bool,
}

impl PictureOptions {
    /// Whether there is anything to draw.
    pub fn is_asked(&self) -> bool {
        self.heat || self.html.is_some() || self.svg.is_some()
    }

    /// Files that are to be written.
    fn files(&self) -> impl Iterator<Item = &Path> {
        self.html.iter().chain(&self.svg).map(PathBuf::as_path)
    }

    /// Refuses what would fail after all the work: files that exist.
    pub fn check(&self) -> Result<()> {
        self.files().try_for_each(|path| output::check_absent(path, self.force))
    }

    /// Draws all that is asked for.
    pub fn draw(&self, picture: &Picture, streams: &mut Streams<'_>) -> Result<()> {
        if self.heat {
            heat::print(picture, streams.terminal.paint, &mut *streams.output)?;
        }
        for (path, draw) in
            [(&self.html, html::page as fn(&Picture) -> String), (&self.svg, drawing::drawing)]
        {
            let Some(path) = path else { continue };
            let file = draw(picture);
            output::write(path, output::existing(self.force), |out| {
                out.write_all(file.as_bytes()).map_err(Failure::io)
            })?;
        }
        Ok(())
    }
}

/// Most probable tokens that are kept beside each of the text.
const ALTERNATIVES: usize = 5;

/// What the model thought at a place of the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Thought {
    /// ln p of the token that is there.
    pub ln_p: f64,
    /// 1: it was the most probable.
    pub rank: usize,
    /// The most probable ones: ids and ln p.
    pub top: Vec<(u32, f64)>,
}

impl Thought {
    /// Of the logits before token `id`, which become their exponentials. `None` if there is no such id.
    pub fn new(kernels: &Kernels, logits: &mut [f32], id: u32) -> Option<Thought> {
        let logit = *logits.get(id as usize)?;
        let mut top = [Candidate::default(); ALTERNATIVES];
        let n = kernels.top_k(logits, &mut top);
        let top = top.get(..n)?;
        let rank = 1 + logits.iter().filter(|&&other| other > logit).count();
        let best = *top.first()?;
        let ln_best = log_probability(kernels, logits, best.id)?;
        let ln_p = |logit: f32| f64::from(logit - best.value) + ln_best;
        let top = top.iter().map(|other| (other.id, ln_p(other.value))).collect();
        Some(Thought { ln_p: ln_p(logit), rank, top })
    }
}

/// A scored text.
#[derive(Debug)]
pub struct Picture {
    /// What the model is called, and how was computed.
    pub title: String,
    /// The same at more length.
    pub subtitle: String,
    /// The whole text's.
    pub figures: Figures,
    tokens: Vec<Token>,
    lines: Vec<Line>,
}

impl Picture {
    /// Of the tokens of a text, and what was thought before each but the first.
    pub fn new(
        tokenizer: &Tokenizer<'_>,
        ids: &[u32],
        thoughts: Vec<Thought>,
        figures: Figures,
        (title, subtitle): (String, String),
    ) -> Result<Picture> {
        let tokens = text::tokens(tokenizer, ids, thoughts)?;
        let lines = text::lines(&tokens);
        Ok(Picture { title, subtitle, figures, tokens, lines })
    }

    /// `1234 tokens, 0.912 bits per byte, ...`: names and values.
    fn totals(&self) -> [(&'static str, String); 4] {
        let Figures { tokens, .. } = self.figures;
        [
            ("tokens scored", tokens.to_string()),
            ("bits per byte", format!("{:.3}", self.figures.bits_per_byte())),
            ("bits per token", format!("{:.3}", self.figures.bits_per_token())),
            ("perplexity", format!("{:.3}", self.figures.perplexity())),
        ]
    }
}

/// A probability for people: `12.3 %`, `0.0421 %`, `3.1e-9`.
fn percent(ln_p: f64) -> String {
    let p = libm::exp(ln_p);
    match p * 100.0 {
        percent if percent >= 10.0 => format!("{percent:.1} %"),
        percent if percent >= 1.0 => format!("{percent:.2} %"),
        percent if percent >= 0.001 => format!("{percent:.3} %"),
        _ => format!("{p:.1e}"),
    }
}

/// Surprisal: -log2 p.
fn bits(ln_p: f64) -> f64 {
    // Not -0.
    0.0 - ln_p / core::f64::consts::LN_2
}

#[cfg(test)]
mod tests;
