//! The command line: which subcommands there are, and what becomes of their failures.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, Parser, Subcommand};
use serde::Serialize;

use crate::environment;
use crate::failure::{Code, Failure, Result};
use crate::interrupt::{self, Awaited};
use crate::notes;
use crate::source;
use crate::streams::{Paint, Streams, Terminal};

/// Run, convert, quantise, score and measure language models in GGUF files
#[derive(Parser, Debug)]
#[command(
    name = "mote",
    bin_name = "mote",
    version,
    after_help = after_help(),
    arg_required_else_help = true
)]
struct Cli {
    /// Show the library's notes; -vv: those on every feeding of tokens, too
    #[arg(short, long, global = true, action = ArgAction::Count, display_order = LAST)]
    verbose: u8,
    /// Say nothing but results and errors: no facts, notes, progress
    #[arg(short, long, global = true, conflicts_with = "verbose", display_order = LAST)]
    quiet: bool,
    /// Read models into memory instead of mapping their files: where a file may be written over, or
    /// cannot be relied on
    #[arg(long, global = true, display_order = LAST)]
    copy: bool,
    #[command(subcommand)]
    command: Command,
}

/// Behind a subcommand's own options, before --help.
const LAST: usize = 900;

/// The one place that lists exit codes and environment variables.
fn after_help() -> String {
    format!("{STREAMS}\n\n{EXIT_CODES}\n\n{JSON}\n\n{}", environment::HELP)
}

const STREAMS: &str = "\
Results go to standard output, everything else to standard error: facts about the work, notes,
progress, none of it with --quiet, and errors.";

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    a file cannot be read or written, a text is not one that the model can take or too long for
       the context, the logits are not finite, or two files that were compared differ
  2    wrong arguments
  3    a sound file, but not of a model that mote runs
  4    a damaged file, or one of another format
  5    not enough memory
  130  interrupted: by Ctrl-C, SIGTERM or SIGHUP (a second one ends the process at once)
  134  no memory even for something small: the process aborts, as the system may also kill it. A file
       .mote-*.part is then left beside an output, and can be removed; under a name there is all or nothing
  141  the output was closed";

const JSON: &str = "\
With --json a failure is printed on standard output, as
{\"error\": {\"code\": ..., \"message\": ..., \"offset\": ...}}. The code is io, text, context or not_finite
(exit code 1), usage (2), model (3), format (4), memory (5) or interrupted (130); the offset is the
place in the model file in bytes, null where it is not known. mote diff and mote verify print their
result instead, whatever it is.";

/// **The list of subcommands**: each is a file with `Command` (its options, and whether its result is
/// wanted as JSON) and `execute`.
macro_rules! commands {
    ($($(#[$cfg:meta])? $variant:ident = $module:ident;)*) => {
        // A process has one of these.
        #[allow(clippy::large_enum_variant)]
        #[derive(Subcommand, Debug)]
        enum Command {
            $($(#[$cfg])? $variant(crate::$module::Command)),*
        }

        impl Command {
            fn json(&self) -> bool {
                match self { $($(#[$cfg])? Command::$variant(command) => command.json()),* }
            }

            fn execute(&self, streams: &mut Streams<'_>) -> Result<()> {
                match self {
                    $($(#[$cfg])? Command::$variant(command) => {
                        crate::$module::execute(command, streams)
                    })*
                }
            }
        }
    };
}

commands! {
    Run = run;
    #[cfg(feature = "chat")]
    Chat = chat;
    #[cfg(feature = "make")]
    Convert = convert;
    #[cfg(feature = "make")]
    Quantize = quantize;
    #[cfg(feature = "make")]
    Importance = importance;
    Tokenize = tokenize;
    Score = score;
    Embed = embed;
    #[cfg(feature = "measure")]
    Perplexity = perplexity;
    #[cfg(feature = "measure")]
    Shannon = shannon;
    #[cfg(feature = "measure")]
    Rescore = rescore;
    Inspect = inspect;
    Models = models;
    Verify = verify;
    #[cfg(feature = "measure")]
    Diff = diff;
    #[cfg(feature = "make")]
    Ngram = ngram;
    #[cfg(feature = "measure")]
    Bench = bench;
    #[cfg(feature = "pull")]
    Pull = pull;
    #[cfg(feature = "pages")]
    Completions = completions;
    #[cfg(feature = "pages")]
    Man = man;
}

/// All commands and options, as clap has them.
pub fn command() -> clap::Command {
    Cli::command()
}

/// The process: its arguments, streams and exit code.
pub fn main() -> ExitCode {
    notes::install();
    // Without it, a file that is cut short while it is mapped ends the process as ever.
    #[cfg(unix)]
    let _ = mote_formats::guard::install();
    let terminal = Terminal {
        input: io::stdin().is_terminal(),
        output: io::stdout().is_terminal(),
        errors: io::stderr().is_terminal(),
        quiet: false,
        color: anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never,
        paint: paint(),
    };
    let mut streams = Streams {
        input: &mut Awaited(io::stdin().lock()),
        output: &mut io::BufWriter::new(io::stdout().lock()),
        errors: &mut anstream::stderr(),
        terminal,
    };
    if let Err(failure) = interrupt::install() {
        streams.error(&failure.message);
        return failure.code.exit_code().into();
    }
    run(std::env::args_os(), &mut streams).into()
}

/// What the standard output can show, as NO_COLOR, CLICOLOR_FORCE, TERM and COLORTERM say.
fn paint() -> Paint {
    let has_all = std::env::var_os("COLORTERM");
    match anstream::AutoStream::choice(&io::stdout()) {
        anstream::ColorChoice::Never => Paint::None,
        _ if has_all.is_some_and(|all| all == "truecolor" || all == "24bit") => Paint::True,
        _ => Paint::Palette,
    }
}

/// Runs one command: `args` as a process gets them, the program's name first. Returns the exit
/// code, which `mote --help` explains.
pub fn run(args: impl IntoIterator<Item = OsString>, streams: &mut Streams<'_>) -> u8 {
    let args: Vec<OsString> = args.into_iter().collect();
    let (json, outcome) = match Cli::try_parse_from(&args) {
        Ok(cli) => {
            notes::show(cli.verbose);
            streams.terminal.quiet = cli.quiet;
            source::set_copies(cli.copy);
            (cli.command.json(), cli.command.execute(streams))
        }
        Err(error) => {
            let mut options = args.iter().take_while(|arg| *arg != OsStr::new("--"));
            let json = options
                .any(|arg| arg == OsStr::new("--json") || arg == OsStr::new("--json-stream"));
            (json, not_parsed(&error, json, streams))
        }
    };
    let outcome = outcome.and_then(|()| Ok(streams.output.flush()?));
    let Err(failure) = outcome else { return 0 };
    match failure.code {
        // Nobody is there to read about it.
        Code::OutputClosed => {}
        // The command, or clap, has said it.
        _ if failure.message.is_empty() => {}
        _ if json => report(&failure, streams),
        _ => streams.error(&failure.message),
    }
    failure.code.exit_code()
}

/// Help that was asked for is a result; anything else is a failure.
fn not_parsed(error: &clap::Error, json: bool, streams: &mut Streams<'_>) -> Result<()> {
    let color = streams.terminal.color;
    let shown = |rendered: clap::builder::StyledStr| {
        if color { rendered.ansi().to_string() } else { rendered.to_string() }
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Colours depend on the errors' terminal: plain is right for every output.
            Ok(write!(streams.output, "{}", error.render())?)
        }
        _ if json => {
            let text = error.render().to_string();
            let sentence = text.split("\n\n").next().unwrap_or_default();
            let sentence = sentence.strip_prefix("error: ").unwrap_or(sentence);
            let words: Vec<&str> = sentence.split_whitespace().collect();
            Err(Failure::new(Code::Usage, words.join(" ")))
        }
        _ => {
            let _ = write!(streams.errors, "{}", shown(error.render()));
            Err(Failure::new(Code::Usage, ""))
        }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    error: ReportBody<'a>,
}

#[derive(Serialize)]
struct ReportBody<'a> {
    code: &'static str,
    message: &'a str,
    offset: Option<u64>,
}

fn report(failure: &Failure, streams: &mut Streams<'_>) {
    let Failure { code, message, offset } = failure;
    let report = Report { error: ReportBody { code: code.name(), message, offset: *offset } };
    // An output that fails is what is reported, or no better place is left.
    let _ = write_json(&report, streams).and_then(|()| Ok(streams.output.flush()?));
}

/// A value as one line of JSON.
pub fn write_json(value: &impl Serialize, streams: &mut Streams<'_>) -> Result<()> {
    serde_json::to_writer(&mut *streams.output, value)?;
    Ok(writeln!(streams.output)?)
}
