//! What the libraries note, on standard error, for who asks by `--verbose`.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use log::{Level, LevelFilter, Log, Metadata, Record};

/// Makes notes visible, once for the process: as many as [`show`] says, at first none.
pub fn install() {
    // Somebody who was first has a logger already.
    let _ = log::set_logger(&Logger);
}

/// How much is shown from now on: nothing (0), notes on models, sessions and threads (1), and on each
/// feeding of tokens (2 and more).
pub fn show(verbosity: u8) {
    let level = match verbosity {
        0 => return,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    log::set_max_level(level);
}

struct Logger;

impl Log for Logger {
    /// The notes of mote's own crates.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("mote_")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let style = style(record.level());
            let level = record.level().as_str().to_ascii_lowercase();
            // The stream drops colours where nobody wants them. If it takes nothing, that is no failure.
            let line = format!("{style}{level}:{style:#} {}\n", record.args());
            let _ = anstream::stderr().lock().write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

fn style(level: Level) -> Style {
    match level {
        Level::Error => AnsiColor::Red.on_default().bold(),
        Level::Warn => AnsiColor::Yellow.on_default().bold(),
        Level::Info | Level::Debug | Level::Trace => AnsiColor::Cyan.on_default(),
    }
}
