//! Where a command reads and writes: results on the output, everything else on the errors.

use std::fmt;
use std::io::{Read, Write};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A command's streams. Tests put buffers in the place of the process's own.
pub struct Streams<'a> {
    /// Standard input.
    pub input: &'a mut dyn Read,
    /// Standard output: results.
    pub output: &'a mut dyn Write,
    /// Standard error: facts, notes, progress, failures.
    pub errors: &'a mut dyn Write,
    /// What is known about their other ends.
    pub terminal: Terminal,
}

/// Which streams are terminals. None, for buffers and pipes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminal {
    /// Somebody would have to type the input.
    pub input: bool,
    /// Somebody reads the output.
    pub output: bool,
    /// Somebody reads the errors.
    pub errors: bool,
    /// Facts, notes and progress are not wanted: `--quiet`.
    pub quiet: bool,
    /// The errors may be coloured: a terminal that can, and neither NO_COLOR nor the like.
    pub color: bool,
}

/// Tokens that are worth a progress bar.
const LONG: usize = 256;

/// Bytes that are worth one.
const LARGE: u64 = 1 << 26;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const NOTE: Style = AnsiColor::Yellow.on_default().bold();
const LABEL: Style = AnsiColor::Cyan.on_default();

impl Streams<'_> {
    /// Something to know: `model    SmolLM2 ...`. A stream that cannot take it is no failure.
    pub fn fact(&mut self, label: &str, text: impl fmt::Display) {
        if !self.terminal.quiet {
            self.line(LABEL, &format!("{label:<9}"), text);
        }
    }

    /// Something to beware of.
    pub fn note(&mut self, text: impl fmt::Display) {
        if !self.terminal.quiet {
            self.line(NOTE, "note:", text);
        }
    }

    /// Why nothing more comes.
    pub fn error(&mut self, text: impl fmt::Display) {
        self.line(ERROR, "error:", text);
    }

    fn line(&mut self, style: Style, label: &str, text: impl fmt::Display) {
        let style = if self.terminal.color { style } else { Style::new() };
        let _ = writeln!(self.errors, "{style}{label}{style:#} {text}");
        let _ = self.errors.flush();
    }

    /// A bar for work of `len` tokens. Nothing is seen of it if that is soon done, or if the errors
    /// are no terminal.
    pub fn progress(&self, len: usize) -> ProgressBar {
        self.bar(len as u64, len >= LONG, "{bar:40} {pos}/{len} tokens, {eta} left")
    }

    /// The same for a file of `len` bytes that is written.
    pub fn bytes_progress(&self, len: u64) -> ProgressBar {
        self.bar(len, len >= LARGE, "{bar:40} {binary_bytes}/{binary_total_bytes}, {eta} left")
    }

    /// The same for work of `len` steps that has a name.
    pub fn steps(&self, name: &str, len: u64) -> ProgressBar {
        let template = format!("{name:9} {{bar:40}} {{percent}} %, {{eta}} left");
        self.bar(len, len >= LARGE >> 6, &template)
    }

    fn bar(&self, len: u64, is_long: bool, template: &str) -> ProgressBar {
        let target = if self.terminal.errors && is_long && !self.terminal.quiet {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(len), target);
        let style = ProgressStyle::with_template(template);
        bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }
}
